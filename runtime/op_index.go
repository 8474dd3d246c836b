package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// gatherKind is one of the operators that take elements by index.
type gatherKind func(x shape.Elements, dims []int, indices []int64, idims []int, arg int64) (shape.Elements, []int, error)

// buildGatherKind serves Gather, GatherElements and GatherND: https://onnx.ai/onnx/operators/onnx__Gather.html
func buildGatherKind(attr string, gather gatherKind) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 2, 2); err != nil {
			return nil, err
		}
		arg := int64(0)
		if attr != "" {
			arg = n.int(attr, 0)
		}
		return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			indices, err := int64s(in[1])
			if err != nil {
				return nil, err
			}
			x, err := shape.Of(in[0].Data)
			if err != nil {
				return nil, err
			}
			out, dims, err := gather(x, in[0].Dims, indices, in[1].Dims, arg)
			return moved(in[0].Type, out, dims, err)
		}), nil
	}
}

func gather(x shape.Elements, dims []int, indices []int64, idims []int, axis int64) (shape.Elements, []int, error) {
	return x.Gather(dims, indices, idims, axis, maxElements)
}

func gatherElements(x shape.Elements, dims []int, indices []int64, idims []int, axis int64) (shape.Elements, []int, error) {
	return x.GatherElements(dims, indices, idims, axis, maxElements)
}

func gatherND(x shape.Elements, dims []int, indices []int64, idims []int, batch int64) (shape.Elements, []int, error) {
	return x.GatherND(dims, indices, idims, batch, maxElements)
}

// buildScatterElements: https://onnx.ai/onnx/operators/onnx__ScatterElements.html; Scatter is its name in opset 9.
func buildScatterElements(n *nodeInfo) (operator, error) {
	axis := n.int("axis", 0)
	return buildScatter(n, func(in []*Tensor, x, updates shape.Elements, indices []int64, reduction string) (any, error) {
		if reduction == "none" {
			e, err := x.ScatterElements(in[0].Dims, indices, in[1].Dims, updates, axis)
			if err != nil {
				return nil, err
			}
			return e.Data(), nil
		}
		return combineUpdates(in, reduction, scatterAlong{axis: axis, indices: indices})
	})
}

// buildScatterND: https://onnx.ai/onnx/operators/onnx__ScatterND.html
func buildScatterND(n *nodeInfo) (operator, error) {
	return buildScatter(n, func(in []*Tensor, x, updates shape.Elements, indices []int64, reduction string) (any, error) {
		if reduction == "none" {
			e, err := x.ScatterND(in[0].Dims, indices, in[1].Dims, updates, in[2].Dims)
			if err != nil {
				return nil, err
			}
			return e.Data(), nil
		}
		return combineUpdates(in, reduction, scatterAlong{tuples: true, indices: indices})
	})
}

func buildScatter(n *nodeInfo, scatter func(in []*Tensor, x, updates shape.Elements, indices []int64, reduction string) (any, error)) (operator, error) {
	if err := requireInputs(n, 3, 3); err != nil {
		return nil, err
	}
	reduction := "none"
	if n.opset >= 16 {
		reduction = n.string("reduction", "none")
	}
	switch reduction {
	case "none", "add", "mul", "max", "min":
	default:
		return nil, unsupportedf("reduction = %q", reduction)
	}
	run := func(_ *call, in []*Tensor) ([]*Tensor, error) {
		indices, err := int64s(in[1])
		if err != nil {
			return nil, err
		}
		x, updates, err := elementsOf2(in[0], in[2])
		if err != nil {
			return nil, err
		}
		data, err := scatter(in, x, updates, indices, reduction)
		return one(newTensor(in[0].Type, in[0].Dims, data), err)
	}
	if reduction == "none" { // bits only move
		return opFunc(run), nil
	}
	return widened(run), nil
}

// scatterAlong is where updates go: along an axis, or by index tuples.
type scatterAlong struct {
	tuples  bool
	axis    int64
	indices []int64
}

func combineUpdates(in []*Tensor, reduction string, s scatterAlong) (any, error) {
	switch x := in[0].Data.(type) {
	case []float32:
		return combineOf(in, x, reduction, s)
	case []float64:
		return combineOf(in, x, reduction, s)
	case []int8:
		return combineOf(in, x, reduction, s)
	case []int16:
		return combineOf(in, x, reduction, s)
	case []int32:
		return combineOf(in, x, reduction, s)
	case []int64:
		return combineOf(in, x, reduction, s)
	case []uint8:
		return combineOf(in, x, reduction, s)
	case []uint16:
		return combineOf(in, x, reduction, s)
	case []uint32:
		return combineOf(in, x, reduction, s)
	case []uint64:
		return combineOf(in, x, reduction, s)
	}
	return nil, unsupportedType(in[0].Type)
}

func combineOf[T numeric](in []*Tensor, x []T, reduction string, s scatterAlong) (any, error) {
	combine := func(a, b T) T { return a + b }
	switch reduction {
	case "mul":
		combine = func(a, b T) T { return a * b }
	case "max":
		combine = func(a, b T) T { return max(a, b) }
	case "min":
		combine = func(a, b T) T { return min(a, b) }
	}
	updates, _ := in[2].Data.([]T)
	if s.tuples {
		return shape.ScatterND(x, in[0].Dims, s.indices, in[1].Dims, updates, in[2].Dims, combine)
	}
	return shape.ScatterElements(x, in[0].Dims, s.indices, in[1].Dims, updates, s.axis, combine)
}

