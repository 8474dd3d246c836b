package convert

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/trconvert/trconvert/onnx"
)

// ExportSchema is the schema of [Exported].
const ExportSchema = "trconvert.export/v1"

// Targets are what [Export] can write.
var Targets = targetNames()

// TargetOptions of [Export]. Model, Target and Output are needed; of the others a target takes those that its documentation names, and refuses the rest.
type TargetOptions struct {
	Model, Target, Output string

	ONNX   ONNXOptions
	Source SourceOptions
	// Weights is the type in which weights are stored; "" keeps what the model has. Source code knows float32 and int8.
	Weights Storage
	// Dims gives symbolic dims of inputs their sizes where a target fixes them.
	Dims map[string]int
	// States says, by output, which input takes it back at the next step, for a model that is one step of a stream.
	States map[string]string

	Files   Files
	Threads int
}

// ONNXOptions are those of the target onnx.
type ONNXOptions struct {
	Form        Form // of a compact model; "" keeps its own
	MergeOutput bool
	Opset       int // 0 keeps the model's
}

// SourceOptions are those of the targets c and go.
type SourceOptions struct {
	Name         string // of the package, and the prefix of names in C; "": model
	Batch, Steps int    // sizes of symbolic dims: the batch, and the first other one of each input; 0: 1 and 16
	MergeAtStart bool   // hold the cores and multiply them when the program starts
}

// Exported is what [Export] wrote.
type Exported struct {
	Schema   string         `json:"schema"`
	Target   string         `json:"target"`
	Input    FileStat       `json:"input"`
	Output   FileStat       `json:"output"`
	Files    []ExportedFile `json:"files"`   // of a folder, sorted; empty where Output is a file
	Opset    int64          `json:"opset"`   // of an ONNX model, else 0
	IR       int64          `json:"ir"`      // of an ONNX model, else 0
	Weights  Storage        `json:"weights"` // the narrowest type in which weights are stored
	Inputs   []string       `json:"inputs"`  // as `"x" float32 [1, 257]`
	Outputs  []string       `json:"outputs"`
	States   []StateInfo    `json:"states"` // of a step
	Verify   *Comparison    `json:"verify"` // with the model that was exported, null where what was written is no model
	Seconds  float64        `json:"seconds"`
	Warnings []Warning      `json:"warnings"`
}

// ExportedFile is a file of a folder.
type ExportedFile struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// StateInfo is a state that a caller takes from one step to the next: it starts at zero.
type StateInfo struct {
	Input  string `json:"input"`
	Output string `json:"output"`
}

// Options of targets, as the command line spells them.
const (
	optForm    = "--form"
	optMerge   = "--merge-output"
	optOpset   = "--opset"
	optWeights = "--weights"
	optName    = "--name"
	optBatch   = "--batch"
	optSteps   = "--steps"
	optDim     = "--dim"
	optAtStart = "--merge-at-start"
	optState   = "--state"
)

// exportTarget is a kind of output.
type exportTarget struct {
	name    string
	folder  bool     // OUT is a folder
	options []string // that it takes beside those of every target
	weights []string // valid values of --weights, if it takes that
	make    func(ctx context.Context, e *exporting) (*product, error)
}

// targets is the table that everything about targets comes from.
func targets() []exportTarget {
	return []exportTarget{
		{name: "onnx", options: []string{optForm, optMerge, optOpset, optWeights}, weights: Storages, make: exportONNX},
		{name: "onnx-step", options: []string{optWeights, optState}, weights: Storages, make: exportStep},
		{name: "onnx-gates", options: []string{optBatch, optDim, optState}, make: exportGates},
		{name: "safetensors", make: exportSafetensors},
		{name: "npz", make: exportNPZ},
		{name: "pytorch", folder: true, make: exportPyTorch},
		{name: "c", folder: true, options: []string{optWeights, optName, optBatch, optSteps, optDim, optAtStart, optState}, weights: sourceStorages, make: exportC},
		{name: "go", folder: true, options: []string{optWeights, optName, optBatch, optSteps, optDim, optAtStart, optState}, weights: sourceStorages, make: exportGo},
	}
}

func targetNames() []string {
	var names []string
	for _, t := range targets() {
		names = append(names, t.name)
	}
	return names
}

// content writes a file.
type content func(io.Writer) error

