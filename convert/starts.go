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

// Starts are what the cores of a training begin with: what suits them (the default), the values that are stored, fresh random ones, whichever of the two has the lower loss after a
// short trial, or the stored ones moved towards the teacher's pre-activations layer by layer. Everything else begins as it is stored.
//
// Far beyond the ratios at which a fit means something, fresh cores are the better start: with a teacher, auto draws those of layers anew whose W is freshRatio times larger than its cores or more, if
// the model as it is stored is wrong more often than right on the data that epochs are judged by, which shows that its cores are fitted and not trained.
var Starts = []string{startAuto, startStored, startFresh, startTry, startLayers}

const (
	freshRatio   = 200
	freshCorrect = 0.5
	// freshRate is by how much the learning rate is higher than the default where auto draws cores anew: they have the longer way to go.
	freshRate = 2
)

const (
	startAuto   = "auto"
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
	case startAuto:
		return t.suited(ctx)
	}
	fresh, err := t.freshCores(ctx, 1)
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

// suited draws cores anew where their fit means nothing.
func (t *tuning) suited(ctx context.Context) ([]finetune.Start, error) {
	if t.teacher == nil || len(t.o.Data.Reading.States) > 0 {
		return nil, nil
	}
	fresh, err := t.freshCores(ctx, freshRatio)
	if err != nil || len(fresh) == 0 {
		return nil, err
	}
	judge := t.train
	if t.held != nil {
		judge = t.held
	}
	e, err := finetune.Evaluate(ctx, t.model, judge, t.objective, finetune.EvaluateOptions{Batch: t.report.Settings.Batch, Teacher: t.teacher})
	if err != nil || e.Kind != finetune.Accuracy || e.Metric >= freshCorrect {
		return nil, err
	}
	t.before = &e
	if t.o.Settings.Rate == 0 {
		t.report.Settings.Rate *= freshRate
	}
	return []finetune.Start{{Name: startFresh, Values: fresh, Rate: t.report.Settings.Rate}}, nil
}

// freshCores draws the cores of all rings that are trained and whose W is at least ratio times larger. A ring whose output side is stored multiplied out keeps what it has.
func (t *tuning) freshCores(ctx context.Context, ratio int) (map[*onnx.Tensor]*onnx.Array, error) {
	values := make(map[*onnx.Tensor]*onnx.Array)
	for k, r := range t.rings {
		cores := t.fillable(r)
		if cores == nil || int64(r.In)*int64(r.Out) < int64(ratio)*numbersOf(cores) {
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
		if err := fill(values, r, cores, f); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// numbersOf counts the elements of cores.
func numbersOf(cores []*onnx.Tensor) (n int64) {
	for _, c := range cores {
		n += c.Elements()
	}
	return n
}

// fillable are the cores of a ring that a start can give other values; nil where there are none: not all of them are trained, or the output side is stored multiplied out.
func (t *tuning) fillable(r export.Record) []*onnx.Tensor {
	if r.MergedOutput {
		return nil
	}
	return t.cores(r)
}

// fill enters the cores of a factor of a ring into the values of a start.
func fill(values map[*onnx.Tensor]*onnx.Array, r export.Record, cores []*onnx.Tensor, f *tensor.Factor) (err error) {
	for i, core := range f.Cores {
		if values[cores[i]], err = filled(cores[i], r.Arrange(i, core.Data)); err != nil {
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
