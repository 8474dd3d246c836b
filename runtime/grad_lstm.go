package runtime

import "github.com/trconvert/trconvert/internal/vec"

// lstmBack is the gradient of lstmCell. With Δ for the gradient of what follows it and σ for the arguments of the activations:
//
//	Δσo = Δh⊙h(C')⊙f'(σo)
//	ΔC' = Δc + Δh⊙o⊙h'(C') + Po⊙Δσo
//	Δσi = ΔC'⊙c̃⊙f'(σi), with input_forget ΔC'⊙(c̃ − C)⊙f'(σi)
//	Δσf = ΔC'⊙C⊙f'(σf), with input_forget 0
//	Δσc = ΔC'⊙i⊙g'(σc)
//	ΔC  = ΔC'⊙f + Pi⊙Δσi + Pf⊙Δσf
//	ΔH  = Δσ·R
type lstmBack[T floating] struct {
	*lstmCell[T]
	r   backWeight[T]
	row func(s *stepState[T], b int)
	// fused computes a row at once, as vec.LSTMBack does.
	fused func(in, out, forget, cand, old, next, dh, dc []T)
}

func (c *lstmCell[T]) activated() bool { return c.fused != nil }

func (c *lstmCell[T]) backward(l *loan) backCell[T] {
	b := &lstmBack[T]{lstmCell: c, r: newBackWeight(c.r, l)}
	b.row = b.general
	if c.activated() {
		b.row = b.plain
		b.fused, _ = any(vec.LSTMBack).(func(in, out, forget, cand, old, next, dh, dc []T))
	}
	return b
}

func (c *lstmBack[T]) step(s *stepState[T]) {
	s.rows(c.row)
	s.sum(s.gates, 0, 4*s.hidden)
	s.carry(&c.r)
}

func (c *lstmBack[T]) biases(sums []T, g *weightGradients[T]) { g.addBiases(sums) }

// addBiases adds what both halves of B have where each enters the gates.
func (g *weightGradients[T]) addBiases(sums []T) {
	addInto(g.wb, sums[:len(g.wb)])
	addInto(g.rb, sums[:len(g.rb)])
}

// addR adds Δgatesᵀ·H, the gradient of R where H·Rᵀ enters the gates.
func (g *weightGradients[T]) addR(k *stretch[T], r *backWeight[T]) {
	if g.r == nil {
		return
	}
	product(true, false, r.rows, r.cols, k.hi-k.lo, k.gates[k.lo*r.rows:], r.rows, k.h[k.lo*r.cols:], r.cols, g.betaR, g.r, r.cols)
	g.betaR = 1
}

// sum adds the rows of m [B, width] to bias from the given place on.
func (s *stepState[T]) sum(m []T, at, width int) {
	if s.bias == nil {
		return
	}
	for b := range s.batch {
		addInto(s.bias[at:at+width], m[b*width:(b+1)*width])
	}
}

// carry finds Δh of the step before where it is Δgates·R. Rows that have ended keep theirs, and only beside such rows need the others be zero on entry.
func (s *stepState[T]) carry(r *backWeight[T]) {
	var beta T
	if s.lens != nil {
		beta = 1
	}
	if !s.last {
		r.multiply(s.batch, s.gates, r.rows, beta, s.dh)
	}
}

// plain is general for what fused offers.
func (c *lstmBack[T]) plain(s *stepState[T], b int) {
	h := s.hidden
	g := s.gates[b*4*h : (b+1)*4*h]
	dh := s.dh[b*h : (b+1)*h]
	c.fused(g[:h], g[h:2*h], g[2*h:3*h], g[3*h:], s.c[b*h:(b+1)*h], s.nextC[b*h:(b+1)*h], dh, s.dc[b*h:(b+1)*h])
	if s.lens != nil {
		clear(dh) // for carry
	}
}

func (c *lstmBack[T]) general(s *stepState[T], b int) {
	h := s.hidden
	args := s.gates[b*4*h : (b+1)*4*h]
	work := s.work[b*10*h : (b+1)*10*h]
	act, d, hc := work[:4*h], work[4*h:8*h], work[8*h:9*h]
	copy(act, args)
	in, out, forget, cand := act[:h], act[h:2*h], act[2*h:3*h], act[3*h:]
	dIn, dOut, dForget, dCand := d[:h], d[h:2*h], d[2*h:3*h], d[3*h:]
	old, next := s.c[b*h:(b+1)*h], s.nextC[b*h:(b+1)*h]
	dh, dc := s.dh[b*h:(b+1)*h], s.dc[b*h:(b+1)*h]
	c.f(in)
	c.f(out)
	c.g(cand)
	if c.coupled {
		for k, v := range in {
			forget[k] = 1 - v
		}
	} else {
		c.f(forget)
	}
	copy(hc, next)
	c.hAct(hc)

	for k := range h {
		dOut[k] = dh[k] * hc[k]
		dh[k] *= out[k]
	}
	c.df(dOut, args[h:2*h], out)
	c.dh(dh, next, hc)
	addInto(dc, dh)
	clear(dh)
	addProduct(dc, c.po, dOut)
	for k, v := range dc {
		dIn[k], dForget[k], dCand[k] = v*cand[k], v*old[k], v*in[k]
		dc[k] = v * forget[k]
	}
	if c.coupled {
		for k, v := range dForget {
			dIn[k] -= v
		}
		clear(dForget)
	} else {
		c.df(dForget, args[2*h:3*h], forget)
		addProduct(dc, c.pf, dForget)
	}
	c.df(dIn, args[:h], in)
	c.dg(dCand, args[3*h:], cand)
	addProduct(dc, c.pi, dIn)
	copy(args, d)
}

func (c *lstmBack[T]) weights(k *stretch[T], g *weightGradients[T]) {
	h := c.r.cols
	g.addR(k, &c.r)
	if g.p == nil {
		return
	}
	for r := range k.n {
		d := k.gates[r*4*h : (r+1)*4*h]
		addProduct(g.p[:h], d[:h], k.c[r*h:])
		addProduct(g.p[h:2*h], d[h:2*h], k.nextC[r*h:])
		if !c.coupled {
			addProduct(g.p[2*h:], d[2*h:3*h], k.c[r*h:])
		}
	}
}
