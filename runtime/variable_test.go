package runtime

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// The gradient of ⟨d, Identity(x)⟩ with respect to x is d, and of an input that reaches no output it is zero.
func TestInputGradient(t *testing.T) {
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float, 2), declared("s", onnx.Float, 2), declared("u", onnx.Float, 2)}, untyped("y z"), nil,
		node("Identity", "x", "a"), node("Identity", "a", "y"), node("Identity", "s", "z")))
	ctx := context.Background()
	training, err := CompileTraining(ctx, m, nil, Options{Variables: []string{"x", "u"}})
	if err != nil {
		t.Fatal(err)
	}
	pass, err := training.Forward(ctx, map[string]*Tensor{"x": f32([]int{2}, 1, 2), "s": f32([]int{2}, 3, 4), "u": f32([]int{2}, 5, 6)}, PassOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if g := pass.InputGradient("x"); g != nil {
		t.Errorf("a gradient %v before the pass went back", g.Data)
	}
	if err := pass.Backward(ctx, map[string]*Tensor{"y": f32([]int{2}, 7, -8), "z": f32([]int{2}, 9, 9)}); err != nil {
		t.Fatal(err)
	}
	if g := pass.InputGradient("x"); g == nil || !cmp.Equal(g.Data, any([]float32{7, -8})) {
		t.Errorf("gradient of x is %v, want 7 -8", g)
	}
	for _, name := range []string{"s", "u", "none"} {
		if g := pass.InputGradient(name); g != nil {
			t.Errorf("gradient of %s is %v, want none", name, g.Data)
		}
	}
	if _, err := CompileTraining(ctx, m, nil, Options{Variables: []string{"nix"}}); err == nil || !strings.Contains(err.Error(), `"nix"`) {
		t.Errorf("an unknown input gives %v", err)
	}
}
