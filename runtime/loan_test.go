package runtime

import (
	"context"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// TestPassesShareMemoryOfThePast runs a step again and again: its gradients stay those of the first, and what earlier passes handed out is left alone.
func TestPassesShareMemoryOfThePast(t *testing.T) {
	ctx := context.Background()
	const n = 128 // n² elements are lent
	matrix := func() []float32 { return noise(n*n, 0.1) }
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("X", onnx.Float, n, n)}, untyped("Y T U"), []*onnxpb.TensorProto{
		initFloats("A", []int64{n, n}, matrix()...), initFloats("B", []int64{n, n}, matrix()...), initInts("flat", []int64{1}, -1),
	}, node("MatMul", "A B", "C"), node("MatMul", "X C", "Y"), node("Transpose", "Y", "T"), node("Reshape", "C flat", "U")))
	training, err := CompileTraining(ctx, m, m.Graph.Initializers[:2], Options{})
	if err != nil {
		t.Fatal(err)
	}
	feeds := map[string]*Tensor{"X": f32([]int{n, n}, matrix()...)}
	d := map[string]*Tensor{"Y": f32([]int{n, n}, matrix()...), "T": f32([]int{n, n}, matrix()...)}
	type kept struct{ at, was []float32 }
	var all []kept
	var grads [][]float32
	for k := range 4 {
		training.ZeroGrad()
		if k == 2 {
			training.Hold()
		}
		pass, err := training.Forward(ctx, feeds, PassOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Y", "T", "U"} {
			v := pass.Outputs[name].Data.([]float32)
			all = append(all, kept{v, slices.Clone(v)})
		}
		if err := pass.Backward(ctx, d); err != nil {
			t.Fatal(err)
		}
		if k == 2 {
			for range 10 { // passes that take all there is to lend, while the gradients of the shared value wait
				if _, err := training.Forward(ctx, feeds, PassOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := training.Release(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for j, p := range training.Parameters() {
			g := p.Grad.Data.([]float32)
			if k == 0 {
				grads = append(grads, slices.Clone(g))
			} else if !slices.Equal(g, grads[j]) {
				t.Errorf("step %d: the gradient of parameter %d differs from that of the first step", k, j)
			}
		}
		for j, o := range all {
			if !slices.Equal(o.at, o.was) {
				t.Fatalf("after step %d: output %d of step %d has changed", k, j%3, j/3)
			}
		}
	}
	if training.arena.size == 0 {
		t.Error("nothing was lent")
	}
}

// TestLoansAreBounded borrows more than a pass may.
func TestLoansAreBounded(t *testing.T) {
	a := &arena{}
	for range 2 {
		l := &loan{arena: a}
		for range 3 {
			if n := len(l.floats(loanMost / 2)); n != loanMost/2 {
				t.Fatalf("%d elements, want %d", n, loanMost/2)
			}
		}
		l.settle()
		if a.size != loanMost || len(a.free) != 2 {
			t.Fatalf("%d arrays of %d elements are free, want 2 of %d", len(a.free), a.size, loanMost)
		}
	}
	l := &loan{arena: a}
	l.floats(loanLeast) // not one of the large ones
	l.settle()
	if a.size > loanMost {
		t.Errorf("%d elements are free, more than %d", a.size, loanMost)
	}
}
