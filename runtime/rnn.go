package runtime

// rnnCell is the RNN of the ONNX specification: H' = f(X·Wiᵀ + H·Riᵀ + Wbi + Rbi).
type rnnCell[T floating] struct {
	r []T // [H, H]
	f activation[T]
}

func (c *rnnCell[T]) inputBias(wb, rb []T) []T { return sum(wb, rb) }

func (c *rnnCell[T]) advance(s *stepState[T]) {
	h := s.hidden
	multiply(false, true, s.batch, h, h, s.h, c.r, 1, s.gates)
	s.rows(func(b int) {
		g := s.gates[b*h : (b+1)*h]
		c.f(g)
		copy(s.nextH[b*h:], g)
	})
}
