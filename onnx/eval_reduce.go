package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
)

// reduction makes the evaluator of a reduction. Axes are an attribute in older opsets and an input in newer ones.
func reduction(op string) func(c *call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		a, err := c.input(0)
		if err != nil {
			return nil, err
		}
		axes, err := c.axes("axes", 1)
		if err != nil {
			return nil, err
		}
		keep, err := c.node.AttrInt("keepdims", 1)
		if err != nil {
			return nil, err
		}
		noop, err := c.node.AttrInt("noop_with_empty_axes", 0)
		if err != nil {
			return nil, err
		}
		reduced := make([]bool, len(a.Dims))
		ks, err := shape.Axes(axes, len(a.Dims))
		if err != nil {
			return nil, err
		}
		if len(axes) == 0 {
			if noop != 0 {
				return []*Array{a}, nil
			}
			for k := range reduced {
				reduced[k] = true
			}
		}
		for _, k := range ks {
			reduced[k] = true
		}
		var dims []int
		full := slices.Clone(a.Dims) // with the reduced axes kept as 1
		for k := range full {
			if reduced[k] {
				full[k] = 1
			}
			if !reduced[k] || keep != 0 {
				dims = append(dims, full[k])
			}
		}
		if c.shapeOnly {
			return shaped(a.Type, dims)
		}
		if err := c.spend(a.Type, dims); err != nil {
			return nil, err
		}
		w, err := widened(a)
		if err != nil {
			return nil, err
		}
		if a.Type == Bool && (op == "ReduceMin" || op == "ReduceMax") { // opset 20: and, or
			if w, err = castArray(a, Uint8, true); err != nil {
				return nil, err
			}
		}
		out := &Array{Type: w.Type, Dims: dims}
		switch x := w.Data.(type) {
		case []float32:
			out.Data, err = reduceOf(op, x, a.Dims, full)
		case []float64:
			out.Data, err = reduceOf(op, x, a.Dims, full)
		case []int8:
			out.Data, err = reduceOf(op, x, a.Dims, full)
		case []int32:
			out.Data, err = reduceOf(op, x, a.Dims, full)
		case []int64:
			out.Data, err = reduceOf(op, x, a.Dims, full)
		case []uint8:
			out.Data, err = reduceOf(op, x, a.Dims, full)
		case []uint32:
			out.Data, err = reduceOf(op, x, a.Dims, full)
		case []uint64:
			out.Data, err = reduceOf(op, x, a.Dims, full)
		default:
			err = errNotEvaluated(fmt.Sprintf("%s of %s is not evaluated", op, a.Type))
		}
		if err != nil {
			return nil, err
		}
		return castBack(out, a.Type)
	}
}

// reduceOf reduces x of shape dims to shape full, in which reduced axes are 1. Floats are accumulated in float64; an empty set has
// the sum 0, the product 1 and the lowest or highest value as maximum or minimum.
func reduceOf[T number](op string, x []T, dims, full []int) ([]T, error) {
	stride, err := shape.BroadcastStrides(full, dims)
	if err != nil {
		return nil, err
	}
	n := mustSize(full)
	out, sum := make([]T, n), make([]float64, n)
	low, high := math.Inf(-1), math.Inf(1)
	if !isFloat[T]() {
		low, high = intRange[T]()
	}
	for i := range out {
		switch op {
		case "ReduceProd":
			out[i], sum[i] = 1, 1
		case "ReduceMax":
			out[i] = T(low)
		case "ReduceMin":
			out[i] = T(high)
		}
	}
	at := 0
	shape.Runs(dims, [][]int{stride}, func(n int, off, step []int) {
		to := off[0]
		for _, v := range x[at : at+n] {
			switch op {
			case "ReduceSum", "ReduceMean":
				out[to] += v
				sum[to] += float64(v)
			case "ReduceProd":
				out[to] *= v
				sum[to] *= float64(v)
			case "ReduceMax":
				out[to] = max(out[to], v)
			case "ReduceMin":
				out[to] = min(out[to], v)
			}
			to += step[0]
		}
		at += n
	})
	if op == "ReduceMax" || op == "ReduceMin" {
		return out, nil
	}
	count := 0
	if n > 0 {
		count = len(x) / n
	}
	for i := range out {
		switch {
		case isFloat[T]() && op == "ReduceMean":
			out[i] = T(sum[i] / float64(count))
		case isFloat[T]():
			out[i] = T(sum[i])
		case op == "ReduceMean" && count > 0:
			out[i] /= T(count)
		}
	}
	return out, nil
}
