package convert

import (
	"context"
	"fmt"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime/finetune"
	"github.com/trconvert/trconvert/tensor"
)

// Starts are what the cores of a training begin with: the values that are stored (the default), fresh random ones, whichever of the two has the lower loss after a
// short trial, or the stored ones moved towards the teacher's pre-activations layer by layer. Everything else begins as it is stored. Far beyond the ratios at which a
// fit means something, fresh cores are the better start.
var Starts = []string{startStored, startFresh, startTry, startLayers}

const (
	startStored = "stored"
	startFresh  = "fresh"
	startTry    = "try"
	startLayers = "layers"
)

// starts lists the starting points of the training; none where cores are not trained or begin as they are.
func (t *tuning) starts(ctx context.Context) ([]finetune.Start, error) {
	switch t.o.Start {
	case startStored:
		return nil, nil
	case startLayers:
		values, err := t.layers(ctx)
		return []finetune.Start{{Name: startLayers, Values: values}}, err
	}
	fresh, err := t.freshCores(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(fresh) == 0 && t.o.Start == startFresh:
		return nil, &OptionError{Option: "--start", Value: t.o.Start, What: "there are no cores that are trained and could begin anew"}
	case len(fresh) == 0:
		return nil, nil
	}
	all := []finetune.Start{{Name: startStored}, {Name: startFresh, Values: fresh}}
	if t.o.Start == startFresh {
		all = all[1:]
	}
	return all, nil
}

// freshCores draws the cores of all rings that are trained. A ring whose output side is stored multiplied out keeps what it has.
func (t *tuning) freshCores(ctx context.Context) (map[*onnx.Tensor]*onnx.Array, error) {
	values := make(map[*onnx.Tensor]*onnx.Array)
	for k, r := range t.rings {
		cores := t.cores(r)
		if cores == nil {
			continue
		}
		hidden, err := t.hidden(r)
		if err != nil {
			return nil, err
		}
		shape := decompose.Shape{Format: r.Format, Out: r.Out, In: r.In, InModes: r.InModes, OutModes: r.OutModes, Ranks: r.Ranks}
		root := seed.Stream(t.o.Settings.Seed, "finetune", "cores", fmt.Sprint(k)).Uint64()
		f, err := decompose.Fresh(shape, decompose.GlorotVariance(r.In, hidden), root)
		if err != nil {
			return nil, err
		}
		if err := fill(values, cores, f); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// cores are the tensors of a ring; nil where not all of them are trained, or its output side is stored multiplied out.
func (t *tuning) cores(r export.Record) []*onnx.Tensor {
	if r.MergedOutput {
		return nil
	}
	cores := make([]*onnx.Tensor, len(r.Cores))
	for i, name := range r.Cores {
		if cores[i] = t.weight(name, roleCore); cores[i] == nil {
			return nil
		}
	}
	return cores
}

// fill enters the cores of a factor into the values of a start.
func fill(values map[*onnx.Tensor]*onnx.Array, cores []*onnx.Tensor, f *tensor.Factor) (err error) {
	for i, core := range f.Cores {
		if values[cores[i]], err = filled(cores[i], core.Data); err != nil {
			return err
		}
	}
	return nil
}

// filled makes an array of a tensor's type and dims.
func filled(t *onnx.Tensor, data []float32) (*onnx.Array, error) {
	dims := make([]int, len(t.Dims))
	for k, d := range t.Dims {
		dims[k] = int(d)
	}
	if int64(len(data)) != t.Elements() {
		return nil, fmt.Errorf("convert: %v: has %d elements, the core %d", t, t.Elements(), len(data))
	}
	wide := make([]float64, len(data))
	for i, v := range data {
		wide[i] = float64(v)
	}
	return narrow(t.Type, dims, wide)
}

// hidden is the number of units of a ring's layers.
func (t *tuning) hidden(r export.Record) (int, error) {
	n := nodeOf(t.model, r.Sites[0])
	if n == nil {
		return 0, fmt.Errorf("convert: site %q of a ring is not in the model", r.Sites[0])
	}
	c, err := recurrent.ParseConfig(n, n.Graph.Opset(n.Domain))
	return c.Hidden, err
}
