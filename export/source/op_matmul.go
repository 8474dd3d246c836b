package source

import (
	"slices"
	"strings"
)

// lowerMatMul multiplies rows with a constant matrix where the second operand is one, and reduces sums of products otherwise.
func lowerMatMul(n *node) error {
	a, err := n.floatIn(0)
	if err != nil {
		return err
	}
	dims := n.values[n.Input(1)].Dims
	if n.constant[n.Input(1)] && len(dims) >= 2 && size(dims[:len(dims)-2]) == 1 {
		columns, rows := dims[len(dims)-2], dims[len(dims)-1]
		if size(a.dims) > 0 && rows > 0 && a.dims[len(a.dims)-1] == columns {
			w, err := n.rows(1, rows, columns, true, 1)
			if err != nil {
				return err
			}
			out, err := n.out(0)
			if err != nil {
				return err
			}
			n.add(&Rows{M: size(a.dims) / columns, K: columns, N: rows, Out: out.buf, X: a.buf, W: w})
			return nil
		}
	}
	b, err := n.floatIn(1)
	if err != nil {
		return err
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	da, db, od := a.dims, b.dims, slices.Clone(out.dims)
	if len(da) == 1 {
		da = []int{1, da[0]}
		od = slices.Insert(od, max(0, len(od)-min(1, len(db)-1)), 1)
	}
	if len(db) == 1 {
		db = []int{db[0], 1}
		od = append(od, 1)
	}
	k := da[len(da)-1]
	batch := od[:len(od)-2]
	ra, rb := spread(tensor{a.buf, da}, append(slices.Clone(batch), da[len(da)-2], k)), spread(tensor{b.buf, db}, append(slices.Clone(batch), k, db[len(db)-1]))
	nb := len(batch)
	n.products(out.buf, append(slices.Clone(od), k), len(od),
		Ref{Buf: a.buf, Strides: append(slices.Clone(ra.Strides[:nb]), ra.Strides[nb], 0, ra.Strides[nb+1])},
		Ref{Buf: b.buf, Strides: append(slices.Clone(rb.Strides[:nb]), 0, rb.Strides[nb+1], rb.Strides[nb])})
	return nil
}

// products sums products of elements over the dims from outer on into out, which is in the order of the others.
func (n *node) products(out *Buffer, dims []int, outer int, in ...Ref) {
	op := "mul"
	if len(in) == 1 {
		op = "copy"
	}
	n.add(newReduce(dims, outer, Ref{Buf: out, Strides: strides(dims[:outer])}, in, Expr{Op: op}, "sum", Expr{Op: "copy"}))
}

func lowerGemm(n *node) error {
	n.ignore("broadcast")
	alpha, err := n.float("alpha", 1)
	if err != nil {
		return err
	}
	beta, err := n.float("beta", 1)
	if err != nil {
		return err
	}
	transA, err := n.int("transA", 0)
	if err != nil {
		return err
	}
	transB, err := n.int("transB", 0)
	if err != nil {
		return err
	}
	a, err := n.floatIn(0)
	if err != nil {
		return err
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	m, columns := out.dims[0], out.dims[1]
	k := a.dims[1]
	ra := Ref{Buf: a.buf, Strides: []int{k, 0, 1}}
	if transA != 0 {
		k = a.dims[0]
		ra.Strides = []int{1, 0, m}
	}
	if n.constant[n.Input(1)] && transA == 0 && alpha != 0 {
		w, err := n.rows(1, columns, k, transB == 0, alpha)
		if err != nil {
			return err
		}
		step := &Rows{M: m, K: k, N: columns, Out: out.buf, X: a.buf, W: w}
		if n.isFixed(2) {
			if step.Bias, err = n.bias(2, columns, beta); err != nil {
				return err
			}
		}
		n.add(step)
		if step.Bias != nil {
			return nil
		}
	} else {
		b, err := n.floatIn(1)
		if err != nil {
			return err
		}
		rb := Ref{Buf: b.buf, Strides: []int{0, 1, columns}}
		if transB != 0 {
			rb.Strides = []int{0, k, 1}
		}
		n.products(out.buf, []int{m, columns, k}, 2, ra, rb)
		if alpha != 1 {
			n.nest(out.dims, whole(out), Expr{Op: "linear", Params: []float32{alpha, 0}}, whole(out))
		}
	}
	if n.has(2) {
		c, err := n.floatIn(2)
		if err != nil {
			return err
		}
		n.nest(out.dims, whole(out), Expr{Op: "addscaled", Params: []float32{beta}}, whole(out), spread(c, out.dims))
	}
	return nil
}

// bias gives a constant operand as one number per column, nil where it differs from row to row.
func (n *node) bias(k, columns int, factor float32) (*Buffer, error) {
	c, err := n.fixed(k)
	if err != nil {
		return nil, err
	}
	v, err := c.Float32s()
	if err != nil {
		return nil, err
	}
	if len(v) != 1 && (len(v) != columns || len(c.Dims) > 0 && c.Dims[len(c.Dims)-1] != columns) {
		return nil, nil
	}
	b := make([]float32, columns)
	for i := range b {
		b[i] = v[i%len(v)] * factor
	}
	return n.floats(b), nil
}

// lowerEinsum serves equations of one or two operands without ellipsis.
func lowerEinsum(n *node) error {
	equation, err := n.string("equation", "")
	if err != nil {
		return err
	}
	equation = strings.ReplaceAll(equation, " ", "")
	left, right, explicit := strings.Cut(equation, "->")
	if !explicit || strings.Contains(equation, ".") {
		return lacksf("an equation without \"->\" or with an ellipsis")
	}
	terms := strings.Split(left, ",")
	if len(terms) != len(n.Inputs) || len(terms) > 2 {
		return lacksf("%d operands", len(n.Inputs))
	}
	labels := right
	for _, t := range terms {
		for _, r := range t {
			if !strings.ContainsRune(labels, r) {
				labels += string(r)
			}
		}
	}
	dims := make([]int, len(labels))
	var in []Ref
	for k, term := range terms {
		t, err := n.floatIn(k)
		if err != nil {
			return err
		}
		if len(term) != len(t.dims) {
			return lacksf("a term of another rank than its operand")
		}
		s := strides(t.dims)
		r := Ref{Buf: t.buf, Strides: make([]int, len(labels))}
		for i, label := range term {
			at := strings.IndexRune(labels, label)
			if dims[at] > 1 && t.dims[i] == 1 || dims[at] == 1 && t.dims[i] > 1 {
				return lacksf("broadcasting")
			}
			dims[at] = t.dims[i]
			r.Strides[at] += s[i]
		}
		in = append(in, r)
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.products(out.buf, dims, len(right), in...)
	return nil
}
