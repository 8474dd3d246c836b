package runtime

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// recurrentGradient serves LSTM, GRU and RNN, which record what their cells need.
func recurrentGradient(n *nodeInfo) (*gradient, error) {
	return &gradient{in: n.whereVariable(recurrent.SlotW, 1<<recurrent.SlotX), run: recurrentBack}, nil
}

// traceElements bounds what a direction keeps of all its steps, in elements (256 MiB of float32). A longer sequence is cut into
// stretches of √T steps: the states at their beginnings are kept, and the gradient runs each stretch forward again before it goes back through it
// (Chen et al., arXiv 1604.06174, §3). Only tests change it.
var traceElements = 1 << 26

// traceChunk is how many times more pre-activations than in a plain run are computed at once, so that goroutines meet less often.
const traceChunk = 4

// blockRows is the least number of batch rows that go through time in a goroutine of their own. The kernels multiply as many at full speed.
const blockRows = 8

// backCell is the gradient of a cell, by hand from the equations in the comment of the cell's type.
type backCell[T floating] interface {
	// step goes back through one time step. On entry s.gates holds what advance left there, or the arguments of the activations if the cell is not activated,
	// s.scratch what advance left there, s.h, s.nextH, s.c and s.nextC the states before and after the step, and s.dh and s.dc the gradients of the states after the step. On return s.gates holds the gradient of
	// X·Wᵀ + inputBias, s.dh and s.dc those of the states before the step. Of rows that are not active the gates and scratch are zero and stay so, and s.dh and s.dc
	// are left alone.
	step(s *stepState[T])
	// weights adds, where they are not nil, the gradients of R and P over a stretch of steps that step has gone through.
	weights(k *stretch[T], g *weightGradients[T])
	// biases adds those of B from the sums that steps have left in backState.bias.
	biases(sums []T, g *weightGradients[T])
}

// backState is what a step has besides when it goes back. States are [B, H].
type backState[T floating] struct {
	nextC  []T // C after the step
	dh, dc []T
	bias   []T  // [G·H + H], sums over rows and steps: of the gradients of the gates and, for GRU with linear_before_reset, of q; nil where nobody wants them
	work   []T  // B rows of 2·G·H + 2·H elements
	last   bool // nobody reads dh after this step
}

// stretch is what stands for some time steps in the order of their slots; n is steps times batch rows.
type stretch[T floating] struct {
	n                  int
	lo, hi             int // the rows where h may be other than zero
	gates              []T // [n, G·H]
	scratch            []T // [n, H]
	h, nextH, c, nextC []T // [n, H]
}

// weightGradients are those of one direction, nil where nobody wants them.
type weightGradients[T floating] struct {
	w, r, wb, rb, p []T
	betaW, betaR    T   // 0 until w and r, which hold anything at first, are written, then 1
	x               []T // of all of X
	initialH        []T // of all directions
	initialC        []T
}

// layerTrace is what a run of a layer leaves for its gradient.
type layerTrace[T floating] struct {
	*layer[T]
	typ    onnx.DataType
	memory *layerMemory[T]
	parts  []*trace[T]
	bytes  int64 // of the trace, without X where the gradient's mask keeps it
}

func (t *layerTrace[T]) size() int64 { return t.bytes }

// trace is the part of one direction.
//
// Slots of time steps are in the order of time where X is inOrder, so that they stand as X does, in the order of iterations otherwise.
type trace[T floating] struct {
	layer   *layer[T]
	d       int
	dir     *direction[T]
	flipped bool // the order of time is not that of iterations
	steps   int  // of a stretch but for the last
	chunk   int  // steps projected at once

	space              *[]T // that everything below is cut from
	starts             []T  // H and C [B, H] before each stretch and at the end
	gates              []T  // [steps, B, G·H]
	scratch            []T  // [steps, B, H], for GRU
	h, c               []T  // [steps + 1, B, H]
	x                  []T  // [chunk, B, I], where X is not in order
	work               []T  // see backState
	projection, hidden []T  // masks of dropout [B, G·H] and [B, H], nil without
}

// record runs all directions and fills results as scan does; the gradients have type typ.
func (l *layer[T]) record(c *call, typ onnx.DataType, directions []*direction[T], memory *layerMemory[T], results [3][]T) (*layerTrace[T], error) {
	t := &layerTrace[T]{layer: l, typ: typ, memory: memory}
	element := int64(reflect.TypeFor[T]().Size())
	for d, dir := range directions {
		p := newTrace(l, d, dir, memory)
		if err := p.drop(c); err != nil {
			return nil, err
		}
		t.parts = append(t.parts, p)
		t.bytes += int64(len(*p.space)+len(p.projection)+len(p.hidden)) * element
	}
	if err := eachDirection(len(t.parts), func(d int) error { return t.parts[d].record(c.ctx, results) }); err != nil {
		return nil, err
	}
	if !c.node.variable[recurrent.SlotW] {
		if t.parts[0].stretches() < 2 {
			l.x = nil // no longer needed
		}
		t.bytes += int64(len(l.x)) * element
	}
	return t, nil
}

