package finetune

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// cell is one step of a stream in float64: g = tanh(x·A + h·R), y = g·C.
func cell(t testing.TB, seed uint64, batch any) *onnx.Model {
	r := rand.New(rand.NewPCG(seed, 3))
	return buildModel(t, 13, &onnxpb.GraphProto{
		Input: []*onnxpb.ValueInfoProto{double("x", batch, 3), double("h", batch, 2)}, Output: []*onnxpb.ValueInfoProto{double("y", batch, 2), double("g", batch, 2)},
		Initializer: []*onnxpb.TensorProto{doubled(random(r, "A", 0.5, 3, 2)), doubled(random(r, "R", 0.6, 2, 2)), doubled(random(r, "C", 1, 2, 2))},
		Node:        []*onnxpb.NodeProto{node("MatMul", "x A", "xa"), node("MatMul", "h R", "hr"), node("Add", "xa hr", "s"), node("Tanh", "s", "g"), node("MatMul", "g C", "y")},
	})
}

var cellStreams = Streams{States: map[string]string{"g": "h"}, Window: 3}

func streamData(t testing.TB, m *onnx.Model, streams, steps int, stepped bool) *dataset.Dataset {
	r := rand.New(rand.NewPCG(9, 9))
	x := make([]float32, streams*steps*3)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	shape := []int{streams, steps, 2}
	if !stepped {
		shape = []int{streams, 2}
	}
	y := floatArray(shape, make([]float32, 2*streams*steps))
	y.Data = y.Data.([]float32)[:y.Elements()]
	for i := range y.Elements() {
		y.Data.([]float32)[i] = float32(r.NormFloat64())
	}
	return openArrays(t, m, map[string]*onnx.Array{"x": floatArray([]int{streams, steps, 1, 3}, x), "target": y},
		dataset.Options{Labels: "target", States: cellStreams.States})
}

