package runtime

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildEinsum: https://onnx.ai/onnx/operators/onnx__Einsum.html
func buildEinsum(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, max(n.inputs(), 1), -1); err != nil {
		return nil, err
	}
	eq, err := parseEinsum(n.string("equation", ""), n.inputs())
	if err != nil {
		return nil, err
	}
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
		for _, t := range in[1:] {
			if err := sameType(in[0], t); err != nil {
				return nil, err
			}
		}
		switch in[0].Type {
		case onnx.Float:
			return one(einsum[float32](c, eq, in))
		case onnx.Double:
			return one(einsum[float64](c, eq, in))
		case onnx.Int32:
			return one(einsum[int32](c, eq, in))
		case onnx.Int64:
			return one(einsum[int64](c, eq, in))
		}
		return nil, unsupportedType(in[0].Type)
	}), nil
}

// equation is a parsed einsum equation. Labels are letters; ellipsis stands for the axes of "…".
type equation struct {
	terms    [][]int
	output   []int
	implicit bool // no "->": the output is the ellipsis and the labels that occur once, in alphabetical order
}

const ellipsis = -1

func parseEinsum(text string, operands int) (equation, error) {
	var eq equation
	left, right, explicit := strings.Cut(strings.ReplaceAll(text, " ", ""), "->")
	eq.implicit = !explicit
	for _, term := range strings.Split(left, ",") {
		labels, err := parseTerm(term)
		if err != nil {
			return eq, fmt.Errorf("equation %q: %w", text, err)
		}
		eq.terms = append(eq.terms, labels)
	}
	if len(eq.terms) != operands {
		return eq, fmt.Errorf("equation %q has %d terms for %d inputs", text, len(eq.terms), operands)
	}
	var err error
	if eq.output, err = parseTerm(right); err != nil {
		return eq, fmt.Errorf("equation %q: %w", text, err)
	}
	return eq, nil
}

func parseTerm(term string) ([]int, error) {
	var labels []int
	for i := 0; i < len(term); i++ {
		ch := term[i]
		switch {
		case strings.HasPrefix(term[i:], "...") && !slices.Contains(labels, ellipsis):
			labels = append(labels, ellipsis)
			i += 2
		case ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z':
			labels = append(labels, int(ch))
		default:
			return nil, fmt.Errorf("term %q has %q at %d, want letters and at most one \"...\"", term, ch, i)
		}
	}
	return labels, nil
}

// expand gives every axis of the operands a label: the axes under an ellipsis get negative ones, counted from the last, so that
// they broadcast.
func (eq equation) expand(in []*Tensor) (terms [][]int, output []int, err error) {
	widest := 0
	for k, labels := range eq.terms {
		rank := len(in[k].Dims)
		var term []int
		dots := rank - len(labels)
		if slices.Contains(labels, ellipsis) {
			dots++
		}
		if dots < 0 || dots > 0 && !slices.Contains(labels, ellipsis) {
			return nil, nil, fmt.Errorf("input %d has shape %v, its term has %d labels", k, in[k].Dims, len(labels))
		}
		for _, l := range labels {
			if l != ellipsis {
				term = append(term, l)
				continue
			}
			widest = max(widest, dots)
			for d := dots; d > 0; d-- {
				term = append(term, -d)
			}
		}
		terms = append(terms, term)
	}
	for d := widest; d > 0; d-- {
		output = append(output, -d)
	}
	if eq.implicit {
		return terms, append(output, singles(terms)...), nil
	}
	dots := output
	output = nil
	for _, l := range eq.output {
		switch {
		case l == ellipsis:
			output = append(output, dots...)
		case slices.Contains(output, l):
			return nil, nil, fmt.Errorf("label %q stands twice in the output", rune(l))
		default:
			output = append(output, l)
		}
	}
	return terms, output, nil
}

