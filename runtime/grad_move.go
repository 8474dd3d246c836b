package runtime

import (
	"errors"
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// reshapeGradient serves the operators that only change the dims.
var reshapeGradient = gradientOf(func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
	return []*Tensor{newTensor(d[0].Type, in[0].Dims, d[0].Data)}, nil
})

// repeatGradient serves Expand.
var repeatGradient = gradientOf(func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) { return one(sumTo(d[0], in[0].Dims)) })

// transposeGradient is the inverse transposition.
func transposeGradient(n *nodeInfo) (*gradient, error) {
	perm := n.ints("perm", nil)
	var inverse []int64 // nil reverses the axes, and so does its inverse
	if perm != nil {
		inverse = make([]int64, len(perm))
		for k, p := range perm {
			if p < 0 || p >= int64(len(perm)) {
				return nil, fmt.Errorf("perm %v is no permutation", perm)
			}
			inverse[p] = int64(k)
		}
	}
	return &gradient{run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		if unitTranspose(d[0].Dims, inverse) != nil {
			return []*Tensor{newTensor(d[0].Type, in[0].Dims, d[0].Data)}, nil
		}
		return transposed(c.loan, d[0], inverse)
	}}, nil
}

// part is a tensor's range of an axis.
func part(t *Tensor, axis, from, count int) (*Tensor, error) {
	x, err := shape.Of(t.Data)
	if err != nil {
		return nil, err
	}
	r := wholeRanges(t.Dims)
	r[axis] = shape.Range{Start: from, Step: 1, Count: count}
	e, dims, err := x.Slice(t.Dims, r)
	if err != nil {
		return nil, err
	}
	return newTensor(t.Type, dims, e.Data()), nil
}

// concatGradient cuts the gradient into the parts.
func concatGradient(n *nodeInfo) (*gradient, error) {
	axis := n.int("axis", 1)
	return &gradient{run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		k, err := shape.Axis(axis, len(d[0].Dims))
		if err != nil {
			return nil, err
		}
		grads := make([]*Tensor, len(in))
		at := 0
		for i, t := range in {
			if c.needs(i) {
				if grads[i], err = part(d[0], k, at, t.Dims[k]); err != nil {
					return nil, err
				}
			}
			at += t.Dims[k]
		}
		return grads, nil
	}}, nil
}

// splitGradient joins the gradients of the parts, zeros where none came back.
func splitGradient(n *nodeInfo) (*gradient, error) {
	axis := n.int("axis", 0)
	return &gradient{run: func(_ *backCall, in, out, d []*Tensor) ([]*Tensor, error) {
		k, err := shape.Axis(axis, len(in[0].Dims))
		if err != nil {
			return nil, err
		}
		parts := make([]*Tensor, len(d))
		for i, g := range d {
			if parts[i] = g; g == nil {
				if parts[i], err = zeros(in[0].Type, out[i].Dims); err != nil {
					return nil, err
				}
			}
		}
		return one(concat(parts, k))
	}}, nil
}

// numbered stands for input 0 of an operator that moves elements: with its elements numbered from 1 on, the operator run again says where each element of its result came from, 0 where
// it came from nowhere in it. So the gradient of any mover follows from the operator itself.
func numbered(dims []int) *Tensor {
	at := make([]int64, elements(dims))
	for i := range at {
		at[i] = int64(i) + 1
	}
	return newTensor(onnx.Int64, dims, at)
}

// moverGradient serves the operators that take or repeat elements of input 0. reads are the inputs that say which.
func moverGradient(reads uint64) gradientBuilder {
	return func(n *nodeInfo) (*gradient, error) {
		op, err := n.compiler.buildKnown(n)
		if err != nil {
			return nil, err
		}
		return &gradient{in: reads, run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
			arg := append([]*Tensor{numbered(in[0].Dims)}, in[1:]...)
			out, err := op.run(&call{ctx: c.ctx, node: c.node}, arg)
			if err != nil {
				return nil, err
			}
			from, ok := out[0].Data.([]int64)
			if !ok {
				return nil, errors.New("elements changed as they moved")
			}
			return one(gatherBack(d[0], from, in[0].Dims))
		}}, nil
	}
}

