package runtime

import (
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// productReads says for a product of inputs 0 and 1 which of them its gradient reads: each the other.
func productReads(n *nodeInfo) uint64 { return n.whereVariable(0, 2) | n.whereVariable(1, 1) }

// matMulGradient: dA = dY·Bᵀ and dB = Aᵀ·dY, summed over the batches along which an operand was repeated. Nothing is transposed in memory.
func matMulGradient(n *nodeInfo) (*gradient, error) {
	return &gradient{in: productReads(n), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		switch d[0].Type {
		case onnx.Float:
			return matMulBack[float32](c, in[0], in[1], d[0])
		case onnx.Double:
			return matMulBack[float64](c, in[0], in[1], d[0])
		}
		return nil, unsupportedType(d[0].Type)
	}}, nil
}

func matMulBack[T floating](c *backCall, a, b, dy *Tensor) ([]*Tensor, error) {
	s, err := newMatMulShape(a.Dims, b.Dims)
	if err != nil {
		return nil, err
	}
	m, n, k := s.m, s.n, s.k
	g := dy.Data.([]T)
	x, _ := a.Data.([]T) // nil where nobody wants the gradient of the other
	y, _ := b.Data.([]T)
	grads := make([]*Tensor, 2)
	if s.single() {
		rows := s.rows()
		da, err := lent[T](c, grads, 0, a)
		if err != nil {
			return nil, err
		}
		db, err := lent[T](c, grads, 1, b)
		if err != nil {
			return nil, err
		}
		if da != nil {
			gemmInto(false, true, rows, k, n, 1, g, y, 0, da)
		}
		if db != nil {
			gemmInto(true, false, k, n, rows, 1, x, g, 0, db)
		}
		return grads, nil
	}
	da, db := needed[T](c, grads, 0, a), needed[T](c, grads, 1, b)
	return grads, s.each(c.ctx, func(ia, ib int) {
		if da != nil {
			gemmInto(false, true, m, k, n, 1, g[:m*n], y[ib*k*n:][:k*n], 1, da[ia*m*k:][:m*k])
		}
		if db != nil {
			gemmInto(true, false, k, n, m, 1, x[ia*m*k:][:m*k], g[:m*n], 1, db[ib*k*n:][:k*n])
		}
		g = g[m*n:]
	})
}

// needed makes the gradient of input k, which is t, all zero, and puts it in its place in grads; nil where nobody wants it.
func needed[T floating](c *backCall, grads []*Tensor, k int, t *Tensor) []T {
	if !c.needs(k) {
		return nil
	}
	g := make([]T, elements(t.Dims))
	grads[k] = newTensor(t.Type, t.Dims, g)
	return g
}

// lent is needed for a gradient that is written as a whole.
func lent[T floating](c *backCall, grads []*Tensor, k int, t *Tensor) ([]T, error) {
	if !c.needs(k) {
		return nil, nil
	}
	g, err := lend[T](c.loan, t.Dims)
	if err == nil {
		grads[k] = newTensor(t.Type, t.Dims, g)
	}
	return g, err
}

// gemmGradient: with A' and B' the operands after their transposition, dA' = alpha·dY·B'ᵀ, dB' = alpha·A'ᵀ·dY and dC = beta·dY, summed where C was repeated.
func gemmGradient(n *nodeInfo) (*gradient, error) {
	g := newGemmOp(n)
	return &gradient{in: productReads(n), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		switch d[0].Type {
		case onnx.Float:
			return gemmBack[float32](c, g, in, d[0])
		case onnx.Double:
			return gemmBack[float64](c, g, in, d[0])
		}
		return nil, unsupportedType(d[0].Type)
	}}, nil
}

func gemmBack[T floating](c *backCall, g gemmOp, in []*Tensor, dy *Tensor) ([]*Tensor, error) {
	a, b := in[0], in[1]
	m, n := dy.Dims[0], dy.Dims[1]
	k := a.Dims[1]
	if g.ta {
		k = a.Dims[0]
	}
	x, _ := a.Data.([]T)
	y, _ := b.Data.([]T)
	dz := dy.Data.([]T)
	alpha := T(g.alpha)
	grads := make([]*Tensor, len(in))
	if da := needed[T](c, grads, 0, a); da != nil {
		if g.ta { // dA = alpha·B'·dYᵀ
			gemmInto(g.tb, true, k, m, n, alpha, y, dz, 0, da)
		} else {
			gemmInto(false, !g.tb, m, k, n, alpha, dz, y, 0, da)
		}
	}
	if db := needed[T](c, grads, 1, b); db != nil {
		if g.tb { // dB = alpha·dYᵀ·A'
			gemmInto(true, g.ta, n, k, m, alpha, dz, x, 0, db)
		} else {
			gemmInto(!g.ta, false, k, n, m, alpha, x, dz, 0, db)
		}
	}
	if c.needs(2) {
		s, err := sumTo(dy, in[2].Dims)
		if err != nil {
			return nil, err
		}
		if grads[2], err = scaled(s, float64(g.beta)); err != nil {
			return nil, err
		}
	}
	return grads, nil
}