// singles are the labels that occur once over all terms, in alphabetical order.
func singles(terms [][]int) []int {
	count := map[int]int{}
	for _, term := range terms {
		for _, l := range term {
			count[l]++
		}
	}
	var out []int
	for l, n := range count {
		if l > 0 && n == 1 {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out
}

// labelled is a tensor whose axes carry distinct labels.
type labelled[T numeric] struct {
	labels, dims []int
	data         []T
}

func (t labelled[T]) size(label int) (int, bool) {
	k := slices.Index(t.labels, label)
	if k < 0 {
		return 1, false
	}
	return t.dims[k], true
}

// einsum contracts the operands from left to right, two at a time, each pair as one batch of matrix products; labels that no
// later operand and not the output needs are summed as soon as they are met.
func einsum[T numeric](c *call, eq equation, in []*Tensor) (*Tensor, error) {
	terms, output, err := eq.expand(in)
	if err != nil {
		return nil, err
	}
	sizes := map[int]int{}
	for k, term := range terms {
		for j, l := range term {
			d := in[k].Dims[j]
			have, seen := sizes[l]
			switch {
			case !seen || have == 1:
				sizes[l] = d
			case d != have && d != 1:
				return nil, fmt.Errorf("axis %d of input %d has size %d, its label has size %d elsewhere (shapes %v)", j, k, d, have, in[k].Dims)
			}
		}
	}
	for _, l := range output {
		if _, ok := sizes[l]; !ok {
			return nil, fmt.Errorf("output label %q stands in no input", rune(l))
		}
	}
	var acc labelled[T]
	for k, t := range in {
		data, ok := t.Data.([]T)
		if !ok {
			return nil, unsupportedType(t.Type)
		}
		x, err := diagonal(labelled[T]{terms[k], t.Dims, data}, sizes)
		if err != nil {
			return nil, err
		}
		needed := slices.Clone(output)
		for _, later := range terms[k+1:] {
			needed = append(needed, later...)
		}
		if k == 0 {
			acc, err = sumLabels(x, needed)
		} else {
			acc, err = contract(c, acc, x, needed)
		}
		if err != nil {
			return nil, err
		}
	}
	return acc.as(in[0].Type, output, sizes)
}

// diagonal merges repeated labels of one term by taking the diagonal.
func diagonal[T numeric](t labelled[T], sizes map[int]int) (labelled[T], error) {
	strides := shape.Strides(t.dims)
	var out labelled[T]
	var step []int
	for j, l := range t.labels {
		s := strides[j]
		if t.dims[j] == 1 {
			s = 0
		}
		if k := slices.Index(out.labels, l); k >= 0 {
			if t.dims[j] != out.dims[k] {
				return out, fmt.Errorf("label %q has sizes %d and %d in one term", rune(l), out.dims[k], t.dims[j])
			}
			step[k] += s
			continue
		}
		out.labels, out.dims, step = append(out.labels, l), append(out.dims, t.dims[j]), append(step, s)
	}
	if len(out.labels) == len(t.labels) {
		return t, nil
	}
	return out, out.fill(t.data, step)
}

// fill reads the elements of t from data, whose strides over t's axes are given.
func (t *labelled[T]) fill(data []T, strides []int) error {
	n, err := shape.Size(t.dims, maxElements)
	if err != nil {
		return err
	}
	t.data = make([]T, 0, n)
	shape.Runs(t.dims, [][]int{strides}, func(n int, off, step []int) {
		for i := range n {
			t.data = append(t.data, data[off[0]+i*step[0]])
		}
	})
	return nil
}

// sumLabels sums the axes whose labels nobody needs.
func sumLabels[T numeric](t labelled[T], needed []int) (labelled[T], error) {
	var axes []int
	for k, l := range t.labels {
		if !slices.Contains(needed, l) {
			axes = append(axes, k)
		}
	}
	if axes == nil {
		return t, nil
	}
	r := newReduction(t.dims, axes, false)
	acc, err := alloc[T](r.reduced)
	if err != nil {
		return t, err
	}
	accumulate(r, t.data, acc, func(a, v T) T { return a + v })
	out := labelled[T]{dims: r.out, data: acc}
	for k, l := range t.labels {
		if !slices.Contains(axes, k) {
			out.labels = append(out.labels, l)
		}
	}
	return out, nil
}

// permuted gives t with the axes of the given labels in that order; missing ones are added with size 1.
func (t labelled[T]) permuted(labels []int) (labelled[T], error) {
	if slices.Equal(labels, t.labels) {
		return t, nil
	}
	strides := shape.Strides(t.dims)
	out := labelled[T]{labels: labels}
	var step []int
	for _, l := range labels {
		d, s := 1, 0
		if k := slices.Index(t.labels, l); k >= 0 {
			d, s = t.dims[k], strides[k]
		}
		out.dims, step = append(out.dims, d), append(step, s)
	}
	return out, out.fill(t.data, step)
}

// contract multiplies two tensors and sums the labels that nobody needs any more: as a batch (labels of both that are needed) of
// products of an [m, k] and a [k, n] matrix. Labels whose sizes differ (1 against n) broadcast through the batch.
func contract[T numeric](c *call, a, b labelled[T], needed []int) (labelled[T], error) {
	var err error
	if a, err = sumLabels(a, append(slices.Clone(needed), b.labels...)); err != nil {
		return a, err
	}
	if b, err = sumLabels(b, append(slices.Clone(needed), a.labels...)); err != nil {
		return b, err
	}
	var batch, rows, inner, cols []int
	var broadcastInner bool
	for _, l := range a.labels {
		da, _ := a.size(l)
		db, both := b.size(l)
		switch {
		case !both:
			rows = append(rows, l)
		case slices.Contains(needed, l):
			batch = append(batch, l)
		default:
			inner = append(inner, l)
			broadcastInner = broadcastInner || da != db
		}
	}
	if broadcastInner {
		// A summed label of size 1 on one side: sum the other side first, as the factor is the same along it.
		keep := slices.Clone(needed)
		for _, l := range inner {
			da, _ := a.size(l)
			if db, _ := b.size(l); da == db {
				keep = append(keep, l)
			}
		}
		if a, err = sumLabels(a, keep); err != nil {
			return a, err
		}
		if b, err = sumLabels(b, keep); err != nil {
			return b, err
		}
		return contract(c, a, b, needed)
	}
	for _, l := range b.labels {
		if _, both := a.size(l); !both {
			cols = append(cols, l)
		}
	}
	if a, err = a.permuted(slices.Concat(batch, rows, inner)); err != nil {
		return a, err
	}
	if b, err = b.permuted(slices.Concat(batch, inner, cols)); err != nil {
		return b, err
	}
	nb, nr, nk := len(batch), len(rows), len(inner)
	m, k, n := elements(a.dims[nb:nb+nr]), elements(a.dims[nb+nr:]), elements(b.dims[nb+nk:])
	x := newTensor(onnx.Undefined, append(slices.Clone(a.dims[:nb]), m, k), a.data)
	y := newTensor(onnx.Undefined, append(slices.Clone(b.dims[:nb]), k, n), b.data)
	z, err := matMulOf[T](c, x, y)
	if err != nil {
		return a, err
	}
	out := labelled[T]{labels: slices.Concat(batch, rows, cols), data: z.Data.([]T)}
	out.dims = slices.Concat(z.Dims[:nb], a.dims[nb:nb+nr], b.dims[nb+nk:])
	return out, nil
}

// as gives the tensor with the output's axes, repeated where an operand had size 1.
func (t labelled[T]) as(typ onnx.DataType, output []int, sizes map[int]int) (*Tensor, error) {
	p, err := t.permuted(output)
	if err != nil {
		return nil, err
	}
	dims := make([]int, len(output))
	for k, l := range output {
		dims[k] = sizes[l]
	}
	data := p.data
	if !slices.Equal(dims, p.dims) {
		if data, err = shape.BroadcastTo(p.data, p.dims, dims, maxElements); err != nil {
			return nil, err
		}
	}
	return newTensor(typ, dims, data), nil
}
