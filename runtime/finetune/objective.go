package finetune

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// Objective is what training makes small.
type Objective interface {
	// Student names the values of the main graph that Loss reads, Teacher those of the teacher's main graph.
	Student() []string
	Teacher() []string
	// Loss measures a run. If grads is not nil it also adds the gradient of Measure.Sum with respect to the student's values to it, with [AddGradient].
	Loss(r *Run, grads map[string]*runtime.Tensor) (Measure, error)
}

// Run is what a model made of a batch, or of one step of a batch of streams.
type Run struct {
	Outputs map[string]*runtime.Tensor // the student's values
	Teacher map[string]*runtime.Tensor // the teacher's
	// Weights are those of the samples: 0 where a sample only fills up a batch. For streams they are also 0 where a sample has no such step.
	Weights []float64
	Lengths []int // steps of each sample that count, nil where all do or the model is run step by step

	batch *dataset.Batch
	// axes is the batch axis of each value, -1 where it has none. A value that is not in it has the axis 0.
	axes, teacherAxes map[string]int
	step              stepLabels
}

// stepLabels says which labels of a window of streams belong to a step.
type stepLabels struct {
	streams bool
	stepped bool // labels have a step axis
	last    bool // the last step of the streams
	number  int  // in the window
}

// Classes are the class labels of the run, sample by sample, [dataset.Ignore] where there is none. Of streams with one label for each stream the last step
// has it.
func (r *Run) Classes() ([]int, error) {
	all, err := r.batch.Classes()
	if err != nil {
		return nil, fmt.Errorf("finetune: %w", err)
	}
	if !r.step.streams || r.step.stepped {
		return ofStep(all, r), nil
	}
	if !r.step.last {
		for i := range all {
			all[i] = dataset.Ignore
		}
	}
	return all, nil
}

// Targets are the labels of the run as numbers, sample by sample. present is false where the streams have no targets at this step.
func (r *Run) Targets() (values []float32, present bool, err error) {
	all, err := r.batch.Targets()
	if err != nil {
		return nil, false, fmt.Errorf("finetune: %w", err)
	}
	if !r.step.streams || r.step.stepped {
		return ofStep(all, r), true, nil
	}
	return all, r.step.last, nil
}

// ofStep takes the labels of a step from those of a window [samples, steps, …].
func ofStep[T any](all []T, r *Run) []T {
	if !r.step.streams {
		return all
	}
	samples, steps := len(r.Weights), r.batch.Steps()
	inner := len(all) / (samples * steps)
	out := make([]T, 0, samples*inner)
	for i := range samples {
		at := (i*steps + r.step.number) * inner
		out = append(out, all[at:at+inner]...)
	}
	return out
}

// Measure is a loss and what people read beside it, as sums that add up over runs.
type Measure struct {
	Sum, Weight float64 // the loss is Sum/Weight
	// Hits of Seen samples (or steps) are classified as their labels say, or as the teacher does.
	Hits, Seen float64
	// Square is the sum of squared differences from targets, Target that of squared targets.
	Square, Target float64
}

// Add adds another measure.
func (m *Measure) Add(o Measure) {
	m.Sum += o.Sum
	m.Weight += o.Weight
	m.Hits += o.Hits
	m.Seen += o.Seen
	m.Square += o.Square
	m.Target += o.Target
}

// Loss is the mean loss, NaN where nothing was measured.
func (m Measure) Loss() float64 { return m.Sum / m.Weight }

// MetricKind tells what a metric is.
type MetricKind string

// The metrics.
const (
	NoMetric      MetricKind = ""
	Accuracy      MetricKind = "accuracy"       // share of hits, the more the better
	RelativeError MetricKind = "relative error" // ‖a−b‖/‖b‖, the less the better
)

// Metric is the accuracy where classes were seen, else the relative error of outputs, else NaN.
func (m Measure) Metric() (float64, MetricKind) {
	switch {
	case m.Seen > 0:
		return m.Hits / m.Seen, Accuracy
	case m.Target > 0:
		return math.Sqrt(m.Square / m.Target), RelativeError
	}
	return math.NaN(), NoMetric
}

// AddGradient gives the gradient of a value to add to, zero at first.
func AddGradient(grads map[string]*runtime.Tensor, name string, of *runtime.Tensor) (*runtime.Tensor, error) {
	if g := grads[name]; g != nil {
		return g, nil
	}
	g, err := onnx.ZeroArray(of.Type, of.Dims)
	if err != nil {
		return nil, fmt.Errorf("finetune: gradient of %q: %w", name, err)
	}
	grads[name] = g
	return g, nil
}

// floats is a tensor of float32 or float64 as float64, element by element.
type floats struct {
	single []float32
	double []float64
}

func floatsOf(t *runtime.Tensor) (floats, bool) {
	switch d := t.Data.(type) {
	case []float32:
		return floats{single: d}, true
	case []float64:
		return floats{double: d}, true
	}
	return floats{}, false
}

func (f floats) at(i int) float64 {
	if f.single != nil {
		return float64(f.single[i])
	}
	return f.double[i]
}

func (f floats) add(i int, v float64) {
	if f.single != nil {
		f.single[i] += float32(v)
		return
	}
	f.double[i] += v
}
