package runtime

import (
	"context"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// TestHold: what depends on parameters alone is computed once until Release. y = x·a²·b, whose gradients for d = 1 are 2·x·a·b and x·a².
func TestHold(t *testing.T) {
	ctx := context.Background()
	value := func(name string, v float64) *onnxpb.TensorProto { return initTensor(name, doubles([]int{1}, v)) }
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Double, 1)}, untyped("y"), []*onnxpb.TensorProto{value("a", 3), value("b", 5)},
		node("Mul", "a a", "square"), node("Mul", "x square", "s"), node("Mul", "s b", "y")))
	training, err := CompileTraining(ctx, m, m.Graph.Initializers, Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := map[string]*Tensor{"x": doubles([]int{1}, 2)}
	back := func() {
		t.Helper()
		pass, err := training.Forward(ctx, x, PassOptions{})
		if err == nil {
			err = pass.Backward(ctx, map[string]*Tensor{"y": doubles([]int{1}, 1)})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, a, b float64) {
		t.Helper()
		if got := slices.Concat(training.gradients()...); !slices.Equal(got, []float64{a, b}) {
			t.Errorf("%s: gradients %v, want %v", when, got, []float64{a, b})
		}
	}
	output := func(when string, y float64) {
		t.Helper()
		out, err := training.Run(ctx, x)
		if err != nil {
			t.Fatal(err)
		}
		if got := out["y"].Data.([]float64)[0]; got != y {
			t.Errorf("%s: y is %v, want %v", when, got, y)
		}
	}
	release := func() {
		t.Helper()
		if err := training.Release(ctx); err != nil {
			t.Fatal(err)
		}
	}
	release()
	training.Hold()
	back()
	training.Hold()
	back()
	want("before Release", 0, 36)
	release()
	want("after Release", 120, 36)

	training.ZeroGrad()
	training.Hold()
	output("while holding", 90)
	back()
	training.ZeroGrad()
	back()
	release()
	want("after ZeroGrad while holding", 60, 18)

	training.ZeroGrad()
	training.Parameters()[0].Value.Data.([]float64)[0] = 1
	output("with another a", 10)
	training.Hold()
	back()
	release()
	want("with another a", 20, 2)
}
