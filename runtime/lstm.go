package runtime

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
	r          []T // [4H, H]
	pi, po, pf []T // [H], nil without peepholes
	f, g, hAct activation[T]
	coupled    bool // input_forget
}

func (c *lstmCell[T]) inputBias(wb, rb []T) []T { return sum(wb, rb) }

func (c *lstmCell[T]) advance(s *stepState[T]) {
	h := s.hidden
	multiply(false, true, s.batch, 4*h, h, s.h, c.r, 1, s.gates)
	s.rows(func(b int) {
		g := s.gates[b*4*h : (b+1)*4*h]
		in, out, forget, cand := g[:h], g[h:2*h], g[2*h:3*h], g[3*h:]
		old, next, y := s.c[b*h:(b+1)*h], s.nextC[b*h:(b+1)*h], s.nextH[b*h:(b+1)*h]
		addProduct(in, c.pi, old)
		c.f(in)
		if c.coupled {
			for k, v := range in {
				forget[k] = 1 - v
			}
		} else {
			addProduct(forget, c.pf, old)
			c.f(forget)
		}
		c.g(cand)
		for k := range next {
			next[k] = forget[k]*old[k] + in[k]*cand[k]
		}
		addProduct(out, c.po, next)
		c.f(out)
		copy(y, next)
		c.hAct(y)
		for k, v := range out {
			y[k] *= v
		}
	})
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
