package runtime

import "github.com/trconvert/trconvert/onnx/recurrent"

// rnnCell is the RNN of the ONNX specification: H' = f(X·Wiᵀ + H·Riᵀ + Wbi + Rbi).
type rnnCell[T floating] struct {
	r   weight[T] // [H, H]
	f   activation[T]
	df  derivative[T]
	row func(s *stepState[T], b int)
}

func newRNNCell[T floating](cfg *recurrent.Config, acts []recurrent.Activation, r []T, pack packing) *rnnCell[T] {
	c := &rnnCell[T]{r: newWeight(cfg.Hidden, cfg.Hidden, r, pack), f: newActivation(acts[0], T(cfg.Clip)), df: newDerivative(acts[0], T(cfg.Clip))}
	c.row = func(s *stepState[T], b int) {
		next := s.nextH[b*s.hidden : (b+1)*s.hidden]
		copy(next, s.gates[b*s.hidden:])
		c.f(next)
	}
	return c
}

func (c *rnnCell[T]) inputBias(wb, rb []T) []T { return sum(wb, rb) }

func (c *rnnCell[T]) advance(s *stepState[T]) {
	if !s.atRest {
		c.r.multiply(s.batch, s.h, 1, s.gates, c.r.rows)
	}
	s.rows(c.row)
}
