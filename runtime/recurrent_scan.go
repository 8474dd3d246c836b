package runtime

import (
	"context"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// stretchElements bounds the pre-activations held at once, in elements: a stretch of time steps whose projections stay in a
// processor's second-level cache until the scan uses them. A single step may exceed it. Only tests change it.
var stretchElements = 1 << 18

// parallelGates is the number of gates of a step from which its batch rows are spread over goroutines.
const parallelGates = 1 << 15

// biasRows is the number of rows that a goroutine puts the bias in at a time.
const biasRows = 128

// cell is the recurrence of one direction. It knows neither X nor W, only pre-activations, and keeps no state.
type cell[T floating] interface {
	// inputBias sums the part of B, given as Wb [G·H] and Rb [G·H], that is added to the input projection, and remembers the rest.
	// It is called at most once, before advance. Neither is changed.
	inputBias(wb, rb []T) []T
	// advance computes one time step. On entry s.gates [B, G·H] holds X·Wᵀ plus inputBias, s.h and s.c the states before the step; on
	// return s.nextH and s.c hold those after it. Rows that are not active are left alone; gates and scratch may hold anything then.
	advance(s *stepState[T])
	// activated says that the gradient goes by what advance leaves in s.gates. Otherwise it goes by s.args.
	activated() bool
	// backward prepares the gradient of steps of a pass with the given loan.
	backward(l *loan) backCell[T]
}

// stepState is what a cell sees of one time step. States are [B, H]; c is nil but for LSTM.
type stepState[T floating] struct {
	batch, hidden int
	gates         []T
	h, nextH, c   []T
	atRest        bool  // h is known to be zero, so that products with it are left out
	scratch       []T   // [B, H]
	step          int   // iterations done
	lens          []int // see layer
	args          []T   // [B, G·H], receives the arguments of the activations; nil where no gradient needs them

	backState[T]
}

// note keeps the arguments x of activations, which begin at the given column of the gates of row b.
func (s *stepState[T]) note(b, column int, x []T) {
	if s.args != nil {
		copy(s.args[b*len(s.gates)/s.batch+column:], x)
	}
}

// active says whether row b has not ended yet.
func (s *stepState[T]) active(b int) bool { return s.lens == nil || s.step < s.lens[b] }

// rows calls f for every active batch row, on several goroutines where that pays.
func (s *stepState[T]) rows(f func(s *stepState[T], b int)) {
	if len(s.gates) >= parallelGates && gemm.Threads() > 1 {
		gemm.Parallel(s.batch, func(b int) {
			if s.active(b) {
				f(s, b)
			}
		})
		return
	}
	for b := range s.batch {
		if s.active(b) {
			f(s, b)
		}
	}
}

// scan runs direction d over time and fills, where they are not nil, Y, Y_h and Y_c. Y is zero on entry and stays so behind the end of
// each row; the others receive the states after the last valid step, which for a row of length 0 are the initial ones.
//
// A reverse direction starts each row at its own last valid step; results stand at the time they belong to.
func (l *layer[T]) scan(ctx context.Context, d int, dir *direction[T], memory *layerMemory[T], results [3][]T) error {
	h, gh, rows := l.cfg.Hidden, dir.w.rows, l.batch
	stretch := max(1, min(l.longest, stretchElements/max(1, rows*gh)))
	gathered := 0 // elements of X that must be put in order
	if !l.inOrder(dir) {
		gathered = stretch * rows * l.inputs
	}
	space := memory.borrow(stretch*rows*gh + gathered + 4*rows*h)
	defer memory.release(space)
	free := *space
	cut := func(n int) []T {
		part := free[:n:n]
		free = free[n:]
		return part
	}
	pre, x := cut(stretch*rows*gh), cut(gathered)
	s := &stepState[T]{batch: rows, hidden: h, lens: l.lens, h: cut(rows * h), nextH: cut(rows * h), scratch: cut(rows * h)}
	l.initial(s.h, l.initialH, d)
	if l.cfg.Op == recurrent.LSTM {
		s.c = cut(rows * h)
		l.initial(s.c, l.initialC, d)
	}
	y := results[0]
	yInPlace := y != nil && l.lens == nil && l.cfg.Layout == 0 // a step's rows of Y are the next step's H
	for first := 0; first < l.longest; first += stretch {
		last := min(first+stretch, l.longest)
		l.project(dir, first, last, x, pre)
		for i := first; i < last; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			at := i - first
			if gathered == 0 && dir.reverse {
				at = last - 1 - i
			}
			s.step, s.gates = i, pre[at*rows*gh:(at+1)*rows*gh]
			if yInPlace {
				to := l.outputRow(l.time(i, 0, dir.reverse), 0, d) * h
				s.nextH = y[to : to+rows*h]
				dir.cell.advance(s)
				s.h = s.nextH
				continue
			}
			dir.cell.advance(s)
			for b := range rows {
				next := s.nextH[b*h : (b+1)*h]
				if !s.active(b) {
					copy(next, s.h[b*h:])
				} else if y != nil {
					copy(y[l.outputRow(l.time(i, b, dir.reverse), b, d)*h:], next)
				}
			}
			s.h, s.nextH = s.nextH, s.h
		}
	}
	l.final(results[1], s.h, d)
	l.final(results[2], s.c, d)
	return nil
}

