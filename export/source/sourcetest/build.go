package sourcetest

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Attribute makes an attribute of the type of v.
func Attribute(name string, v any) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: proto.String(name)}
	switch v := v.(type) {
	case int:
		a.Type, a.I = onnxpb.AttributeProto_INT.Enum(), proto.Int64(int64(v))
	case float64:
		a.Type, a.F = onnxpb.AttributeProto_FLOAT.Enum(), proto.Float32(float32(v))
	case string:
		a.Type, a.S = onnxpb.AttributeProto_STRING.Enum(), []byte(v)
	case []int64:
		a.Type, a.Ints = onnxpb.AttributeProto_INTS.Enum(), v
	case []string:
		a.Type = onnxpb.AttributeProto_STRINGS.Enum()
		for _, s := range v {
			a.Strings = append(a.Strings, []byte(s))
		}
	case *onnxpb.GraphProto:
		a.Type, a.G = onnxpb.AttributeProto_GRAPH.Enum(), v
	default:
		panic(fmt.Sprintf("sourcetest: attribute %q of type %T", name, v))
	}
	return a
}

// Initializer makes a tensor of []float32 or []int64; without dims it is a scalar.
func Initializer(name string, data any, dims ...int64) *onnxpb.TensorProto {
	t := &onnxpb.TensorProto{Name: proto.String(name), Dims: dims}
	switch data := data.(type) {
	case []float32:
		t.DataType, t.FloatData = proto.Int32(int32(onnx.Float)), data
	case []int64:
		t.DataType, t.Int64Data = proto.Int32(int32(onnx.Int64)), data
	default:
		panic(fmt.Sprintf("sourcetest: initializer %q of type %T", name, data))
	}
	return t
}

// Ints makes a tensor of one axis.
func Ints(name string, v ...int64) *onnxpb.TensorProto {
	return Initializer(name, v, int64(len(v)))
}

// Port declares an input or output; without dims it has no shape.
func Port(name string, elem onnx.DataType, dims ...int64) *onnxpb.ValueInfoProto {
	t := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(elem))}
	if len(dims) > 0 {
		t.Shape = &onnxpb.TensorShapeProto{}
	}
	for _, d := range dims {
		t.Shape.Dim = append(t.Shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}})
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: t}}}
}
