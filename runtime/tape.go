package runtime

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// tape is the trace of one forward run, in the order of the nodes, read backwards for the gradients. Only what depends on a parameter stands
// on it. Of the values that a node read and gave it keeps those the node's gradient asks for; everything else is dropped at its last reader as
// in any run.
type tape struct {
	entries []entry
	bytes   int64 // of what is kept; values that several nodes keep count once for each
}

// entry is one thing that happened: a node ran, a value went from one scope to another, or a parameter was read.
type entry struct {
	// A node: its step, its operands and results, and what it saved.
	step    *step
	in, out []*Tensor
	saved   any

	// at is the frame of the node, or the value that received something.
	at place
	// from is where the value came from: as it is, at one index of an axis, or from several places stacked along an axis.
	from  []place
	kind  entryKind
	axis  int64
	index int
	dims  []int // of from[0] before index was taken
	// parameter is what was read.
	parameter *Parameter
}

type entryKind uint8

const (
	ranNode entryKind = iota
	readParameter
	wasMoved // at is from[0]
	wasTaken // at is from[0] at index of axis
	wasStacked
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
		f.grads = make([]accumulator, len(f.values))
	}
	return &f.grads[p.operand.slot]
}

// input and output are operand and result k of the node at work.
func (c *call) input(k int) place { return place{c.frame, c.step.in[k]} }

func (c *call) output(k int) place {
	if slot := c.step.out[k]; slot >= 0 {
		return place{c.frame, operand{present: true, slot: slot}}
	}
	return place{}
}

// output is result k of the scope that a frame ran.
func (f *frame) output(k int) place { return place{f, f.scope.outputs[k]} }

// trace notes that a value is another one.
func (c *call) trace(at, from place) {
	if t := c.runner.tape; t != nil && at.variable() && from.variable() {
		t.entries = append(t.entries, entry{kind: wasMoved, at: at, from: []place{from}})
	}
}

// traceTake notes that a value is another one, whole, at an index of an axis.
func (c *call) traceTake(at, from place, whole *Tensor, axis int64, index int) {
	if t := c.runner.tape; t != nil && at.variable() && from.variable() {
		t.entries = append(t.entries, entry{kind: wasTaken, at: at, from: []place{from}, axis: axis, index: index, dims: whole.Dims})
	}
}

// traceStack notes that a value is made of others along a new axis.
func (c *call) traceStack(at place, from []place, axis int64) {
	if t := c.runner.tape; t != nil && at.variable() {
		t.entries = append(t.entries, entry{kind: wasStacked, at: at, from: from, axis: axis})
	}
}

// load notes that a scope reads a parameter.
func (t *tape) load(f *frame, p parameterSlot) {
	if t != nil {
		t.entries = append(t.entries, entry{kind: readParameter, at: place{f, operand{present: true, slot: p.slot}}, parameter: p.parameter})
	}
}

// record notes a node.
func (t *tape) record(f *frame, st *step, in, out []*value, saved any) {
	e := entry{step: st, at: place{frame: f}, saved: saved, in: make([]*Tensor, len(in)), out: make([]*Tensor, len(st.out))}
	t.keep(e.in, in, st.grad.in)
	t.keep(e.out, out, st.grad.out)
	if s, ok := saved.(interface{ size() int64 }); ok {
		t.bytes += s.size()
	}
	t.entries = append(t.entries, e)
}

// keep copies tensors, without their elements where mask denies them.
func (t *tape) keep(to []*Tensor, from []*value, mask uint64) {
	for k := range to {
		if k >= len(from) || from[k] == nil || from[k].kind != kindTensor {
			continue
		}
		v := from[k].tensor
		if mask>>k&1 == 0 {
			v = &Tensor{Type: v.Type, Dims: v.Dims}
		} else if n, ok := dataLen(v); ok {
			t.bytes += int64(n) * bytesPerElement(v.Type)
		}
		to[k] = v
	}
}

// bytesPerElement is what an element takes in memory, the content of strings aside.
func bytesPerElement(t onnx.DataType) int64 {
	switch t {
	case onnx.Double, onnx.Int64, onnx.Uint64, onnx.Complex64:
		return 8
	case onnx.Float, onnx.Int32, onnx.Uint32:
		return 4
	case onnx.Float16, onnx.BFloat16, onnx.Int16, onnx.Uint16:
		return 2
	case onnx.String, onnx.Complex128:
		return 16
	}
	return 1
}