// gatherBack adds the elements of d to those they came from, numbered from 1 on.
func gatherBack(d *Tensor, from []int64, dims []int) (*Tensor, error) {
	to, err := zeros(d.Type, dims)
	if err != nil {
		return nil, err
	}
	switch g := d.Data.(type) {
	case []float32:
		addBack(to.Data.([]float32), g, from)
	case []float64:
		addBack(to.Data.([]float64), g, from)
	default:
		return nil, unsupportedType(d.Type)
	}
	return to, nil
}

func addBack[T floating](to, d []T, from []int64) {
	for i, k := range from {
		if k > 0 {
			to[k-1] += d[i]
		}
	}
}

// sliceGradient puts the gradient of a slice into its place.
func sliceGradient(n *nodeInfo) (*gradient, error) {
	args := newSliceArguments(n)
	return &gradient{in: all &^ 1, run: func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		ranges, err := args.ranges(in)
		if err != nil {
			return nil, err
		}
		to, err := zeros(d[0].Type, in[0].Dims)
		if err != nil {
			return nil, err
		}
		switch g := d[0].Data.(type) {
		case []float32:
			placeRanges(to.Data.([]float32), g, in[0].Dims, ranges)
		case []float64:
			placeRanges(to.Data.([]float64), g, in[0].Dims, ranges)
		default:
			return nil, unsupportedType(d[0].Type)
		}
		return []*Tensor{to}, nil
	}}, nil
}

// placeRanges copies src to the ranges of dst.
func placeRanges[T floating](dst, src []T, dims []int, ranges []shape.Range) {
	strides := shape.Strides(dims)
	start := 0
	steps := make([]int, len(dims))
	for k, r := range ranges {
		start += r.Start * strides[k]
		steps[k] = r.Step * strides[k]
	}
	counts := shape.SliceDims(ranges)
	shape.Runs(counts, [][]int{steps}, func(n int, off, step []int) {
		at := start + off[0]
		if step[0] == 1 {
			copy(dst[at:at+n], src[:n])
		} else {
			for _, v := range src[:n] {
				dst[at] = v
				at += step[0]
			}
		}
		src = src[n:]
	})
}

// scatterGradient: the result's elements come from the data or from the updates, or under a reduction from both.
func scatterGradient(n *nodeInfo) (*gradient, error) {
	reduction := "none"
	if n.opset >= 16 {
		reduction = n.string("reduction", "none")
	}
	if reduction != "none" {
		return reducedScatterGradient(n, reduction), nil
	}
	op, err := n.compiler.buildKnown(n)
	if err != nil {
		return nil, err
	}
	return &gradient{in: 2, run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		data, updates := numbered(in[0].Dims), numbered(in[2].Dims)
		v := updates.Data.([]int64)
		for i := range v {
			v[i] = -v[i]
		}
		out, err := op.run(&call{ctx: c.ctx, node: c.node}, []*Tensor{data, in[1], updates})
		if err != nil {
			return nil, err
		}
		from := out[0].Data.([]int64)
		grads := make([]*Tensor, 3)
		for _, k := range []int{0, 2} {
			if c.needs(k) {
				if grads[k], err = gatherBack(d[0], from, in[k].Dims); err != nil {
					return nil, err
				}
			}
			for i := range from {
				from[i] = -from[i]
			}
		}
		return grads, nil
	}}, nil
}

