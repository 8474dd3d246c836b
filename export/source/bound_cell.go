package source

import (
	"math"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// ball is a number with a radius about it. No number that it stands for has a magnitude above most.
type ball struct{ v, e, most float64 }

// within is a ball of what no rule keeps closer.
func within(v, e float64) ball { return ball{v, e, math.Abs(v) + e} }

func (a ball) plus(b ball) ball { return ball{a.v + b.v, a.e + b.e, a.most + b.most} }

// times: |ab − âb̂| ≤ |a|·|b − b̂| + |a − â|·|b̂|, and the same with a and b exchanged.
func (a ball) times(b ball) ball {
	c := ball{v: a.v * b.v, most: a.most * b.most}
	c.e = min(math.Abs(a.v)*b.e+a.e*min(math.Abs(b.v)+b.e, b.most), math.Abs(b.v)*a.e+b.e*min(math.Abs(a.v)+a.e, a.most), math.Abs(c.v)+c.most)
	return c
}

// mean is z·a + (1 − z)·b, with z from 0 to 1.
func mean(z, a, b ball) ball {
	c := z.times(a).plus(ball{1 - z.v, z.e, 1}.times(b))
	if z.most <= 1 {
		c.most = min(c.most, max(a.most, b.most))
		c.e = min(c.e, math.Abs(c.v)+c.most)
	}
	return c
}

// balls are a vector or a matrix of them.
type balls struct{ v, e []float64 }

func (b balls) at(k int) ball {
	if b.v == nil {
		return ball{}
	}
	return within(b.v[k], b.e[k])
}

// dot is Σ_k row[k]·x[k], the row beginning at an element.
func (b balls) dot(from int, x []ball) ball {
	var sum ball
	for k, a := range x {
		sum = sum.plus(a.times(b.at(from + k)))
	}
	return sum
}

// gate is an activation function with its Lipschitz constant; none of its values has a magnitude above most.
type gate struct {
	f               func(float64) float64
	lipschitz, most float64
}

func (g gate) of(a ball) ball {
	y := g.f(a.v)
	e := min(g.lipschitz*a.e, math.Abs(y)+g.most)
	return ball{y, e, min(math.Abs(y)+e, g.most)}
}

// newGate finds the function of a recurrent node; ok is false for ThresholdedRelu, which jumps.
func newGate(a recurrent.Activation) (g gate, ok bool) {
	alpha, beta := float64(a.Alpha), float64(a.Beta)
	unbounded := math.Inf(1)
	switch a.Name {
	case "Sigmoid":
		return gate{func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 0.25, 1}, true
	case "Tanh":
		return gate{math.Tanh, 1, 1}, true
	case "Relu":
		return gate{func(x float64) float64 { return max(x, 0) }, 1, unbounded}, true
	case "Affine":
		return gate{func(x float64) float64 { return alpha*x + beta }, math.Abs(alpha), unbounded}, true
	case "LeakyRelu":
		return gate{func(x float64) float64 { return max(x, 0) + alpha*min(x, 0) }, max(1, math.Abs(alpha)), unbounded}, true
	case "ScaledTanh":
		return gate{func(x float64) float64 { return alpha * math.Tanh(beta*x) }, math.Abs(alpha * beta), math.Abs(alpha)}, true
	case "HardSigmoid":
		return gate{func(x float64) float64 { return min(max(alpha*x+beta, 0), 1) }, math.Abs(alpha), 1}, true
	case "Elu":
		return gate{func(x float64) float64 { return max(x, 0) + alpha*math.Expm1(min(x, 0)) }, max(1, math.Abs(alpha)), unbounded}, true
	case "Softsign":
		return gate{func(x float64) float64 { return x / (1 + math.Abs(x)) }, 1, 1}, true
	case "Softplus":
		return gate{func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, 1, unbounded}, true
	}
	return gate{}, false
}

// layer is a recurrent node with its operands as balls.
type layer struct {
	recurrent.Config
	gates                 []gate // of Config.Activations
	x, w, r, b, p, h0, c0 balls
	lens                  []int64
	steps, batch, inputs  int
}

// layer runs a recurrent node in balls.
func (b *bounder) layer(n *onnx.Node) error {
	cfg, err := recurrent.ParseConfig(n, b.model.Opset(""))
	if err != nil {
		return err
	}
	l := &layer{Config: cfg}
	for _, a := range cfg.Activations {
		g, ok := newGate(a)
		if !ok {
			b.forget(n)
			return nil
		}
		l.gates = append(l.gates, g)
	}
	for slot, to := range map[int]*balls{recurrent.SlotX: &l.x, recurrent.SlotW: &l.w, recurrent.SlotR: &l.r, recurrent.SlotB: &l.b, recurrent.SlotInitialH: &l.h0, recurrent.SlotInitialC: &l.c0, recurrent.SlotP: &l.p} {
		if n.Input(slot) == "" {
			continue
		}
		if to.v, to.e, err = b.operand(n, slot); err != nil {
			return err
		}
	}
	if cfg.HasSequenceLens {
		if l.lens, err = b.values[n.Input(recurrent.SlotSequenceLens)].Int64s(); err != nil {
			return err
		}
	}
	x := b.values[n.Input(recurrent.SlotX)].Dims
	l.steps, l.batch, l.inputs = x[cfg.Layout], x[1-cfg.Layout], x[2]
	r := b.values[n.Input(recurrent.SlotR)].Dims
	l.Hidden = r[2]
	y, yh, yc := l.run()
	for k, e := range [][]float64{y, yh, yc} {
		if name := n.Output(k); name != "" {
			b.radii[name] = e
		}
	}
	return nil
}

// run gives the radii of Y, Y_h and Y_c.
func (l *layer) run() (y, yh, yc []float64) {
	dirs, h := l.Direction.Count(), l.Hidden
	y, yh, yc = make([]float64, l.steps*dirs*l.batch*h), make([]float64, dirs*l.batch*h), make([]float64, dirs*l.batch*h)
	for d := range dirs {
		for n := range l.batch {
			state := (d*l.batch + n) * h
			if l.Layout == 1 {
				state = (n*dirs + d) * h
			}
			hidden, cell := make([]ball, h), make([]ball, h)
			for k := range h {
				hidden[k], cell[k] = l.h0.at(state+k), l.c0.at(state+k)
			}
			steps := l.steps
			if l.lens != nil {
				steps = int(l.lens[n])
			}
			for i := range steps {
				t := i
				if d == 1 || l.Direction == recurrent.Reverse {
					t = steps - 1 - i
				}
				at, out := (t*l.batch+n)*l.inputs, ((t*dirs+d)*l.batch+n)*h
				if l.Layout == 1 {
					at, out = (n*l.steps+t)*l.inputs, ((n*l.steps+t)*dirs+d)*h
				}
				x := make([]ball, l.inputs)
				for k := range x {
					x[k] = l.x.at(at + k)
				}
				hidden, cell = l.step(d, x, hidden, cell)
				for k, a := range hidden {
					y[out+k] = a.e
				}
			}
			for k := range h {
				yh[state+k], yc[state+k] = hidden[k].e, cell[k].e
			}
		}
	}
	return y, yh, yc
}

// step is one step of a direction.
func (l *layer) step(d int, x, h, c []ball) (hidden, cell []ball) {
	size := l.Hidden
	rows := l.Op.Gates() * size
	f := func(k int, a ball) ball { // an activation of a bounded argument
		if clip := float64(l.Clip); clip > 0 {
			a = gate{func(x float64) float64 { return min(max(x, -clip), clip) }, 1, clip}.of(a)
		}
		return l.gates[d*len(l.gates)/l.Direction.Count()+k].of(a)
	}
	input := func(row int) ball { return l.w.dot((d*rows+row)*l.inputs, x).plus(l.b.at(d*2*rows + row)) }
	state := func(row int, h []ball) ball { return l.r.dot((d*rows+row)*size, h).plus(l.b.at((d*2+1)*rows + row)) }
	both := func(row int) ball { return input(row).plus(state(row, h)) }
	hidden, cell = make([]ball, size), make([]ball, size)
	switch l.Op {
	case recurrent.LSTM:
		peep := func(gate, k int, c ball) ball { return l.p.at((d*3+gate)*size + k).times(c) }
		for k := range size {
			in := f(0, both(k).plus(peep(0, k, c[k])))
			candidate := f(1, both(3*size+k))
			if l.InputForget {
				cell[k] = mean(in, candidate, c[k])
			} else {
				cell[k] = f(0, both(2*size+k).plus(peep(2, k, c[k]))).times(c[k]).plus(in.times(candidate))
			}
			hidden[k] = f(0, both(size+k).plus(peep(1, k, cell[k]))).times(f(2, cell[k]))
		}
	case recurrent.GRU:
		reset, held := make([]ball, size), make([]ball, size)
		for k := range size {
			reset[k] = f(0, both(size+k))
			held[k] = reset[k].times(h[k])
		}
		for k := range size {
			update := f(0, both(k))
			row := 2*size + k
			inner := state(row, held)
			if l.LinearBeforeReset {
				inner = reset[k].times(state(row, h))
			}
			hidden[k] = mean(update, h[k], f(1, input(row).plus(inner)))
		}
	default:
		for k := range size {
			hidden[k] = f(0, both(k))
		}
	}
	return hidden, cell
}
