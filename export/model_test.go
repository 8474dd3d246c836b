package export

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
	"google.golang.org/protobuf/proto"
)

// layer describes a model of one recurrent node over x [T, B, In].
type layer struct {
	op, direction string
	in, hidden    int
	opset, ir     int64
	elem          onnx.DataType
	layout        int64
	fixedX        bool // x is a constant [2, 3, In], so that what the lowering makes of it can be evaluated
	readElsewhere bool // W has a second reader
}

func plainLayer() layer {
	return layer{op: "LSTM", direction: "forward", in: 24, hidden: 8, opset: 14, ir: 7, elem: onnx.Float}
}

// framesT and framesB are T and B of a fixed x.
const framesT, framesB = 2, 3

func (l layer) directions() int {
	return recurrent.Direction(l.direction).Count()
}

func (l layer) gates() int { return recurrent.Op(l.op).Gates() }

func (l layer) rows() int { return l.directions() * l.gates() * l.hidden }

func (l layer) proto() *onnxpb.ModelProto {
	rng := rand.New(rand.NewPCG(5, uint64(l.in)))
	d, gh := int64(l.directions()), int64(l.gates()*l.hidden)
	node := &onnxpb.NodeProto{
		OpType: &l.op, Name: proto.String("cell"), Input: []string{"x", "W", "R", "B"}, Output: []string{"Y"},
		Attribute: []*onnxpb.AttributeProto{
			{Name: proto.String("hidden_size"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(int64(l.hidden))},
			{Name: proto.String("direction"), Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(l.direction)},
		},
	}
	if l.layout == 1 {
		node.Attribute = append(node.Attribute, &onnxpb.AttributeProto{Name: proto.String("layout"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(1)})
	}
	g := &onnxpb.GraphProto{
		Name: proto.String("g"), Node: []*onnxpb.NodeProto{node},
		Output: []*onnxpb.ValueInfoProto{valueInfo("Y", l.elem, -1, -1, -1, -1)},
		Initializer: []*onnxpb.TensorProto{
			l.tensor("W", rng, d, gh, int64(l.in)), l.tensor("R", rng, d, gh, int64(l.hidden)), l.tensor("B", rng, d, 2*gh),
		},
	}
	if l.fixedX {
		g.Initializer = append(g.Initializer, l.tensor("x", rng, framesT, framesB, int64(l.in)))
	} else {
		g.Input = []*onnxpb.ValueInfoProto{valueInfo("x", l.elem, -1, -1, int64(l.in))}
	}
	if l.ir < 4 {
		for _, t := range g.Initializer {
			g.Input = append(g.Input, valueInfo(t.GetName(), l.elem, t.Dims...))
		}
	}
	if l.readElsewhere {
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String("Neg"), Input: []string{"W"}, Output: []string{"nW"}})
		g.Output = append(g.Output, valueInfo("nW", l.elem, d, gh, int64(l.in)))
	}
	return &onnxpb.ModelProto{
		IrVersion:   &l.ir,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: &l.opset}},
		Graph:       g,
	}
}

func (l layer) tensor(name string, rng *rand.Rand, dims ...int64) *onnxpb.TensorProto {
	n := 1
	d := make([]int, len(dims))
	for k, x := range dims {
		n *= int(x)
		d[k] = int(x)
	}
	a, err := recurrent.Array(l.elem, d, normal(rng, n, 1))
	if err != nil {
		panic(err)
	}
	return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(l.elem)), Dims: dims, RawData: raw(a)}
}

// raw gives an array's bytes as raw_data holds them.
func raw(a *onnx.Array) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, a.Data); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func normal(rng *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for k := range x {
		x[k] = float32(scale * rng.NormFloat64())
	}
	return x
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

func decode(t testing.TB, m *onnxpb.ModelProto) *onnx.Model {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return decodeBytes(t, data)
}

func decodeBytes(t testing.TB, data []byte) *onnx.Model {
	t.Helper()
	m, err := onnx.Decode("model.onnx", data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encode(t testing.TB, m *onnx.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := m.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func find(t testing.TB, m *onnx.Model) []*recurrent.Site {
	t.Helper()
	sites, err := recurrent.Find(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	return sites
}

// lower lowers, applies, writes and reads back.
func lower(t testing.TB, m *onnx.Model, rs []Replacement, o Options) *onnx.Model {
	t.Helper()
	p, err := Lower(context.Background(), m, rs, o)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Apply(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return decodeBytes(t, encode(t, out))
}

// randomFactor makes a ring with entries of a size that keeps Ŵ near 1.
func randomFactor(seed uint64, out, in int, inModes, outModes, ranks []int) *tensor.Factor {
	rng := rand.New(rand.NewPCG(seed, 2))
	f := &tensor.Factor{Format: "tr", Out: out, In: in, InModes: inModes, OutModes: outModes}
	modes := append(append([]int{}, inModes...), outModes...)
	if len(ranks) < len(modes) { // a TT-matrix
		f.Format, modes = "ttm", nil
		for k := range inModes {
			modes = append(modes, outModes[k]*inModes[k])
		}
	}
	for k, mode := range modes {
		l, r := ranks[k], ranks[(k+1)%len(ranks)]
		f.Cores = append(f.Cores, tensor.Core{Left: l, Mode: mode, Right: r, Data: normal(rng, l*mode*r, 1/math.Sqrt(float64(r)))})
	}
	return f
}

// constant evaluates a value that depends on constants alone.
func constant(t testing.TB, m *onnx.Model, g *onnx.Graph, name string) *onnx.Array {
	t.Helper()
	a, err := onnx.NewEvaluator(m, onnx.NewIndex(m), 0).Eval(context.Background(), g, name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func floats(t testing.TB, a *onnx.Array) []float32 {
	t.Helper()
	x, err := recurrent.Floats(a)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// timesTransposed is x·yᵀ in float64 for x [n, k] and y [m, k].
func timesTransposed(x, y []float32, n, m, k int) []float64 {
	out := make([]float64, n*m)
	for i := range n {
		for j := range m {
			for l := range k {
				out[i*m+j] += float64(x[i*k+l]) * float64(y[j*k+l])
			}
		}
	}
	return out
}

// distance is ‖a−b‖/‖b‖.
func distance(a, b []float64) float64 {
	if len(a) != len(b) {
		panic(fmt.Sprintf("%d and %d numbers", len(a), len(b)))
	}
	var d, n float64
	for k := range b {
		d += (a[k] - b[k]) * (a[k] - b[k])
		n += b[k] * b[k]
	}
	return math.Sqrt(d / n)
}
