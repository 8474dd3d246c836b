package finetune

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// recurrentHead is softmax(h·C + c), h the last state of an LSTM over x [N, 5, 3]; nodes stand between x and its frames.
func recurrentHead(t testing.TB, frames string, nodes ...*onnxpb.NodeProto) *onnx.Model {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 1))
	return buildModel(t, 13, &onnxpb.GraphProto{
		Input: []*onnxpb.ValueInfoProto{value("x", "N", 5, 3)}, Output: []*onnxpb.ValueInfoProto{value("p", "N", 3)},
		Initializer: []*onnxpb.TensorProto{random(r, "W", 0.6, 1, 16, 3), random(r, "R", 0.4, 1, 16, 4), random(r, "C", 0.8, 4, 3), random(r, "c", 0.1, 3),
			random(r, "Q", 0.5, 3, 3), {Name: proto.String("zero"), DataType: proto.Int32(int32(onnx.Int64)), Dims: []int64{1}, Int64Data: []int64{0}}},
		Node: append(nodes, node("Transpose", frames, "f", intsAttr("perm", 1, 0, 2)), node("LSTM", "f W R", "Y Yh", intAttr("hidden_size", 4)), node("Squeeze", "Yh zero", "h"),
			node("MatMul", "h C", "hc"), node("Add", "hc c", "z"), node("Softmax", "z", "p", intAttr("axis", 1))),
	})
}

