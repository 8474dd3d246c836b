package convert

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// RunOptions of [Run].
type RunOptions struct {
	Model   string
	Inputs  map[string]string // input name to .npy file
	Output  string            // .npz
	Files   Files
	Threads int
}

// RunResult is what [Run] wrote.
type RunResult struct {
	Output  string
	Values  []ValueShape // in the model's order
	Seconds float64      // of the run itself
}

// ValueShape is an input or output and its type and dims.
type ValueShape struct {
	Name, Type string
	Dims       []int
}

// Run runs a model once on arrays from files and writes all outputs to one .npz file. Values are cast to the inputs' types; one out of range
// is an error.
func Run(ctx context.Context, o RunOptions) (*RunResult, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	m, err := openModel(ctx, o.Model, o.Files)
	if err != nil {
		return nil, classify(o.Model, err)
	}
	defer m.Close()
	if err := guardOutput(o.Output, o.Files.Force, m.DataFiles()...); err != nil {
		return nil, err
	}
	p, err := runtime.Compile(ctx, m, runtime.Options{Threads: o.Threads})
	if err != nil {
		return nil, classify(o.Model, inFile(o.Model, err))
	}
	feeds, err := readFeeds(o.Inputs, p.Inputs())
	if err != nil {
		return nil, err
	}
	start := time.Now()
	out, err := p.Run(ctx, feeds)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	r := &RunResult{Output: o.Output, Seconds: time.Since(start).Seconds()}
	for _, v := range p.Outputs() {
		if a := out[v.Name]; a != nil {
			r.Values = append(r.Values, ValueShape{v.Name, typeName(a.Type), a.Dims})
		}
	}
	if err := writeAtomic(ctx, o.Output, func(w io.Writer) error { return dataset.WriteNPZ(w, out) }); err != nil {
		return nil, err
	}
	return r, nil
}

func (o *RunOptions) validate() error {
	if o.Output == "" {
		return &OptionError{Option: "-o", What: "no output file is named (-o OUT.npz)"}
	}
	inputs := []string{o.Model}
	for _, name := range sortedNames(o.Inputs) {
		inputs = append(inputs, o.Inputs[name])
	}
	return guardOutput(o.Output, o.Files.Force, inputs...)
}

// readFeeds reads one array per input; unknown and missing inputs are errors that list what the model wants.
func readFeeds(files map[string]string, inputs []*onnx.ValueInfo) (map[string]*onnx.Array, error) {
	names := inputNames(inputs)
	for _, name := range sortedNames(files) {
		if !slices.Contains(names, name) {
			return nil, &OptionError{Option: "--input", Value: name, What: "the model has no input of that name", Near: nearest(name, names, 1), Valid: describe(inputs)}
		}
	}
	feeds := make(map[string]*onnx.Array, len(inputs))
	for _, in := range inputs {
		file, ok := files[in.Name]
		if !ok {
			return nil, &OptionError{Option: "--input", Value: in.Name, What: "the model needs this input (--input NAME=FILE.npy)", Valid: describe(inputs)}
		}
		a, err := dataset.ReadNPYFile(file)
		if err != nil {
			return nil, err
		}
		if in.Type == nil || in.Type.Kind != "tensor" {
			return nil, &UnsupportedError{File: file, Reasons: []string{fmt.Sprintf("input %q is not a tensor", in.Name)}}
		}
		if feeds[in.Name], err = dataset.Cast(a, in.Type.Elem); err != nil {
			return nil, fmt.Errorf("convert: input %q: %q: %w", in.Name, file, err)
		}
	}
	return feeds, nil
}

// describe lists inputs as `"x" float32 [batch, 30, 1662]`.
func describe(inputs []*onnx.ValueInfo) []string {
	out := make([]string, len(inputs))
	for i, v := range inputs {
		out[i] = fmt.Sprintf("%q", v.Name)
		if v.Type == nil {
			continue
		}
		out[i] += " " + typeName(v.Type.Elem)
		if v.Type.HasShape {
			dims := make([]string, len(v.Type.Shape))
			for k, d := range v.Type.Shape {
				switch {
				case d.Known:
					dims[k] = fmt.Sprint(d.Value)
				case d.Param != "":
					dims[k] = d.Param
				default:
					dims[k] = "?"
				}
			}
			out[i] += " [" + strings.Join(dims, ", ") + "]"
		}
	}
	return out
}

// typeName is NumPy's name of an element type where there is one.
func typeName(t onnx.DataType) string {
	names := map[onnx.DataType]string{
		onnx.Float: "float32", onnx.Double: "float64", onnx.Float16: "float16", onnx.BFloat16: "bfloat16",
		onnx.Int8: "int8", onnx.Int16: "int16", onnx.Int32: "int32", onnx.Int64: "int64",
		onnx.Uint8: "uint8", onnx.Uint16: "uint16", onnx.Uint32: "uint32", onnx.Uint64: "uint64",
		onnx.Bool: "bool", onnx.String: "string", onnx.Complex64: "complex64", onnx.Complex128: "complex128",
	}
	if n := names[t]; n != "" {
		return n
	}
	return fmt.Sprintf("type %d", int32(t))
}
