package source

import (
	"slices"
)

// reduce adds a reduction of t over axes (sorted) into out, whose elements are those of the other axes in order.
func (n *node) reduce(out *Buffer, t tensor, axes []int, combine string, each, finish Expr) {
	s := strides(t.dims)
	var kept, dims, in []int
	for k, d := range t.dims {
		if !slices.Contains(axes, k) {
			kept, dims, in = append(kept, d), append(dims, d), append(in, s[k])
		}
	}
	for _, k := range axes {
		dims, in = append(dims, t.dims[k]), append(in, s[k])
	}
	n.add(newReduce(dims, len(kept), Ref{Buf: out, Strides: strides(kept)}, []Ref{{Buf: t.buf, Strides: in}}, each, combine, finish))
}

// finishing completes the name of what is done to a sum.
func finishing(op string, count int) Expr {
	if op == "mean" {
		return Expr{Op: "linear", Params: []float32{1 / float32(max(1, count)), 0}}
	}
	return Expr{Op: op}
}

func lowerReduce(combine, each, finish string) lowering {
	return func(n *node) error {
		n.ignore("keepdims")
		t, err := n.in(0)
		if err != nil {
			return err
		}
		types := numeric
		if each != "copy" || finish != "copy" {
			types = floating
		}
		if !slices.Contains(types, t.buf.Elem) {
			return lacksf("type %v", t.buf.Elem)
		}
		given, err := n.ints("axes", 1)
		if err != nil {
			return err
		}
		nothing, err := n.int("noop_with_empty_axes", 0)
		if err != nil {
			return err
		}
		axes, err := resolveAxes(given, len(t.dims))
		if err != nil {
			return err
		}
		if len(given) == 0 {
			if nothing != 0 {
				return lacksf("no axes and \"noop_with_empty_axes\"")
			}
			for k := range t.dims {
				axes = append(axes, k)
			}
		}
		count := 1
		for _, k := range axes {
			count *= t.dims[k]
		}
		if count == 0 {
			return lacksf("a reduction of no elements")
		}
		out, err := n.out(0)
		if err != nil {
			return err
		}
		n.reduce(out.buf, t, axes, combine, Expr{Op: each}, finishing(finish, count))
		return nil
	}
}

func lowerGlobalPool(combine, finish string) lowering {
	return func(n *node) error {
		t, err := n.floatIn(0)
		if err != nil {
			return err
		}
		var axes []int
		for k := 2; k < len(t.dims); k++ {
			axes = append(axes, k)
		}
		out, err := n.out(0)
		if err != nil {
			return err
		}
		n.reduce(out.buf, t, axes, combine, Expr{Op: "copy"}, finishing(finish, size(t.dims[min(2, len(t.dims)):])))
		return nil
	}
}

func lowerArg(least bool) lowering {
	return func(n *node) error {
		n.ignore("keepdims")
		t, err := n.in(0)
		if err != nil {
			return err
		}
		if !slices.Contains(numeric, t.buf.Elem) {
			return lacksf("type %v", t.buf.Elem)
		}
		axis, err := n.axis("axis", 0, len(t.dims))
		if err != nil {
			return err
		}
		last, err := n.int("select_last_index", 0)
		if err != nil {
			return err
		}
		out, err := n.out(0)
		if err != nil {
			return err
		}
		n.add(&Arg{Outer: size(t.dims[:axis]), Axis: t.dims[axis], Inner: size(t.dims[axis+1:]), Out: out.buf, In: t.buf, Min: least, Last: last != 0})
		return nil
	}
}

func lowerCumSum(n *node) error {
	t, err := n.in(0)
	if err != nil {
		return err
	}
	if !slices.Contains(numeric, t.buf.Elem) {
		return lacksf("type %v", t.buf.Elem)
	}
	a, err := n.fixed(1)
	if err != nil || a == nil {
		return err
	}
	at, err := a.Int64s()
	if err != nil {
		return err
	}
	axis, err := resolveAxis(at[0], len(t.dims))
	if err != nil {
		return err
	}
	exclusive, err := n.int("exclusive", 0)
	if err != nil {
		return err
	}
	reverse, err := n.int("reverse", 0)
	if err != nil {
		return err
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.add(&Running{Outer: size(t.dims[:axis]), Axis: t.dims[axis], Inner: size(t.dims[axis+1:]), Out: out.buf, In: t.buf, Exclusive: exclusive != 0, Reverse: reverse != 0})
	return nil
}

// lowerSoftmax computes x − max, then its exponential over the sum, or minus the sum's logarithm.
func lowerSoftmax(logarithm bool) lowering {
	return func(n *node) error {
		t, err := n.floatIn(0)
		if err != nil {
			return err
		}
		otherwise := int64(-1)
		if n.opset() < 13 {
			otherwise = 1
		}
		axis, err := n.axis("axis", otherwise, len(t.dims))
		if err != nil {
			return err
		}
		out, err := n.out(0)
		if err != nil {
			return err
		}
		dims := []int{size(t.dims[:axis]), t.dims[axis], size(t.dims[axis+1:])}
		if n.opset() < 13 { // the value as a matrix
			dims = []int{dims[0], dims[1] * dims[2], 1}
		}
		if size(dims) == 0 {
			return nil
		}
		x, y := tensor{t.buf, dims}, tensor{out.buf, dims}
		small := Ref{Buf: temp(Float32, dims[0]*dims[2]), Strides: []int{dims[2], 0, 1}}
		sum := small
		sum.Buf = temp(Float32, dims[0]*dims[2])
		keep := Expr{Op: "copy"}
		n.reduce(small.Buf, x, []int{1}, "max", keep, keep)
		n.nest(dims, whole(y), Expr{Op: "sub"}, whole(x), small)
		if logarithm {
			n.reduce(sum.Buf, y, []int{1}, "sum", Expr{Op: "exp"}, Expr{Op: "log"})
			n.nest(dims, whole(y), Expr{Op: "sub"}, whole(y), sum)
			return nil
		}
		n.nest(dims, whole(y), Expr{Op: "exp"}, whole(y))
		n.reduce(sum.Buf, y, []int{1}, "sum", keep, Expr{Op: "reciprocal"})
		n.nest(dims, whole(y), Expr{Op: "mul"}, whole(y), sum)
		return nil
	}
}
