package finetune

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime/dataset"
	"github.com/trconvert/trconvert/tensor"
)

// ringModel is a recurrent classifier in double whose W is two cores, G0 [1, 6, 3] and G1 [3, 5, 1].
func ringModel(t testing.TB) *onnx.Model {
	r := rand.New(rand.NewPCG(3, 1))
	numbers := func(name string, v ...int64) *onnxpb.TensorProto {
		return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Int64)), Dims: []int64{int64(len(v))}, Int64Data: v}
	}
	return buildModel(t, 13, &onnxpb.GraphProto{
		Input: []*onnxpb.ValueInfoProto{double("x", "N", 4, 6)}, Output: []*onnxpb.ValueInfoProto{double("p", "N", 3)},
		Initializer: []*onnxpb.TensorProto{
			doubled(random(r, "G0", 0.9, 1, 6, 3)), doubled(random(r, "G1", 0.2, 3, 5, 1)), doubled(random(r, "R", 0.3, 1, 5, 5)), doubled(random(r, "B", 0.3, 1, 10)),
			doubled(random(r, "C", 0.8, 5, 3)), numbers("in", 6, 3), numbers("out", 3, 5), numbers("zero", 0),
		},
		Node: []*onnxpb.NodeProto{
			node("Transpose", "x", "xt", &onnxpb.AttributeProto{Name: proto.String("perm"), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: []int64{1, 0, 2}}),
			node("Reshape", "G0 in", "right"), node("MatMul", "xt right", "z"),
			node("Reshape", "G1 out", "leftT"), node("Transpose", "leftT", "left"), node("Unsqueeze", "left zero", "W"),
			{OpType: proto.String("RNN"), Input: []string{"z", "W", "R", "B"}, Output: []string{"", "h"}, Attribute: []*onnxpb.AttributeProto{intAttr("hidden_size", 5)}},
			node("Squeeze", "h zero", "state"), node("MatMul", "state C", "logits"), node("Softmax", "logits", "p", intAttr("axis", 1)),
		},
	})
}

func ringOf(t testing.TB, m *onnx.Model, mean []float64) Ring {
	all := tensors(t, m, "G0 G1 B")
	return Ring{Factor: &tensor.Factor{Format: "svd", Out: 5, In: 6, InModes: []int{6}, OutModes: []int{5}, Cores: []tensor.Core{{Left: 1, Mode: 6, Right: 3}, {Left: 3, Mode: 5, Right: 1}}},
		Cores: all[:2], Bias: all[2], Mean: mean}
}

// A ring with a mean is trained exactly as a plain one on frames without their mean whose bias is b + Ŵ·μ, the oracle: the same losses and the same cores, step by
// step, and the bias that is stored is that of the frames as they are.
func TestRingIsCentred(t *testing.T) {
	const n, steps, in = 60, 4, 6
	r := rand.New(rand.NewPCG(8, 1))
	mean := []float64{2, -1, 0.5, 3, 0, -2}
	x, shifted, labels := make([]float64, n*steps*in), make([]float64, n*steps*in), make([]int64, n)
	for i := range x {
		shifted[i] = r.NormFloat64()
		x[i] = shifted[i] + mean[i%in]
	}
	for i := range labels {
		labels[i] = int64(r.IntN(3))
	}
	train := func(x []float64, centred bool) (*Result, *onnx.Model) {
		m := ringModel(t)
		d := openArrays(t, m, map[string]*onnx.Array{"x": {Type: onnx.Double, Dims: []int{n, steps, in}, Data: x}, "label": intArray([]int{n}, labels)}, dataset.Options{Labels: "label"})
		ring := ringOf(t, m, mean)
		var starts []Start
		if !centred {
			ring.Mean = nil
			offset := product(t, ring.Factor, arrays(t, ring.Cores), mean)
			b, err := ring.Bias.Array()
			if err != nil {
				t.Fatal(err)
			}
			b = b.Clone()
			for k, v := range offset {
				b.Data.([]float64)[k] += v
			}
			starts = []Start{{Name: "bias for frames without mean", Values: map[*onnx.Tensor]*onnx.Array{ring.Bias: b}}}
		}
		res, err := Train(context.Background(), m, d, nil, CrossEntropy{Head: findHead(t, m, "p")}, Options{
			Groups: []Group{{Name: "matrices", Tensors: tensors(t, m, "G0 G1 R C"), Decay: 1}, {Name: "bias", Tensors: tensors(t, m, "B")}},
			Rings:  []Ring{ring}, Epochs: 4, Batch: 16, Seed: 2, Optimizer: Optimizer{Rate: 1e-2, Decay: 0.1, Clip: 0.5}, Trial: Trial{Starts: starts},
		})
		if err != nil {
			t.Fatal(err)
		}
		return res, m
	}
	got, m := train(x, true)
	want, _ := train(shifted, false)
	for k, e := range want.History {
		if math.Abs(got.History[k].TrainLoss-e.TrainLoss) > 1e-9 {
			t.Errorf("epoch %d: loss %.12f, want %.12f", k+1, got.History[k].TrainLoss, e.TrainLoss)
		}
	}
	if want.History[3].TrainLoss > want.History[0].TrainLoss-0.01 {
		t.Fatalf("losses %v: nothing was learnt, so nothing is shown", want.History)
	}
	var cores []*onnx.Array
	for k, p := range want.Parameters {
		values := append([]float64(nil), p.Value.Data.([]float64)...)
		if k < 2 {
			cores = append(cores, p.Value)
		}
		if p.Tensor.Name == "B" {
			for i, v := range product(t, ringOf(t, m, nil).Factor, cores, mean) {
				values[i] -= v
			}
		}
		for i, v := range values {
			if g := got.Parameters[k].Value.Data.([]float64)[i]; math.Abs(g-v) > 1e-8 {
				t.Fatalf("%s[%d] is %.10f, want %.10f", p.Tensor.Name, i, g, v)
			}
		}
	}
}

