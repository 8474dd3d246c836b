package gates

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// cell is a recurrent node of one step.
type cell struct {
	*emitter
	node   *onnx.Node
	config recurrent.Config
	batch  int
	input  int
	x, h   value // [B, I] and [B, H]
}

// lowerCell writes one step of a recurrent node gate by gate (ONNX Operators.md, LSTM, GRU and RNN).
func lowerCell(e *emitter, n *onnx.Node) string {
	cfg, err := recurrent.ParseConfig(n, e.v.Model().Opset(""))
	if err != nil {
		e.err = err
		return ""
	}
	x := e.dims(n.Input(recurrent.SlotX))
	c := &cell{emitter: e, node: n, config: cfg, batch: x[1-cfg.Layout], input: x[2]}
	switch {
	case cfg.Direction != recurrent.Forward:
		return fmt.Sprintf("direction %q", cfg.Direction)
	case x[cfg.Layout] != 1:
		return fmt.Sprintf("it has %d steps", x[cfg.Layout])
	case cfg.HasSequenceLens:
		return "lengths of sequences"
	}
	for _, slot := range []int{recurrent.SlotW, recurrent.SlotR, recurrent.SlotB, recurrent.SlotP} {
		if name := n.Input(slot); name != "" && !e.v.Constant(name) {
			return fmt.Sprintf("operand %d is not constant", slot)
		}
	}
	c.x = e.as(e.get(n.Input(recurrent.SlotX)), c.batch, c.input)
	c.h = c.state(recurrent.SlotInitialH)
	if c.emitter.err != nil {
		return ""
	}
	var why string
	var next, memory value
	switch cfg.Op {
	case recurrent.LSTM:
		next, memory, why = c.lstm()
		e.set(n, 2, memory)
	case recurrent.GRU:
		next, why = c.gru()
	default:
		next, why = c.activated(0, c.sum("h", c.gate("h", 0)))
	}
	e.set(n, 0, next)
	e.set(n, 1, next)
	return why
}

// state is an initial state as a matrix, zeros where there is none.
func (c *cell) state(slot int) value {
	if name := c.node.Input(slot); name != "" {
		return c.as(c.get(name), c.batch, c.config.Hidden)
	}
	return c.filled(c.name("zero"), []int{c.batch, c.config.Hidden}, 0)
}

func (c *cell) name(what string) string {
	base := c.node.Name
	if base == "" {
		base = source.FirstOutput(c.node)
	}
	return base + "." + what
}

func (c *cell) dims() []int { return []int{c.batch, c.config.Hidden} }

// op adds a node on values [B, H].
func (c *cell) op(op, what string, inputs ...value) value {
	return c.emit(op, c.name(what), c.dims(), inputs)
}

// weight is the block of a gate, transposed: [columns, H].
func (c *cell) weight(slot int, what string, gate, columns int) value {
	h := c.config.Hidden
	data := c.floats(c.node.Input(slot))[gate*h*columns : (gate+1)*h*columns]
	return c.constant(c.name(what), []int{columns, h}, transposed(data, h, columns))
}

// bias is what is added for a gate, nil where the node has no bias: Wb + Rb, or one of the two.
func (c *cell) bias(gate int, withW, withR bool) []float32 {
	if !c.config.HasBias {
		return nil
	}
	h := c.config.Hidden
	b := c.floats(c.node.Input(recurrent.SlotB))
	out := make([]float32, h)
	for k := range out {
		if withW {
			out[k] += b[gate*h+k]
		}
		if withR {
			out[k] += b[(c.config.Op.Gates()+gate)*h+k]
		}
	}
	return out
}

// wide repeats a row for every sample.
func (c *cell) wide(what string, row []float32) value {
	var data []float32
	for range c.batch {
		data = append(data, row...)
	}
	return c.constant(c.name(what), c.dims(), data)
}

// fromX is x·Wᵀ of a gate, fromH is h·Rᵀ.
func (c *cell) fromX(what string, gate int) value {
	return c.op("MatMul", what+".x", c.x, c.weight(recurrent.SlotW, "W."+what, gate, c.input))
}

func (c *cell) fromH(what string, gate int, h value) value {
	return c.op("MatMul", what+".h", h, c.weight(recurrent.SlotR, "R."+what, gate, c.config.Hidden))
}

// gate lists the terms of a gate's sum.
func (c *cell) gate(what string, gate int) []value {
	terms := []value{c.fromX(what, gate), c.fromH(what, gate, c.h)}
	if b := c.bias(gate, true, true); b != nil {
		terms = append(terms, c.wide("b."+what, b))
	}
	return terms
}