// buildNonZero: https://onnx.ai/onnx/operators/onnx__NonZero.html. 16-bit floats are widened, as the bits of −0 are not zero.
func buildNonZero(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		v, dims, err := x.NonZero(in[0].Dims)
		return one(newTensor(onnx.Int64, dims, v), err)
	}), nil
}

// buildCompress: https://onnx.ai/onnx/operators/onnx__Compress.html
func buildCompress(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	flat, axis := !n.hasAttr("axis"), n.int("axis", 0)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		cond, ok := in[1].Data.([]bool)
		if !ok {
			return nil, fmt.Errorf("condition has type %v, want bool", in[1].Type)
		}
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		out, dims, err := x.Compress(in[0].Dims, cond, axis, flat)
		return moved(in[0].Type, out, dims, err)
	}), nil
}

// buildOneHot: https://onnx.ai/onnx/operators/onnx__OneHot.html. Indices outside [−depth, depth−1] select nothing.
func buildOneHot(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 3, 3); err != nil {
		return nil, err
	}
	axis := n.int("axis", -1)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		indices, err := convertTo[int64](in[0])
		if err != nil {
			return nil, err
		}
		depth, err := convertTo[int64](in[1])
		if err != nil {
			return nil, err
		}
		if len(depth) != 1 || depth[0] < 0 || depth[0] > maxElements {
			return nil, fmt.Errorf("depth is %v, want one value from 0 to %d", depth, maxElements)
		}
		k, err := shape.Axis(axis, len(in[0].Dims)+1)
		if err != nil {
			return nil, err
		}
		values, err := shape.Of(in[2].Data)
		if err != nil {
			return nil, err
		}
		if values.Len() != 2 {
			return nil, fmt.Errorf("values have shape %v, want [2]", in[2].Dims)
		}
		dims := append(append(append([]int{}, in[0].Dims[:k]...), int(depth[0])), in[0].Dims[k:]...)
		pick, err := alloc[int64](dims)
		if err != nil {
			return nil, err
		}
		inner := elements(in[0].Dims[k:])
		for i, v := range indices {
			if v < 0 {
				v += depth[0]
			}
			if v >= 0 && v < depth[0] {
				pick[(i/inner*int(depth[0])+int(v))*inner+i%inner] = 1
			}
		}
		out, dims, err := values.Gather([]int{2}, pick, dims, 0, maxElements)
		return moved(in[2].Type, out, dims, err)
	}), nil
}

// buildTrilu: https://onnx.ai/onnx/operators/onnx__Trilu.html
func buildTrilu(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 2); err != nil {
		return nil, err
	}
	upper := n.bool("upper", true)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		k := int64(0)
		if t := optional(in, 1); t != nil {
			var err error
			if k, err = int64Scalar(t); err != nil {
				return nil, err
			}
		}
		rank := len(in[0].Dims)
		if rank < 2 {
			return nil, fmt.Errorf("input has shape %v, want at least a matrix", in[0].Dims)
		}
		// A diagonal beyond the matrix changes nothing more; bounding it keeps the sums in range.
		rows, cols := in[0].Dims[rank-2], in[0].Dims[rank-1]
		diagonal := int(min(max(k, -int64(rows)-1), int64(cols)+1))
		keep := make([]bool, rows*cols)
		for i := range keep {
			r, c := i/cols, i%cols
			if upper {
				keep[i] = c >= r+diagonal
			} else {
				keep[i] = c <= r+diagonal
			}
		}
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		out, dims, err := x.Where(keep, []int{rows, cols}, in[0].Dims, x.Make(1), []int{1}, maxElements)
		return moved(in[0].Type, out, dims, err)
	}), nil
}

// buildReverseSequence: https://onnx.ai/onnx/operators/onnx__ReverseSequence.html
func buildReverseSequence(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	batch, time := n.int("batch_axis", 1), n.int("time_axis", 0)
	if batch == time || batch < 0 || batch > 1 || time < 0 || time > 1 {
		return nil, fmt.Errorf("batch_axis %d and time_axis %d, want 0 and 1 or 1 and 0", batch, time)
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		dims := in[0].Dims
		if len(dims) < 2 {
			return nil, fmt.Errorf("input has shape %v, want at least two axes", dims)
		}
		lengths, err := int64s(in[1])
		if err != nil {
			return nil, err
		}
		if len(lengths) != dims[batch] {
			return nil, fmt.Errorf("sequence_lens has shape %v for a batch of %d", in[1].Dims, dims[batch])
		}
		for _, l := range lengths {
			if l < 0 || l > int64(dims[time]) {
				return nil, fmt.Errorf("sequence length %d is outside [0, %d]", l, dims[time])
			}
		}
		// Rows of the two leading axes taken as one axis.
		from := make([]int64, dims[0]*dims[1])
		at := [2]int{}
		for i := range from {
			at[0], at[1] = i/dims[1], i%dims[1]
			b, t := at[batch], at[time]
			if l := int(lengths[b]); t < l {
				at[time] = l - 1 - t
			}
			from[i] = int64(at[0]*dims[1] + at[1])
		}
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		rows := append([]int{len(from)}, dims[2:]...)
		out, _, err := x.Gather(rows, from, []int{len(from)}, 0, maxElements)
		return moved(in[0].Type, out, dims, err)
	}), nil
}
