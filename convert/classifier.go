package convert

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// Operators and file format of new models: the newest that runtimes in use all read.
const (
	newOpset = 17
	newIR    = 8
)

// outputName is the output of new models.
const outputName = "logits"

// classifier is an untrained sequence classifier: frames x [batch, steps, I] (or tokens [batch, steps] and an embedding table), recurrent layers, and an
// affine map of the last states to logits [batch, C]. Where a layer is bidirectional, its last states are that of the forward direction behind the last step
// and that of the backward direction behind the first one.
type classifier struct {
	op                     recurrent.Op
	input, hidden, classes int
	layers, directions     int
	embed                  int    // rows of the table; 0: frames
	name                   string // of the input; all other names but logits have a dot
	scale                  float64
	seed                   uint64
	graph                  *onnxpb.GraphProto
}

func (c *classifier) siteName(layer int) string {
	name := map[recurrent.Op]string{recurrent.LSTM: "lstm", recurrent.GRU: "gru", recurrent.RNN: "rnn"}[c.op]
	if c.layers > 1 {
		name += "_" + strconv.Itoa(layer)
	}
	return name
}

// layerInput is the input size of a layer.
func (c *classifier) layerInput(layer int) int {
	if layer == 0 {
		return c.input
	}
	return c.directions * c.hidden
}

// model is the network with everything but W, in whose place stands a node that makes a matrix of its shape: nothing of the size of W is allocated. R, biases and the affine map are
// initialised as [New] says.
func (c *classifier) model() (*onnx.Model, error) {
	c.graph = &onnxpb.GraphProto{Name: proto.String("classifier")}
	x := c.frames()
	for k := range c.layers {
		x = c.layer(k, x)
	}
	c.head(x)
	return onnx.FromProto("new model", &onnxpb.ModelProto{
		IrVersion:    proto.Int64(newIR),
		ProducerName: proto.String("trconvert"),
		OpsetImport:  []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(newOpset)}},
		Graph:        c.graph,
	})
}

// frames declares the input and gives the time-major frames [steps, batch, I].
func (c *classifier) frames() string {
	if c.embed > 0 {
		c.graph.Input = []*onnxpb.ValueInfoProto{shaped(c.name, onnx.Int64, "batch", "steps")}
		rnd := c.stream("embedding")
		c.weights("embed.table", []int{c.embed, c.input}, rnd.NormFloat64)
		t := c.node("Transpose", "time_major", []string{c.name}, "time_major.out", ints("perm", 1, 0))
		return c.node("Gather", "embed", []string{"embed.table", t}, "embed.out")
	}
	c.graph.Input = []*onnxpb.ValueInfoProto{shaped(c.name, onnx.Float, "batch", "steps", c.input)}
	x := c.name
	if c.scale != 0 {
		c.weights("scale.factor", nil, func() float64 { return c.scale })
		x = c.node("Mul", "scale", []string{x, "scale.factor"}, "scale.out")
	}
	return c.node("Transpose", "time_major", []string{x}, "time_major.out", ints("perm", 1, 0, 2))
}

// layer adds a recurrent layer and gives its outputs [steps, batch, D·H], or its last states [batch, D·H] for the last layer.
func (c *classifier) layer(k int, x string) string {
	name := c.siteName(k)
	d, g, h := c.directions, c.op.Gates(), c.hidden
	uniform := c.uniform(c.stream(name, "R"))
	c.weights(name+".R", []int{d, g * h, h}, uniform)
	c.bias(name + ".B")
	// The value tells the layers' stand-ins apart, so that none is taken for the copy of another.
	c.longs(name+".W.shape", int64(d), int64(g*h), int64(c.layerInput(k)))
	w := c.node("ConstantOfShape", name+".W", []string{name + ".W.shape"}, name+".W", &onnxpb.AttributeProto{
		Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(),
		T: &onnxpb.TensorProto{DataType: proto.Int32(int32(onnx.Float)), Dims: []int64{1}, FloatData: []float32{float32(k)}},
	})
	attributes := []*onnxpb.AttributeProto{integer("hidden_size", int64(h))}
	if d == 2 {
		attributes = append(attributes, &onnxpb.AttributeProto{Name: proto.String("direction"), Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(recurrent.Bidirectional)})
	}
	if c.op == recurrent.GRU { // as PyTorch and cuDNN compute it
		attributes = append(attributes, integer("linear_before_reset", 1))
	}
	last := k == c.layers-1
	outputs := []string{name + ".Y"}
	if last {
		outputs = []string{"", name + ".Y_h"}
	}
	c.graph.Node = append(c.graph.Node, &onnxpb.NodeProto{
		OpType: proto.String(string(c.op)), Name: proto.String(name), Input: []string{x, w, name + ".R", name + ".B"}, Output: outputs, Attribute: attributes,
	})
	y := outputs[len(outputs)-1] // Y [steps, D, batch, H] or Y_h [D, batch, H]
	axis := int64(1)
	perm, joined := []int64{0, 2, 1, 3}, []int64{0, 0, int64(d * h)}
	if last {
		axis, perm, joined = 0, []int64{1, 0, 2}, []int64{0, int64(d * h)}
	}
	if d == 1 {
		c.longs(name+".axis", axis)
		return c.node("Squeeze", name+".squeeze", []string{y, name + ".axis"}, name+".out")
	}
	c.longs(name+".joined", joined...)
	t := c.node("Transpose", name+".turn", []string{y}, name+".turned", ints("perm", perm...))
	return c.node("Reshape", name+".join", []string{t, name + ".joined"}, name+".out")
}

