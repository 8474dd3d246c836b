package runtime

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/internal/vec"
	"github.com/trconvert/trconvert/onnx"
)

// tape is the trace of one forward run, in the order of the nodes, read backwards for the gradients. Only what depends on a parameter stands
// on it. Of the values that a node read and gave it keeps those the node's gradient asks for; everything else is dropped at its last reader as
// in any run.
type tape struct {
	entries []entry
	ledger  ledger
	loan    *loan // of a pass; nil where gradients gather for several
}

// entry is one thing that happened: a node ran, a value went from one scope to another, or a parameter was read.
type entry struct {
	// A node: its step, its operands and results, and what it saved.
	step    *step
	in, out []*Tensor
	saved   any
	size    int64 // of what was saved

	// at is the frame of the node, or the value that received something.
	at   place
	kind entryKind
	// from is where the value came from: as it is, a range of an axis, or from several places joined along an axis.
	from []place
	axis int
	// dims are those of the whole of from[0] where at is [start, start+count) of its axis.
	dims         []int
	start, count int
	parts        [][]int // the dims of each of from
	// parameter is what was read.
	parameter *Parameter
	// owner is the tape that the gradient of a shared value gathers on.
	owner *tape
}

type entryKind uint8

const (
	ranNode entryKind = iota
	readParameter
	wasMoved  // at is from[0]
	wasTaken  // at is a range of from[0]
	wasJoined // at is all of from
	wasShared // at is from[0], which other passes read too
)

// place is an operand as a frame sees it.
type place struct {
	frame   *frame
	operand operand
}

func (p place) variable() bool {
	return p.operand.present && p.operand.constant == nil && p.frame.scope.isVariable(p.operand)
}

// accumulator finds the sum of the gradients of a value. The value must be variable.
func (p place) accumulator() *accumulator {
	f := p.frame.at(p.operand.depth)
	if f.grads == nil {
		f.grads = make([]accumulator, f.scope.slots)
	}
	return &f.grads[p.operand.slot]
}

// newPlaces makes n places that no scope has, for the elements of a sequence.
func newPlaces(n int) []place {
	f := &frame{scope: &scope{slots: n, variable: slices.Repeat([]bool{true}, n)}}
	places := make([]place, n)
	for k := range places {
		places[k] = place{f, operand{present: true, slot: k}}
	}
	return places
}

// input and output are operand and result k of the node at work.
func (c *call) input(k int) place {
	if c.frame == nil || k >= len(c.step.in) {
		return place{}
	}
	return place{c.frame, c.step.in[k]}
}

func (c *call) output(k int) place {
	if c.frame == nil || k >= len(c.step.out) || c.step.out[k] < 0 {
		return place{}
	}
	return place{c.frame, operand{present: true, slot: c.step.out[k]}}
}

// output is result k of the scope that a frame ran.
func (f *frame) output(k int) place { return place{f, f.scope.outputs[k]} }

// input is formal input k of that scope.
func (f *frame) input(k int) place { return place{f, operand{present: true, slot: k}} }

// trace notes that a value is another one.
func (c *call) trace(at, from place) {
	if t := c.runner.tape; t != nil && at.variable() && from.variable() {
		t.entries = append(t.entries, entry{kind: wasMoved, at: at, from: []place{from}})
	}
}

// traceTake notes that a value is the range [start, start+count) of an axis of another one, whole. The axis itself may be gone where count is 1.
func (c *call) traceTake(at, from place, whole *Tensor, axis, start, count int) {
	if t := c.runner.tape; t != nil && at.variable() && from.variable() {
		t.entries = append(t.entries, entry{kind: wasTaken, at: at, from: []place{from}, axis: axis, start: start, count: count, dims: whole.Dims})
	}
}

// traceJoin notes that a value is made of others along an axis, a new one if stacked.
func (c *call) traceJoin(at place, from []place, parts []*Tensor, axis int64, stacked bool) error {
	t := c.runner.tape
	if t == nil || !at.variable() || len(parts) == 0 || !slices.ContainsFunc(from, place.variable) {
		return nil
	}
	rank := len(parts[0].Dims)
	if stacked {
		rank++
	}
	k, err := shape.Axis(axis, rank)
	if err != nil {
		return err
	}
	e := entry{kind: wasJoined, at: at, from: from, axis: k}
	for _, p := range parts {
		e.parts = append(e.parts, p.Dims)
	}
	t.entries = append(t.entries, e)
	return nil
}

// load notes that a scope reads a parameter.
func (t *tape) load(f *frame, p parameterSlot) {
	if t != nil {
		t.entries = append(t.entries, entry{kind: readParameter, at: f.input(p.slot), parameter: p.parameter})
	}
}

// record notes a node.
func (t *tape) record(f *frame, st *step, in, out []*value, saved any) {
	e := entry{step: st, at: place{frame: f}, saved: saved, size: savedSize(saved), in: make([]*Tensor, len(in)), out: make([]*Tensor, max(len(out), len(st.out)))}
	for k, o := range st.in {
		if o.constant != nil && masked(st.grad.in, k) && in[k].kind == kindTensor {
			t.ledger.exempt(in[k].tensor)
		}
	}
	t.keep(e.in, in, st.grad.in)
	t.keep(e.out, out, st.grad.out)
	t.ledger.add(e.size)
	t.entries = append(t.entries, e)
}