// raw is a file held in memory.
func raw(data []byte) content {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// product is what a target makes: an ONNX model, a file or the files of a folder.
type product struct {
	model *onnx.Model // closed after it is written, unless it is the one that is exported
	// check, if set, compares the model, written and read back, with what was exported.
	check func(ctx context.Context, written *onnx.Model) (*Comparison, error)
	file  content
	files map[string]content // by path in the folder, with slashes
}

// exporting is a call of Export at work.
type exporting struct {
	o      TargetOptions
	model  *onnx.Model // as opened
	report *Exported
}

func (e *exporting) warn(code, path, format string, args ...any) {
	e.report.Warnings = append(e.report.Warnings, Warning{Code: code, Path: path, Text: fmt.Sprintf(format, args...)})
}

// Export writes a model for another use: as an ONNX model of another form, opset or storage, or as what other programs take. The model stays
// as it is. Files come complete or not at all; a folder is replaced only where Export wrote it and nothing else lies in it.
//
// A model that the target cannot express is an [UnsupportedError] that names what it lacks.
func Export(ctx context.Context, o TargetOptions) (*Exported, error) {
	start := time.Now()
	t, err := o.target()
	if err != nil {
		return nil, err
	}
	guard := guardOutput
	if t.folder {
		guard = guardFolder
	}
	if err := guard(o.Output, o.Files.Force, o.Model); err != nil {
		return nil, err
	}
	m, err := openModel(ctx, o.Model, o.Files)
	if err != nil {
		return nil, ended(ctx, o.Model, err)
	}
	defer m.Close()
	if err := guard(o.Output, o.Files.Force, m.DataFiles()...); err != nil {
		return nil, err
	}
	e := &exporting{o: o, model: m, report: &Exported{
		Schema: ExportSchema, Target: t.name, Input: FileStat{File: o.Model, Bytes: m.FileBytes(), Parameters: m.Parameters()}, Output: FileStat{File: o.Output},
		Files: []ExportedFile{}, Inputs: []string{}, Outputs: []string{}, States: []StateInfo{}, Warnings: noticed(m),
	}}
	if err := e.run(ctx, t); err != nil {
		return nil, ended(ctx, o.Model, err)
	}
	e.report.Seconds = time.Since(start).Seconds()
	return e.report, nil
}

func (e *exporting) run(ctx context.Context, t *exportTarget) error {
	p, err := t.make(ctx, e)
	if err != nil {
		return err
	}
	switch {
	case p.model != nil:
		if p.model != e.model {
			defer p.model.Close()
		}
		return e.writeModel(ctx, p)
	case t.folder:
		return e.writeFolder(ctx, p.files)
	}
	if err := writeAtomic(ctx, e.o.Output, p.file); err != nil {
		return err
	}
	info, err := os.Stat(e.o.Output)
	if err != nil {
		return fmt.Errorf("convert: output: %w", err)
	}
	e.report.Output.Bytes = info.Size()
	return nil
}

// writeModel writes an ONNX model, reads it back and compares it before it has its name.
func (e *exporting) writeModel(ctx context.Context, p *product) error {
	return p.model.WriteFile(ctx, e.o.Output, onnx.WriteOptions{Force: e.o.Files.Force, Check: func(path string) error {
		written, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{})
		if err != nil {
			return fmt.Errorf("convert: verification: the written file cannot be read back: %w", err)
		}
		defer written.Close()
		r := e.report
		r.Output.Bytes, r.Output.Parameters, r.Opset, r.IR = written.FileBytes(), written.Parameters(), written.Opset(""), written.IRVersion
		r.Inputs, r.Outputs = describe(trueInputs(written)), describe(written.Graph.Outputs)
		if r.Weights, err = storageOf(written); err != nil {
			return err
		}
		if p.check != nil {
			r.Verify, err = p.check(ctx, written)
		}
		return err
	}})
}

// target checks the options and finds the target.
func (o *TargetOptions) target() (*exportTarget, error) {
	if o.Model == "" {
		return nil, &OptionError{Option: "MODEL", What: "no model is named"}
	}
	if o.Target == "" {
		return nil, &OptionError{Option: "--target", What: "is missing (--target T)", Valid: Targets}
	}
	if err := oneOf("--target", o.Target, Targets); err != nil {
		return nil, err
	}
	if o.Output == "" {
		return nil, &OptionError{Option: "-o", What: "no output is named (-o OUT)"}
	}
	all := targets()
	t := &all[slices.IndexFunc(all, func(t exportTarget) bool { return t.name == o.Target })]
	for _, name := range o.given() {
		if slices.Contains(t.options, name) {
			continue
		}
		var takers []string
		for _, other := range all {
			if slices.Contains(other.options, name) {
				takers = append(takers, other.name)
			}
		}
		return nil, &OptionError{Option: name, What: fmt.Sprintf("means nothing for the target %s; targets that take it: %s", t.name, strings.Join(takers, ", "))}
	}
	if o.Weights != "" {
		if err := oneOf(optWeights, string(o.Weights), t.weights); err != nil {
			return nil, err
		}
	}
	if o.ONNX.Form != "" {
		if err := oneOf(optForm, string(o.ONNX.Form), Forms); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// given lists the options that were given and that not every target takes.
func (o *TargetOptions) given() []string {
	var names []string
	for _, g := range []struct {
		name  string
		given bool
	}{
		{optForm, o.ONNX.Form != ""}, {optMerge, o.ONNX.MergeOutput}, {optOpset, o.ONNX.Opset != 0}, {optWeights, o.Weights != ""},
		{optName, o.Source.Name != ""}, {optBatch, o.Source.Batch != 0}, {optSteps, o.Source.Steps != 0}, {optDim, len(o.Dims) > 0},
		{optAtStart, o.Source.MergeAtStart}, {optState, len(o.States) > 0},
	} {
		if g.given {
			names = append(names, g.name)
		}
	}
	return names
}