// bias adds B [D, 2·G·H]: zero, and 1 for the forget gates of an LSTM (Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015, §2.2).
func (c *classifier) bias(name string) {
	n := 2 * c.op.Gates() * c.hidden
	i := 0
	c.weights(name, []int{c.directions, n}, func() (v float64) {
		const forget = 2 // gates are i, o, f, c
		if c.op == recurrent.LSTM && i%n/c.hidden == forget {
			v = 1
		}
		i++
		return v
	})
}

// head adds logits = h·Aᵀ + b.
func (c *classifier) head(h string) {
	n := c.directions * c.hidden
	rnd := c.stream("head")
	uniform := func() float64 { return (2*rnd.Float64() - 1) / math.Sqrt(float64(n)) }
	c.weights("head.weight", []int{c.classes, n}, uniform)
	c.weights("head.bias", []int{c.classes}, uniform)
	c.node("Gemm", "head", []string{h, "head.weight", "head.bias"}, outputName, integer("transB", 1))
	c.graph.Output = []*onnxpb.ValueInfoProto{shaped(outputName, onnx.Float, "batch", c.classes)}
}

// uniform draws from ±1/√H, as PyTorch initialises recurrent layers.
func (c *classifier) uniform(rnd *rand.Rand) func() float64 {
	bound := 1 / math.Sqrt(float64(c.hidden))
	return func() float64 { return bound * (2*rnd.Float64() - 1) }
}

func (c *classifier) stream(names ...string) *rand.Rand {
	return seed.Stream(c.seed, append([]string{"new"}, names...)...)
}

// node adds a node of one output and returns the output's name.
func (c *classifier) node(op, name string, inputs []string, output string, attributes ...*onnxpb.AttributeProto) string {
	c.graph.Node = append(c.graph.Node, &onnxpb.NodeProto{OpType: &op, Name: &name, Input: inputs, Output: []string{output}, Attribute: attributes})
	return output
}

// weights adds a float32 initializer whose elements are drawn in order.
func (c *classifier) weights(name string, dims []int, draw func() float64) {
	t := &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(onnx.Float))}
	n := 1
	for _, d := range dims {
		t.Dims = append(t.Dims, int64(d))
		n *= d
	}
	t.RawData = make([]byte, 0, 4*n)
	for range n {
		t.RawData = binary.LittleEndian.AppendUint32(t.RawData, math.Float32bits(float32(draw())))
	}
	c.graph.Initializer = append(c.graph.Initializer, t)
}

func (c *classifier) longs(name string, v ...int64) {
	c.graph.Initializer = append(c.graph.Initializer, &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(onnx.Int64)), Dims: []int64{int64(len(v))}, Int64Data: v})
}

func integer(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

func ints(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

// shaped declares a value; dims are names (free) or sizes.
func shaped(name string, elem onnx.DataType, dims ...any) *onnxpb.ValueInfoProto {
	v := valueInfo(name, elem)
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case string:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		case int:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		default:
			panic(fmt.Sprintf("convert: a dim of type %T", d))
		}
		shape.Dim = append(shape.Dim, dim)
	}
	v.GetType().GetTensorType().Shape = shape
	return v
}