// accumulator sums the gradients that come back to a value from its readers. The first is kept as it came, since most values have one reader.
type accumulator struct {
	sum   *Tensor
	owned bool // nobody else holds the elements
}

func (a *accumulator) add(t *Tensor) error {
	if a.sum == nil {
		a.sum = t
		return nil
	}
	if err := a.own(); err != nil {
		return err
	}
	return addTo(a.sum, t)
}

// own makes sure that the elements of the sum may be changed.
func (a *accumulator) own() error {
	if a.owned {
		return nil
	}
	fresh, err := zeros(a.sum.Type, a.sum.Dims)
	if err != nil {
		return err
	}
	if err := addTo(fresh, a.sum); err != nil {
		return err
	}
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
		addInto(s, t.Data.([]float32))
	case []float64:
		addInto(s, t.Data.([]float64))
	default:
		return unsupportedType(t.Type)
	}
	return nil
}

func addInto[T floating](dst, src []T) {
	for i, v := range src {
		dst[i] += v
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
			err = e.backward(ctx)
		default:
			err = e.carry()
		}
		if err != nil {
			return err
		}
		t.entries[i] = entry{}
	}
	t.entries = nil
	return nil
}

// backward runs the gradient of a node.
func (e *entry) backward(ctx context.Context) (err error) {
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
		d[k] = e.at.frame.grads[slot].sum
		e.at.frame.grads[slot] = accumulator{}
		some = some || d[k] != nil
	}
	if !some {
		return nil
	}
	grads, err := guardGradient(&backCall{ctx: ctx, node: st.info, saved: e.saved}, st.grad, e.in, e.out, d)
	if err != nil {
		return nodeErrorf(st.info.node, fmt.Errorf("gradient: %w", err))
	}
	for k, g := range grads {
		if g == nil || !st.info.variable[k] {
			continue
		}
		if g.Type != e.in[k].Type || !sameDims(g.Dims, e.in[k].Dims) {
			return nodeErrorf(st.info.node, fmt.Errorf("gradient of input %d is %v%v, the input %v%v", k, g.Type, g.Dims, e.in[k].Type, e.in[k].Dims))
		}
		if err := (place{e.at.frame, st.in[k]}).accumulator().add(g); err != nil {
			return nodeErrorf(st.info.node, fmt.Errorf("input %d: %w", k, err))
		}
	}
	return nil
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
func (e *entry) carry() error {
	a := e.at.accumulator()
	g := *a
	*a = accumulator{}
	if g.sum == nil {
		return nil
	}
	switch e.kind {
	case readParameter:
		return e.parameter.accumulate(g)
	case wasMoved:
		return e.from[0].accumulator().add(g.sum)
	case wasTaken:
		return e.from[0].accumulator().addAt(g.sum, e.dims, e.axis, e.index)
	case wasStacked:
		for k, from := range e.from {
			if !from.variable() {
				continue
			}
			part, err := take(g.sum, e.axis, k)
			if err != nil {
				return err
			}
			if err := from.accumulator().add(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// addAt adds t at one index of an axis of a value with the given dims.
func (a *accumulator) addAt(t *Tensor, dims []int, axis int64, index int) (err error) {
	if a.sum == nil {
		if a.sum, err = zeros(t.Type, dims); err != nil {
			return err
		}
		a.owned = true
	}
	if err := a.own(); err != nil {
		return err
	}
	k, err := shape.Axis(axis, len(dims))
	if err != nil {
		return err
	}
	inner := elements(dims[k+1:])
	switch sum := a.sum.Data.(type) {
	case []float32:
		addSlices(sum, t.Data.([]float32), dims[k], inner, index)
	case []float64:
		addSlices(sum, t.Data.([]float64), dims[k], inner, index)
	default:
		return unsupportedType(t.Type)
	}
	return nil
}

// addSlices adds src [outer, inner] to dst [outer, n, inner] at index of the middle axis.
func addSlices[T floating](dst, src []T, n, inner, index int) {
	for o := 0; o*inner < len(src); o++ {
		addInto(dst[(o*n+index)*inner:][:inner], src[o*inner:(o+1)*inner])
	}
}
