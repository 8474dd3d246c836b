package runtime

import (
	"errors"
	"fmt"

	"github.com/trconvert/trconvert/internal/gemm"
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
	o := &recurrentOp{cfg: cfg, fixed: true}
	for _, k := range []int{recurrent.SlotW, recurrent.SlotR, recurrent.SlotB, recurrent.SlotP} {
		o.fixed = o.fixed && n.constant(k)
	}
	return o, nil
}

// recurrentOp runs one LSTM, GRU or RNN node in three parts: the projection X·Wᵀ of a stretch of time steps, the scan over them, and
// the cell, which sees nothing but pre-activations and states.
type recurrentOp struct {
	cfg    recurrent.Config
	fixed  bool // W, R, B and P are constants of the program, so what is made of them is kept
	single layerMemory[float32]
	double layerMemory[float64]
}

func (o *recurrentOp) run(c *call, in []*Tensor) ([]*Tensor, error) {
	out, _, err := o.forward(c, in, false)
	return out, err
}

func (o *recurrentOp) record(c *call, in []*Tensor) ([]*Tensor, any, error) {
	return o.forward(c, in, true)
}

// forward is record, or run where no trace is wanted.
func (o *recurrentOp) forward(c *call, in []*Tensor, traced bool) ([]*Tensor, any, error) {
	if err := sameTypes(in); err != nil {
		return nil, nil, err
	}
	switch x := in[recurrent.SlotX]; x.Type {
	case onnx.Float, onnx.Float16, onnx.BFloat16:
		return runLayer(c, o, &o.single, in, onnx.Float, traced)
	case onnx.Double:
		return runLayer(c, o, &o.double, in, onnx.Double, traced)
	default:
		return nil, nil, unsupportedType(x.Type)
	}
}

// sameTypes checks that all operands have the type of X.
func sameTypes(in []*Tensor) error {
	x := in[recurrent.SlotX]
	for k, t := range in {
		if t != nil && k != recurrent.SlotSequenceLens && t.Type != x.Type {
			return fmt.Errorf("input %s is %v, X is %v", slotName(k), t.Type, x.Type)
		}
	}
	return nil
}

func slotName(k int) string {
	names := [...]string{"X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"}
	if k < len(names) {
		return names[k]
	}
	return fmt.Sprint(k)
}

// layer holds the checked operands of one run of a node but for its weights. Slices of absent operands are nil.
type layer[T floating] struct {
	cfg                   *recurrent.Config
	steps, batch, inputs  int // T, B, I
	x, initialH, initialC []T
	lens                  []int // valid steps of each batch row, nil where all have all
	longest               int   // the greatest of lens
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
	state := [3]int{d, l.batch, h}
	if cfg.Layout == 1 {
		state = [3]int{l.batch, d, h}
	}
	for _, o := range [...]struct {
		slot, rank int
		dims       [3]int
		to         *[]T
	}{
		{recurrent.SlotX, 3, [3]int(x.Dims), &l.x},
		{recurrent.SlotW, 3, [3]int{d, gh, l.inputs}, nil},
		{recurrent.SlotR, 3, [3]int{d, gh, h}, nil},
		{recurrent.SlotB, 2, [3]int{d, 2 * gh}, nil},
		{recurrent.SlotInitialH, 3, state, &l.initialH},
		{recurrent.SlotInitialC, 3, state, &l.initialC},
		{recurrent.SlotP, 2, [3]int{d, 3 * h}, nil},
	} {
		t := optional(in, o.slot)
		if t == nil {
			continue
		}
		if want := o.dims[:o.rank]; !sameDims(t.Dims, want) {
			return nil, fmt.Errorf("%s has dims %v, want %v (X %v, hidden_size %d, direction %s, layout %d)", slotName(o.slot), t.Dims, want, x.Dims, h, cfg.Direction, cfg.Layout)
		}
		if o.to != nil {
			*o.to = wideData[T](t)
		}
	}
	return l, l.lengths(optional(in, recurrent.SlotSequenceLens))
}

// wideData is the payload of a float tensor, 16-bit floats widened; nil for an absent tensor.
func wideData[T floating](t *Tensor) []T {
	if t == nil {
		return nil
	}
	if isHalf(t.Type) {
		t = widenHalf(t)
	}
	return t.Data.([]T)
}

// lengths reads sequence_lens; without it every row has all steps.
func (l *layer[T]) lengths(t *Tensor) error {
	l.longest = l.steps
	if t == nil {
		return nil
	}
	v, ok := t.Data.([]int32)
	if !ok || !sameDims(t.Dims, []int{l.batch}) {
		return fmt.Errorf("sequence_lens is %v%v, want int32[%d]", t.Type, t.Dims, l.batch)
	}
	l.lens, l.longest = make([]int, l.batch), 0
	all := true
	for b, n := range v {
		if n < 0 || int(n) > l.steps {
			return fmt.Errorf("sequence_lens[%d] is %d, want 0 to the %d steps of X", b, n, l.steps)
		}
		l.lens[b] = int(n)
		l.longest = max(l.longest, int(n))
		all = all && int(n) == l.steps
	}
	if all {
		l.lens, l.longest = nil, l.steps
	}
	return nil
}

// runLayer computes Y, Y_h and, for LSTM, Y_c, as far as they are read, in type typ before 16-bit floats are rounded, and a trace if it is wanted.
func runLayer[T floating](c *call, o *recurrentOp, memory *layerMemory[T], in []*Tensor, typ onnx.DataType, traced bool) (out []*Tensor, saved any, err error) {
	l, err := newLayer[T](&o.cfg, in)
	if err != nil {
		return nil, nil, err
	}
	out, results, err := l.results(c, typ)
	if err != nil {
		return nil, nil, err
	}
	directions := memory.directions(o, in, l.steps > 1, c.loan())
	if traced {
		saved, err = l.record(c, typ, directions, memory, results)
	} else {
		err = eachDirection(len(directions), func(d int) error { return l.scan(c.ctx, d, directions[d], memory, results) })
	}
	if err != nil {
		return nil, nil, err
	}
	return narrowAll(out, in[recurrent.SlotX].Type), saved, nil
}

// eachDirection runs f for every direction, at the same time if there are two.
func eachDirection(count int, f func(d int) error) error {
	if count == 1 {
		return f(0)
	}
	errs := make([]error, count)
	gemm.Parallel(count, func(d int) { errs[d] = f(d) })
	return errors.Join(errs...)
}

// narrowAll rounds results to typ where that is a 16-bit type.
func narrowAll(out []*Tensor, typ onnx.DataType) []*Tensor {
	for k, t := range out {
		if t != nil && isHalf(typ) {
			out[k] = narrowHalf(t, typ)
		}
	}
	return out
}

// results makes Y, Y_h and Y_c with zero elements, nil where nobody reads them.
func (l *layer[T]) results(c *call, typ onnx.DataType) (out []*Tensor, data [3][]T, err error) {
	d, h := l.cfg.Direction.Count(), l.cfg.Hidden
	yDims, stateDims := []int{l.steps, d, l.batch, h}, []int{d, l.batch, h}
	if l.cfg.Layout == 1 {
		yDims, stateDims = []int{l.batch, l.steps, d, h}, []int{l.batch, d, h}
	}
	out = make([]*Tensor, 3)
	for k, dims := range [][]int{yDims, stateDims, stateDims} {
		if k == 2 && l.cfg.Op != recurrent.LSTM || !c.wants(k) {
			continue
		}
		if data[k], err = alloc[T](dims); err != nil {
			return nil, data, err
		}
		out[k] = newTensor(typ, dims, data[k])
	}
	return out, data, nil
}
