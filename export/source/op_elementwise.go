package source

import (
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// The types an operation is generated for.
var (
	floating = []Elem{Float32}
	numeric  = []Elem{Float32, Int32, Int64}
	logical  = []Elem{Bool}
	anything = []Elem{Float32, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Bool}
)

func lowerUnary(op string, types []Elem) lowering {
	return func(n *node) error {
		n.ignore("consumed_inputs")
		return n.unary(Expr{Op: op}, types)
	}
}

func (n *node) unary(e Expr, types []Elem) error {
	t, err := n.in(0)
	if err != nil {
		return err
	}
	if !slices.Contains(types, t.buf.Elem) {
		return lacksf("type %v", t.buf.Elem)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.nest(t.dims, whole(out), e, whole(t))
	return nil
}

// parameter is an attribute of an activation with its default.
type parameter struct {
	name  string
	value float32
}

func lowerActivation(op string, parameters ...parameter) lowering {
	return func(n *node) error {
		n.ignore("consumed_inputs")
		e := Expr{Op: op}
		for _, p := range parameters {
			v := p.value
			if op == "selu" && n.opset() < 6 { // other digits then: https://onnx.ai/onnx/operators/onnx__Selu.html
				v = map[string]float32{"alpha": 1.6732, "gamma": 1.0507}[p.name]
			}
			v, err := n.float(p.name, v)
			if err != nil {
				return err
			}
			e.Params = append(e.Params, v)
		}
		return n.unary(e, floating)
	}
}

func lowerGelu(n *node) error {
	kind, err := n.string("approximate", "none")
	if err != nil {
		return err
	}
	if kind == "tanh" {
		return n.unary(Expr{Op: "gelutanh"}, floating)
	}
	return n.unary(Expr{Op: "gelu"}, floating)
}

// operands reads all operands, which must be of one of the types, with the dims of the result.
func (n *node) operands(types []Elem) ([]tensor, []int, error) {
	dims, err := n.outDims(0)
	if err != nil {
		return nil, nil, err
	}
	var list []tensor
	for k := range n.Inputs {
		t, err := n.in(k)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(types, t.buf.Elem) {
			return nil, nil, lacksf("type %v", t.buf.Elem)
		}
		list = append(list, t)
	}
	return list, dims, nil
}

func lowerBinary(op string, types []Elem) lowering {
	return func(n *node) error {
		n.ignore("consumed_inputs")
		if b, err := n.int("broadcast", 0); err != nil {
			return err
		} else if b != 0 {
			return lacksf("attribute \"broadcast\" of opset %d", n.opset())
		}
		in, dims, err := n.operands(types)
		if err != nil {
			return err
		}
		if op == "prelu" && n.opset() < 7 {
			return lacksf("opset %d", n.opset())
		}
		out, err := n.out(0)
		if err != nil {
			return err
		}
		n.nest(dims, whole(out), Expr{Op: op}, spread(in[0], dims), spread(in[1], dims))
		return nil
	}
}

// lowerPow takes the common exponents without pow.
func lowerPow(n *node) error {
	if n.isFixed(1) {
		a := n.values[n.Input(1)]
		if f, err := a.Float32s(); err == nil && len(f) == 1 && len(a.Dims) <= len(n.values[n.Output(0)].Dims) {
			if op, common := map[float32]string{2: "square", 0.5: "sqrt", 1: "copy"}[f[0]]; common {
				return n.unary(Expr{Op: op}, floating)
			}
		}
	}
	return lowerBinary("pow", floating)(n)
}

func lowerVariadic(op string, mean bool) lowering {
	return func(n *node) error {
		n.ignore("consumed_inputs")
		in, dims, err := n.operands(numeric)
		if err != nil {
			return err
		}
		if mean && in[0].buf.Elem != Float32 {
			return lacksf("type %v", in[0].buf.Elem)
		}
		out, err := n.out(0)
		if err != nil {
			return err
		}
		if len(in) == 1 {
			n.move(out, spread(in[0], dims))
			return nil
		}
		acc := spread(in[0], dims)
		for k := 1; k < len(in); k++ {
			n.nest(dims, whole(out), Expr{Op: op}, acc, spread(in[k], dims))
			acc = whole(out)
		}
		if mean {
			n.nest(dims, whole(out), Expr{Op: "linear", Params: []float32{1 / float32(len(in)), 0}}, whole(out))
		}
		return nil
	}
}

func lowerWhere(n *node) error {
	in, dims, err := n.operands(anything)
	if err != nil {
		return err
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.nest(dims, whole(out), Expr{Op: "where"}, spread(in[0], dims), spread(in[1], dims), spread(in[2], dims))
	return nil
}

func lowerClip(n *node) error {
	n.ignore("consumed_inputs")
	t, err := n.in(0)
	if err != nil {
		return err
	}
	if !slices.Contains(numeric, t.buf.Elem) {
		return lacksf("type %v", t.buf.Elem)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	from := whole(t)
	bound := func(op, attribute string, k int) error {
		n.asked[attribute] = true
		limit := tensor{}
		if n.has(k) {
			if limit, err = n.in(k); err != nil {
				return err
			}
		} else if a := n.Attr(attribute); a != nil && a.Type == onnx.AttrFloat && t.buf.Elem == Float32 {
			limit = tensor{buf: n.floats([]float32{a.F})}
		} else {
			return nil
		}
		n.nest(t.dims, whole(out), Expr{Op: op}, from, Ref{Buf: limit.buf, Strides: make([]int, len(t.dims))})
		from = whole(out)
		return nil
	}
	if err := bound("max", "min", 1); err != nil {
		return err
	}
	if err := bound("min", "max", 2); err != nil {
		return err
	}
	if from.Buf == t.buf {
		n.move(out, from)
	}
	return nil
}
