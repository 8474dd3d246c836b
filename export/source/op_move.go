package source

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// lowerAlias serves operators that give the same elements other dims.
func lowerAlias(attributes ...string) lowering {
	return func(n *node) error {
		n.ignore(attributes...)
		t, err := n.in(0)
		if err != nil {
			return err
		}
		return n.alias(n.Output(0), t)
	}
}

func lowerDropout(n *node) error {
	n.ignore("ratio", "seed", "is_test", "consumed_inputs")
	if n.wants(1) {
		return lacksf("mask")
	}
	training, err := n.fixed(2)
	if err != nil {
		return err
	}
	if training != nil {
		if v, ok := training.Data.([]bool); ok && len(v) == 1 && v[0] {
			return lacksf("training mode")
		}
	}
	return lowerAlias()(n)
}

func lowerCast(n *node) error {
	n.ignore("to", "saturate", "round_mode")
	t, err := n.in(0)
	if err != nil {
		return err
	}
	to, err := elemOf(n.values[n.Output(0)].Type)
	if err != nil {
		return err
	}
	if to == t.buf.Elem {
		return n.alias(n.Output(0), t)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.nest([]int{size(t.dims)}, Ref{Buf: out.buf, Strides: []int{1}}, Expr{Op: "cast"}, Ref{Buf: t.buf, Strides: []int{1}})
	return nil
}

// move copies a tensor into an output through other strides.
func (n *node) move(out tensor, from Ref) {
	n.nest(out.dims, whole(out), Expr{Op: "copy"}, from)
}

func lowerTranspose(n *node) error {
	t, err := n.in(0)
	if err != nil {
		return err
	}
	perm, err := n.ints("perm", -1)
	if err != nil {
		return err
	}
	rank := len(t.dims)
	if perm == nil {
		for k := range rank {
			perm = append(perm, int64(rank-1-k))
		}
	}
	s := strides(t.dims)
	from := Ref{Buf: t.buf}
	var order []int // of the axes that are longer than 1
	for _, p := range perm {
		if p < 0 || int(p) >= rank {
			return fmt.Errorf("perm %v of a value of rank %d", perm, rank)
		}
		from.Strides = append(from.Strides, s[p])
		if t.dims[p] != 1 {
			order = append(order, int(p))
		}
	}
	if slices.IsSorted(order) {
		return n.alias(n.Output(0), t)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.move(out, from)
	return nil
}

func lowerExpand(n *node) error {
	t, err := n.in(0)
	if err != nil {
		return err
	}
	dims, err := n.outDims(0)
	if err != nil {
		return err
	}
	if size(dims) == size(t.dims) {
		return n.alias(n.Output(0), t)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.move(out, spread(t, dims))
	return nil
}

func lowerTile(n *node) error {
	if n.opset() < 6 {
		return lacksf("opset %d", n.opset())
	}
	t, err := n.in(0)
	if err != nil {
		return err
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	s := strides(t.dims)
	var dims []int
	from := Ref{Buf: t.buf}
	for k, d := range t.dims {
		times := 0
		if d > 0 {
			times = out.dims[k] / d
		}
		dims = append(dims, times, d)
		from.Strides = append(from.Strides, 0, s[k])
	}
	n.nest(dims, Ref{Buf: out.buf, Strides: strides(dims)}, Expr{Op: "copy"}, from)
	return nil
}

func lowerSlice(n *node) error {
	t, err := n.in(0)
	if err != nil {
		return err
	}
	var lists [4][]int64
	for k, name := range []string{"starts", "ends", "axes", "steps"} {
		if lists[k], err = n.ints(name, k+1); err != nil {
			return err
		}
	}
	dims, err := n.outDims(0)
	if err != nil {
		return err
	}
	s := strides(t.dims)
	from := Ref{Buf: t.buf, Strides: slices.Clone(s)}
	for i, start := range lists[0] {
		axis := i
		if lists[2] != nil {
			if axis, err = resolveAxis(lists[2][i], len(t.dims)); err != nil {
				return err
			}
		}
		step := int64(1)
		if lists[3] != nil {
			step = lists[3][i]
		}
		d := int64(t.dims[axis])
		if start < 0 {
			start += d
		}
		if step > 0 {
			start = min(max(start, 0), d)
		} else {
			start = min(max(start, 0), d-1)
		}
		if dims[axis] == 0 {
			start = 0
		}
		from.Offset += int(start) * s[axis]
		from.Strides[axis] *= int(step)
		if dims[axis] <= 1 {
			from.Strides[axis] = 0
		}
	}
	if slices.Equal(dims, t.dims) && from.Offset == 0 && slices.Equal(noUnit(from.Strides, dims), noUnit(s, dims)) {
		return n.alias(n.Output(0), t)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.move(out, from)
	return nil
}

// noUnit drops the strides of axes of length 1.
func noUnit(s, dims []int) (kept []int) {
	for k, d := range dims {
		if d != 1 {
			kept = append(kept, s[k])
		}
	}
	return kept
}

func lowerConcat(n *node) error {
	out, err := n.out(0)
	if err != nil {
		return err
	}
	axis, err := n.axis("axis", 1, len(out.dims))
	if err != nil {
		return err
	}
	to := whole(out)
	for k := range n.Inputs {
		t, err := n.in(k)
		if err != nil {
			return err
		}
		if size(t.dims) > 0 {
			n.nest(t.dims, to, Expr{Op: "copy"}, whole(t))
		}
		to.Offset += t.dims[axis] * to.Strides[axis]
	}
	return nil
}

func lowerSplit(n *node) error {
	t, err := n.in(0)
	if err != nil {
		return err
	}
	n.ignore("split", "num_outputs")
	axis, err := n.axis("axis", 0, len(t.dims))
	if err != nil {
		return err
	}
	if _, err := n.fixed(1); err != nil {
		return err
	}
	from := whole(t)
	lengths, err := n.splitLengths(t.dims[axis])
	if err != nil {
		return err
	}
	for k := range n.Outputs {
		if n.wants(k) {
			out, err := n.out(k)
			if err != nil {
				return err
			}
			n.move(out, from)
		}
		from.Offset += lengths[k] * from.Strides[axis]
	}
	return nil
}

// splitLengths are the parts of an axis; outputs that nobody reads have no value to take them from.
func (n *node) splitLengths(d int) ([]int, error) {
	given, err := n.ints("split", 1)
	if err != nil {
		return nil, err
	}
	parts := len(n.Outputs)
	lengths := make([]int, parts)
	if given != nil {
		if len(given) != parts {
			return nil, fmt.Errorf("split %v into %d outputs", given, parts)
		}
		for k, v := range given {
			lengths[k] = int(v)
		}
		return lengths, nil
	}
	each := (d + parts - 1) / parts
	for k := range lengths {
		lengths[k] = max(0, min(each, d-k*each))
	}
	return lengths, nil
}

func lowerPad(n *node) error {
	t, err := n.in(0)
	if err != nil {
		return err
	}
	mode, err := n.string("mode", "constant")
	if err != nil {
		return err
	}
	name := "pads"
	if n.opset() < 2 {
		name = "paddings"
	}
	pads, err := n.ints(name, 1)
	if err != nil {
		return err
	}
	value, err := n.float("value", 0)
	if err != nil {
		return err
	}
	fill := Expr{Op: "fill", Params: []float32{value}}
	if v, err := n.fixed(2); err != nil {
		return err
	} else if v != nil {
		f, err := v.Float32s()
		if err != nil || len(f) != 1 {
			return lacksf("a padding value of type %v", v.Type)
		}
		fill.Params[0] = f[0]
	}
	axes, err := n.fixed(3)
	if err != nil {
		return err
	}
	rank := len(t.dims)
	full := make([]int64, 2*rank)
	if axes != nil {
		list, err := axes.Int64s()
		if err != nil {
			return err
		}
		for i, a := range list {
			k, err := resolveAxis(a, rank)
			if err != nil || len(pads) != 2*len(list) {
				return fmt.Errorf("pads %v of axes %v", pads, list)
			}
			full[k], full[rank+k] = pads[i], pads[len(list)+i]
		}
	} else if copy(full, pads) != len(pads) || len(pads) != 2*rank {
		return fmt.Errorf("pads %v of a value of rank %d", pads, rank)
	}
	if mode != "constant" {
		return n.padByIndex(t, full, mode)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.pad(out, t, full, fill)
	return nil
}

// pad copies t into the middle of out, whose other elements are fill's; negative pads cut off.
func (n *node) pad(out, t tensor, pads []int64, fill Expr) {
	n.nest(out.dims, whole(out), fill)
	from, to := whole(t), whole(out)
	dims := slices.Clone(t.dims)
	for k := range dims {
		before, after := int(pads[k]), int(pads[len(dims)+k])
		if before < 0 {
			from.Offset += -before * from.Strides[k]
			dims[k] += before
		} else {
			to.Offset += before * to.Strides[k]
		}
		dims[k] = max(0, dims[k]+min(after, 0))
	}
	if size(dims) > 0 {
		n.nest(dims, to, Expr{Op: "copy"}, from)
	}
}

// padByIndex looks up the elements of one axis after the other.
func (n *node) padByIndex(t tensor, pads []int64, mode string) error {
	rank := len(t.dims)
	for k, d := range t.dims {
		before, after := pads[k], pads[rank+k]
		if before == 0 && after == 0 {
			continue
		}
		var index []int64
		for i := -before; i < int64(d)+after; i++ {
			at := i
			switch mode {
			case "edge":
				at = min(max(i, 0), int64(d)-1)
			case "reflect":
				if period := 2 * (int64(d) - 1); period > 0 {
					at = ((i % period) + period) % period
					at = min(at, period-at)
				} else {
					at = 0
				}
			case "wrap":
				at = ((i % int64(d)) + int64(d)) % int64(d)
			default:
				return lacksf("mode %q", mode)
			}
			index = append(index, at)
		}
		dims := slices.Clone(t.dims)
		dims[k] = len(index)
		out := tensor{temp(t.buf.Elem, size(dims)), dims}
		n.add(&Lookup{Outer: size(t.dims[:k]), Axis: d, Inner: size(t.dims[k+1:]), Count: len(index), Out: out.buf, Data: t.buf, Index: n.int64s(index)})
		t = out
	}
	return n.alias(n.Output(0), t)
}

func lowerGather(n *node) error {
	index, err := n.in(1)
	if err != nil {
		return err
	}
	rank := 0
	if a := n.values[n.Input(0)]; a != nil {
		rank = len(a.Dims)
	}
	axis, err := n.axis("axis", 0, rank)
	if err != nil {
		return err
	}
	if n.isFixed(0) && axis == 0 && !n.isFixed(1) && n.options.Int8 {
		a, err := n.fixed(0)
		if err != nil {
			return err
		}
		if a.Type == onnx.Float && a.Elements() >= minQuantized && len(a.Dims) >= 2 && a.Dims[0] > 0 {
			w, err := n.rows(0, a.Dims[0], a.Elements()/a.Dims[0], false, 1)
			if err != nil {
				return err
			}
			out, err := n.out(0)
			if err != nil {
				return err
			}
			n.add(&Lookup{Outer: 1, Axis: a.Dims[0], Inner: a.Elements() / a.Dims[0], Count: size(index.dims), Out: out.buf, Data: w.Buf, Index: index.buf, Scale: w.Scale})
			return nil
		}
	}
	t, err := n.in(0)
	if err != nil {
		return err
	}
	inner := size(t.dims[axis+1:])
	if n.isFixed(1) && size(index.dims) == 1 { // one entry: a walk with an offset
		at, err := n.values[n.Input(1)].Int64s()
		if err != nil {
			return err
		}
		k, err := resolveAxis(at[0], t.dims[axis])
		if err != nil {
			return err
		}
		if t.dims[axis] == 1 {
			return n.alias(n.Output(0), t)
		}
		out, err := n.out(0)
		if err != nil {
			return err
		}
		dims := []int{size(t.dims[:axis]), inner}
		n.nest(dims, Ref{Buf: out.buf, Strides: strides(dims)}, Expr{Op: "copy"}, Ref{Buf: t.buf, Offset: k * inner, Strides: []int{t.dims[axis] * inner, 1}})
		return nil
	}
	if e := index.buf.Elem; e != Int32 && e != Int64 {
		return lacksf("indices of type %v", e)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.add(&Lookup{Outer: size(t.dims[:axis]), Axis: t.dims[axis], Inner: inner, Count: size(index.dims), Out: out.buf, Data: t.buf, Index: index.buf})
	return nil
}
