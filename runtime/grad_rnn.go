package runtime

// rnnBack is the gradient of rnnCell: Δσ = Δh⊙f'(σ), ΔH = Δσ·R.
type rnnBack[T floating] struct {
	*rnnCell[T]
	r   backWeight[T]
	row func(s *stepState[T], b int)
}

// activated: advance leaves the arguments in the gates.
func (c *rnnCell[T]) activated() bool { return true }

func (c *rnnCell[T]) backward(l *loan) backCell[T] {
	b := &rnnBack[T]{rnnCell: c, r: newBackWeight(c.r, l)}
	b.row = func(s *stepState[T], b int) {
		h := s.hidden
		args, dh := s.gates[b*h:(b+1)*h], s.dh[b*h:(b+1)*h]
		c.df(dh, args, s.nextH[b*h:(b+1)*h])
		copy(args, dh)
		clear(dh)
	}
	return b
}

func (c *rnnBack[T]) step(s *stepState[T]) {
	s.rows(c.row)
	s.sum(s.gates, 0, s.hidden)
	s.carry(&c.r)
}

func (c *rnnBack[T]) biases(sums []T, g *weightGradients[T]) { g.addBiases(sums) }

func (c *rnnBack[T]) weights(k *stretch[T], g *weightGradients[T]) { g.addR(k, &c.r) }
