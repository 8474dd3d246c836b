package finetune

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// Models for tests: lists of names are words.

func node(op, in, out string, attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(op), Input: strings.Fields(in), Output: strings.Fields(out), Attribute: attrs}
}

func intAttr(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

// value declares a float value; a word is a symbol, a number a fixed dim.
func value(name string, dims ...any) *onnxpb.ValueInfoProto {
	s := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case string:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		case int:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		}
		s.Dim = append(s.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(onnx.Float)), Shape: s}}}}
}

// double is value of type double.
func double(name string, dims ...any) *onnxpb.ValueInfoProto {
	v := value(name, dims...)
	v.GetType().GetTensorType().ElemType = proto.Int32(int32(onnx.Double))
	return v
}

// doubled turns an initializer into doubles.
func doubled(p *onnxpb.TensorProto) *onnxpb.TensorProto {
	for _, v := range p.FloatData {
		p.DoubleData = append(p.DoubleData, float64(v))
	}
	p.FloatData, p.DataType = nil, proto.Int32(int32(onnx.Double))
	return p
}

func initializer(name string, dims []int64, v []float32) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Float)), Dims: dims, FloatData: v}
}

// random is an initializer of normal numbers.
func random(r *rand.Rand, name string, scale float64, dims ...int64) *onnxpb.TensorProto {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(scale * r.NormFloat64())
	}
	return initializer(name, dims, v)
}

func buildModel(t testing.TB, opset int64, g *onnxpb.GraphProto) *onnx.Model {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: g,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(opset)}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Decode("test", b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// perceptron is softmax(tanh(x·A + a)·C + c) with the output "p"; batch is a symbol or a number.
func perceptron(t testing.TB, seed uint64, batch any, in, hidden, classes int64) *onnx.Model {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	return buildModel(t, 13, &onnxpb.GraphProto{
		Name:  proto.String("perceptron"),
		Input: []*onnxpb.ValueInfoProto{value("x", batch, int(in))}, Output: []*onnxpb.ValueInfoProto{value("p", batch, int(classes))},
		Initializer: []*onnxpb.TensorProto{random(r, "A", 0.7, in, hidden), random(r, "a", 0.1, hidden), random(r, "C", 0.5, hidden, classes), random(r, "c", 0.1, classes)},
		Node: []*onnxpb.NodeProto{node("MatMul", "x A", "xa"), node("Add", "xa a", "s"), node("Tanh", "s", "h"), node("MatMul", "h C", "hc"), node("Add", "hc c", "z"),
			node("Softmax", "z", "q", intAttr("axis", 1)), node("Identity", "q", "p")},
	})
}

// tensors are initializers by name.
func tensors(t testing.TB, m *onnx.Model, words string) []*onnx.Tensor {
	t.Helper()
	var list []*onnx.Tensor
	for _, name := range strings.Fields(words) {
		for _, init := range m.Graph.Initializers {
			if init.Name == name {
				list = append(list, init)
			}
		}
	}
	if len(list) != len(strings.Fields(words)) {
		t.Fatalf("%d of the initializers %s exist", len(list), words)
	}
	return list
}

// openArrays writes arrays to an .npz file and opens it for a model.
func openArrays(t testing.TB, m *onnx.Model, arrays map[string]*onnx.Array, o dataset.Options) *dataset.Dataset {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data.npz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dataset.WriteNPZ(f, arrays); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := dataset.Open(context.Background(), path, m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func floatArray(dims []int, v []float32) *onnx.Array {
	return &onnx.Array{Type: onnx.Float, Dims: dims, Data: v}
}

func intArray(dims []int, v []int64) *onnx.Array {
	return &onnx.Array{Type: onnx.Int64, Dims: dims, Data: v}
}

// quadrants are n points of the plane with the class of their quadrant's sign: XOR, which no linear model can tell.
func quadrants(seed uint64, n int) map[string]*onnx.Array {
	r := rand.New(rand.NewPCG(seed, 2))
	x, y := make([]float32, 2*n), make([]int64, n)
	for i := range n {
		a, b := r.NormFloat64(), r.NormFloat64()
		x[2*i], x[2*i+1] = float32(a), float32(b)
		if a*b > 0 {
			y[i] = 1
		}
	}
	return map[string]*onnx.Array{"x": floatArray([]int{n, 2}, x), "label": intArray([]int{n}, y)}
}

func findHead(t testing.TB, m *onnx.Model, output string) Head {
	t.Helper()
	h, err := FindHead(m, output)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// headModel computes y from x.
func headModel(t testing.TB, opset int64, nodes ...*onnxpb.NodeProto) *onnx.Model {
	t.Helper()
	return buildModel(t, opset, &onnxpb.GraphProto{Input: []*onnxpb.ValueInfoProto{value("x", "N", 3, 4)}, Output: []*onnxpb.ValueInfoProto{value("y")}, Node: nodes})
}