// product is Ŵ·μ by the definition of a train of two cores: W[o, i] = Σ_a G0[i, a]·G1[a, o].
func product(t testing.TB, f *tensor.Factor, cores []*onnx.Array, mean []float64) []float64 {
	t.Helper()
	g0, g1 := cores[0].Data.([]float64), cores[1].Data.([]float64)
	rank := f.Cores[0].Right
	out := make([]float64, f.Out)
	for o := range out {
		for i, m := range mean {
			for a := range rank {
				out[o] += g0[i*rank+a] * g1[a*f.Out+o] * m
			}
		}
	}
	return out
}

func arrays(t testing.TB, list []*onnx.Tensor) []*onnx.Array {
	t.Helper()
	var out []*onnx.Array
	for _, init := range list {
		a, err := init.Array()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// Balancing gives the cores one norm and leaves their product.
func TestRingIsBalanced(t *testing.T) {
	m := ringModel(t)
	d := openArrays(t, m, map[string]*onnx.Array{"x": {Type: onnx.Double, Dims: []int{8, 4, 6}, Data: make([]float64, 8*24)}, "label": intArray([]int{8}, []int64{0, 1, 2, 0, 1, 2, 0, 1})}, dataset.Options{Labels: "label"})
	ring := ringOf(t, m, nil)
	res, err := Train(context.Background(), m, d, nil, CrossEntropy{Head: findHead(t, m, "p")}, Options{
		Groups: []Group{{Name: "cores", Tensors: ring.Cores}, {Name: "bias", Tensors: []*onnx.Tensor{ring.Bias}}},
		Rings:  []Ring{ring}, Epochs: 1, Seed: 2, Optimizer: Optimizer{Rate: 1e-300},
	})
	if err != nil {
		t.Fatal(err)
	}
	norm := func(a *onnx.Array) (n float64) {
		for _, v := range a.Data.([]float64) {
			n += v * v
		}
		return math.Sqrt(n)
	}
	a, b := norm(res.Parameters[0].Value), norm(res.Parameters[1].Value)
	old := arrays(t, ring.Cores)
	if want := math.Sqrt(norm(old[0]) * norm(old[1])); math.Abs(a-want) > 1e-12*want || math.Abs(b-want) > 1e-12*want {
		t.Errorf("norms %v and %v, want %v", a, b, want)
	}
	unit := []float64{0, 1, 0, 0, 2, 0}
	got := product(t, ring.Factor, []*onnx.Array{res.Parameters[0].Value, res.Parameters[1].Value}, unit)
	for k, v := range product(t, ring.Factor, old, unit) {
		if math.Abs(got[k]-v) > 1e-12 {
			t.Errorf("row %d of the product is %v, want %v", k, got[k], v)
		}
	}
}
