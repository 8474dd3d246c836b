package onnx

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// The ONNX project's node tests are the oracle: their inputs become initializers, so that the whole model is constant, and their stored
// outputs are what it must evaluate to.
func TestEvalAgreesWithTheNodeTests(t *testing.T) {
	var folders []string
	for _, file := range sharedFiles(t, "onnx-node", "model.onnx") {
		folders = append(folders, filepath.Dir(file))
	}
	passed := map[string]int{}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			m, outputs := constantModel(t, folder)
			if m == nil {
				t.Skip("an operator that is not evaluated")
			}
			if err := Check(m); err != nil {
				t.Fatal(err)
			}
			e := NewEvaluator(m, NewIndex(m), 0)
			for k, want := range outputs {
				name := m.Graph.Outputs[k].Name
				if ok, why := e.Constant(m.Graph, name); !ok {
					t.Fatalf("%q is not constant: %s", name, why)
				}
				typ, dims, err := e.Info(t.Context(), m.Graph, name)
				if err != nil {
					t.Fatal(err)
				}
				got, err := e.Eval(t.Context(), m.Graph, name)
				if err != nil {
					t.Fatal(err)
				}
				if typ != want.Type || fmt.Sprint(dims) != fmt.Sprint(want.Dims) {
					t.Errorf("Info: %s %v, want %s %v", typ, dims, want.Type, want.Dims)
				}
				compare(t, got, want)
			}
			for _, n := range m.Graph.Nodes {
				passed[n.OpType]++
			}
		})
	}
	for _, op := range []string{
		"Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "GatherElements", "Gemm", "Identity", "MatMul", "Range", "ReduceProd", "ReduceSum",
		"Reshape", "Shape", "Size", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where", "Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "Exp", "Pow", "Equal", "Less", "Greater", "And", "Or",
	} {
		if passed[op] == 0 {
			t.Errorf("no node test has run for %s", op)
		}
	}
}

// constantModel loads a node test with its inputs as initializers; nil where it has an operator outside the evaluator's table.
func constantModel(t *testing.T, folder string) (*Model, []*Array) {
	t.Helper()
	var pb onnxpb.ModelProto
	readProto(t, filepath.Join(folder, "model.onnx"), &pb)
	for _, n := range pb.Graph.Node {
		if _, ok := operators[n.GetOpType()]; !ok {
			return nil, nil
		}
	}
	var inputs []*onnxpb.ValueInfoProto
	for k, in := range pb.Graph.Input {
		if in.Type.GetTensorType() == nil {
			return nil, nil
		}
		var tensor onnxpb.TensorProto
		readProto(t, filepath.Join(folder, "test_data_set_0", fmt.Sprintf("input_%d.pb", k)), &tensor)
		tensor.Name = in.Name
		pb.Graph.Initializer = append(pb.Graph.Initializer, &tensor)
	}
	pb.Graph.Input = inputs
	// The expected outputs ride along as attributes of a node that nobody evaluates.
	outputs := len(pb.Graph.Output)
	for k := range outputs {
		var tensor onnxpb.TensorProto
		readProto(t, filepath.Join(folder, "test_data_set_0", fmt.Sprintf("output_%d.pb", k)), &tensor)
		pb.Graph.Node = append(pb.Graph.Node, &onnxpb.NodeProto{OpType: proto.String("Constant"), Output: []string{fmt.Sprintf("want_%d", k)},
			Attribute: []*onnxpb.AttributeProto{{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: &tensor}}})
	}
	m := decodeProto(t, &pb)
	var want []*Array
	for _, n := range m.Graph.Nodes[len(m.Graph.Nodes)-outputs:] {
		a, err := n.Attributes[0].T.Array()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, a)
	}
	return m, want
}

func readProto(t testing.TB, file string, m proto.Message) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(data, m); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func decodeProto(t testing.TB, pb *onnxpb.ModelProto) *Model {
	t.Helper()
	m, err := FromProto("test.onnx", pb)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// compare checks floats to rtol 1e-3 and atol 1e-7, the node tests' own tolerances, and everything else exactly.
func compare(t *testing.T, got, want *Array) {
	t.Helper()
	if got.Type != want.Type || fmt.Sprint(got.Dims) != fmt.Sprint(want.Dims) {
		t.Fatalf("got %s %v, want %s %v", got.Type, got.Dims, want.Type, want.Dims)
	}
	if !want.Type.IsFloat() {
		if !reflect.DeepEqual(got.Data, want.Data) && reflect.ValueOf(want.Data).Len() > 0 {
			t.Errorf("got %v\nwant %v", got.Data, want.Data)
		}
		return
	}
	g, err := numbersOf(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := numbersOf(want)
	if err != nil {
		t.Fatal(err)
	}
	for i := range w.n {
		x, y := g.float(i), w.float(i)
		if x != y && !(math.Abs(x-y) <= 1e-7+1e-3*math.Abs(y)) && !(x != x && y != y) {
			t.Fatalf("element %d of %d: got %v, want %v", i, w.n, x, y)
		}
	}
}