// reducedScatterGradient goes back through the updates one by one, as they were made: several may go to one element.
func reducedScatterGradient(n *nodeInfo, reduction string) *gradient {
	g := &gradient{in: all}
	if reduction == "add" {
		g.in = 2
	}
	g.run = func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		to, err := gatherUpdates(n, in, numbered(in[0].Dims)) // where each update goes
		if err != nil {
			return nil, err
		}
		now, err := keptFloats(in[0])
		if err != nil {
			return nil, err
		}
		updates, err := keptFloats(in[2])
		if err != nil {
			return nil, err
		}
		dx, err := convertTo[float64](d[0])
		if err != nil {
			return nil, err
		}
		now, dx = slices.Clone(now), slices.Clone(dx)
		at := to.Data.([]int64)
		before, du := make([]float64, len(at)), make([]float64, len(at))
		for j, k := range at {
			if reduction == "add" {
				break
			}
			before[j] = now[k-1]
			switch u := updates[j]; reduction {
			case "mul":
				now[k-1] *= u
			case "max":
				now[k-1] = max(now[k-1], u)
			case "min":
				now[k-1] = min(now[k-1], u)
			}
		}
		for j := len(at) - 1; j >= 0; j-- {
			k := at[j] - 1
			switch reduction {
			case "add":
				du[j] = dx[k]
			case "mul":
				du[j] = dx[k] * before[j]
				dx[k] *= updates[j]
			default:
				if taken := updates[j] > before[j]; taken == (reduction == "max") && updates[j] != before[j] {
					du[j], dx[k] = dx[k], 0
				}
			}
		}
		return castNeeded(c, in, [][]float64{dx, nil, du})
	}
	return g
}

// gatherUpdates takes from d, of the dims of the data, what stands where the updates of a Scatter go.
func gatherUpdates(n *nodeInfo, in []*Tensor, d *Tensor) (*Tensor, error) {
	indices, err := int64s(in[1])
	if err != nil {
		return nil, err
	}
	x, err := shape.Of(d.Data)
	if err != nil {
		return nil, err
	}
	var out shape.Elements
	var dims []int
	if n.node.OpType == "ScatterND" {
		out, dims, err = x.GatherND(d.Dims, indices, in[1].Dims, 0, maxElements)
	} else {
		out, dims, err = x.GatherElements(d.Dims, indices, in[1].Dims, n.int("axis", 0), maxElements)
	}
	if err != nil {
		return nil, err
	}
	return newTensor(d.Type, dims, out.Data()), nil
}

// gatherRowsGradient adds the rows of the gradient to those they were taken from.
func gatherRowsGradient(n *nodeInfo) (*gradient, error) {
	axis := n.int("axis", 0)
	return &gradient{in: 2, run: func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		indices, err := int64s(in[1])
		if err != nil {
			return nil, err
		}
		k, err := shape.Axis(axis, len(in[0].Dims))
		if err != nil {
			return nil, err
		}
		return one(rowsBack(d[0], indices, in[0].Dims, k))
	}}, nil
}

// rowsBack adds the rows of d to those they were taken from along an axis of a tensor.
func rowsBack(d *Tensor, indices []int64, dims []int, axis int) (*Tensor, error) {
	to, err := zeros(d.Type, dims)
	if err != nil {
		return nil, err
	}
	size, inner := dims[axis], elements(dims[axis+1:])
	switch g := d.Data.(type) {
	case []float32:
		addRows(to.Data.([]float32), g, indices, size, inner)
	case []float64:
		addRows(to.Data.([]float64), g, indices, size, inner)
	default:
		return nil, unsupportedType(d.Type)
	}
	return to, nil
}

// addRows adds src [outer, indices, inner] to the indexed rows of dst [outer, size, inner].
func addRows[T floating](dst, src []T, indices []int64, size, inner int) {
	for o := 0; len(src) > 0 && inner > 0; o++ {
		for _, i := range indices {
			if i < 0 {
				i += int64(size)
			}
			addInto(dst[(o*size+int(i))*inner:][:inner], src[:inner])
			src = src[inner:]
		}
	}
}

// topKGradient puts the gradient of the values where they were found.
func topKGradient(n *nodeInfo) (*gradient, error) {
	axis := n.int("axis", -1)
	return &gradient{out: 2, flat: 2, run: func(_ *backCall, in, out, d []*Tensor) ([]*Tensor, error) {
		k, err := shape.Axis(axis, len(in[0].Dims))
		if err != nil {
			return nil, err
		}
		where, ok := out[1].Data.([]int64)
		if !ok {
			return nil, errors.New("the indices are missing")
		}
		length, count, inner := in[0].Dims[k], out[1].Dims[k], elements(in[0].Dims[k+1:])
		from := make([]int64, len(where))
		for i, w := range where {
			from[i] = int64(i/(count*inner)*length*inner+i%inner) + w*int64(inner) + 1
		}
		return one(gatherBack(d[0], from, in[0].Dims))
	}}, nil
}
