package finetune

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

// grid rounds to multiples of a step, which is coarse enough to matter.
type grid float64

func (g grid) Round(x []float32) {
	for i, v := range x {
		x[i] = float32(math.Round(float64(v)/float64(g)) * float64(g))
	}
}

func (g grid) String() string { return "grid" }

func stored(o Options, r Rounding) map[*onnx.Tensor]Rounding {
	all := map[*onnx.Tensor]Rounding{}
	for _, t := range o.Groups[0].Tensors {
		all[t] = r
	}
	return all
}

// Oracle: the definition of the straight-through estimator. A step of gradient descent on stored weights moves the full ones by what it moves a model by that begins with
// the rounded weights.
func TestStepThroughRounding(t *testing.T) {
	const step = grid(0.25)
	m, train, _, objective, o := xor(t)
	o.Epochs, o.Batch, o.Schedule = 1, train.Len(), Schedule{}
	o.Optimizer = Optimizer{Method: SGD, Rate: 0.5}
	rounded := Start{Name: "rounded", Values: map[*onnx.Tensor]*onnx.Array{}}
	before := map[*onnx.Tensor][]float32{}
	for _, g := range o.Groups {
		for _, w := range g.Tensors {
			a, err := w.Array()
			if err != nil {
				t.Fatal(err)
			}
			before[w] = append([]float32{}, a.Data.([]float32)...)
			if g.Name == "matrices" {
				step.Round(a.Data.([]float32))
			}
			rounded.Values[w] = a
		}
	}
	run := func(o Options) map[*onnx.Tensor][]float32 {
		r, err := Train(context.Background(), m, train, nil, objective, o)
		if err != nil {
			t.Fatal(err)
		}
		out := map[*onnx.Tensor][]float32{}
		for _, p := range r.Parameters {
			out[p.Tensor] = p.Value.Data.([]float32)
		}
		return out
	}
	with := o
	with.Stored = stored(o, step)
	without := o
	without.Trial.Starts = []Start{rounded}
	a, b := run(with), run(without)
	moved := false
	for w, x := range before {
		r := rounded.Values[w].Data.([]float32)
		for i := range x {
			got, want := float64(a[w][i])-float64(x[i]), float64(b[w][i])-float64(r[i])
			if math.Abs(got-want) > 1e-6 {
				t.Fatalf("%v: number %d moved by %g, the rounded one by %g", w, i, got, want)
			}
			moved = moved || want != 0
		}
	}
	if !moved {
		t.Error("nothing moved")
	}
}

// Oracle: Evaluate on a model that holds the rounded parameters. What epochs are judged by is what is stored, while the parameters that come back are in full.
func TestEpochsAreJudgedRounded(t *testing.T) {
	const step = grid(0.5)
	m, train, val, objective, o := xor(t)
	o.Stored = stored(o, step)
	r, err := Train(context.Background(), m, train, val, objective, o)
	if err != nil {
		t.Fatal(err)
	}
	patch := onnx.NewPatch(m)
	off := 0.0
	for _, p := range r.Parameters {
		a := p.Value.Clone()
		if o.Stored[p.Tensor] != nil {
			step.Round(a.Data.([]float32))
		}
		for i, v := range a.Data.([]float32) {
			off = max(off, math.Abs(float64(v-p.Value.Data.([]float32)[i])))
		}
		patch.ReplaceInitializer(p.Tensor, a)
	}
	rounded, err := patch.Apply(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	e, err := Evaluate(context.Background(), rounded, val, objective, EvaluateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(e.Loss-r.After.Loss) > 1e-5 || e.Metric != r.After.Metric {
		t.Errorf("the rounded model has %+v, training reported %+v", e, r.After)
	}
	if off == 0 {
		t.Error("the parameters that came back are rounded")
	}
	if r.After.Metric < 0.9 {
		t.Errorf("accuracy %g through a rounding to multiples of %g", r.After.Metric, float64(step))
	}
}

func TestStoredOptions(t *testing.T) {
	m, train, _, objective, o := xor(t)
	o.Stored = map[*onnx.Tensor]Rounding{tensors(t, m, "a")[0]: grid(1)}
	o.Groups = o.Groups[:1]
	_, err := Train(context.Background(), m, train, nil, objective, o)
	if err == nil || !strings.Contains(err.Error(), "has a rounding and is in no group") {
		t.Errorf("got %v", err)
	}
	o.Stored = stored(o, grid(1))
	if a, b := o.storedText(), (&Options{Groups: o.Groups}).storedText(); a == b || !strings.Contains(a, "grid") {
		t.Errorf("checkpoints see %q and %q", a, b)
	}
}
