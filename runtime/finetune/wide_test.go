package finetune

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// A model whose outputs are of 16 bits trains, teaches and is measured as the same model with a Cast to float32 in the file, to the last bit.
func TestHalfOutputs(t *testing.T) {
	ctx := context.Background()
	logits := func(seed uint64, half onnx.DataType, cast bool) *onnx.Model {
		r := rand.New(rand.NewPCG(seed, 1))
		out, elem := value("y", "N", 2), half
		nodes := []*onnxpb.NodeProto{node("MatMul", "x A", "xa"), node("Tanh", "xa", "h"), node("MatMul", "h C", "z")}
		if cast {
			elem = onnx.Float
			nodes = append(nodes, node("Cast", "z", "narrow", intAttr("to", int64(half))), node("Cast", "narrow", "y", intAttr("to", int64(onnx.Float))))
		} else {
			nodes = append(nodes, node("Cast", "z", "y", intAttr("to", int64(half))))
		}
		out.GetType().GetTensorType().ElemType = proto.Int32(int32(elem))
		return buildModel(t, 13, &onnxpb.GraphProto{
			Input: []*onnxpb.ValueInfoProto{value("x", "N", 2)}, Output: []*onnxpb.ValueInfoProto{out}, Node: nodes,
			Initializer: []*onnxpb.TensorProto{random(r, "A", 0.7, 2, 8), random(r, "C", 0.5, 8, 2)},
		})
	}
	for _, half := range []onnx.DataType{onnx.Float16, onnx.BFloat16} {
		train := func(cast bool) *Result {
			m, teacher := logits(3, half, cast), logits(4, half, cast)
			o := Options{Groups: []Group{{Name: "all", Tensors: tensors(t, m, "A C")}}, Epochs: 5, Batch: 16, Optimizer: Optimizer{Rate: 0.03}, Teacher: teacher}
			own, of := findHead(t, m, "y"), findHead(t, teacher, "y")
			data := openArrays(t, m, quadrants(1, 100), dataset.Options{Labels: "label"})
			res, err := Train(ctx, m, data, nil, Mix{{CrossEntropy{Head: own}, 0.5}, {Distill{Own: own, Of: of}, 0.5}}, o)
			if err != nil {
				t.Fatal(err)
			}
			e, err := Evaluate(ctx, m, data, CrossEntropy{Head: own}, EvaluateOptions{})
			if err != nil || e.Loss <= 0 {
				t.Errorf("%v: evaluated %+v (%v)", half, e, err)
			}
			if res.After.Loss >= res.Before.Loss {
				t.Errorf("%v: the loss went from %v to %v", half, res.Before.Loss, res.After.Loss)
			}
			return res
		}
		got, want := train(false), train(true)
		if got.Before != want.Before || got.After != want.After {
			t.Errorf("%v: from %+v to %+v, with a Cast in the file from %+v to %+v", half, got.Before, got.After, want.Before, want.After)
		}
		for k, p := range got.Parameters {
			if d := cmp.Diff(want.Parameters[k].Value, p.Value); d != "" {
				t.Errorf("%v: %s (-with a Cast in the file +got)\n%s", half, p.Tensor.Name, d)
			}
		}
	}
}
