package runtime

import (
	"context"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// cell is the recurrence of one direction. It knows neither X nor W, only pre-activations.
type cell[T floating] interface {
	// inputBias sums the part of B, given as Wb [G·H] and Rb [G·H], that is added to the input projection. Neither is changed.
	inputBias(wb, rb []T) []T
	// advance computes all batch rows of one time step. On entry s.gates [B, G·H] holds X·Wᵀ plus inputBias; on return it holds the
	// activated gates. s.h and s.c are the states before the step, s.nextH and s.nextC after it.
	advance(s *stepState[T])
}

// stepState is what a cell sees of one time step. States are [B, H]; c is nil but for LSTM.
type stepState[T floating] struct {
	batch, hidden int
	gates         []T
	h, c          []T
	nextH, nextC  []T
}

// newCell makes the cell of direction d.
func (l *layer[T]) newCell(d int) cell[T] {
	h, gh := l.cfg.Hidden, l.cfg.Op.Gates()*l.cfg.Hidden
	r := l.r[d*gh*h : (d+1)*gh*h]
	acts := l.cfg.Activations[d*len(l.cfg.Activations)/l.cfg.Direction.Count():]
	clip := T(l.cfg.Clip)
	switch l.cfg.Op {
	case recurrent.LSTM:
		c := &lstmCell[T]{r: r, f: newActivation(acts[0], clip), g: newActivation(acts[1], clip), hAct: newActivation(acts[2], clip), coupled: l.cfg.InputForget}
		if l.p != nil {
			p := l.p[d*3*h : (d+1)*3*h]
			c.pi, c.po, c.pf = p[:h], p[h:2*h], p[2*h:]
		}
		return c
	case recurrent.GRU:
		return &gruCell[T]{r: r, f: newActivation(acts[0], clip), g: newActivation(acts[1], clip), linearBeforeReset: l.cfg.LinearBeforeReset}
	}
	return &rnnCell[T]{r: r, f: newActivation(acts[0], clip)}
}

// scan runs direction d over time. pre holds the projections [T·B (or B·T), D·G·H] without biases. y (nil if unwanted) is zero on
// entry and stays so behind the end of each row; yh and yc receive the states after the last valid step, which for a row of length
// 0 are the initial ones.
//
// A reverse direction starts each row at its own last valid step; results stand at the time they belong to.
func (l *layer[T]) scan(ctx context.Context, d int, pre, y, yh, yc []T) error {
	h, gh, dirs := l.cfg.Hidden, l.cfg.Op.Gates()*l.cfg.Hidden, l.cfg.Direction.Count()
	reverse := l.cfg.Direction == recurrent.Reverse || d == 1
	cell := l.newCell(d)
	var bias []T
	if l.b != nil {
		b := l.b[d*2*gh : (d+1)*2*gh]
		bias = cell.inputBias(b[:gh], b[gh:])
	}
	s := &stepState[T]{batch: l.batch, hidden: h, gates: make([]T, l.batch*gh), h: l.initial(l.initialH, d), nextH: make([]T, l.batch*h)}
	if yc != nil {
		s.c, s.nextC = l.initial(l.initialC, d), make([]T, l.batch*h)
	}
	for i := range l.longest {
		if err := ctx.Err(); err != nil {
			return err
		}
		for b := range l.batch {
			row := s.gates[b*gh : (b+1)*gh]
			if i >= l.lens[b] {
				clear(row)
				continue
			}
			copy(row, pre[(l.row(l.time(i, b, reverse), b)*dirs+d)*gh:])
			for k, v := range bias {
				row[k] += v
			}
		}
		cell.advance(s)
		for b := range l.batch {
			if i >= l.lens[b] {
				copy(s.nextH[b*h:(b+1)*h], s.h[b*h:])
				if s.c != nil {
					copy(s.nextC[b*h:(b+1)*h], s.c[b*h:])
				}
			} else if y != nil {
				copy(y[l.outputRow(l.time(i, b, reverse), b, d)*h:], s.nextH[b*h:(b+1)*h])
			}
		}
		s.h, s.nextH = s.nextH, s.h
		s.c, s.nextC = s.nextC, s.c
	}
	for b := range l.batch {
		at := l.stateRow(b, d) * h
		copy(yh[at:], s.h[b*h:(b+1)*h])
		if yc != nil {
			copy(yc[at:], s.c[b*h:(b+1)*h])
		}
	}
	return nil
}

// time is the time index that row b reaches at iteration i.
func (l *layer[T]) time(i, b int, reverse bool) int {
	if reverse {
		return l.lens[b] - 1 - i
	}
	return i
}

// row is the position of (t, b) in X.
func (l *layer[T]) row(t, b int) int {
	if l.cfg.Layout == 1 {
		return b*l.steps + t
	}
	return t*l.batch + b
}

// outputRow is the position of (t, b, d) in Y: [T,D,B,H], or [B,T,D,H] with layout 1.
func (l *layer[T]) outputRow(t, b, d int) int {
	if l.cfg.Layout == 1 {
		return (b*l.steps+t)*l.cfg.Direction.Count() + d
	}
	return (t*l.cfg.Direction.Count()+d)*l.batch + b
}

// stateRow is the position of (b, d) in a state: [D,B,H], or [B,D,H] with layout 1.
func (l *layer[T]) stateRow(b, d int) int {
	if l.cfg.Layout == 1 {
		return b*l.cfg.Direction.Count() + d
	}
	return d*l.batch + b
}

// initial copies direction d of an initial state to [B, H]; an absent one is zero.
func (l *layer[T]) initial(state []T, d int) []T {
	h := l.cfg.Hidden
	s := make([]T, l.batch*h)
	if state != nil {
		for b := range l.batch {
			at := l.stateRow(b, d) * h
			copy(s[b*h:(b+1)*h], state[at:at+h])
		}
	}
	return s
}

// rows calls f for every batch row, on several goroutines where that pays.
func (s *stepState[T]) rows(f func(b int)) {
	if len(s.gates) < 1<<15 {
		for b := range s.batch {
			f(b)
		}
		return
	}
	gemm.Parallel(s.batch, f)
}

// multiply computes C = op(A)·op(B) + beta·C of contiguous matrices: op(A) m×k, op(B) k×n, C m×n.
func multiply[T floating](ta, tb bool, m, n, k int, a, b []T, beta T, c []T) {
	lda, ldb := k, n
	if ta {
		lda = m
	}
	if tb {
		ldb = k
	}
	multiplyStrided(ta, tb, m, n, k, a, lda, b, ldb, beta, c, n)
}

// multiplyStrided is multiply with the distances between rows given.
func multiplyStrided[T floating](ta, tb bool, m, n, k int, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	switch a := any(a).(type) {
	case []float32:
		gemm.F32(ta, tb, m, n, k, 1, a, lda, any(b).([]float32), ldb, float32(beta), any(c).([]float32), ldc)
	case []float64:
		gemm.F64(ta, tb, m, n, k, 1, a, lda, any(b).([]float64), ldb, float64(beta), any(c).([]float64), ldc)
	}
}
