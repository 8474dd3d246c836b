package source

import (
	"context"
	"math"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// Bound is how far the elements of a value can be, with weights held as int8, from what they are with the weights of the model.
type Bound struct {
	Node     *onnx.Node // that gives the value
	Name     string
	Elements []float64 // in C order; |with int8 − without| of each, not counting what the roundings of the value's type add
}

// Int8Bounds derives, without computing anything with int8, what [Options.Int8] can change for the sample inputs of the options.
//
// layers are the outputs of each node with weights held as int8, given the inputs that it has in the model; outputs are those of the whole model. Every number is a pair of its
// value v and a radius e: int8 keeps it within v ± e. Weights have e = |ŵ − w| ≤ s/2, s being the scale of their row, inputs of the model have 0, and
//
//	a + b: e_a + e_b        a·b: |a|·e_b + e_a·(|b| + e_b)        f(a): L·e_a
//
// with the Lipschitz constant L of f: ¼ for Sigmoid, 1 for Tanh and Relu; where f is bounded, e is bounded too. So a product of a row with x moves by at most
// (s/2)·‖x‖₁ + Σ|ŵ|·e_x, and the states of a recurrent layer carry their radii from step to step: h of an LSTM or GRU moves by at most 1 + |h|, whatever happens. Of one product or
// step the bound is of the size of the change. Of many steps it says little more than that range, because ‖R‖∞ of trained layers is above 1 and the rules let no two errors cancel.
//
// Outputs behind an operator without such a rule (those that choose among elements, divide, or compute integers) are left out. It costs a few runs of each node.
func Int8Bounds(ctx context.Context, m *onnx.Model, o Options) (layers, outputs []Bound, err error) {
	o.Int8 = true
	l := &lowerer{ctx: ctx, program: &Program{}, options: o, pool: map[string]*Buffer{}}
	g, err := prepare(ctx, m, o)
	if err != nil {
		return nil, nil, err
	}
	if _, err := l.entry(g, false); err != nil {
		return nil, nil, err
	}
	b := &bounder{ctx: ctx, graph: g, held: map[*onnx.Node]map[int]*onnx.Array{}, radii: map[string][]float64{}, unknown: map[string]bool{}}
	for _, q := range l.quants {
		if b.held[q.Node] == nil {
			b.held[q.Node] = map[int]*onnx.Array{}
		}
		b.held[q.Node][q.Slot] = q.Value
	}
	for _, n := range g.nodes {
		if g.folded(n) {
			continue
		}
		if b.held[n] != nil {
			local := *b
			local.radii, local.unknown = map[string][]float64{}, map[string]bool{}
			if err := local.node(n); err != nil {
				return nil, nil, err
			}
			for _, name := range n.Outputs {
				if e := local.radii[name]; e != nil {
					layers = append(layers, Bound{n, name, e})
				}
			}
		}
		if err := b.node(n); err != nil {
			return nil, nil, err
		}
		for _, name := range n.Outputs {
			if e := b.radii[name]; e != nil && slices.ContainsFunc(g.outputs, func(v *onnx.ValueInfo) bool { return v.Name == name }) {
				outputs = append(outputs, Bound{n, name, e})
			}
		}
	}
	return layers, outputs, nil
}

// bounder carries radii along a graph. A value without an entry is exact.
type bounder struct {
	ctx context.Context
	*graph
	held    map[*onnx.Node]map[int]*onnx.Array // int8 operands as they are used, by slot
	radii   map[string][]float64
	unknown map[string]bool // values that no rule bounds
}

// Operators by the rule for their radii.
var (
	// bilinearOps multiply operand 0 with 1, and add 2 if there is one.
	bilinearOps = []string{"MatMul", "Gemm", "Conv", "ConvTranspose", "Mul"}
	// spreadOps move, add up or take the largest of elements, which their radii bear as well.
	spreadOps = []string{"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Concat", "Split", "Expand", "Tile", "Dropout", "Gather",
		"ReduceMean", "ReduceSum", "ReduceMax", "AveragePool", "GlobalAveragePool", "MaxPool", "Add", "Sub", "Sum"}
	// contractions are functions of one element.
	contractions = map[string]slope{"Sigmoid": {0.25, 1}, "Tanh": {1, 2}, "Relu": {1, math.Inf(1)}, "Abs": {1, math.Inf(1)}, "Neg": {1, math.Inf(1)}, "Clip": {1, math.Inf(1)}}
)

// slope is the Lipschitz constant of a function and the range of its values.
type slope struct{ lipschitz, span float64 }

func (s slope) radius(e float64) float64 { return min(s.lipschitz*e, s.span) }

// node gives radii to the outputs of a node.
func (b *bounder) node(n *onnx.Node) error {
	held := b.held[n]
	exact := len(held) == 0
	for _, name := range n.Inputs {
		if name == "" {
			continue
		}
		if b.unknown[name] {
			b.forget(n)
			return nil
		}
		exact = exact && b.radii[name] == nil
	}
	s, contracts := contractions[n.OpType]
	switch {
	case exact:
		return nil
	case n.OpType == "LSTM" || n.OpType == "GRU" || n.OpType == "RNN":
		return b.layer(n)
	case slices.Contains(bilinearOps, n.OpType):
		return b.bilinear(n)
	case slices.Contains(spreadOps, n.OpType):
		return b.spread(n)
	case contracts:
		e := slices.Clone(b.radii[n.Input(0)])
		for k := range e {
			e[k] = s.radius(e[k])
		}
		b.radii[n.Output(0)] = e
	case n.OpType == "Softmax":
		return b.softmax(n)
	default:
		b.forget(n)
	}
	return nil
}

func (b *bounder) forget(n *onnx.Node) {
	for _, name := range n.Outputs {
		b.unknown[name] = true
	}
}

// float says whether operand k is a tensor of floats.
func (b *bounder) float(n *onnx.Node, k int) bool {
	a := b.values[n.Input(k)]
	return n.Input(k) != "" && a != nil && a.Type.IsFloat()
}

// value of operand k as the model has it, and its radii.
func (b *bounder) operand(n *onnx.Node, k int) (v, e []float64, err error) {
	v, err = b.values[n.Input(k)].Float64s()
	if err != nil {
		return nil, nil, err
	}
	if held := b.held[n][k]; held != nil {
		if e, err = held.Float64s(); err != nil {
			return nil, nil, err
		}
		e = slices.Clone(e)
		for i := range e {
			e[i] = math.Abs(e[i] - v[i])
		}
		return v, e, nil
	}
	if e = b.radii[n.Input(k)]; e == nil {
		e = make([]float64, len(v))
	}
	return v, e, nil
}

// run adds |output| of a node with other operands to the radii of its outputs.
func (b *bounder) run(n *onnx.Node, operands map[int][]float64) error {
	o := runtime.Options{}
	for k := range n.Inputs {
		v := operands[k]
		if v == nil {
			continue
		}
		a := b.values[n.Input(k)]
		f := make([]float32, len(v))
		for i := range v {
			f[i] = float32(v[i])
		}
		t, err := recurrent.Array(a.Type, slices.Clone(a.Dims), f)
		if err != nil {
			return err
		}
		o.Overrides = append(o.Overrides, runtime.Override{Node: n, Slot: k, Value: t})
	}
	for _, name := range n.Outputs {
		if name != "" && b.values[name] != nil {
			o.Outputs = append(o.Outputs, name)
		}
	}
	p, err := runtime.Compile(b.ctx, b.model, o)
	if err != nil {
		return err
	}
	out, err := p.Run(b.ctx, b.feeds)
	if err != nil {
		return err
	}
	for _, name := range o.Outputs {
		if !out[name].Type.IsFloat() {
			b.unknown[name] = true
			continue
		}
		v, err := out[name].Float64s()
		if err != nil {
			return err
		}
		if b.radii[name] == nil {
			b.radii[name] = make([]float64, len(v))
		}
		for k := range v {
			b.radii[name][k] += math.Abs(v[k])
		}
	}
	return nil
}

// spread runs a node on the radii of its operands.
func (b *bounder) spread(n *onnx.Node) error {
	operands := map[int][]float64{}
	for k := range n.Inputs {
		if b.float(n, k) {
			_, e, err := b.operand(n, k)
			if err != nil {
				return err
			}
			if n.OpType == "Sub" && k == 1 {
				e = slices.Clone(e)
				for i := range e {
					e[i] = -e[i]
				}
			}
			operands[k] = e
		}
	}
	return b.run(n, operands)
}

// bilinear: |x|·e_w + e_x·(|w| + e_w), and the radii of what is added.
func (b *bounder) bilinear(n *onnx.Node) error {
	x, ex, err := b.operand(n, 0)
	if err != nil {
		return err
	}
	w, ew, err := b.operand(n, 1)
	if err != nil {
		return err
	}
	var added, none []float64
	if n.Input(2) != "" {
		if _, added, err = b.operand(n, 2); err != nil {
			return err
		}
		none = make([]float64, len(added))
	}
	if err := b.run(n, map[int][]float64{0: magnitudes(x, nil), 1: ew, 2: none}); err != nil {
		return err
	}
	if b.radii[n.Input(0)] != nil {
		if err := b.run(n, map[int][]float64{0: ex, 1: magnitudes(w, ew), 2: none}); err != nil {
			return err
		}
	}
	if b.radii[n.Input(2)] != nil { // by itself: Gemm may subtract it
		return b.run(n, map[int][]float64{0: make([]float64, len(x)), 2: added})
	}
	return nil
}

// magnitudes are |v| + e.
func magnitudes(v, e []float64) []float64 {
	out := make([]float64, len(v))
	for k := range v {
		out[k] = math.Abs(v[k])
		if e != nil {
			out[k] += e[k]
		}
	}
	return out
}

// softmax: with arguments off by at most e, a part p is between p·exp(−2e) and p·exp(2e).
func (b *bounder) softmax(n *onnx.Node) error {
	p, err := b.values[n.Output(0)].Float64s()
	if err != nil {
		return err
	}
	most := min(slices.Max(append(slices.Clone(b.radii[n.Input(0)]), 0)), 100) // exp(200) is far above any 1/p
	e := make([]float64, len(p))
	for k := range p {
		e[k] = min(p[k]*math.Expm1(2*most), 1)
	}
	b.radii[n.Output(0)] = e
	return nil
}