// einsumGradient: the gradient of an operand is the einsum of the result's gradient with the other operands that leaves the operand's labels.
func einsumGradient(n *nodeInfo) (*gradient, error) {
	eq, err := parseEinsum(n.string("equation", ""), n.inputs())
	if err != nil {
		return nil, err
	}
	reads := uint64(0) // of each operand that varies, all others
	for k, variable := range n.variable {
		if variable {
			reads |= all &^ (1 << k)
		}
	}
	if n.inputs() > 64 {
		reads = all
	}
	return &gradient{in: reads, run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		switch d[0].Type {
		case onnx.Float:
			return einsumBack[float32](c, eq, in, d[0])
		case onnx.Double:
			return einsumBack[float64](c, eq, in, d[0])
		}
		return nil, unsupportedType(d[0].Type)
	}}, nil
}

func einsumBack[T floating](c *backCall, eq equation, in []*Tensor, dy *Tensor) ([]*Tensor, error) {
	terms, output, err := eq.expand(in)
	if err != nil {
		return nil, err
	}
	// Without ellipses: the negative labels of their axes become ordinary ones.
	named := func(labels []int) []int {
		out := make([]int, len(labels))
		for k, l := range labels {
			if out[k] = l; l < 0 {
				out[k] = 1<<8 - l
			}
		}
		return out
	}
	output = named(output)
	for k := range terms {
		terms[k] = named(terms[k])
	}
	grads := make([]*Tensor, len(in))
	for k := range in {
		if !c.needs(k) {
			continue
		}
		others := equation{terms: [][]int{output}}
		operands := []*Tensor{dy}
		for j, t := range in {
			if j != k {
				others.terms, operands = append(others.terms, terms[j]), append(operands, t)
			}
		}
		for _, l := range terms[k] { // each once, and only those that the others have
			known := slices.ContainsFunc(others.terms, func(term []int) bool { return slices.Contains(term, l) })
			if known && !slices.Contains(others.output, l) {
				others.output = append(others.output, l)
			}
		}
		g, err := einsum[T](&call{ctx: c.ctx}, others, operands)
		if err != nil {
			return nil, err
		}
		if grads[k], err = spreadTerm[T](g, others.output, in[k], terms[k]); err != nil {
			return nil, err
		}
	}
	return grads, nil
}

// spreadTerm gives g, whose axes carry distinct labels, the axes of an operand: sums where the operand was repeated, repeats where it was summed alone, and goes to
// the diagonal of labels that the operand carries twice.
func spreadTerm[T floating](g *Tensor, labels []int, operand *Tensor, term []int) (*Tensor, error) {
	dims, steps := make([]int, len(labels)), make([]int, len(labels))
	strides := shape.Strides(operand.Dims)
	for j, l := range labels {
		dims[j] = operand.Dims[slices.Index(term, l)]
	}
	sum, err := sumTo(g, partDims(g.Dims, dims))
	if err != nil {
		return nil, err
	}
	out, err := alloc[T](operand.Dims)
	if err != nil {
		return nil, err
	}
	// The operand's index space with a diagonal as one axis: the labels of the gradient first, then those that only the operand has.
	from := make([]int, len(labels))
	for j, s := range shape.Strides(sum.Dims) {
		if sum.Dims[j] != 1 {
			from[j] = s
		}
	}
	for k, l := range term {
		j := slices.Index(labels, l)
		if j < 0 {
			labels, dims, steps, from = append(slices.Clone(labels), l), append(dims, operand.Dims[k]), append(steps, 0), append(from, 0)
			j = len(labels) - 1
		}
		if operand.Dims[k] != 1 {
			steps[j] += strides[k]
		}
	}
	src := sum.Data.([]T)
	shape.Runs(dims, [][]int{from, steps}, func(n int, off, step []int) {
		for i := range n {
			out[off[1]+i*step[1]] = src[off[0]+i*step[0]]
		}
	})
	return newTensor(operand.Type, operand.Dims, out), nil
}

// partDims are the dims of a gradient once it is summed where the operand, of the given dims, has size 1.
func partDims(gradient, operand []int) []int {
	out := slices.Clone(gradient)
	for k, d := range operand {
		if d == 1 {
			out[k] = 1
		}
	}
	return out
}