func newTrace[T floating](l *layer[T], d int, dir *direction[T], memory *layerMemory[T]) *trace[T] {
	t := &trace[T]{layer: l, d: d, dir: dir, flipped: l.inOrder(dir) && dir.reverse, steps: l.longest}
	rows, h, gh := l.batch, l.cfg.Hidden, dir.w.rows
	if perStep := rows * (gh + 2*h); perStep*l.longest > traceElements {
		t.steps = int(math.Ceil(math.Sqrt(float64(l.longest))))
	}
	t.chunk = max(1, min(t.steps, traceChunk*stretchElements/max(1, rows*gh)))
	block := rows * h
	states := 1
	var gathered, scratch, c int
	if !l.inOrder(dir) || l.lens != nil {
		gathered = t.chunk * rows * l.inputs
	}
	switch l.cfg.Op {
	case recurrent.LSTM:
		states, c = 2, (t.steps+1)*block
	case recurrent.GRU:
		scratch = t.steps * block
	}
	parts := []struct {
		to *[]T
		n  int
	}{
		{&t.starts, (t.stretches() + 1) * states * block}, {&t.gates, t.steps * rows * gh}, {&t.scratch, scratch}, {&t.h, (t.steps + 1) * block},
		{&t.c, c}, {&t.x, gathered}, {&t.work, rows * (2*gh + 2*h)},
	}
	n := 0
	for _, p := range parts {
		n += p.n
	}
	t.space = borrow[T](&memory.traces, n)
	free := *t.space
	for _, p := range parts {
		if p.n > 0 { // else it stays nil
			*p.to, free = free[:p.n:p.n], free[p.n:]
		}
	}
	return t
}

// stretches is the number of stretches the sequence is cut into.
func (t *trace[T]) stretches() int {
	if t.steps == 0 {
		return 0
	}
	return (t.layer.longest + t.steps - 1) / t.steps
}

// bounds are the iterations of stretch k.
func (t *trace[T]) bounds(k int) (first, last int) {
	return k * t.steps, min((k+1)*t.steps, t.layer.longest)
}

// start is H and C before stretch k; C is nil but for LSTM.
func (t *trace[T]) start(k int) (h, c []T) {
	n := t.layer.batch * t.layer.cfg.Hidden
	if t.c == nil {
		return t.starts[k*n : (k+1)*n], nil
	}
	return t.starts[2*k*n : (2*k+1)*n], t.starts[(2*k+1)*n : (2*k+2)*n]
}

// slots are the places, in steps, of iteration i of stretch [first, last): of its gates, and of the states before and after it.
func (t *trace[T]) slots(i, first, last int) (slot, before, after int) {
	if t.flipped {
		slot = last - 1 - i
		return slot, slot + 1, slot
	}
	slot = i - first
	return slot, slot, slot + 1
}

// drop draws the masks of dropout.
func (t *trace[T]) drop(c *call) error {
	o := c.runner.pass.Dropout
	for _, m := range []struct {
		name  string
		rate  float64
		width int
		to    *[]T
	}{{"projection", o.Projection, t.dir.w.rows, &t.projection}, {"hidden", o.Hidden, t.layer.cfg.Hidden, &t.hidden}} {
		if !(m.rate >= 0 && m.rate < 1) {
			return fmt.Errorf("dropout of %v on the %s (want at least 0 and less than 1)", m.rate, m.name)
		}
		if m.rate == 0 {
			continue
		}
		r := seed.Stream(o.Seed, "dropout", c.node.node.String(), m.name, fmt.Sprint(t.d))
		mask := make([]T, t.layer.batch*m.width)
		for k := range mask {
			if r.Float64() >= m.rate {
				mask[k] = T(1 / (1 - m.rate))
			}
		}
		*m.to = mask
	}
	return nil
}

// record runs the direction and fills results as scan does.
func (t *trace[T]) record(ctx context.Context, results [3][]T) error {
	l := t.layer
	h0, c0 := t.start(0)
	l.initial(h0, l.initialH, t.d)
	if c0 != nil {
		l.initial(c0, l.initialC, t.d)
	}
	for k := range t.stretches() {
		if err := t.replay(ctx, k, results[0]); err != nil {
			return err
		}
		first, last := t.bounds(k)
		_, _, end := t.slots(last-1, first, last)
		nextH, nextC := t.start(k + 1)
		copy(nextH, t.h[end*len(nextH):])
		if nextC != nil {
			copy(nextC, t.c[end*len(nextC):])
		}
	}
	endH, endC := t.start(t.stretches())
	if t.hidden != nil {
		endH = slices.Clone(endH)
		scale(endH, t.hidden)
	}
	l.final(results[1], endH, t.d)
	l.final(results[2], endC, t.d)
	return nil
}

