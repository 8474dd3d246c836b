package runtime

import (
	"errors"
	"fmt"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// buildRecurrent: https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html, onnx__RNN.html.
func buildRecurrent(n *nodeInfo) (operator, error) {
	for _, a := range n.node.Attributes {
		n.ignore(a.Name) // ParseConfig honours or refuses each of them
	}
	cfg, err := recurrent.ParseConfig(n.bound(), n.opset)
	if err != nil {
		var u *recurrent.UnsupportedError
		if errors.As(err, &u) {
			return nil, unsupportedf("%s=%s: %s", u.Attribute, u.Value, u.What)
		}
		return nil, err
	}
	return &recurrentOp{cfg}, nil
}

// recurrentOp runs one LSTM, GRU or RNN node in three parts: the projection X·Wᵀ of all time steps, the scan over time, and the
// cell, which sees nothing but pre-activations and states.
type recurrentOp struct{ cfg recurrent.Config }

func (o *recurrentOp) run(c *call, in []*Tensor) ([]*Tensor, error) {
	x := in[recurrent.SlotX]
	for k, t := range in {
		if t != nil && k != recurrent.SlotSequenceLens && t.Type != x.Type {
			return nil, fmt.Errorf("input %s is %v, X is %v", slotName(k), t.Type, x.Type)
		}
	}
	switch x.Type {
	case onnx.Float:
		return runLayer[float32](c, &o.cfg, in, onnx.Float)
	case onnx.Double:
		return runLayer[float64](c, &o.cfg, in, onnx.Double)
	case onnx.Float16, onnx.BFloat16:
		wide := make([]*Tensor, len(in))
		for k, t := range in {
			if wide[k] = t; t != nil && t.Type == x.Type {
				wide[k] = widenHalf(t)
			}
		}
		out, err := runLayer[float32](c, &o.cfg, wide, onnx.Float)
		for k, t := range out {
			if t != nil {
				out[k] = narrowHalf(t, x.Type)
			}
		}
		return out, err
	}
	return nil, unsupportedType(x.Type)
}

func slotName(k int) string {
	names := [...]string{"X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"}
	if k < len(names) {
		return names[k]
	}
	return fmt.Sprint(k)
}

// layer holds the checked operands of one node. Slices of absent operands are nil.
type layer[T floating] struct {
	cfg                               *recurrent.Config
	steps, batch, inputs              int // T, B, I
	x, w, r, b, p, initialH, initialC []T
	lens                              []int // valid steps of each batch row
	longest                           int   // the greatest of lens
}

// newLayer checks all shapes against the specification: X [T,B,I], W [D,G·H,I], R [D,G·H,H], B [D,2·G·H], sequence_lens [B],
// initial_h and initial_c [D,B,H], P [D,3·H]; with layout 1 the batch is the first axis of X and of the states.
func newLayer[T floating](cfg *recurrent.Config, in []*Tensor) (*layer[T], error) {
	l := &layer[T]{cfg: cfg}
	x := in[recurrent.SlotX]
	if len(x.Dims) != 3 {
		return nil, fmt.Errorf("input X has dims %v, want rank 3", x.Dims)
	}
	l.steps, l.batch, l.inputs = x.Dims[0], x.Dims[1], x.Dims[2]
	if cfg.Layout == 1 {
		l.steps, l.batch = l.batch, l.steps
	}
	d, h, gh := cfg.Direction.Count(), cfg.Hidden, cfg.Op.Gates()*cfg.Hidden
	state := []int{d, l.batch, h}
	if cfg.Layout == 1 {
		state = []int{l.batch, d, h}
	}
	for _, o := range []struct {
		slot int
		dims []int
		to   *[]T
	}{
		{recurrent.SlotX, x.Dims, &l.x},
		{recurrent.SlotW, []int{d, gh, l.inputs}, &l.w},
		{recurrent.SlotR, []int{d, gh, h}, &l.r},
		{recurrent.SlotB, []int{d, 2 * gh}, &l.b},
		{recurrent.SlotInitialH, state, &l.initialH},
		{recurrent.SlotInitialC, state, &l.initialC},
		{recurrent.SlotP, []int{d, 3 * h}, &l.p},
	} {
		t := optional(in, o.slot)
		if t == nil {
			continue
		}
		if !sameDims(t.Dims, o.dims) {
			return nil, fmt.Errorf("%s has dims %v, want %v (X %v, hidden_size %d, direction %s, layout %d)", slotName(o.slot), t.Dims, o.dims, x.Dims, h, cfg.Direction, cfg.Layout)
		}
		*o.to = t.Data.([]T)
	}
	return l, l.lengths(optional(in, recurrent.SlotSequenceLens))
}

// lengths reads sequence_lens; without it every row has all steps.
func (l *layer[T]) lengths(t *Tensor) error {
	l.lens = make([]int, l.batch)
	if t == nil {
		for b := range l.lens {
			l.lens[b] = l.steps
		}
		l.longest = l.steps
		return nil
	}
	v, ok := t.Data.([]int32)
	if !ok || !sameDims(t.Dims, []int{l.batch}) {
		return fmt.Errorf("sequence_lens is %v%v, want int32[%d]", t.Type, t.Dims, l.batch)
	}
	for b, n := range v {
		if n < 0 || int(n) > l.steps {
			return fmt.Errorf("sequence_lens[%d] is %d, want 0 to the %d steps of X", b, n, l.steps)
		}
		l.lens[b] = int(n)
		l.longest = max(l.longest, int(n))
	}
	return nil
}

// runLayer computes Y, Y_h and, for LSTM, Y_c, as far as they are read.
func runLayer[T floating](c *call, cfg *recurrent.Config, in []*Tensor, typ onnx.DataType) ([]*Tensor, error) {
	l, err := newLayer[T](cfg, in)
	if err != nil {
		return nil, err
	}
	d, h := cfg.Direction.Count(), cfg.Hidden
	yDims, stateDims := []int{l.steps, d, l.batch, h}, []int{d, l.batch, h}
	if cfg.Layout == 1 {
		yDims, stateDims = []int{l.batch, l.steps, d, h}, []int{l.batch, d, h}
	}
	var y []T
	if c.wants(0) {
		if y, err = alloc[T](yDims); err != nil {
			return nil, err
		}
	}
	yh, yc := make([]T, d*l.batch*h), []T(nil)
	if cfg.Op == recurrent.LSTM {
		yc = make([]T, d*l.batch*h)
	}
	rows := d * cfg.Op.Gates() * h
	pre, err := alloc[T]([]int{l.steps * l.batch, rows})
	if err != nil {
		return nil, err
	}
	multiply(false, true, l.steps*l.batch, rows, l.inputs, l.x, l.w, 0, pre)
	for k := range d {
		if err := l.scan(c.ctx, k, pre, y, yh, yc); err != nil {
			return nil, err
		}
	}
	out := make([]*Tensor, 3)
	if y != nil {
		out[0] = newTensor(typ, yDims, y)
	}
	out[1] = newTensor(typ, stateDims, yh)
	if yc != nil {
		out[2] = newTensor(typ, stateDims, yc)
	}
	return out, nil
}
