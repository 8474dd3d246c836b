package runtime

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

// checkGradients compares the gradients of all initializers named with central differences (the oracle) in float64. The model's floats must be
// double; its initializers should stand away from kinks. The loss is Σ c⊙y over the float outputs, c random, so that no gradient cancels by symmetry.
func checkGradients(t *testing.T, m *onnx.Model, feeds map[string]*Tensor, names ...string) {
	t.Helper()
	if err := gradientError(m, feeds, 1e-6, names...); err != nil {
		t.Error(err)
	}
}

// gradientError is checkGradients with a tolerance.
func gradientError(m *onnx.Model, feeds map[string]*Tensor, tolerance float64, names ...string) error {
	var tensors []*onnx.Tensor
	for _, name := range names {
		for _, init := range m.Graph.Initializers {
			if init.Name == name {
				tensors = append(tensors, init)
			}
		}
	}
	if len(tensors) != len(names) {
		return fmt.Errorf("%d of the initializers %v exist", len(tensors), names)
	}
	return gradientErrorOf(m, feeds, tolerance, tensors)
}

// gradientErrorOf compares each element g of the gradients of some stored tensors with its central difference: |g−n| ≤ tolerance·max(1, ‖n‖∞).
func gradientErrorOf(m *onnx.Model, feeds map[string]*Tensor, tolerance float64, tensors []*onnx.Tensor) error {
	ctx := context.Background()
	training, err := CompileTraining(ctx, m, tensors, Options{})
	if err != nil {
		return err
	}
	weights := map[string][]float64{}
	loss := func() (float64, *Pass, error) {
		pass, err := training.Forward(ctx, feeds, PassOptions{})
		if err != nil {
			return 0, nil, err
		}
		var sum float64
		for _, v := range training.Program().Outputs() {
			y, ok := pass.Outputs[v.Name].Data.([]float64)
			if !ok {
				continue
			}
			c := weights[v.Name]
			if c == nil {
				rng := rand.New(rand.NewPCG(7, uint64(len(weights))))
				for range y {
					c = append(c, 0.5+rng.Float64())
				}
				weights[v.Name] = c
			}
			for i := range y {
				sum += c[i] * y[i]
			}
		}
		return sum, pass, nil
	}
	_, pass, err := loss()
	if err != nil {
		return err
	}
	d := map[string]*Tensor{}
	for name, c := range weights {
		d[name] = newTensor(onnx.Double, pass.Outputs[name].Dims, c)
	}
	if err := pass.Backward(ctx, d); err != nil {
		return err
	}
	once := training.gradients()
	if err := gradientErrorOfHeld(training, feeds, d, once, tolerance); err != nil {
		return err
	}
	for k, p := range training.Parameters() {
		value, got := p.Value.Data.([]float64), once[k]
		numeric, largest := make([]float64, len(value)), 1.0
		for i, v := range value {
			h := 1e-5 * math.Max(1, math.Abs(v))
			var side [2]float64
			for s, x := range []float64{v + h, v - h} {
				value[i] = x
				if side[s], _, err = loss(); err != nil {
					return err
				}
			}
			value[i] = v
			numeric[i] = (side[0] - side[1]) / (2 * h)
			largest = math.Max(largest, math.Abs(numeric[i]))
		}
		for i := range numeric {
			if diff := math.Abs(got[i] - numeric[i]); !(diff <= tolerance*largest) {
				return fmt.Errorf("gradient of %q at %d is %g, the central difference %g", tensors[k].Name, i, got[i], numeric[i])
			}
		}
	}
	return nil
}

// gradients copies those of the parameters.
func (t *Training) gradients() [][]float64 {
	var all [][]float64
	for _, p := range t.parameters {
		all = append(all, slices.Clone(p.Grad.Data.([]float64)))
	}
	return all
}

// gradientErrorOfHeld wants two passes that share what depends on parameters alone, and that are open at once, to give twice the gradients of one pass without, and the same outputs.
func gradientErrorOfHeld(training *Training, feeds, d map[string]*Tensor, once [][]float64, tolerance float64) error {
	ctx := context.Background()
	training.ZeroGrad()
	training.Hold()
	var passes []*Pass
	for range 2 {
		pass, err := training.Forward(ctx, feeds, PassOptions{})
		if err != nil {
			return err
		}
		passes = append(passes, pass)
	}
	for _, pass := range passes {
		if err := pass.Backward(ctx, d); err != nil {
			return err
		}
	}
	if err := training.Release(ctx); err != nil {
		return err
	}
	for k, twice := range training.gradients() {
		largest := 1.0
		for _, g := range once[k] {
			largest = math.Max(largest, math.Abs(g))
		}
		for i, g := range twice {
			if diff := math.Abs(g - 2*once[k][i]); !(diff <= 2*tolerance*largest) {
				return fmt.Errorf("gradient of parameter %d at %d is %g after two passes that share, %g after one", k, i, g, once[k][i])
			}
		}
	}
	return nil
}