// keep copies tensors, without their elements where mask denies them.
func (t *tape) keep(to []*Tensor, from []*value, mask uint64) {
	for k := range to {
		if k >= len(from) || from[k] == nil || from[k].kind != kindTensor {
			continue
		}
		v := from[k].tensor
		if !masked(mask, k) {
			v = &Tensor{Type: v.Type, Dims: v.Dims}
		}
		t.ledger.hold(v)
		to[k] = v
	}
}

// forget takes what a node kept off the ledger.
func (t *tape) forget(e *entry) {
	for _, list := range [][]*Tensor{e.in, e.out} {
		for _, v := range list {
			if v != nil {
				t.ledger.drop(v)
			}
		}
	}
	t.ledger.add(-e.size)
}

// savedSize is the size of what a recorder saved, if it knows.
func savedSize(saved any) int64 {
	if s, ok := saved.(interface{ size() int64 }); ok {
		return s.size()
	}
	return 0
}

// ledger counts the bytes that the trace and the gradients on their way hold, elements that several of them share once.
type ledger struct {
	holders   map[any]int // by the address of the first element
	now, most int64
}

func (l *ledger) add(bytes int64) {
	l.now += bytes
	l.most = max(l.most, l.now)
}

// exempt takes a tensor out of the count for good, since it is there anyway: a feed, a constant, a parameter.
func (l *ledger) exempt(t *Tensor) {
	if at, _ := memoryOf(t); at != nil {
		l.share(at)
	}
}

func (l *ledger) share(at any) (first bool) {
	if l.holders == nil {
		l.holders = map[any]int{}
	}
	l.holders[at]++
	return l.holders[at] == 1
}

func (l *ledger) hold(t *Tensor) {
	if at, size := memoryOf(t); at != nil && l.share(at) {
		l.add(size)
	}
}

func (l *ledger) drop(t *Tensor) {
	at, size := memoryOf(t)
	if at == nil {
		return
	}
	if l.holders[at]--; l.holders[at] == 0 {
		delete(l.holders, at)
		l.add(-size)
	}
}

// memoryOf is where a tensor's elements lie and the bytes they take, the content of strings aside; nil if there are none.
func memoryOf(t *Tensor) (at any, size int64) {
	d := reflect.ValueOf(t.Data)
	if d.Kind() != reflect.Slice || d.Len() == 0 {
		return nil, 0
	}
	return d.Index(0).Addr().Interface(), int64(d.Len()) * int64(d.Type().Elem().Size())
}

// accumulator sums the gradients that come back to a value from its readers. The first is kept as it came, since most values have one reader.
type accumulator struct {
	sum   *Tensor
	owned bool // nobody else holds the elements
}

// take empties the sum of the gradients of a place and returns it, nil where none came back.
func (t *tape) take(p place) *Tensor {
	a := p.accumulator()
	sum := a.sum
	if *a = (accumulator{}); sum != nil {
		t.ledger.drop(sum)
	}
	return sum
}

// add adds a gradient to a place.
func (t *tape) add(p place, g *Tensor) error {
	a := p.accumulator()
	if a.sum == nil {
		t.ledger.hold(g)
		a.sum = g
		return nil
	}
	if err := t.own(a, a.sum.Dims); err != nil {
		return err
	}
	return addTo(a.sum, g)
}

// addRange adds a gradient to the range [start, start+count) of an axis of a place whose value has the given dims.
func (t *tape) addRange(p place, g *Tensor, dims []int, axis, start, count int) error {
	a := p.accumulator()
	if a.sum == nil {
		z, err := zeros(g.Type, dims)
		if err != nil {
			return err
		}
		t.ledger.hold(z)
		*a = accumulator{sum: z, owned: true}
	}
	if err := t.own(a, dims); err != nil {
		return err
	}
	inner := elements(dims[axis+1:])
	switch sum := a.sum.Data.(type) {
	case []float32:
		addSlices(sum, g.Data.([]float32), dims[axis]*inner, start*inner, count*inner)
	case []float64:
		addSlices(sum, g.Data.([]float64), dims[axis]*inner, start*inner, count*inner)
	default:
		return unsupportedType(g.Type)
	}
	return nil
}

// own makes sure that the elements of a sum may be changed.
func (t *tape) own(a *accumulator, dims []int) error {
	if a.owned {
		return nil
	}
	fresh, err := zeros(a.sum.Type, dims)
	if err != nil {
		return err
	}
	if err := addTo(fresh, a.sum); err != nil {
		return err
	}
	t.ledger.hold(fresh)
	t.ledger.drop(a.sum)
	a.sum, a.owned = fresh, true
	return nil
}

