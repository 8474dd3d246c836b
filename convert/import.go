package convert

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/trconvert/trconvert/export/weights"
	"github.com/trconvert/trconvert/onnx"
)

// ImportSchema is the schema of [Imported].
const ImportSchema = "trconvert.import/v1"

// ImportOptions of [Import]. Model, Weights and Output are needed.
type ImportOptions struct {
	Model   string
	Weights string // a file with one of the endings WeightFiles
	Output  string
	Files   Files
}

// Imported is what [Import] did.
type Imported struct {
	Schema   string     `json:"schema"`
	Input    FileStat   `json:"input"`
	Weights  WeightStat `json:"weights"`
	Output   FileStat   `json:"output"`
	Changed  int        `json:"changed"` // weights whose numbers are not those of the input
	Seconds  float64    `json:"seconds"`
	Warnings []Warning  `json:"warnings"`
}

// WeightStat is a file of weights in a report.
type WeightStat struct {
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`
	Tensors int    `json:"tensors"`
}

// Import puts weights that were trained elsewhere back into the model they were exported from: the written model is the input with other numbers in its weights, each in the type in which the
// input stores it, and nothing else changes. Weights that were not changed give the bytes of the input. Names, types, dims and the fingerprint of the model are compared first; see
// [weights.Set.Put].
func Import(ctx context.Context, o ImportOptions) (*Imported, error) {
	start := time.Now()
	switch {
	case o.Output == "":
		return nil, &OptionError{Option: "-o", What: "no output file is named (-o OUT.onnx)"}
	case o.Weights == "":
		return nil, &OptionError{Option: "WEIGHTS", What: "no file of weights is named", Valid: WeightFiles}
	}
	if err := guardOutput(o.Output, o.Files.Force, o.Model, o.Weights); err != nil {
		return nil, err
	}
	r := &Imported{Schema: ImportSchema, Weights: WeightStat{File: o.Weights}}
	if err := r.run(ctx, o); err != nil {
		return nil, ended(ctx, o.Model, err)
	}
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

func (r *Imported) run(ctx context.Context, o ImportOptions) error {
	m, err := openModel(ctx, o.Model, o.Files)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := guardOutput(o.Output, true, m.DataFiles()...); err != nil {
		return err
	}
	r.Input = FileStat{File: o.Model, Bytes: m.FileBytes(), Parameters: m.Parameters()}
	r.Warnings = noticed(m)
	set, err := weights.Of(m)
	if err != nil {
		return inFile(o.Model, err)
	}
	f, err := readWeights(ctx, o.Weights)
	if err != nil {
		return err
	}
	if st, err := os.Stat(o.Weights); err == nil {
		r.Weights.Bytes = st.Size()
	}
	r.Weights.Tensors = len(f.Tensors)
	patch, changed, err := set.Put(ctx, f)
	if err != nil {
		return fmt.Errorf("convert: %s: %w", strconv.Quote(o.Weights), err)
	}
	r.Changed = changed
	out, err := patch.Apply(ctx)
	if err != nil {
		return err
	}
	defer out.Close()
	return out.WriteFile(ctx, o.Output, onnx.WriteOptions{
		Force: o.Files.Force,
		Check: func(path string) error { return r.check(ctx, path, o, set) },
	})
}

// check reads the written file back: it must be the model, and is measured.
func (r *Imported) check(ctx context.Context, path string, o ImportOptions, in *weights.Set) error {
	m, err := openModel(ctx, path, o.Files)
	if err != nil {
		return err
	}
	defer m.Close()
	written, err := weights.Of(m)
	if err != nil {
		return err
	}
	want, err := in.Fingerprint()
	if err != nil {
		return err
	}
	got, err := written.Fingerprint()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("convert: %q: the written file is not the model with other weights: fingerprint %s, want %s", o.Output, got, want)
	}
	r.Output = FileStat{File: o.Output, Bytes: m.FileBytes(), Parameters: m.Parameters()}
	return nil
}
