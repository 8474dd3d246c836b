package runtime

import "github.com/trconvert/trconvert/internal/vec"

// gruBack is the gradient of gruCell. With Δ for the gradient of what follows it and σ for the arguments of the activations:
//
//	Δσh = Δh⊙(1 − z)⊙g'(σh)
//	Δσz = Δh⊙(H − h̃)⊙f'(σz)
//	q   = Δσh·Rh, Δσr = q⊙H⊙f'(σr), ΔH = Δh⊙z + q⊙r + [Δσz Δσr]·[Rz Rr], or with linear_before_reset
//	q   = Δσh⊙r,  Δσr = Δσh⊙(H·Rhᵀ + Rbh)⊙f'(σr), ΔH = Δh⊙z + q·Rh + [Δσz Δσr]·[Rz Rr]
//
// s.scratch keeps r⊙H, with linear_before_reset it receives q.
type gruBack[T floating] struct {
	*gruCell[T]
	gates, candidate backWeight[T]
	first, second    func(s *stepState[T], b int)
	// What computes a row at once, as vec.GRUBack, vec.GRUResetBack and vec.GRUGateBack do.
	endBack   func(update, cand, old, dh []T)
	resetBack func(reset, projected, d []T)
	gateBack  func(reset, q, old, dh []T)
}

func (c *gruCell[T]) activated() bool { return c.fused != nil && c.sigmoid }

func (c *gruCell[T]) backward(l *loan) backCell[T] {
	b := &gruBack[T]{gruCell: c, gates: newBackWeight(c.gates, l), candidate: newBackWeight(c.candidate, l)}
	b.first, b.second = b.generalFirst, b.generalSecond
	if c.activated() {
		b.first, b.second = b.plainFirst, b.plainSecond
		b.endBack, _ = any(vec.GRUBack).(func(update, cand, old, dh []T))
		b.resetBack, _ = any(vec.GRUResetBack).(func(reset, projected, d []T))
		b.gateBack, _ = any(vec.GRUGateBack).(func(reset, q, old, dh []T))
	}
	return b
}

func (c *gruBack[T]) step(s *stepState[T]) {
	h := s.hidden
	s.rows(c.first)
	q := s.work[s.batch*7*h : s.batch*8*h]
	if !c.linearBeforeReset {
		c.candidate.multiply(s.batch, s.gates[min(2*h, len(s.gates)):], 3*h, 0, q)
	}
	s.rows(c.second)
	s.sum(s.gates, 0, 3*h)
	if c.linearBeforeReset {
		s.sum(s.scratch, 3*h, h)
	}
	if s.last {
		return
	}
	if c.linearBeforeReset {
		c.candidate.multiply(s.batch, s.scratch, h, 1, s.dh)
	}
	c.gates.multiply(s.batch, s.gates, 3*h, 1, s.dh)
}

// plainFirst is generalFirst of values instead of arguments.
func (c *gruBack[T]) plainFirst(s *stepState[T], b int) {
	h := s.hidden
	g := s.gates[b*3*h : (b+1)*3*h]
	c.endBack(g[:h], g[2*h:], s.h[b*h:(b+1)*h], s.dh[b*h:(b+1)*h])
}

// plainSecond is generalSecond of values instead of arguments.
func (c *gruBack[T]) plainSecond(s *stepState[T], b int) {
	h := s.hidden
	g := s.gates[b*3*h : (b+1)*3*h]
	if c.linearBeforeReset {
		c.resetBack(g[h:2*h], s.scratch[b*h:(b+1)*h], g[2*h:])
		return
	}
	c.gateBack(g[h:2*h], s.work[s.batch*7*h+b*h:][:h], s.h[b*h:(b+1)*h], s.dh[b*h:(b+1)*h])
}

// values are those of an activation whose arguments are x.
func values[T floating](f activation[T], x, space []T) []T {
	copy(space, x)
	f(space)
	return space
}

// generalFirst finds Δσz, Δσh and Δh⊙z.
func (c *gruBack[T]) generalFirst(s *stepState[T], b int) {
	h := s.hidden
	g := s.gates[b*3*h : (b+1)*3*h]
	work := s.work[b*4*h : (b+1)*4*h]
	update, cand := values(c.f, g[:h], work[:h]), values(c.g, g[2*h:], work[h:2*h])
	dUpdate, dCand := work[2*h:3*h], work[3*h:]
	old, dh := s.h[b*h:(b+1)*h], s.dh[b*h:(b+1)*h]
	for k, z := range update {
		dUpdate[k] = dh[k] * (old[k] - cand[k])
		dCand[k] = dh[k] * (1 - z)
		dh[k] *= z
	}
	c.df(dUpdate, g[:h], update)
	c.dg(dCand, g[2*h:], cand)
	copy(g, dUpdate)
	copy(g[2*h:], dCand)
}

// generalSecond finds Δσr and q.
func (c *gruBack[T]) generalSecond(s *stepState[T], b int) {
	h := s.hidden
	g := s.gates[b*3*h : (b+1)*3*h]
	work := s.work[b*4*h : (b+1)*4*h]
	reset, dReset := values(c.f, g[h:2*h], work[:h]), work[h:2*h]
	if c.linearBeforeReset {
		projected := s.scratch[b*h : (b+1)*h]
		for k, d := range g[2*h:] {
			dReset[k] = d * projected[k]
			projected[k] = d * reset[k]
		}
	} else {
		old, dh, q := s.h[b*h:(b+1)*h], s.dh[b*h:(b+1)*h], s.work[s.batch*7*h+b*h:]
		for k, r := range reset {
			dReset[k] = q[k] * old[k]
			dh[k] += q[k] * r
		}
	}
	c.df(dReset, g[h:2*h], reset)
	copy(g[h:2*h], dReset)
}

func (c *gruBack[T]) weights(k *stretch[T], g *weightGradients[T]) {
	h := c.candidate.cols
	dCand, stride, by := k.gates[min(2*h, len(k.gates)):], 3*h, k.scratch
	if c.linearBeforeReset {
		dCand, stride, by = k.scratch, h, k.h
	}
	if g.r != nil {
		product(true, false, 2*h, h, k.hi-k.lo, k.gates[k.lo*3*h:], 3*h, k.h[k.lo*h:], h, g.betaR, g.r, h)
		product(true, false, h, h, k.hi-k.lo, dCand[min(k.lo*stride, len(dCand)):], stride, by[k.lo*h:], h, g.betaR, g.r[2*h*h:], h)
		g.betaR = 1
	}
}

func (c *gruBack[T]) biases(sums []T, g *weightGradients[T]) {
	h := c.candidate.cols
	addInto(g.wb, sums[:3*h])
	addInto(g.rb, sums[:2*h])
	if c.linearBeforeReset {
		addInto(g.rb[2*h:], sums[3*h:])
	} else {
		addInto(g.rb[2*h:], sums[2*h:3*h])
	}
}
