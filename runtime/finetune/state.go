package finetune

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// state is where a training stands: all that it takes to go on to the same bits, beside model, data and options.
type state struct {
	start    int // of Trial.Starts
	trials   []float64
	epoch    int     // that runs, from 0
	batch    int     // optimizer steps done in it
	scale    float64 // of the rate, after back-offs
	backOffs int
	partial  Measure // of the epoch so far
	plateau  plateau
	history  []Epoch
	before   Evaluation
	best     bestEpoch

	values  []*onnx.Array // of the parameters; those of the training itself
	moments []*onnx.Array // of the optimizer, parameter by parameter
	average []*onnx.Array // nil without
	// good is values, moments and average at the beginning of the epoch, what a back-off goes back to.
	good []*onnx.Array
}

// bestEpoch is the best so far.
type bestEpoch struct {
	number int // from 1, 0: the start
	result Evaluation
	values []*onnx.Array
}

// all lists what changes from step to step, in the order of good.
func (s *state) all() []*onnx.Array {
	return append(append(append([]*onnx.Array{}, s.values...), s.moments...), s.average...)
}

// newState is the beginning of a training: s.values are the parameters' own.
func newState(values []*onnx.Array, moments int, average bool) (*state, error) {
	s := &state{scale: 1, plateau: plateau{best: math.Inf(1), factor: 1}, values: values}
	for _, v := range values {
		for range moments {
			m, err := onnx.ZeroArray(v.Type, v.Dims)
			if err != nil {
				return nil, fmt.Errorf("finetune: %w", err)
			}
			s.moments = append(s.moments, m)
		}
	}
	if average {
		s.average = cloneAll(values)
	}
	return s, nil
}

// keepGood remembers the present as good.
func (s *state) keepGood() {
	if s.good == nil {
		s.good = cloneAll(s.all())
		return
	}
	copyAll(s.good, s.all())
}

// goBack returns to the beginning of the epoch with half the rate.
func (s *state) goBack() {
	copyAll(s.all(), s.good)
	s.batch = 0
	s.partial = Measure{}
	s.scale /= 2
	s.backOffs++
}

// averaged lets the average follow the parameters after step t, from 1.
func (s *state) averaged(decay float64, t int) {
	if s.average == nil {
		return
	}
	d := math.Min(decay, (1+float64(t))/(10+float64(t)))
	for k, a := range s.average {
		switch v := s.values[k].Data.(type) {
		case []float32:
			follow(a.Data.([]float32), v, float32(d))
		case []float64:
			follow(a.Data.([]float64), v, d)
		}
	}
}

func follow[T float32 | float64](a, v []T, d T) {
	v = v[:len(a)]
	for i := range a {
		a[i] += T((1 - d) * (v[i] - a[i]))
	}
}

func cloneAll(list []*onnx.Array) []*onnx.Array {
	out := make([]*onnx.Array, len(list))
	for i, a := range list {
		out[i] = a.Clone()
	}
	return out
}

// copyAll copies elements of arrays of the same types and dims.
func copyAll(to, from []*onnx.Array) {
	for i, a := range to {
		switch d := a.Data.(type) {
		case []float32:
			copy(d, from[i].Data.([]float32))
		case []float64:
			copy(d, from[i].Data.([]float64))
		}
	}
}

// better says whether an evaluation is better than another; any number is better than NaN.
func (s Stop) better(a, than Evaluation) bool {
	if math.IsNaN(than.Loss) {
		return !math.IsNaN(a.Loss)
	}
	if s.ByMetric && a.Kind == than.Kind && a.Metric != than.Metric {
		switch a.Kind {
		case Accuracy:
			return a.Metric > than.Metric
		case RelativeError:
			return a.Metric < than.Metric
		}
	}
	return a.Loss < than.Loss
}
