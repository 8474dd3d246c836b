package runtime

import (
	"github.com/trconvert/trconvert/internal/vec"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// gruCell is the GRU of the ONNX specification, gate blocks z, r, h:
//
//	z = f(X·Wzᵀ + H·Rzᵀ + Wbz + Rbz)
//	r = f(X·Wrᵀ + H·Rrᵀ + Wbr + Rbr)
//	h̃ = g(X·Whᵀ + (r⊙H)·Rhᵀ + Rbh + Wbh), or with linear_before_reset
//	h̃ = g(X·Whᵀ + r⊙(H·Rhᵀ + Rbh) + Wbh)
//	H' = (1 − z)⊙h̃ + z⊙H
type gruCell[T floating] struct {
	gates, candidate  weight[T] // Rz|Rr [2H, H] and Rh [H, H]
	f, g              activation[T]
	df, dg            derivative[T]
	sigmoid           bool // f is the standard one
	linearBeforeReset bool
	rbh               []T // Rbh where it stays inside the reset
	bias              []T // [4H] for biased, nil without
	reset, finish     func(s *stepState[T], b int)
	// fused and fusedReset compute the end of a row at once, as vec.GRU and vec.GRUReset do; nil for what those do not offer.
	fused      func(update, cand, old, hidden []T)
	fusedReset func(update, reset, projected, cand, old, hidden []T)
	// biased computes a row at once with linear_before_reset and the bias, as vec.GRUStep does; nil for what that does not offer.
	biased func(gates, bias, projected, old, hidden []T)
}

func newGRUCell[T floating](cfg *recurrent.Config, acts []recurrent.Activation, r []T, pack packing) *gruCell[T] {
	h, clip := cfg.Hidden, T(cfg.Clip)
	c := &gruCell[T]{gates: newWeight(2*h, h, r[:2*h*h], pack), candidate: newWeight(h, h, r[2*h*h:], pack),
		f: newActivation(acts[0], clip), g: newActivation(acts[1], clip),
		df: newDerivative(acts[0], clip), dg: newDerivative(acts[1], clip), sigmoid: standard(cfg, acts, "Sigmoid"), linearBeforeReset: cfg.LinearBeforeReset}
	c.reset, c.finish = c.resetRow, c.finishRow
	if standard(cfg, acts[1:], "Tanh") {
		c.fused, _ = any(vec.GRU).(func(update, cand, old, hidden []T))
		c.fusedReset, _ = any(vec.GRUReset).(func(update, reset, projected, cand, old, hidden []T))
		if c.linearBeforeReset && c.sigmoid {
			c.biased, _ = any(vec.GRUStep).(func(gates, bias, projected, old, hidden []T))
		}
	}
	return c
}

func (c *gruCell[T]) inputBias(wb, rb []T) []T {
	s := sum(wb, rb)
	if !c.linearBeforeReset {
		return s
	}
	h := len(wb) / 3
	copy(s[2*h:], wb[2*h:])
	if c.biased != nil {
		c.bias = append(s, rb[2*h:]...)
		return nil
	}
	c.rbh = rb[2*h:]
	return s
}

// advance leaves r⊙H in the scratch space, or H·Rhᵀ + Rbh with linear_before_reset.
func (c *gruCell[T]) advance(s *stepState[T]) {
	h := s.hidden
	if !s.atRest {
		c.gates.multiply(s.batch, s.h, 1, s.gates, 3*h)
	}
	if c.linearBeforeReset {
		var beta T
		if c.rbh != nil {
			beta = 1
			for b := range s.batch {
				copy(s.scratch[b*h:], c.rbh)
			}
		}
		switch {
		case !s.atRest:
			c.candidate.multiply(s.batch, s.h, beta, s.scratch, h)
		case c.rbh == nil:
			clear(s.scratch[:s.batch*h])
		}
	} else {
		s.rows(c.reset)
		if !s.atRest {
			c.candidate.multiply(s.batch, s.scratch, 1, s.gates[min(2*h, len(s.gates)):], 3*h)
		}
	}
	s.rows(c.finish)
}

// resetRow activates z and r and applies the reset to H.
func (c *gruCell[T]) resetRow(s *stepState[T], b int) {
	h := s.hidden
	g := s.gates[b*3*h : (b+1)*3*h]
	s.note(b, 0, g[:2*h])
	c.f(g[:2*h])
	old, t := s.h[b*h:(b+1)*h], s.scratch[b*h:(b+1)*h]
	for k, v := range g[h : 2*h] {
		t[k] = v * old[k]
	}
}

func (c *gruCell[T]) finishRow(s *stepState[T], b int) {
	h := s.hidden
	g := s.gates[b*3*h : (b+1)*3*h]
	update, reset, cand := g[:h], g[h:2*h], g[2*h:]
	old, next := s.h[b*h:(b+1)*h], s.nextH[b*h:(b+1)*h]
	if c.bias != nil {
		c.biased(g, c.bias, s.scratch[b*h:(b+1)*h], old, next)
		return
	}
	if c.linearBeforeReset {
		s.note(b, 0, g[:2*h])
		c.f(g[:2*h])
		projected := s.scratch[b*h : (b+1)*h]
		if c.fusedReset != nil && s.args == nil {
			c.fusedReset(update, reset, projected, cand, old, next)
			return
		}
		addProduct(cand, reset, projected)
	} else if c.fused != nil && s.args == nil {
		c.fused(update, cand, old, next)
		return
	}
	s.note(b, 2*h, cand)
	c.g(cand)
	for k, z := range update {
		next[k] = (1-z)*cand[k] + z*old[k]
	}
}