// addTo adds t to sum.
func addTo(sum, t *Tensor) error {
	if sum.Type != t.Type || !sameDims(sum.Dims, t.Dims) {
		return fmt.Errorf("gradients %v%v and %v%v of one value", sum.Type, sum.Dims, t.Type, t.Dims)
	}
	switch s := sum.Data.(type) {
	case []float32:
		x := t.Data.([]float32)
		inBlocks(len(s), func(lo, hi int) { addInto(s[lo:hi], x[lo:hi]) })
	case []float64:
		addInto(s, t.Data.([]float64))
	default:
		return unsupportedType(t.Type)
	}
	return nil
}

// inBlocks shares what is to be done to the elements of a vector among goroutines.
func inBlocks(n int, do func(lo, hi int)) {
	const block = 1 << 13
	if n <= block {
		do(0, n)
		return
	}
	gemm.ParallelWork((n+block-1)/block, 4*n, func(k int) { do(k*block, min((k+1)*block, n)) })
}

func addInto[T floating](dst, src []T) {
	dst = dst[:len(src)]
	if d, ok := any(dst).([]float32); ok {
		vec.Add(d, any(src).([]float32))
		return
	}
	for i, v := range src {
		dst[i] += v
	}
}

// addSlices adds src [outer, count] to dst [outer, n] from start on.
func addSlices[T floating](dst, src []T, n, start, count int) {
	for o := 0; o*count < len(src); o++ {
		addInto(dst[o*n+start:][:count], src[o*count:(o+1)*count])
	}
}

// backward sends gradients from the values they have been put on back to the parameters. It empties the tape from its end, so that what a node kept is
// free as soon as its gradient is done.
func (t *tape) backward(ctx context.Context) error {
	for i := len(t.entries) - 1; i >= 0; i-- {
		e := &t.entries[i]
		var err error
		switch e.kind {
		case ranNode:
			err = t.back(ctx, e)
		default:
			err = t.carry(e)
		}
		if err != nil {
			return err
		}
		t.entries[i] = entry{}
	}
	t.entries = nil
	return nil
}

// back runs the gradient of a node.
func (t *tape) back(ctx context.Context, e *entry) error {
	defer t.forget(e)
	st := e.step
	if err := ctx.Err(); err != nil {
		return nodeErrorf(st.info.node, err)
	}
	d := make([]*Tensor, len(st.out))
	some := false
	for k, slot := range st.out {
		if slot < 0 || e.at.frame.grads == nil {
			continue
		}
		d[k] = t.take(place{e.at.frame, operand{present: true, slot: slot}})
		some = some || d[k] != nil
	}
	if !some {
		return nil
	}
	in, out := widenKept(e.in), widenKept(e.out)
	grads, err := guardGradient(&backCall{ctx: ctx, node: st.info, saved: e.saved, loan: t.loan}, st.grad, in, out, d)
	if err != nil {
		return nodeErrorf(st.info.node, fmt.Errorf("gradient: %w", err))
	}
	for k, g := range grads {
		if g == nil || k >= len(in) || !st.info.variable[k] {
			continue
		}
		if g.Type != in[k].Type || !sameDims(g.Dims, in[k].Dims) {
			return nodeErrorf(st.info.node, fmt.Errorf("gradient of input %d is %v%v, the input %v%v", k, g.Type, g.Dims, in[k].Type, in[k].Dims))
		}
		if err := t.add(place{e.at.frame, st.in[k]}, g); err != nil {
			return nodeErrorf(st.info.node, fmt.Errorf("input %d: %w", k, err))
		}
	}
	return nil
}

// widenKept gives tensors of 16-bit floats as float32, in which the gradients of such values are held.
func widenKept(list []*Tensor) []*Tensor {
	var wide []*Tensor
	for k, t := range list {
		if t == nil || !isHalf(t.Type) {
			continue
		}
		if wide == nil {
			wide = slices.Clone(list)
		}
		if t.Data == nil {
			wide[k] = &Tensor{Type: onnx.Float, Dims: t.Dims}
		} else {
			wide[k] = widenHalf(t)
		}
	}
	if wide == nil {
		return list
	}
	return wide
}

// guardGradient turns a panic, which no shape check foresaw, into an error.
func guardGradient(c *backCall, g *gradient, in, out, d []*Tensor) (grads []*Tensor, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack(), inputs: describeTensors(in)}
		}
	}()
	return g.run(c, in, out, d)
}

// carry sends a gradient the way its value came.
func (t *tape) carry(e *entry) error {
	g := t.take(e.at)
	if g == nil {
		return nil
	}
	switch e.kind {
	case readParameter:
		return e.parameter.accumulate(g)
	case wasMoved:
		return t.add(e.from[0], g)
	case wasShared:
		t.loan.keep(g)
		return e.owner.add(e.from[0], g)
	case wasTaken:
		return t.addRange(e.from[0], g, e.dims, e.axis, e.start, e.count)
	}
	start := 0
	for k, from := range e.from {
		count := 1
		if dims := e.parts[k]; len(dims) == len(g.Dims) { // else the axis is new
			count = dims[e.axis]
		}
		if from.variable() {
			p, err := part(g, e.axis, start, count)
			if err != nil {
				return err
			}
			if err := t.add(from, newTensor(p.Type, e.parts[k], p.Data)); err != nil {
				return err
			}
		}
		start += count
	}
	return nil
}