func (c *cell) sum(what string, terms []value) value {
	v := terms[0]
	for _, t := range terms[1:] {
		v = c.op("Add", what+".sum", v, t)
	}
	return v
}

// activated applies activation k of the node.
func (c *cell) activated(k int, v value) (value, string) {
	a := c.config.Activations[k]
	if c.config.Clip > 0 {
		return v, "clip"
	}
	attributes := func(names ...string) (list []*onnxpb.AttributeProto) {
		for i, name := range names {
			list = append(list, &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_FLOAT.Enum(), F: proto.Float32([]float32{a.Alpha, a.Beta}[i])})
		}
		return list
	}
	switch a.Name {
	case "Sigmoid", "Tanh", "Relu", "Softsign", "Softplus":
		return c.emit(a.Name, v.name+".out", v.dims, []value{v}), ""
	case "HardSigmoid":
		return c.emit(a.Name, v.name+".out", v.dims, []value{v}, attributes("alpha", "beta")...), ""
	case "LeakyRelu", "Elu", "ThresholdedRelu":
		return c.emit(a.Name, v.name+".out", v.dims, []value{v}, attributes("alpha")...), ""
	case "Affine":
		y := c.op("Mul", "affine", v, c.filled(c.name("alpha"), c.dims(), a.Alpha))
		return c.op("Add", "affine", y, c.filled(c.name("beta"), c.dims(), a.Beta)), ""
	case "ScaledTanh":
		y := c.op("Mul", "scaled", v, c.filled(c.name("beta"), c.dims(), a.Beta))
		return c.op("Mul", "scaled", c.op("Tanh", "scaled", y), c.filled(c.name("alpha"), c.dims(), a.Alpha)), ""
	}
	return v, "activation " + a.Name
}

// Gates of an LSTM in ONNX's order, and its peepholes'.
const (
	gateI, gateO, gateF, gateC = 0, 1, 2, 3
	peepI, peepO, peepF        = 0, 1, 2
)

func (c *cell) lstm() (h, memory value, why string) {
	old := c.state(recurrent.SlotInitialC)
	note := func(v value, w string) value {
		if why == "" {
			why = w
		}
		return v
	}
	peep := func(terms []value, gate int, what string, state value) []value {
		if !c.config.HasPeepholes {
			return terms
		}
		hidden := c.config.Hidden
		p := c.wide("P."+what, c.floats(c.node.Input(recurrent.SlotP))[gate*hidden:(gate+1)*hidden])
		return append(terms, c.op("Mul", what+".peep", p, state))
	}
	i := note(c.activated(0, c.sum("i", peep(c.gate("i", gateI), peepI, "i", old))))
	var f value
	if c.config.InputForget {
		f = c.op("Sub", "f", c.filled(c.name("one"), c.dims(), 1), i)
	} else {
		f = note(c.activated(0, c.sum("f", peep(c.gate("f", gateF), peepF, "f", old))))
	}
	n := note(c.activated(1, c.sum("c", c.gate("c", gateC))))
	memory = c.op("Add", "memory", c.op("Mul", "keep", f, old), c.op("Mul", "take", i, n))
	o := note(c.activated(0, c.sum("o", peep(c.gate("o", gateO), peepO, "o", memory))))
	h = c.op("Mul", "hidden", o, note(c.activated(2, memory)))
	return h, memory, why
}

// Gates of a GRU in ONNX's order.
const gateZ, gateR, gateH = 0, 1, 2

// gru computes (1−z)·n + z·h as n + z·(h−n).
func (c *cell) gru() (h value, why string) {
	z, why := c.activated(0, c.sum("z", c.gate("z", gateZ)))
	if why != "" {
		return z, why
	}
	r, why := c.activated(0, c.sum("r", c.gate("r", gateR)))
	if why != "" {
		return r, why
	}
	terms := []value{c.fromX("n", gateH)}
	if c.config.LinearBeforeReset {
		part := c.fromH("n", gateH, c.h)
		if b := c.bias(gateH, false, true); b != nil {
			part = c.op("Add", "n.part", part, c.wide("b.part", b))
			terms = append(terms, c.wide("b.n", c.bias(gateH, true, false)))
		}
		terms = append(terms, c.op("Mul", "n.reset", r, part))
	} else {
		terms = append(terms, c.fromH("n", gateH, c.op("Mul", "n.reset", r, c.h)))
		if b := c.bias(gateH, true, true); b != nil {
			terms = append(terms, c.wide("b.n", b))
		}
	}
	n, why := c.activated(1, c.sum("n", terms))
	if why != "" {
		return n, why
	}
	return c.op("Add", "hidden", n, c.op("Mul", "blend", z, c.op("Sub", "change", c.h, n))), ""
}