// inOrder says whether the rows of X that a stretch of iterations needs stand together: one block [steps, B, I], from the last step to
// the first if the direction is reverse.
func (l *layer[T]) inOrder(dir *direction[T]) bool {
	return l.cfg.Layout == 0 && (l.lens == nil || !dir.reverse)
}

// project computes X·Wᵀ plus bias for iterations first to last: pre [last−first, B, G·H] in the order of time where X is inOrder, in that
// of iterations otherwise, when x is the space to put X in order.
func (l *layer[T]) project(dir *direction[T], first, last int, x, pre []T) {
	n, gh := (last-first)*l.batch, dir.w.rows
	if l.inOrder(dir) {
		from := first
		if dir.reverse {
			from = l.steps - last
		}
		x = l.x[from*l.batch*l.inputs:]
	} else {
		l.gather(dir, first, last, x)
	}
	var beta T
	if dir.bias != nil {
		beta = 1
		gemm.Parallel((n+biasRows-1)/biasRows, func(j int) {
			for k := j * biasRows; k < min((j+1)*biasRows, n); k++ {
				copy(pre[k*gh:], dir.bias)
			}
		})
	}
	dir.w.multiply(n, x, beta, pre, gh)
}

// gather puts the rows of X for iterations first to last in their order; rows that have ended are zero.
func (l *layer[T]) gather(dir *direction[T], first, last int, x []T) {
	for i := first; i < last; i++ {
		for b := range l.batch {
			row := x[((i-first)*l.batch+b)*l.inputs:][:l.inputs]
			if l.lens != nil && i >= l.lens[b] {
				clear(row)
				continue
			}
			copy(row, l.x[l.row(l.time(i, b, dir.reverse), b)*l.inputs:])
		}
	}
}

// time is the time index that row b reaches at iteration i.
func (l *layer[T]) time(i, b int, reverse bool) int {
	switch {
	case !reverse:
		return i
	case l.lens == nil:
		return l.steps - 1 - i
	}
	return l.lens[b] - 1 - i
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

// initial copies direction d of an initial state to s [B, H]; an absent one is zero.
func (l *layer[T]) initial(s, state []T, d int) {
	if state == nil {
		clear(s)
		return
	}
	h := l.cfg.Hidden
	for b := range l.batch {
		at := l.stateRow(b, d) * h
		copy(s[b*h:(b+1)*h], state[at:at+h])
	}
}

// final copies s [B, H] to direction d of a state, unless that is nil.
func (l *layer[T]) final(state, s []T, d int) {
	if state == nil {
		return
	}
	h := l.cfg.Hidden
	for b := range l.batch {
		copy(state[l.stateRow(b, d)*h:], s[b*h:(b+1)*h])
	}
}
