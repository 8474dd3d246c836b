package runtime

// gruCell is the GRU of the ONNX specification, gate blocks z, r, h:
//
//	z = f(X·Wzᵀ + H·Rzᵀ + Wbz + Rbz)
//	r = f(X·Wrᵀ + H·Rrᵀ + Wbr + Rbr)
//	h̃ = g(X·Whᵀ + (r⊙H)·Rhᵀ + Rbh + Wbh), or with linear_before_reset
//	h̃ = g(X·Whᵀ + r⊙(H·Rhᵀ + Rbh) + Wbh)
//	H' = (1 − z)⊙h̃ + z⊙H
type gruCell[T floating] struct {
	r                 []T // [3H, H]
	f, g              activation[T]
	linearBeforeReset bool
	rbh               []T // Rbh where it stays inside the reset
	scratch           []T // [B, H]: r⊙H, or H·Rhᵀ + Rbh
}

func (c *gruCell[T]) inputBias(wb, rb []T) []T {
	s := sum(wb, rb)
	if c.linearBeforeReset {
		h := len(wb) / 3
		copy(s[2*h:], wb[2*h:])
		c.rbh = rb[2*h:]
	}
	return s
}

func (c *gruCell[T]) advance(s *stepState[T]) {
	h := s.hidden
	if c.scratch == nil {
		c.scratch = make([]T, s.batch*h)
	}
	rh := c.r[2*h*h:]
	multiplyStrided(false, true, s.batch, 2*h, h, s.h, h, c.r, h, 1, s.gates, 3*h)
	if c.linearBeforeReset {
		multiply(false, true, s.batch, h, h, s.h, rh, 0, c.scratch)
	}
	s.rows(func(b int) {
		g := s.gates[b*3*h : (b+1)*3*h]
		c.f(g[:2*h])
		reset, cand, old, t := g[h:2*h], g[2*h:], s.h[b*h:(b+1)*h], c.scratch[b*h:(b+1)*h]
		if c.linearBeforeReset {
			for k, v := range c.rbh {
				t[k] += v
			}
			addProduct(cand, reset, t)
			return
		}
		for k, v := range reset {
			t[k] = v * old[k]
		}
	})
	if !c.linearBeforeReset {
		multiplyStrided(false, true, s.batch, h, h, c.scratch, h, rh, h, 1, s.gates[min(2*h, len(s.gates)):], 3*h)
	}
	s.rows(func(b int) {
		g := s.gates[b*3*h : (b+1)*3*h]
		update, cand := g[:h], g[2*h:]
		c.g(cand)
		old, next := s.h[b*h:(b+1)*h], s.nextH[b*h:(b+1)*h]
		for k, z := range update {
			next[k] = (1-z)*cand[k] + z*old[k]
		}
	})
}
