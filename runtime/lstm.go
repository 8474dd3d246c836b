package runtime

import (
	"github.com/trconvert/trconvert/internal/vec"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// lstmCell is the LSTM of the ONNX specification, gate blocks i, o, f, c:
//
//	i = f(X·Wiᵀ + H·Riᵀ + Pi⊙C + Wbi + Rbi)
//	f = f(X·Wfᵀ + H·Rfᵀ + Pf⊙C + Wbf + Rbf), or 1 − i with input_forget
//	c̃ = g(X·Wcᵀ + H·Rcᵀ + Wbc + Rbc)
//	C' = f⊙C + i⊙c̃
//	o = f(X·Woᵀ + H·Roᵀ + Po⊙C' + Wbo + Rbo)
//	H' = o⊙h(C')
//
// A clip threshold bounds the argument of f, g and h; C' itself is not clipped.
type lstmCell[T floating] struct {
	r          weight[T] // [4H, H]
	pi, po, pf []T       // [H], nil without peepholes
	f, g, hAct activation[T]
	df, dg, dh derivative[T]
	coupled    bool // input_forget
	row        func(s *stepState[T], b int)
	// fused computes a row at once, as vec.LSTM does, and biased with the bias, as vec.LSTMStep does; nil for what those do not offer.
	fused  func(in, out, forget, cand, old, next, hidden []T)
	biased func(gates, bias, old, next, hidden []T)
	bias   []T // [4H] for biased, nil without
}

// newLSTMCell makes the cell of a direction; p is nil without peepholes.
func newLSTMCell[T floating](cfg *recurrent.Config, acts []recurrent.Activation, r, p []T, pack packing) *lstmCell[T] {
	h, clip := cfg.Hidden, T(cfg.Clip)
	c := &lstmCell[T]{r: newWeight(4*h, h, r, pack), coupled: cfg.InputForget,
		f: newActivation(acts[0], clip), g: newActivation(acts[1], clip), hAct: newActivation(acts[2], clip),
		df: newDerivative(acts[0], clip), dg: newDerivative(acts[1], clip), dh: newDerivative(acts[2], clip)}
	c.row = c.general
	if p != nil {
		c.pi, c.po, c.pf = p[:h], p[h:2*h], p[2*h:]
	} else if standard(cfg, acts, "Sigmoid", "Tanh", "Tanh") && !c.coupled {
		if c.fused, _ = any(vec.LSTM).(func(in, out, forget, cand, old, next, hidden []T)); c.fused != nil {
			c.row = c.plain
			c.biased, _ = any(vec.LSTMStep).(func(gates, bias, old, next, hidden []T))
		}
	}
	return c
}

func (c *lstmCell[T]) inputBias(wb, rb []T) []T {
	s := sum(wb, rb)
	if c.biased == nil {
		return s
	}
	c.bias = s
	return nil
}

func (c *lstmCell[T]) advance(s *stepState[T]) {
	if !s.atRest {
		c.r.multiply(s.batch, s.h, 1, s.gates, c.r.rows)
	}
	s.rows(c.row)
}

func (c *lstmCell[T]) plain(s *stepState[T], b int) {
	h := s.hidden
	g, state, next := s.gates[b*4*h:(b+1)*4*h], s.c[b*h:(b+1)*h], s.nextH[b*h:(b+1)*h]
	if c.bias != nil {
		c.biased(g, c.bias, state, state, next)
		return
	}
	c.fused(g[:h], g[h:2*h], g[2*h:3*h], g[3*h:], state, state, next)
}

func (c *lstmCell[T]) general(s *stepState[T], b int) {
	h := s.hidden
	g := s.gates[b*4*h : (b+1)*4*h]
	in, out, forget, cand := g[:h], g[h:2*h], g[2*h:3*h], g[3*h:]
	state, y := s.c[b*h:(b+1)*h], s.nextH[b*h:(b+1)*h]
	addProduct(in, c.pi, state)
	s.note(b, 0, in)
	c.f(in)
	if c.coupled {
		for k, v := range in {
			forget[k] = 1 - v
		}
	} else {
		addProduct(forget, c.pf, state)
		s.note(b, 2*h, forget)
		c.f(forget)
	}
	s.note(b, 3*h, cand)
	c.g(cand)
	for k := range state {
		state[k] = forget[k]*state[k] + in[k]*cand[k]
	}
	addProduct(out, c.po, state)
	s.note(b, h, out)
	c.f(out)
	copy(y, state)
	c.hAct(y)
	for k, v := range out {
		y[k] *= v
	}
}

// addProduct adds p⊙x to dst; a nil p is zero.
func addProduct[T floating](dst, p, x []T) {
	for k, v := range p {
		dst[k] += v * x[k]
	}
}

func sum[T floating](a, b []T) []T {
	s := make([]T, len(a))
	for k := range s {
		s[k] = a[k] + b[k]
	}
	return s
}
