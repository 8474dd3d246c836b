package testmodels

import (
	"fmt"

	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// cell describes a small recurrent layer whose W has a low rank and some noise.
type cell struct {
	op                   string // LSTM, GRU, RNN
	directions           int
	input, hidden, gates int
	typ                  onnx.DataType
}

// weights makes W [D, G·H, I], R [D, G·H, H] and B [D, 2·G·H] as initializers named with a prefix.
func (c cell) weights(stream, prefix string) []*onnxpb.TensorProto {
	const rank = 6
	d, gh := c.directions, c.gates*c.hidden
	left := seed.Normal(seed.Stream(1, stream, prefix, "left"), d*gh*rank)
	right := seed.Normal(seed.Stream(1, stream, prefix, "right"), rank*c.input)
	w := seed.Normal(seed.Stream(1, stream, prefix, "noise"), d*gh*c.input)
	for i := range d * gh {
		for j := range c.input {
			v := 0.02 * w[i*c.input+j]
			for k := range rank {
				v += 0.08 * left[i*rank+k] * right[k*c.input+j]
			}
			w[i*c.input+j] = grid(v, 1<<14)
		}
	}
	scaled := func(name string, n int) []float64 {
		x := seed.Normal(seed.Stream(1, stream, prefix, name), n)
		for i := range x {
			x[i] = grid(0.25*x[i], 1<<12)
		}
		return x
	}
	n := func(v ...int) []int64 {
		out := make([]int64, len(v))
		for i := range v {
			out[i] = int64(v[i])
		}
		return out
	}
	return []*onnxpb.TensorProto{
		tensor(prefix+"W", c.typ, n(d, gh, c.input), w),
		tensor(prefix+"R", c.typ, n(d, gh, c.hidden), scaled("R", d*gh*c.hidden)),
		tensor(prefix+"B", c.typ, n(d, 2*gh), scaled("B", d*2*gh)),
	}
}

// layer is one recurrent node over x [T, B, I] with all its outputs.
func layer(name string, c cell, attributes ...*onnxpb.AttributeProto) *onnxpb.GraphProto {
	outputs := names("y", "y_h")
	out := []*onnxpb.ValueInfoProto{
		value("y", c.typ, "T", c.directions, "B", c.hidden),
		value("y_h", c.typ, c.directions, "B", c.hidden),
	}
	if c.op == "LSTM" {
		outputs = append(outputs, "y_c")
		out = append(out, value("y_c", c.typ, c.directions, "B", c.hidden))
	}
	attributes = append([]*onnxpb.AttributeProto{attr("hidden_size", c.hidden)}, attributes...)
	return &onnxpb.GraphProto{
		Name:        &name,
		Node:        []*onnxpb.NodeProto{node(c.op, "layer", names("x", "W", "R", "B"), outputs, attributes...)},
		Initializer: c.weights(name, ""),
		Input:       []*onnxpb.ValueInfoProto{value("x", c.typ, "T", "B", c.input)},
		Output:      out,
	}
}

// outerScope has one W in the main graph that LSTM nodes in both branches of an If read, each with its own R and B.
func outerScope() *onnxpb.GraphProto {
	c := cell{"LSTM", 1, 96, 24, 4, onnx.Float}
	branch := func(name, direction string) *onnxpb.GraphProto {
		own := c.weights("if_outer_w", name+"/")
		return &onnxpb.GraphProto{
			Name:        &name,
			Initializer: own[1:],
			Node: []*onnxpb.NodeProto{node("LSTM", name+"/layer", names("x", "W", own[1].GetName(), own[2].GetName()), names("", name+"/h"),
				attr("hidden_size", c.hidden), attr("direction", direction))},
			Output: []*onnxpb.ValueInfoProto{value(name+"/h", c.typ, 1, "B", c.hidden)},
		}
	}
	name := "if_outer_w"
	return &onnxpb.GraphProto{
		Name:        &name,
		Initializer: c.weights(name, "")[:1],
		Node: []*onnxpb.NodeProto{node("If", "choose", names("forward"), names("y_h"),
			attr("then_branch", branch("then", "forward")), attr("else_branch", branch("else", "reverse")))},
		Input:  []*onnxpb.ValueInfoProto{value("x", c.typ, "T", "B", c.input), value("forward", onnx.Bool)},
		Output: []*onnxpb.ValueInfoProto{value("y_h", c.typ, 1, "B", c.hidden)},
	}
}

// tied runs one layer over two inputs: two nodes, one set of weights.
func tied() *onnxpb.GraphProto {
	c := cell{"LSTM", 1, 96, 24, 4, onnx.Float}
	name := "tied"
	run := func(input, output string) *onnxpb.NodeProto {
		return node("LSTM", "over_"+input, names(input, "W", "R", "B"), names("", output), attr("hidden_size", c.hidden))
	}
	return &onnxpb.GraphProto{
		Name:        &name,
		Initializer: c.weights(name, ""),
		Node:        []*onnxpb.NodeProto{run("left", "left_h"), run("right", "right_h"), node("Sub", "compare", names("left_h", "right_h"), names("difference"))},
		Input:       []*onnxpb.ValueInfoProto{value("left", c.typ, "T", "B", c.input), value("right", c.typ, "T", "B", c.input)},
		Output:      []*onnxpb.ValueInfoProto{value("difference", c.typ, 1, "B", c.hidden)},
	}
}

// stepByGates is one step of an LSTM written with a matrix for each gate, the form that runtimes without recurrent operators can run.
func stepByGates() *onnxpb.GraphProto {
	const batch, input, units = 3, 96, 24
	name := "lstm_step_gates"
	g := &onnxpb.GraphProto{
		Name:   &name,
		Input:  []*onnxpb.ValueInfoProto{value("x", onnx.Float, batch, input), value("h", onnx.Float, batch, units), value("c", onnx.Float, batch, units)},
		Output: []*onnxpb.ValueInfoProto{value("h_next", onnx.Float, batch, units)},
	}
	for _, gate := range names("i", "o", "f", "g") {
		w := cell{"RNN", 1, input, units, 1, onnx.Float}.weights(name, gate)
		// [1, H, I] as [H, I] is used transposed, so Gemm's transB does it; R and the sum of both biases likewise.
		w[0].Dims, w[1].Dims, w[2].Dims = w[0].Dims[1:], w[1].Dims[1:], []int64{units}
		w[2].RawData = w[2].RawData[:4*units]
		g.Initializer = append(g.Initializer, w...)
		activation := "Sigmoid"
		if gate == "g" {
			activation = "Tanh"
		}
		g.Node = append(g.Node,
			node("Gemm", gate+"_input", names("x", gate+"W", gate+"B"), names(gate+"_x"), attr("transB", 1)),
			node("Transpose", gate+"_recurrent", names(gate+"R"), names(gate+"_rt"), attr("perm", []int{1, 0})),
			node("MatMul", gate+"_state", names("h", gate+"_rt"), names(gate+"_h")),
			node("Add", gate+"_sum", names(gate+"_x", gate+"_h"), names(gate+"_z")),
			node(activation, gate+"_gate", names(gate+"_z"), names(gate)))
	}
	g.Node = append(g.Node,
		node("Mul", "forget", names("f", "c"), names("kept")),
		node("Mul", "write", names("i", "g"), names("new")),
		node("Add", "cell", names("kept", "new"), names("c_next")),
		node("Tanh", "squash", names("c_next"), names("squashed")),
		node("Mul", "show", names("o", "squashed"), names("h_next")))
	return g
}

// gestureGraph is the classifier: grey values 0 to 255 in, logits of the eight gestures out.
func gestureGraph() *onnxpb.GraphProto {
	g := makeGestures()
	name := "gestures"
	return &onnxpb.GraphProto{
		Name: &name,
		Initializer: []*onnxpb.TensorProto{
			tensor("scale", onnx.Float, nil, []float64{1.0 / 255}),
			tensor("lstm.W", onnx.Float, []int64{1, 4 * hidden, pixels}, g.w),
			tensor("lstm.R", onnx.Float, []int64{1, 4 * hidden, hidden}, g.r),
			tensor("lstm.B", onnx.Float, []int64{1, 8 * hidden}, g.b),
			int64s("direction_axis", 0),
			tensor("readout.weight", onnx.Float, []int64{hidden, classes}, g.readout),
			tensor("readout.bias", onnx.Float, []int64{classes}, g.offset),
		},
		Node: []*onnxpb.NodeProto{
			node("Mul", "normalise", names("frames", "scale"), names("grey")),
			node("Transpose", "time_first", names("grey"), names("sequence"), attr("perm", []int{1, 0, 2})),
			node("LSTM", "lstm", names("sequence", "lstm.W", "lstm.R", "lstm.B"), names("", "last"), attr("hidden_size", hidden)),
			node("Squeeze", "one_direction", names("last", "direction_axis"), names("state")),
			node("Gemm", "readout", names("state", "readout.weight", "readout.bias"), names("logits")),
		},
		Input:  []*onnxpb.ValueInfoProto{value("frames", onnx.Float, "clips", "steps", pixels)},
		Output: []*onnxpb.ValueInfoProto{value("logits", onnx.Float, "clips", classes)},
	}
}

// inputs makes the stored inputs of a small model: standard normal numbers over 7 steps and 3 sequences.
func inputs(g *onnxpb.GraphProto) []*onnxpb.TensorProto {
	var out []*onnxpb.TensorProto
	for _, in := range g.Input {
		t := in.GetType().GetTensorType()
		if t.GetElemType() == int32(onnx.Bool) {
			out = append(out, boolean(in.GetName(), false))
			continue
		}
		var dims []int64
		n := 1
		for _, d := range t.GetShape().Dim {
			size := map[string]int64{"T": 7, "B": 3, "": d.GetDimValue()}[d.GetDimParam()]
			dims = append(dims, size)
			n *= int(size)
		}
		x := seed.Normal(seed.Stream(1, g.GetName(), "input", in.GetName()), n)
		for i := range x {
			x[i] = grid(x[i], 1<<8)
		}
		out = append(out, tensor(in.GetName(), onnx.DataType(t.GetElemType()), dims, x))
	}
	return out
}

// graphs lists the models by file name.
func graphs() map[string]*onnxpb.GraphProto {
	f, h := onnx.Float, onnx.Float16
	return map[string]*onnxpb.GraphProto{
		"gestures":        gestureGraph(),
		"lstm_bidi":       layer("lstm_bidi", cell{"LSTM", 2, 96, 24, 4, f}, attr("direction", "bidirectional")),
		"lstm_float16":    layer("lstm_float16", cell{"LSTM", 1, 96, 24, 4, h}),
		"gru_lbr0":        layer("gru_lbr0", cell{"GRU", 1, 96, 24, 3, f}),
		"gru_lbr1":        layer("gru_lbr1", cell{"GRU", 2, 96, 24, 3, f}, attr("direction", "bidirectional"), attr("linear_before_reset", 1)),
		"rnn_reverse":     layer("rnn_reverse", cell{"RNN", 1, 96, 32, 1, f}, attr("direction", "reverse"), attr("activations", names("Softsign"))),
		"if_outer_w":      outerScope(),
		"tied":            tied(),
		"lstm_step_gates": stepByGates(),
	}
}

// describe is for errors.
func describe(name string, err error) error { return fmt.Errorf("testmodels: %s: %w", name, err) }
