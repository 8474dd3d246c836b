package runtime

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Models for tests are put together from protobuf messages: lists of names are words, "_" is an absent one.

func names(words string) []string {
	list := strings.Fields(words)
	for k, w := range list {
		if w == "_" {
			list[k] = ""
		}
	}
	return list
}

func node(op, in, out string, attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(op), Input: names(in), Output: names(out), Attribute: attrs}
}

func inDomain(n *onnxpb.NodeProto, domain string) *onnxpb.NodeProto {
	n.Domain = proto.String(domain)
	return n
}

func intAttr(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

func intsAttr(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

func stringsAttr(name string, v ...string) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_STRINGS.Enum()}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

func floatAttr(name string, v float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_FLOAT.Enum(), F: proto.Float32(v)}
}

func graphAttr(name string, g *onnxpb.GraphProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_GRAPH.Enum(), G: g}
}

func tensorAttr(name string, t *onnxpb.TensorProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: t}
}

// refAttr stands for an attribute of the enclosing function.
func refAttr(name, of string, typ onnxpb.AttributeProto_AttributeType) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: typ.Enum(), RefAttrName: proto.String(of)}
}

func initFloats(name string, dims []int64, v ...float32) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Float)), Dims: dims, FloatData: v}
}

func initInts(name string, dims []int64, v ...int64) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Int64)), Dims: dims, Int64Data: v}
}

func initBool(name string, v bool) *onnxpb.TensorProto {
	d := int32(0)
	if v {
		d = 1
	}
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Bool)), Int32Data: []int32{d}}
}

// typed declares a value; a dim of -1 is unknown. Without dims it is a scalar.
func declared(name string, typ onnx.DataType, dims ...int64) *onnxpb.ValueInfoProto {
	s := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		if d >= 0 {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}
		}
		s.Dim = append(s.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(typ)), Shape: s}}}}
}

// untyped declares values by name only.
func untyped(words string) []*onnxpb.ValueInfoProto {
	var list []*onnxpb.ValueInfoProto
	for _, w := range strings.Fields(words) {
		list = append(list, &onnxpb.ValueInfoProto{Name: proto.String(w)})
	}
	return list
}

func graph(inputs, outputs []*onnxpb.ValueInfoProto, inits []*onnxpb.TensorProto, nodes ...*onnxpb.NodeProto) *onnxpb.GraphProto {
	return &onnxpb.GraphProto{Name: proto.String("g"), Input: inputs, Output: outputs, Initializer: inits, Node: nodes}
}

// modelProto wraps a graph as a model of opset 17.
func modelProto(g *onnxpb.GraphProto, functions ...*onnxpb.FunctionProto) *onnxpb.ModelProto {
	return &onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: g, Functions: functions,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(17)}, {Domain: proto.String("test"), Version: proto.Int64(1)}}}
}

// buildModel decodes a model of the graph.
func buildModel(t testing.TB, g *onnxpb.GraphProto, functions ...*onnxpb.FunctionProto) *onnx.Model {
	t.Helper()
	return decodeModel(t, modelProto(g, functions...))
}

// buildModelAt is buildModel with an opset.
func buildModelAt(t testing.TB, opset int64, g *onnxpb.GraphProto) *onnx.Model {
	t.Helper()
	p := modelProto(g)
	p.OpsetImport[0].Version = proto.Int64(opset)
	return decodeModel(t, p)
}

func decodeModel(t testing.TB, p *onnxpb.ModelProto) *onnx.Model {
	t.Helper()
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Decode("test", b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func compileModel(t testing.TB, m *onnx.Model, o Options) *Program {
	t.Helper()
	p, err := Compile(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func f32(dims []int, v ...float32) *Tensor { return newTensor(onnx.Float, dims, v) }

func scalar(v float32) *Tensor { return newTensor(onnx.Float, []int{}, []float32{v}) }

func scalarInt(v int64) *Tensor { return newTensor(onnx.Int64, []int{}, []int64{v}) }

func scalarBool(v bool) *Tensor { return newTensor(onnx.Bool, []int{}, []bool{v}) }
