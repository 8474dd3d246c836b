package source

import "fmt"

// lowerScatterND serves constant indices: every row of the result is looked up among those of the data and the updates.
func lowerScatterND(n *node) error {
	reduction, err := n.string("reduction", "none")
	if err != nil {
		return err
	}
	if reduction != "none" {
		return lacksf("reduction %q", reduction)
	}
	data, err := n.in(0)
	if err != nil {
		return err
	}
	indices, err := n.fixed(1)
	if err != nil {
		return err
	}
	updates, err := n.in(2)
	if err != nil {
		return err
	}
	list, err := indices.Int64s()
	if err != nil {
		return err
	}
	if len(indices.Dims) == 0 || indices.Dims[len(indices.Dims)-1] > len(data.dims) {
		return fmt.Errorf("indices of dims %v into dims %v", indices.Dims, data.dims)
	}
	depth := indices.Dims[len(indices.Dims)-1]
	rows, inner := size(data.dims[:depth]), size(data.dims[depth:])
	count := size(indices.Dims[:len(indices.Dims)-1])
	if size(updates.dims) != count*inner {
		return fmt.Errorf("updates of dims %v for %d rows of %d elements", updates.dims, count, inner)
	}
	from := make([]int64, rows)
	for r := range from {
		from[r] = int64(r)
	}
	for j := range count {
		row := 0
		for k := range depth {
			i, err := resolveAxis(list[j*depth+k], data.dims[k])
			if err != nil {
				return fmt.Errorf("index %d of dims %v", list[j*depth+k], data.dims)
			}
			row = row*data.dims[k] + i
		}
		from[row] = int64(rows + j)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	both := temp(data.buf.Elem, (rows+count)*inner)
	place := func(t tensor, offset int) {
		if size(t.dims) > 0 {
			n.nest([]int{size(t.dims)}, Ref{Buf: both, Offset: offset, Strides: []int{1}}, Expr{Op: "copy"}, Ref{Buf: t.buf, Strides: []int{1}})
		}
	}
	place(data, 0)
	place(updates, rows*inner)
	n.add(&Lookup{Outer: 1, Axis: rows + count, Inner: inner, Count: rows, Out: out.buf, Data: both, Index: n.int64s(from)})
	return nil
}

// lowerTrilu keeps elements where a constant mask says so; the others are zero.
func lowerTrilu(n *node) error {
	upper, err := n.int("upper", 1)
	if err != nil {
		return err
	}
	t, err := n.in(0)
	if err != nil {
		return err
	}
	if t.buf.Elem == Bool || len(t.dims) < 2 {
		return lacksf("type %v, rank %d", t.buf.Elem, len(t.dims))
	}
	k := int64(0)
	if a, err := n.fixed(1); err != nil {
		return err
	} else if a != nil {
		v, err := a.Int64s()
		if err != nil || len(v) != 1 {
			return fmt.Errorf("operand 1 is no integer")
		}
		k = v[0]
	}
	height, width := t.dims[len(t.dims)-2], t.dims[len(t.dims)-1]
	mask := make([]bool, height*width)
	for i := range mask {
		d := int64(i%width-i/width) - k
		mask[i] = d >= 0 && upper != 0 || d <= 0 && upper == 0
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.nest(t.dims, whole(out), Expr{Op: "fill", Params: []float32{0}})
	dims := []int{size(t.dims) / max(1, height*width), height * width}
	keep := Ref{Buf: n.share(&Buffer{Elem: Bool, Len: len(mask), Space: Const, Data: mask}), Strides: []int{0, 1}}
	n.nest(dims, whole(tensor{out.buf, dims}), Expr{Op: "where"}, keep, whole(tensor{t.buf, dims}), whole(tensor{out.buf, dims}))
	return nil
}
