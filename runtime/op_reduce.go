package runtime

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// reduceOp is a reduction over axes.
type reduceOp uint8

const (
	reduceSum reduceOp = iota
	reduceMean
	reduceProd
	reduceMax
	reduceMin
	reduceSumSquare
	reduceL1
	reduceL2
	reduceLogSum
	reduceLogSumExp
)

// buildReduce serves the Reduce… family: https://onnx.ai/onnx/operators/onnx__ReduceSum.html. Axes are an attribute below opset
// 18 (13 for ReduceSum).
func buildReduce(op reduceOp) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 1, 2); err != nil {
			return nil, err
		}
		r := newReduceAxes(n, op)
		keep := n.bool("keepdims", true)
		return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			along, err := r.along(in)
			if err != nil {
				return nil, err
			}
			return one(reduce(op, in[0], along, keep))
		}), nil
	}
}

// reduceAxes are the axes of a reduction, by attribute or input.
type reduceAxes struct {
	axes intsArgument
	noop bool // no axes mean none and not all
}

func newReduceAxes(n *nodeInfo, op reduceOp) reduceAxes {
	fromInput := int64(18)
	if op == reduceSum {
		fromInput = 13
	}
	return reduceAxes{newIntsArgument(n, "axes", 1, fromInput), n.opset >= fromInput && n.bool("noop_with_empty_axes", false)}
}

func (r reduceAxes) along(in []*Tensor) ([]int, error) {
	v, err := r.axes.values(in)
	if err != nil {
		return nil, err
	}
	if len(v) == 0 && !r.noop {
		return allAxes(len(in[0].Dims)), nil
	}
	return shape.Axes(v, len(in[0].Dims))
}

func allAxes(rank int) []int {
	a := make([]int, rank)
	for k := range a {
		a[k] = k
	}
	return a
}

// reduce reduces a tensor over distinct axes. Over an empty set of axes the operation still applies to each element (its square,
// logarithm, …). Sums of floats are accumulated in float64.
func reduce(op reduceOp, t *Tensor, axes []int, keep bool) (*Tensor, error) {
	switch t.Type {
	case onnx.Float:
		return reduceFloat[float32](op, t, axes, keep)
	case onnx.Double:
		return reduceFloat[float64](op, t, axes, keep)
	case onnx.Int8:
		return reduceInt[int8](op, t, axes, keep)
	case onnx.Int16:
		return reduceInt[int16](op, t, axes, keep)
	case onnx.Int32:
		return reduceInt[int32](op, t, axes, keep)
	case onnx.Int64:
		return reduceInt[int64](op, t, axes, keep)
	case onnx.Uint8:
		return reduceInt[uint8](op, t, axes, keep)
	case onnx.Uint16:
		return reduceInt[uint16](op, t, axes, keep)
	case onnx.Uint32:
		return reduceInt[uint32](op, t, axes, keep)
	case onnx.Uint64:
		return reduceInt[uint64](op, t, axes, keep)
	case onnx.Bool:
		if op != reduceMax && op != reduceMin {
			break
		}
		v, err := convertTo[uint8](t)
		if err != nil {
			return nil, err
		}
		out, err := reduceInt[uint8](op, newTensor(onnx.Uint8, t.Dims, v), axes, keep)
		if err != nil {
			return nil, err
		}
		return cast(out, onnx.Bool)
	}
	return nil, unsupportedType(t.Type)
}

// reduction is the geometry of a reduction: the input is walked in order, and the accumulator of each element follows.
type reduction struct {
	dims    []int // of the input
	reduced []int // of the result before dims of size 1 are dropped
	out     []int // of the result
	strides [][]int
	n       int // elements that meet in one accumulator
}

func newReduction(dims, axes []int, keep bool) reduction {
	r := reduction{dims: dims, n: 1}
	r.reduced = append([]int{}, dims...)
	gone := make([]bool, len(dims))
	for _, k := range axes {
		r.n *= dims[k]
		r.reduced[k] = 1
		gone[k] = true
	}
	for k, d := range r.reduced {
		if keep || !gone[k] {
			r.out = append(r.out, d)
		}
	}
	to := shape.Strides(r.reduced)
	for k := range to {
		if gone[k] {
			to[k] = 0
		}
	}
	r.strides = [][]int{shape.Strides(dims), to}
	return r
}

// each visits all elements in order: element i, which meets others in accumulator k.
func (r reduction) each(visit func(i, k int)) {
	shape.Runs(r.dims, r.strides, func(n int, off, step []int) {
		for i := range n {
			visit(off[0]+i, off[1]+i*step[1])
		}
	})
}

// accumulate folds all elements of x into the accumulators, in order of the input.
func accumulate[T, A any](r reduction, x []T, acc []A, fold func(a A, v T) A) {
	shape.Runs(r.dims, r.strides, func(n int, off, step []int) {
		row, k := x[off[0]:off[0]+n], off[1]
		if step[1] == 0 {
			a := acc[k]
			for _, v := range row {
				a = fold(a, v)
			}
			acc[k] = a
			return
		}
		for i, v := range row {
			acc[k+i] = fold(acc[k+i], v)
		}
	})
}

