package sourcetest

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// graph builds a model node by node.
type graph struct {
	*onnxpb.GraphProto
}

// node adds a node with one output and gives its name.
func (g *graph) node(op string, attributes []*onnxpb.AttributeProto, inputs ...string) string {
	name := fmt.Sprintf("v%d_%s", len(g.Node), op)
	g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String(op), Input: inputs, Output: []string{name}, Attribute: attributes})
	return name
}

// output adds a node whose result is an output of the model.
func (g *graph) output(op string, attributes []*onnxpb.AttributeProto, inputs ...string) {
	g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: proto.String(g.node(op, attributes, inputs...))})
}

func (g *graph) constant(name string, v any, dims ...int64) string {
	g.Initializer = append(g.Initializer, Initializer(name, v, dims...))
	return name
}

// Operations is a model with an output for every operation on elements that source code is printed with, and for reductions of every kind, on each type that has it. The
// inputs are x, y [2, 3, 4] and z [3, 1].
func Operations(t testing.TB) *onnx.Model {
	t.Helper()
	g := &graph{&onnxpb.GraphProto{Name: proto.String("operations")}}
	for _, in := range []struct {
		name string
		dims []int64
	}{{"x", []int64{2, 3, 4}}, {"y", []int64{2, 3, 4}}, {"z", []int64{3, 1}}} {
		g.Input = append(g.Input, Port(in.name, onnx.Float, in.dims...))
	}
	for _, op := range []string{"Abs", "Neg", "Sign", "Relu", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "HardSwish", "Log", "Mish", "Reciprocal",
		"Round", "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "Celu", "Elu", "Gelu", "HardSigmoid", "LeakyRelu", "Selu", "ThresholdedRelu", "Identity", "Softmax", "LogSoftmax"} {
		g.output(op, nil, "x")
	}
	g.output("Gelu", []*onnxpb.AttributeProto{Attribute("approximate", "tanh")}, "x")
	g.output("Celu", []*onnxpb.AttributeProto{Attribute("alpha", 0.5)}, "x")
	g.output("Elu", []*onnxpb.AttributeProto{Attribute("alpha", 0.5)}, "x")
	g.output("ThresholdedRelu", []*onnxpb.AttributeProto{Attribute("alpha", 0.25)}, "x")
	g.output("Softmax", []*onnxpb.AttributeProto{Attribute("axis", 1)}, "x")
	axes := g.constant("axes", []int64{0, 2}, 2)
	for _, op := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"} {
		g.output(op, nil, "x", axes)
		g.output(op, []*onnxpb.AttributeProto{Attribute("keepdims", 0)}, "x", axes)
	}
	ten := g.constant("ten", []float32{10})
	positive := g.node("Abs", nil, "x")
	g.output("ReduceLogSum", nil, positive, axes)
	g.output("Pow", nil, positive, "z")
	for _, two := range []string{"y", "z", ten} {
		for _, op := range []string{"Add", "Sub", "Mul", "Div", "PRelu", "Max", "Min", "Mean", "Sum"} {
			g.output(op, nil, "x", two)
		}
		for _, op := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"} {
			g.output(op, nil, "x", two)
		}
	}
	g.output("Max", nil, "x", "y", "z")
	less := g.node("Less", nil, "x", "y")
	more := g.node("Greater", nil, "x", "z")
	for _, op := range []string{"And", "Or", "Xor", "Equal"} {
		g.output(op, nil, less, more)
	}
	g.output("Not", nil, less)
	g.output("Where", nil, less, "x", "z")
	g.output("Clip", nil, "x", g.constant("low", []float32{-0.25}), g.constant("high", []float32{0.5}))
	scaled := g.node("Mul", nil, "x", ten)
	to := func(e onnx.DataType) []*onnxpb.AttributeProto {
		return []*onnxpb.AttributeProto{Attribute("to", int(e))}
	}
	for _, e := range []onnx.DataType{onnx.Int8, onnx.Int16, onnx.Int32, onnx.Int64, onnx.Uint8, onnx.Uint16, onnx.Uint32, onnx.Bool} {
		g.output("Cast", to(e), scaled)
		v := g.node("Cast", to(e), scaled)
		g.output("Cast", to(onnx.Float), v)
		g.output("Cast", to(onnx.Int64), v)
		g.output("Where", nil, more, v, v)
		g.output("Transpose", []*onnxpb.AttributeProto{Attribute("perm", []int64{2, 0, 1})}, v)
	}
	for _, e := range []onnx.DataType{onnx.Int32, onnx.Int64} {
		a := g.node("Cast", to(e), scaled)
		b := g.node("Cast", to(e), g.node("Mul", nil, "y", ten))
		three := g.node("Cast", to(e), g.node("Add", nil, g.node("Round", nil, g.node("Mul", nil, "z", ten)), g.constant(fmt.Sprintf("far%d", e), []float32{20})))
		for _, op := range []string{"Abs", "Neg", "Sign", "Relu"} {
			g.output(op, nil, a)
		}
		for _, op := range []string{"Add", "Sub", "Mul", "Max", "Min", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"} {
			g.output(op, nil, a, b)
		}
		g.output("Div", nil, a, three)
		g.output("ReduceSum", nil, a, axes)
		g.output("ReduceMax", nil, a, axes)
		g.output("ReduceMin", nil, a, axes)
		g.output("ReduceProd", nil, a, axes)
		g.output("CumSum", []*onnxpb.AttributeProto{Attribute("exclusive", 1)}, a, g.constant(fmt.Sprintf("axis%d", e), []int64{1}))
		g.output("ArgMax", []*onnxpb.AttributeProto{Attribute("axis", 2)}, a)
	}
	g.output("CumSum", []*onnxpb.AttributeProto{Attribute("reverse", 1)}, "x", g.constant("last", []int64{-1}))
	g.output("ArgMin", []*onnxpb.AttributeProto{Attribute("axis", 1), Attribute("select_last_index", 1)}, "x")
	for _, mode := range []string{"constant", "edge", "reflect", "wrap"} {
		g.output("Pad", []*onnxpb.AttributeProto{Attribute("mode", mode)}, "x", g.constant("pads_"+mode, []int64{0, 1, 2, 0, 2, 1}, 6))
	}
	p := &onnxpb.ModelProto{IrVersion: proto.Int64(9), Graph: g.GraphProto, OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(20)}}}
	m, err := onnx.FromProto("operations", p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