func newCellTrainer(t testing.TB, m *onnx.Model, d *dataset.Dataset, objective Objective, o Options) *trainer {
	t.Helper()
	o.Groups = []Group{{Name: "all", Tensors: tensors(t, m, "A R C"), Decay: 1}}
	o.Epochs, o.Optimizer.Rate, o.Streams = 1, 0.01, cellStreams
	o.fill()
	tr, err := newTrainer(context.Background(), m, d, nil, objective, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.fresh(); err != nil {
		t.Fatal(err)
	}
	return tr
}

// gradients runs an epoch without steps and sums the gradients of its windows.
func (t *trainer) gradients(ctx context.Context) (Measure, error) {
	t.training.ZeroGrad()
	t.training.Hold()
	var sum Measure
	for b, err := range t.train.data.Batches(ctx, t.batches(0, 0)) {
		if err != nil {
			return sum, err
		}
		m, err := t.run(ctx, b)
		if err != nil {
			return sum, err
		}
		sum.Add(m)
	}
	return sum, t.training.Release(ctx)
}

// Oracle: central differences of the summed loss over all steps of the streams, which fit one window.
func TestGradientThroughTime(t *testing.T) {
	m := cell(t, 1, 1)
	for name, stepped := range map[string]bool{"targets of steps": true, "targets of streams": false} {
		objective := Squared{findHead(t, m, "y").Itself()}
		tr := newCellTrainer(t, m, streamData(t, m, 4, 3, stepped), objective, Options{Batch: 2})
		if _, err := tr.gradients(context.Background()); err != nil {
			t.Fatal(err)
		}
		var analytic [][]float64
		for _, w := range tr.weights {
			analytic = append(analytic, append([]float64{}, w.Grad.Data.([]float64)...))
		}
		for k, w := range tr.weights {
			value := w.Value.Data.([]float64)
			for i, v := range value {
				var side [2]float64
				for s, x := range []float64{v + 1e-5, v - 1e-5} {
					value[i] = x
					sum, err := measure(context.Background(), tr.engine, &tr.train, objective, 2, 3)
					if err != nil {
						t.Fatal(err)
					}
					side[s] = sum.Sum
				}
				value[i] = v
				want := (side[0] - side[1]) / 2e-5
				if math.Abs(analytic[k][i]-want) > 1e-6*math.Max(1, math.Abs(want)) {
					t.Errorf("%s: gradient of %s at %d is %v, the central difference %v", name, w.Tensor.Name, i, analytic[k][i], want)
				}
			}
		}
	}
}

// Oracle: a scalar loop over the steps, which also knows that gradients end at windows but states do not.
func TestStreamsCarryStates(t *testing.T) {
	m := cell(t, 1, 1)
	d := streamData(t, m, 3, 7, true)
	objective := Squared{findHead(t, m, "y").Itself()}
	tr := newCellTrainer(t, m, d, objective, Options{Batch: 2})
	if tr.windows != 3 || tr.steps != 2*3 {
		t.Fatalf("%d windows, %d steps an epoch, want 3 and 6", tr.windows, tr.steps)
	}
	sum, err := tr.gradients(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	get := func(name string) []float64 {
		a, err := tensors(t, m, name)[0].Array()
		if err != nil {
			t.Fatal(err)
		}
		return a.Data.([]float64)
	}
	A, R, C := get("A"), get("R"), get("C")
	var want float64
	for s := range 3 {
		h := [2]float64{}
		for k := range 7 {
			feeds, err := d.Feeds(s, s+1, k)
			if err != nil {
				t.Fatal(err)
			}
			x := feeds["x"].Data.([]float64)
			target := d.Labels(s, s+1).Data.([]float32)[2*k : 2*k+2]
			var g [2]float64
			for j := range 2 {
				g[j] = math.Tanh(x[0]*A[j] + x[1]*A[2+j] + x[2]*A[4+j] + h[0]*R[j] + h[1]*R[2+j])
			}
			for j := range 2 {
				e := g[0]*C[j] + g[1]*C[2+j] - float64(target[j])
				want += e * e / 2
			}
			h = g
		}
	}
	if math.Abs(sum.Sum-want) > 1e-9 || sum.Weight != 21 {
		t.Errorf("loss %v of weight %v, want %v of 21", sum.Sum, sum.Weight, want)
	}
}

// A student that is its teacher has loss 0 however its states go; another one has not, and training brings it nearer.
func TestStreamsWithTeacher(t *testing.T) {
	m, other := cell(t, 1, 1), cell(t, 2, 1)
	d := streamData(t, m, 6, 8, true)
	h := findHead(t, m, "y").Itself()
	objective := Distill{Own: h, Of: h}
	o := EvaluateOptions{Streams: cellStreams, Teacher: m}
	if e, err := Evaluate(context.Background(), m, d, objective, o); err != nil || e.Loss != 0 {
		t.Errorf("the loss against itself is %v (%v)", e.Loss, err)
	}
	res, err := Train(context.Background(), other, d, d, objective, Options{Groups: []Group{{Name: "all", Tensors: tensors(t, other, "A R C")}}, Epochs: 60, Batch: 2, Seed: 1,
		Optimizer: Optimizer{Rate: 0.03}, Streams: cellStreams, Teacher: m})
	if err != nil {
		t.Fatal(err)
	}
	if res.Before.Kind != RelativeError || res.After.Metric > res.Before.Metric/5 {
		t.Errorf("the error went from %v to %v of %v", res.Before.Metric, res.After.Metric, res.After.Kind)
	}
	e, err := Evaluate(context.Background(), other, d, objective, o)
	if err != nil || math.Abs(e.Loss-res.Before.Loss) > 1e-12 {
		t.Errorf("Evaluate gives %v, training began at %v (%v)", e.Loss, res.Before.Loss, err)
	}
}

// Runs of one sample each give the gradients of the batch: the sums are the same up to rounding.
func TestFixedBatchAccumulates(t *testing.T) {
	objective := func(m *onnx.Model) Objective { return CrossEntropy{Head: findHead(t, m, "p")} }
	grads := map[any][]*runtime.Tensor{}
	for _, batch := range []any{"N", 1, 3} {
		m := perceptron(t, 5, batch, 2, 4, 2)
		data := quadrants(1, 10)
		if batch != "N" {
			x := data["x"]
			data["x"] = floatArray([]int{10, 2}, x.Data.([]float32))
		}
		d := openArrays(t, m, data, dataset.Options{Labels: "label", BatchAxis: map[string]int{"x": 0}})
		o := Options{Groups: []Group{{Name: "all", Tensors: tensors(t, m, "A a C c")}}, Epochs: 1, Batch: 10, Optimizer: Optimizer{Rate: 1}}
		o.fill()
		tr, err := newTrainer(context.Background(), m, d, nil, objective(m), o)
		if err != nil {
			t.Fatalf("%v: %v", batch, err)
		}
		if err := tr.fresh(); err != nil {
			t.Fatal(err)
		}
		sum, err := tr.gradients(context.Background())
		if err != nil || sum.Weight != 10 {
			t.Fatalf("%v: weight %v (%v)", batch, sum.Weight, err)
		}
		for _, w := range tr.weights {
			grads[batch] = append(grads[batch], w.Grad)
		}
	}
	for _, batch := range []any{1, 3} {
		for k, want := range grads["N"] {
			got := grads[batch][k].Data.([]float32)
			for i, v := range want.Data.([]float32) {
				if math.Abs(float64(got[i]-v)) > 2e-6*math.Max(1, math.Abs(float64(v))) {
					t.Errorf("batch of %v: gradient %d of parameter %d is %v, want %v", batch, i, k, got[i], v)
				}
			}
		}
	}
}