// sumInto is accumulate with addition in float64, the reduction that models use most.
func sumInto[T floating](r reduction, x []T, acc []float64) {
	shape.Runs(r.dims, r.strides, func(n int, off, step []int) {
		row, k := x[off[0]:off[0]+n], off[1]
		if step[1] == 0 {
			a := acc[k]
			for _, v := range row {
				a += float64(v)
			}
			acc[k] = a
			return
		}
		to := acc[k : k+n]
		for i, v := range row {
			to[i] += float64(v)
		}
	})
}

func reduceFloat[T floating](op reduceOp, t *Tensor, axes []int, keep bool) (*Tensor, error) {
	x, ok := t.Data.([]T)
	if !ok {
		return nil, unsupportedType(t.Type)
	}
	r := newReduction(t.Dims, axes, keep)
	acc, err := alloc[float64](r.reduced)
	if err != nil {
		return nil, err
	}
	fill := func(v float64) {
		for i := range acc {
			acc[i] = v
		}
	}
	switch op {
	case reduceSum, reduceMean, reduceLogSum:
		sumInto(r, x, acc)
	case reduceProd:
		fill(1)
		accumulate(r, x, acc, func(a float64, v T) float64 { return a * float64(v) })
	case reduceMax:
		fill(math.Inf(-1))
		accumulate(r, x, acc, func(a float64, v T) float64 { return max(a, float64(v)) })
	case reduceMin:
		fill(math.Inf(1))
		accumulate(r, x, acc, func(a float64, v T) float64 { return min(a, float64(v)) })
	case reduceSumSquare, reduceL2:
		accumulate(r, x, acc, func(a float64, v T) float64 { return a + float64(v)*float64(v) })
	case reduceL1:
		accumulate(r, x, acc, func(a float64, v T) float64 { return a + math.Abs(float64(v)) })
	case reduceLogSumExp:
		logSumExp(r, x, acc)
	}
	out := make([]T, len(acc))
	for i, a := range acc {
		switch op {
		case reduceMean:
			a /= float64(r.n)
		case reduceL2:
			a = math.Sqrt(a)
		case reduceLogSum:
			a = math.Log(a)
		}
		out[i] = T(a)
	}
	return newTensor(t.Type, r.out, out), nil
}

// logSumExp is ln Σ e^x, computed as m + ln Σ e^(x−m) with m the maximum so that it does not overflow.
func logSumExp[T floating](r reduction, x []T, acc []float64) {
	top := make([]float64, len(acc))
	for i := range top {
		top[i] = math.Inf(-1)
	}
	accumulate(r, x, top, func(a float64, v T) float64 { return max(a, float64(v)) })
	for i, m := range top {
		if math.IsInf(m, 0) {
			top[i] = 0 // all −∞, none, or some +∞: e^(x−m) would be NaN
		}
	}
	shape.Runs(r.dims, r.strides, func(n int, off, step []int) {
		k := off[1]
		for _, v := range x[off[0] : off[0]+n] {
			acc[k] += math.Exp(float64(v) - top[k])
			k += step[1]
		}
	})
	for i := range acc {
		acc[i] = top[i] + math.Log(acc[i])
	}
}

func reduceInt[T integer](op reduceOp, t *Tensor, axes []int, keep bool) (*Tensor, error) {
	x, ok := t.Data.([]T)
	if !ok {
		return nil, unsupportedType(t.Type)
	}
	switch op {
	case reduceL2, reduceLogSum, reduceLogSumExp:
		return reduceIntAsFloat(op, t, axes, keep)
	}
	r := newReduction(t.Dims, axes, keep)
	acc, err := alloc[T](r.reduced)
	if err != nil {
		return nil, err
	}
	fill := func(v T) {
		for i := range acc {
			acc[i] = v
		}
	}
	switch op {
	case reduceSum, reduceMean:
		accumulate(r, x, acc, func(a, v T) T { return a + v })
	case reduceProd:
		fill(1)
		accumulate(r, x, acc, func(a, v T) T { return a * v })
	case reduceMax:
		fill(firstInteger[T]())
		accumulate(r, x, acc, func(a, v T) T { return max(a, v) })
	case reduceMin:
		fill(lastInteger[T]())
		accumulate(r, x, acc, func(a, v T) T { return min(a, v) })
	case reduceSumSquare:
		accumulate(r, x, acc, func(a, v T) T { return a + v*v })
	case reduceL1:
		accumulate(r, x, acc, func(a, v T) T {
			if v < 0 {
				return a - v
			}
			return a + v
		})
	}
	if op == reduceMean {
		if r.n == 0 && len(acc) > 0 {
			return nil, fmt.Errorf("mean of no integers (shape %v, axes %v)", t.Dims, axes)
		}
		// The divisor may not fit T.
		for i, a := range acc {
			acc[i] = meanOf(a, r.n)
		}
	}
	return newTensor(t.Type, r.out, acc), nil
}

// meanOf divides in the widest type, as n may not fit T.
func meanOf[T integer](sum T, n int) T {
	if firstInteger[T]() == 0 {
		return T(uint64(sum) / uint64(n))
	}
	return T(int64(sum) / int64(n))
}

// reduceIntAsFloat serves the reductions of integers that end in a root or logarithm: computed in float64, then truncated.
func reduceIntAsFloat(op reduceOp, t *Tensor, axes []int, keep bool) (*Tensor, error) {
	v, err := convertTo[float64](t)
	if err != nil {
		return nil, err
	}
	out, err := reduceFloat[float64](op, newTensor(onnx.Double, t.Dims, v), axes, keep)
	if err != nil {
		return nil, err
	}
	return cast(out, t.Type)
}
