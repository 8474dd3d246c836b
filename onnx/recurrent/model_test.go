package recurrent

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"google.golang.org/protobuf/proto"
)

// tinyModel is a model under construction: an LSTM with input 4 and hidden size 3 over x [T, B, 4].
type tinyModel struct {
	*onnxpb.ModelProto
	lstm *onnxpb.NodeProto
}

const tinyInput, tinyHidden = 4, 3

func newTiny(seed uint64) *tinyModel {
	rng := rand.New(rand.NewPCG(seed, 1))
	t := &tinyModel{
		lstm: &onnxpb.NodeProto{
			OpType: proto.String("LSTM"), Name: proto.String("cell"),
			Input: []string{"x", "W", "R"}, Output: []string{"Y"},
			Attribute: []*onnxpb.AttributeProto{attrInt("hidden_size", tinyHidden)},
		},
	}
	t.ModelProto = &onnxpb.ModelProto{
		IrVersion:   proto.Int64(7),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(14)}},
		Graph: &onnxpb.GraphProto{
			Name:   proto.String("g"),
			Node:   []*onnxpb.NodeProto{t.lstm},
			Input:  []*onnxpb.ValueInfoProto{valueInfo("x", onnx.Float, -1, -1, tinyInput)},
			Output: []*onnxpb.ValueInfoProto{valueInfo("Y", onnx.Float, -1, 1, -1, tinyHidden)},
			Initializer: []*onnxpb.TensorProto{
				floatTensor("W", []int64{1, 4 * tinyHidden, tinyInput}, normal(rng, 4*tinyHidden*tinyInput)),
				floatTensor("R", []int64{1, 4 * tinyHidden, tinyHidden}, normal(rng, 4*tinyHidden*tinyHidden)),
			},
		},
	}
	return t
}

// init returns an initializer by name.
func (t *tinyModel) init(name string) *onnxpb.TensorProto {
	for _, x := range t.Graph.Initializer {
		if x.GetName() == name {
			return x
		}
	}
	return nil
}

func (t *tinyModel) dropInit(name string) {
	var keep []*onnxpb.TensorProto
	for _, x := range t.Graph.Initializer {
		if x.GetName() != name {
			keep = append(keep, x)
		}
	}
	t.Graph.Initializer = keep
}

// prepend puts nodes before all others.
func (t *tinyModel) prepend(nodes ...*onnxpb.NodeProto) {
	t.Graph.Node = append(nodes, t.Graph.Node...)
}

func (t *tinyModel) decode(tb testing.TB) *onnx.Model {
	tb.Helper()
	data, err := proto.Marshal(t.ModelProto)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := onnx.Decode("tiny.onnx", data)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// find decodes and finds the sites.
func (t *tinyModel) find(tb testing.TB) []*Site {
	tb.Helper()
	sites, err := Find(context.Background(), t.decode(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return sites
}

func normal(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for k := range x {
		x[k] = float32(rng.NormFloat64())
	}
	return x
}

func attrInt(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

func attrString(name, v string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func attrTensor(name string, v *onnxpb.TensorProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_TENSOR.Enum(), T: v}
}

func attrGraph(name string, v *onnxpb.GraphProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_GRAPH.Enum(), G: v}
}

func op(kind string, inputs []string, output string, attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: &kind, Input: inputs, Output: []string{output}, Attribute: attrs}
}

// valueInfo declares a tensor; dims below 0 are unknown.
func valueInfo(name string, elem onnx.DataType, dims ...int64) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		if d >= 0 {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(elem)), Shape: shape},
	}}}
}

func tensorProto(name string, elem onnx.DataType, dims []int64, raw []byte) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(elem)), Dims: dims, RawData: raw}
}

func floatTensor(name string, dims []int64, data []float32) *onnxpb.TensorProto {
	var raw []byte
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return tensorProto(name, onnx.Float, dims, raw)
}

func intTensor(name string, data ...int64) *onnxpb.TensorProto {
	var raw []byte
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return tensorProto(name, onnx.Int64, []int64{int64(len(data))}, raw)
}