func intsAttr(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

// sequences are n samples of 5 × 3 with a class of three.
func sequences(seed uint64, n int) map[string]*onnx.Array {
	r := rand.New(rand.NewPCG(seed, 3))
	x, y := make([]float32, 15*n), make([]int64, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for i := range y {
		y[i] = int64(r.IntN(3))
	}
	return map[string]*onnx.Array{"x": floatArray([]int{n, 5, 3}, x), "label": intArray([]int{n}, y)}
}

func headOptions(t testing.TB, m *onnx.Model) Options {
	return Options{
		Groups: []Group{{Name: "head", Tensors: tensors(t, m, "C c"), Decay: 1}},
		Epochs: 4, Batch: 16, Seed: 1, Optimizer: Optimizer{Rate: 0.03, Clip: 1},
	}
}

// What no trained tensor reaches gives the same as a data set of its values, computed sample by sample beforehand: training the head alone on those is the oracle, to the last bit, whether
// the values are remembered or not. Validation data are a part of the same file in one case, another file in the other.
func TestFrontIsTheHeadOnItsValues(t *testing.T) {
	ctx := context.Background()
	m := recurrentHead(t, "x")
	r := rand.New(rand.NewPCG(0, 0))
	head := buildModel(t, 13, &onnxpb.GraphProto{
		Input: []*onnxpb.ValueInfoProto{value("h", "N", 4)}, Output: []*onnxpb.ValueInfoProto{value("p", "N", 3)},
		Initializer: []*onnxpb.TensorProto{random(r, "C", 0.8, 4, 3), random(r, "c", 0.1, 3)},
		Node:        []*onnxpb.NodeProto{node("MatMul", "h C", "hc"), node("Add", "hc c", "z"), node("Softmax", "z", "p", intAttr("axis", 1))},
	})
	same := Start{Name: "same", Values: map[*onnx.Tensor]*onnx.Array{}}
	for k, of := range tensors(t, m, "C c") {
		a, err := of.Array()
		if err != nil {
			t.Fatal(err)
		}
		same.Values[tensors(t, head, "C c")[k]] = a
	}
	values := func(arrays map[string]*onnx.Array) map[string]*onnx.Array {
		d := openArrays(t, m, arrays, dataset.Options{})
		p, err := runtime.Compile(ctx, m, runtime.Options{Outputs: []string{"h"}})
		if err != nil {
			t.Fatal(err)
		}
		var h []float32
		for i := range d.Len() {
			feeds, err := d.Feeds(i, i+1, 0)
			if err != nil {
				t.Fatal(err)
			}
			out, err := p.Run(ctx, feeds)
			if err != nil {
				t.Fatal(err)
			}
			h = append(h, out["h"].Data.([]float32)...)
		}
		return map[string]*onnx.Array{"h": floatArray([]int{d.Len(), 4}, h), "label": arrays["label"]}
	}
	labelled := dataset.Options{Labels: "label"}
	own, other := sequences(1, 75), sequences(2, 30)
	for _, split := range []bool{false, true} {
		sets := func(m *onnx.Model, own, other map[string]*onnx.Array) (train, val *dataset.Dataset) {
			train, val = openArrays(t, m, own, labelled), openArrays(t, m, other, labelled)
			if split {
				var err error
				if train, val, err = train.Split(ctx, 0.2, 3); err != nil {
					t.Fatal(err)
				}
			}
			return train, val
		}
		o := headOptions(t, head)
		o.Trial.Starts = []Start{same}
		train, val := sets(head, values(own), values(other))
		want, err := Train(ctx, head, train, val, CrossEntropy{Head: findHead(t, head, "p")}, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, memory := range []int64{0, 8} {
			o := headOptions(t, m)
			o.FrontMemory = memory
			train, val := sets(m, own, other)
			got, err := Train(ctx, m, train, val, CrossEntropy{Head: findHead(t, m, "p")}, o)
			if err != nil {
				t.Fatal(err)
			}
			bytes := int64(16 * (train.Len() + val.Len()))
			if memory > 0 {
				bytes = 0
			}
			if d := cmp.Diff(Front{Values: []string{"h"}, Bytes: bytes}, got.Front); d != "" {
				t.Errorf("split %v, memory %d: (-want +got)\n%s", split, memory, d)
			}
			if got.Before != want.Before || got.After != want.After || got.After.Loss >= got.Before.Loss {
				t.Errorf("split %v, memory %d: from %+v to %+v, want from %+v to %+v", split, memory, got.Before, got.After, want.Before, want.After)
			}
			for k, p := range got.Parameters {
				if d := cmp.Diff(want.Parameters[k].Value, p.Value); d != "" {
					t.Errorf("split %v, memory %d: %s: (-want +got)\n%s", split, memory, p.Tensor.Name, d)
				}
			}
		}
	}
}

// Once the values are remembered the front is not run any more, neither to train nor to evaluate, and inputs that nobody reads are not read.
func TestFrontRunsOnce(t *testing.T) {
	ctx := context.Background()
	m := recurrentHead(t, "x")
	train, val := openArrays(t, m, sequences(1, 40), dataset.Options{Labels: "label"}), openArrays(t, m, sequences(2, 20), dataset.Options{Labels: "label"})
	o := headOptions(t, m)
	o.fill()
	tr, err := newTrainer(ctx, m, train, val, CrossEntropy{Head: findHead(t, m, "p")}, o)
	if err != nil {
		t.Fatal(err)
	}
	tr.train.front.program, tr.val.front.program = nil, nil
	for _, s := range []source{tr.train, *tr.val} {
		for b, err := range s.batches(ctx, dataset.BatchOptions{}) {
			if err != nil || len(b.Feeds) != 0 {
				t.Fatalf("%d feeds are read (%v)", len(b.Feeds), err)
			}
		}
	}
	if err := tr.begin(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.epochs(ctx); err != nil {
		t.Fatal(err)
	}
}

// By the rule: what may differ from run to run or from batch to batch is no front, and neither is what costs nothing.
func TestFrontRule(t *testing.T) {
	ctx := context.Background()
	plain := recurrentHead(t, "x")
	one := openArrays(t, plain, map[string]*onnx.Array{"x": floatArray([]int{1, 5, 3}, make([]float32, 15))}, dataset.Options{})
	train := openArrays(t, plain, sequences(1, 20), dataset.Options{})
	branch := func(name string) *onnxpb.AttributeProto {
		body := &onnxpb.GraphProto{Name: proto.String(name), Output: []*onnxpb.ValueInfoProto{value(name + ".x")}, Node: []*onnxpb.NodeProto{node("Identity", "x", name+".x")}}
		return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_GRAPH.Enum(), G: body}
	}
	for _, c := range []struct {
		name    string
		model   *onnx.Model
		trained string
		data    *dataset.Dataset
		want    string // values, "" for no front
	}{
		{"head", plain, "C c", train, "h"},
		{"all", plain, "W R C c", train, ""},
		{"R", plain, "R C c", train, ""}, // a Transpose is no work
		{"one sample", plain, "C c", one, ""},
		{"product in front of the layer", recurrentHead(t, "xq", node("MatMul", "x Q", "xq")), "W", train, "f"},
		{"noise", recurrentHead(t, "xn", node("RandomNormalLike", "x", "n"), node("Add", "x n", "xn")), "C c", train, ""},
		{"mean of the batch", recurrentHead(t, "xn", node("ReduceMean", "x", "n", intsAttr("axes", 0)), node("Sub", "x n", "xn")), "C c", train, ""},
		{"sums over the batch", recurrentHead(t, "xn", node("CumSum", "x zero", "xn")), "C c", train, ""},
		{"bodies", recurrentHead(t, "xn", node("ReduceMax", "x", "m", intAttr("keepdims", 0)), node("Cast", "m", "yes", intAttr("to", int64(onnx.Bool))),
			node("If", "yes", "xn", branch("then_branch"), branch("else_branch"))), "C c", train, ""},
		{"shapes stay with the batch", recurrentHead(t, "xn", node("Shape", "x", "s"), node("ConstantOfShape", "s", "o"), node("Add", "x o", "xn")), "C c", train, "h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := newFront(ctx, c.model, tensors(t, c.model, c.trained), []string{"z"}, c.data, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if f != nil {
				got = f.cut.values
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("the front gives %q, want %q", got, c.want)
			}
		})
	}
}

// BenchmarkHeadEpoch is an epoch of training a classifier's head behind an LSTM, whose values are remembered or do not fit.
func BenchmarkHeadEpoch(b *testing.B) {
	ctx := context.Background()
	m := recurrentHead(b, "x")
	train := openArrays(b, m, sequences(1, 512), dataset.Options{Labels: "label"})
	for name, memory := range map[string]int64{"front=remembered": 1 << 20, "front=anew": 1} {
		b.Run(name, func(b *testing.B) {
			o := headOptions(b, m)
			o.FrontMemory = memory
			o.fill()
			tr, err := newTrainer(ctx, m, train, nil, CrossEntropy{Head: findHead(b, m, "p")}, o)
			if err != nil {
				b.Fatal(err)
			}
			if err := tr.begin(ctx); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := tr.epoch(ctx); err != nil {
					b.Fatal(err)
				}
				tr.state.batch = 0
			}
		})
	}
}
