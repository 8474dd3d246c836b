package testmodels

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Operator set and IR version of all models: layout-free recurrent operators, Squeeze with its axes as an input.
const (
	opset     = 14
	irVersion = 7
)

// tensor makes a tensor of type Float or Float16 from values; payloads are raw little-endian bytes.
func tensor(name string, typ onnx.DataType, dims []int64, values []float64) *onnxpb.TensorProto {
	var raw []byte
	for _, v := range values {
		if typ == onnx.Float16 {
			raw = binary.LittleEndian.AppendUint16(raw, onnx.Float32ToFloat16(float32(v)))
		} else {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(v)))
		}
	}
	return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(typ)), Dims: dims, RawData: raw}
}

func int64s(name string, values ...int64) *onnxpb.TensorProto {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(onnx.Int64)), Dims: []int64{int64(len(values))}, RawData: raw}
}

func boolean(name string, v bool) *onnxpb.TensorProto {
	raw := []byte{0}
	if v {
		raw[0] = 1
	}
	return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(onnx.Bool)), RawData: raw}
}

// value declares an input or output; dims are int64 (fixed) or string (symbolic).
func value(name string, typ onnx.DataType, dims ...any) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case string:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		case int:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	t := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(typ)), Shape: shape}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: t}}}
}

// node makes a node; attributes are int, []int, string, []string or *GraphProto.
func node(op, name string, inputs, outputs []string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: &op, Name: &name, Input: inputs, Output: outputs, Attribute: attributes}
}

func attr(name string, v any) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: &name}
	switch v := v.(type) {
	case int:
		a.I, a.Type = proto.Int64(int64(v)), onnxpb.AttributeProto_INT.Enum()
	case []int:
		for _, i := range v {
			a.Ints = append(a.Ints, int64(i))
		}
		a.Type = onnxpb.AttributeProto_INTS.Enum()
	case string:
		a.S, a.Type = []byte(v), onnxpb.AttributeProto_STRING.Enum()
	case []string:
		for _, s := range v {
			a.Strings = append(a.Strings, []byte(s))
		}
		a.Type = onnxpb.AttributeProto_STRINGS.Enum()
	case *onnxpb.GraphProto:
		a.G, a.Type = v, onnxpb.AttributeProto_GRAPH.Enum()
	}
	return a
}

func model(g *onnxpb.GraphProto) *onnxpb.ModelProto {
	return &onnxpb.ModelProto{
		IrVersion:    proto.Int64(irVersion),
		ProducerName: proto.String("trconvert-testmodels"),
		OpsetImport:  []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(opset)}},
		Graph:        g,
	}
}

func names(s ...string) []string { return s }