// show copies H after a step to Y. row is the first of s.
func (t *trace[T]) show(s *stepState[T], row int, y []T) {
	l, h := t.layer, s.hidden
	for b := range s.batch {
		if s.active(b) {
			to := y[l.outputRow(l.time(s.step, row+b, t.dir.reverse), row+b, t.d)*h:][:h]
			copy(to, s.nextH[b*h:])
			if t.hidden != nil {
				scale(to, t.hidden[(row+b)*h:])
			}
		}
	}
}

// scale multiplies x by the leading elements of m.
func scale[T floating](x, m []T) {
	for k := range x {
		x[k] *= m[k]
	}
}

// blocks is the number of blocks of batch rows that go through time independently of each other. It does not depend on the goroutines there are.
func (t *trace[T]) blocks() int { return max(1, t.layer.batch/blockRows) }

// block gives the state of the rows of block k, and the first of them.
func (t *trace[T]) block(k int) (s *stepState[T], from int) {
	l, n := t.layer, t.blocks()
	from, to := k*l.batch/n, (k+1)*l.batch/n
	s = &stepState[T]{batch: to - from, hidden: l.cfg.Hidden}
	if l.lens != nil {
		s.lens = l.lens[from:to]
	}
	if l.batch > 0 {
		width := len(t.work) / l.batch
		s.work = t.work[from*width : to*width]
	}
	return s, from
}

// state points s, whose first batch row is given, to iteration i of stretch [first, last).
func (t *trace[T]) state(s *stepState[T], row, i, first, last int) {
	rows, h, gh := t.layer.batch, t.layer.cfg.Hidden, t.dir.w.rows
	slot, before, after := t.slots(i, first, last)
	at := func(x []T, slot, width int) []T {
		if x == nil {
			return nil
		}
		return x[(slot*rows+row)*width:][:s.batch*width]
	}
	s.atRest = i == 0 && t.layer.initialH == nil
	s.step, s.gates, s.scratch = i, at(t.gates, slot, gh), at(t.scratch, slot, h)
	s.h, s.nextH, s.c, s.nextC = at(t.h, before, h), at(t.h, after, h), at(t.c, before, h), at(t.c, after, h)
}

// replay runs stretch k forward from its start and keeps everything. It fills y, unless that is nil, with the stretch's part of Y.
func (t *trace[T]) replay(ctx context.Context, k int, y []T) error {
	rows, gh := t.layer.batch, t.dir.w.rows
	first, last := t.bounds(k)
	h0, c0 := t.start(k)
	_, before, _ := t.slots(first, first, last)
	copy(t.h[before*len(h0):], h0)
	if c0 != nil {
		copy(t.c[before*len(c0):], c0)
	}
	for from := first; from < last; from += t.chunk {
		to := min(from+t.chunk, last)
		at := from - first
		if t.flipped {
			at = last - to
		}
		t.project(from, to, t.gates[at*rows*gh:(at+to-from)*rows*gh])
		gemm.Parallel(t.blocks(), func(k int) {
			s, row := t.block(k)
			for i := from; i < to && ctx.Err() == nil; i++ {
				t.state(s, row, i, first, last)
				t.advance(s)
				if y != nil {
					t.show(s, row, y)
				}
			}
		})
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// advance runs the cell and keeps what its gradient needs.
func (t *trace[T]) advance(s *stepState[T]) {
	if s.c != nil {
		copy(s.nextC, s.c)
		s.c = s.nextC // the cell works in place
	}
	if !t.dir.cell.activated() {
		s.args = s.gates
		s.gates = s.work[:len(s.args)]
		copy(s.gates, s.args)
	}
	t.dir.cell.advance(s)
	if s.lens == nil {
		return
	}
	h := s.hidden
	for b := range s.batch {
		if !s.active(b) {
			copy(s.nextH[b*h:(b+1)*h], s.h[b*h:])
		}
	}
}

// project is layer.project with dropout.
func (t *trace[T]) project(first, last int, pre []T) {
	if t.projection == nil {
		t.layer.project(t.dir, first, last, t.x, pre)
		return
	}
	plain := *t.dir
	plain.bias = nil
	t.layer.project(&plain, first, last, t.x, pre)
	t.mask(pre)
	if t.dir.bias != nil {
		for ; len(pre) > 0; pre = pre[len(t.dir.bias):] {
			addInto(pre[:len(t.dir.bias)], t.dir.bias)
		}
	}
}

// mask applies the dropout of the projection to steps of [B, G·H].
func (t *trace[T]) mask(pre []T) {
	for ; len(pre) > 0; pre = pre[len(t.projection):] {
		scale(pre[:len(t.projection)], t.projection)
	}
}
