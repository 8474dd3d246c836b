package convert

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/csource"
	"github.com/trconvert/trconvert/export/gosource"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/export/step"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// sourceStorages are the types in which source code holds weights; the first is the default.
var sourceStorages = []string{string(export.Float32), string(export.Int8)}

// exportC writes the model as C99.
func exportC(ctx context.Context, e *exporting) (*product, error) {
	return e.source(ctx, func(p *source.Program, o source.Options) (map[string][]byte, error) {
		return csource.Print(ctx, p, csource.Options{Options: o, Name: e.o.Source.Name})
	})
}

// exportGo writes the model as a Go package.
func exportGo(ctx context.Context, e *exporting) (*product, error) {
	return e.source(ctx, func(p *source.Program, o source.Options) (map[string][]byte, error) {
		return gosource.Print(p, gosource.Options{Options: o, Name: e.o.Source.Name})
	})
}

// source lowers the model and prints it.
func (e *exporting) source(ctx context.Context, print func(*source.Program, source.Options) (map[string][]byte, error)) (*product, error) {
	dims, err := e.fixedDims(ctx, e.model)
	if err != nil {
		return nil, err
	}
	if err := e.checkStates(); err != nil {
		return nil, err
	}
	states := e.o.States
	if len(states) == 0 {
		states = step.States(e.model)
	}
	o := source.Options{Dims: dims, Int8: e.o.Weights == export.Int8, MergeAtStart: e.o.Source.MergeAtStart, Stream: true, States: states}
	p, err := source.Lower(ctx, e.model, o)
	if err != nil {
		return nil, err
	}
	e.describe(p)
	files, err := print(p, o)
	if err != nil {
		return nil, err
	}
	out := map[string]content{}
	for name, data := range files {
		out[name] = raw(data)
	}
	return &product{files: out}, nil
}

// describe puts what a program computes into the report.
func (e *exporting) describe(p *source.Program) {
	r := e.report
	r.Weights = export.Float32
	if len(p.Quantized) > 0 {
		r.Weights = export.Int8
	}
	ports := func(list []source.Port) (out []string) {
		for _, p := range list {
			out = append(out, fmt.Sprintf("%q %s %s", p.Name, typeName(p.Type), strings.ReplaceAll(fmt.Sprint(p.Dims), " ", ", ")))
		}
		return out
	}
	r.Inputs, r.Outputs = ports(p.Run.Inputs), ports(p.Run.Outputs)
	if p.Stream == nil {
		e.warn("no-step", "", "there is no function for one time step: %s", p.NoStream)
	}
}

// Sizes of symbolic dims where none are asked for.
const (
	sourceBatch = 1
	sourceSteps = 16
)

// fixedDims gives every named symbolic dim of the inputs a size: that of --dim, else --batch for those that are the batch of recurrent nodes (or are named so), and --steps for all
// others. A dim without a name becomes 1.
func (e *exporting) fixedDims(ctx context.Context, m *onnx.Model) (map[string]int, error) {
	names := symbolicDims(m)
	for _, name := range sortedNames(e.o.Dims) {
		if !slices.Contains(names, name) {
			return nil, &OptionError{Option: optDim, Value: name, What: "the inputs have no symbolic dim of that name", Near: nearest(name, names, 1), Valid: names}
		}
	}
	role := dimRoles(ctx, m, names)
	o := e.o.Source
	dims := map[string]int{}
	batches, steps := 0, 0
	for _, name := range names {
		given := e.o.Dims[name]
		switch batch, known := role[name]; {
		case given != 0:
			dims[name] = given
		case batch || !known && isBatch(name):
			batches++
			dims[name] = cmp.Or(o.Batch, sourceBatch)
		default:
			steps++
			dims[name] = cmp.Or(o.Steps, sourceSteps)
		}
	}
	for _, c := range []struct {
		option       string
		value, takes int
	}{{optBatch, o.Batch, batches}, {optSteps, o.Steps, steps}} {
		if c.value != 0 && c.takes == 0 {
			return nil, &OptionError{Option: c.option, What: "no symbolic dim of the inputs is left for it (" + optDim + " NAME=N sets one by its name)", Valid: names}
		}
	}
	return dims, nil
}

// symbolicDims lists the names of dims of the true inputs, in order.
func symbolicDims(m *onnx.Model) (names []string) {
	for _, v := range trueInputs(m) {
		if v.Type == nil {
			continue
		}
		for _, d := range v.Type.Shape {
			if d.Param != "" && !slices.Contains(names, d.Param) {
				names = append(names, d.Param)
			}
		}
	}
	return names
}

// dimRoles says which dims are the batch of recurrent nodes (true) and which their steps (false), by a run in which every dim has a size of its own. Where that is impossible, or a dim
// is neither, there is no entry.
func dimRoles(ctx context.Context, m *onnx.Model, names []string) map[string]bool {
	role := map[string]bool{}
	sizes := []int{5, 7, 11, 13, 17, 19}
	if len(names) == 0 || len(names) > len(sizes) {
		return role
	}
	dims := map[string]int{}
	for k, name := range names {
		dims[name] = sizes[k]
	}
	v, err := source.Evaluate(ctx, m, source.Options{Dims: dims})
	if err != nil {
		return role // Lower says what is wrong
	}
	for _, n := range v.Nodes() {
		x := v.Of(n.Input(recurrent.SlotX))
		cfg, err := recurrent.ParseConfig(n, m.Opset(""))
		if err != nil || x == nil || len(x.Dims) != 3 {
			continue
		}
		for name, size := range dims {
			switch size {
			case x.Dims[1-cfg.Layout]:
				role[name] = true
			case x.Dims[cfg.Layout]:
				role[name] = false
			}
		}
	}
	return role
}

// isBatch says whether the name of a dim is one that exporters give the batch.
func isBatch(name string) bool {
	lower := strings.ToLower(name)
	return strings.Contains(lower, "batch") || lower == "n" || lower == "b"
}
