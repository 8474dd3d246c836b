package runtime

import (
	"errors"
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// moved wraps the result of an operator that moves elements and keeps their type.
func moved(t onnx.DataType, e shape.Elements, dims []int, err error) ([]*Tensor, error) {
	if err != nil {
		return nil, err
	}
	return []*Tensor{newTensor(t, dims, e.Data())}, nil
}

// elementsOf2 gives the elements of two tensors of one type.
func elementsOf2(a, b *Tensor) (x, y shape.Elements, err error) {
	if err = sameType(a, b); err != nil {
		return nil, nil, err
	}
	if x, err = shape.Of(a.Data); err != nil {
		return nil, nil, err
	}
	y, err = shape.Of(b.Data)
	return x, y, err
}

// reshaped is a tensor with the elements of t and other dims; both share the data.
func reshaped(t *Tensor, dims []int, err error) ([]*Tensor, error) {
	if err != nil {
		return nil, err
	}
	return []*Tensor{newTensor(t.Type, dims, t.Data)}, nil
}

// intsArgument is an argument that older opsets give as an attribute and newer ones as an input.
type intsArgument struct {
	given []int64 // by attribute; nil where absent
	slot  int     // of the input, -1 for none
}

// newIntsArgument reads the attribute below opset fromInput, and looks at input slot from there on.
func newIntsArgument(n *nodeInfo, attr string, slot int, fromInput int64) intsArgument {
	if n.opset >= fromInput {
		return intsArgument{slot: slot}
	}
	given := n.ints(attr, nil)
	if given == nil && n.hasAttr(attr) { // present but empty
		given = []int64{}
	}
	return intsArgument{given: given, slot: -1}
}

// values gives the argument, nil where it is absent.
func (a intsArgument) values(in []*Tensor) ([]int64, error) {
	if a.slot < 0 {
		return a.given, nil
	}
	t := optional(in, a.slot)
	if t == nil {
		return nil, nil
	}
	if len(t.Dims) > 1 {
		return nil, fmt.Errorf("input %d has shape %v, want a list", a.slot, t.Dims)
	}
	v, err := int64s(t)
	if v == nil && err == nil {
		v = []int64{}
	}
	return v, err
}

// buildReshape: https://onnx.ai/onnx/operators/onnx__Reshape.html. Below opset 5 the shape is an attribute; allowzero came with
// 14.
func buildReshape(n *nodeInfo) (operator, error) {
	target := newIntsArgument(n, "shape", 1, 5)
	if err := requireInputs(n, 2+min(target.slot, 0), 2); err != nil {
		return nil, err
	}
	n.ignore("consumed_inputs")
	allowZero := n.opset >= 14 && n.bool("allowzero", false)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		v, err := target.values(in)
		if err != nil {
			return nil, err
		}
		dims, err := shape.ReshapeDims(in[0].Dims, v, allowZero)
		return reshaped(in[0], dims, err)
	}), nil
}

// buildFlatten: https://onnx.ai/onnx/operators/onnx__Flatten.html
func buildFlatten(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	axis := n.int("axis", 1)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		dims, err := shape.FlattenDims(in[0].Dims, axis)
		return reshaped(in[0], dims, err)
	}), nil
}

// buildSqueeze: https://onnx.ai/onnx/operators/onnx__Squeeze.html. Axes are an attribute below opset 13.
func buildSqueeze(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 2); err != nil {
		return nil, err
	}
	axes := newIntsArgument(n, "axes", 1, 13)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		v, err := axes.values(in)
		if err != nil {
			return nil, err
		}
		dims, err := shape.SqueezeDims(in[0].Dims, v)
		return reshaped(in[0], dims, err)
	}), nil
}

// buildUnsqueeze: https://onnx.ai/onnx/operators/onnx__Unsqueeze.html. Axes are an attribute below opset 13.
func buildUnsqueeze(n *nodeInfo) (operator, error) {
	axes := newIntsArgument(n, "axes", 1, 13)
	if err := requireInputs(n, 2+min(axes.slot, 0), 2); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		v, err := axes.values(in)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, errors.New("axes are missing")
		}
		dims, err := shape.UnsqueezeDims(in[0].Dims, v)
		return reshaped(in[0], dims, err)
	}), nil
}

// buildTranspose: https://onnx.ai/onnx/operators/onnx__Transpose.html
func buildTranspose(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	perm := n.ints("perm", nil)
	return opFunc(func(c *call, in []*Tensor) ([]*Tensor, error) {
		if dims := unitTranspose(in[0].Dims, perm); dims != nil {
			return reshaped(in[0], dims, nil)
		}
		return transposed(c.loan(), in[0], perm)
	}), nil
}

// sharedTranspose is the number of elements from which a transposition is cut into parts, which goroutines may share.
const (
	sharedTranspose = 1 << 13
	transposeParts  = 8
)

// transposed permutes the axes of t: result axis k is axis perm[k] of t; nil reverses them.
func transposed(l *loan, t *Tensor, perm []int64) ([]*Tensor, error) {
	v, ok := t.Data.([]float32)
	if perm == nil && len(t.Dims) == 2 {
		perm = []int64{1, 0}
	}
	if k := rotation(perm); ok && k > 0 && len(perm) == len(t.Dims) && len(v) > 0 {
		rows, cols := elements(t.Dims[:k]), elements(t.Dims[k:])
		out := l.floats(len(v))
		transposeMatrix(rows, cols, v, out)
		return []*Tensor{newTensor(t.Type, slices.Concat(t.Dims[k:], t.Dims[:k]), out)}, nil
	}
	if ok && len(v) >= sharedTranspose {
		p, err := shape.Permutation(perm, len(t.Dims))
		if err != nil {
			return nil, err
		}
		dims := make([]int, len(p))
		for k, from := range p {
			dims[k] = t.Dims[from]
		}
		out := l.floats(len(v))
		if s, ok := newSwap(t.Dims, p); ok {
			gemm.ParallelWork(transposeParts, len(v), func(k int) {
				s.part(out, v, k*s.long/transposeParts, (k+1)*s.long/transposeParts)
			})
			return []*Tensor{newTensor(t.Type, dims, out)}, nil
		}
		n, row := dims[0], len(v)/dims[0]
		gemm.ParallelWork(transposeParts, len(v), func(k int) {
			first, last := k*n/transposeParts, (k+1)*n/transposeParts
			shape.TransposePart(out[first*row:last*row], v, t.Dims, p, first, last)
		})
		return []*Tensor{newTensor(t.Type, dims, out)}, nil
	}
	x, err := shape.Of(t.Data)
	if err != nil {
		return nil, err
	}
	out, dims, err := x.Transpose(t.Dims, perm)
	return moved(t.Type, out, dims, err)
}

// transposeMatrix writes the transpose of src [rows, cols] to dst, by parts of the longer axis.
func transposeMatrix(rows, cols int, src, dst []float32) {
	parts := transposeParts
	if rows*cols < sharedTranspose {
		parts = 1
	}
	gemm.ParallelWork(parts, rows*cols, func(k int) {
		if rows >= cols {
			first, last := k*rows/parts, (k+1)*rows/parts
			gemm.Transpose(last-first, cols, src[first*cols:], cols, dst[first:], rows)
			return
		}
		first, last := k*cols/parts, (k+1)*cols/parts
		gemm.Transpose(rows, last-first, src[first:], cols, dst[first*rows:], rows)
	})
}

// rotation is the number of leading axes that a permutation moves behind the others, all in their order; 0 for other permutations.
func rotation(perm []int64) int {
	if len(perm) == 0 || perm[0] <= 0 || perm[0] >= int64(len(perm)) {
		return 0
	}
	k := int(perm[0])
	for i, p := range perm {
		if p != int64((i+k)%len(perm)) {
			return 0
		}
	}
	return k
}

// unitTranspose gives the dims of a transposition that moves no element, because only axes of size 1 change their order; nil for others.
func unitTranspose(dims []int, perm []int64) []int {
	if len(perm) != len(dims) {
		return nil
	}
	out := make([]int, len(perm))
	seen := make([]bool, len(perm))
	last := int64(-1)
	for k, p := range perm {
		if p < 0 || p >= int64(len(dims)) || seen[p] {
			return nil
		}
		seen[p], out[k] = true, dims[p]
		if dims[p] != 1 {
			if p < last {
				return nil
			}
			last = p
		}
	}
	return out
}

// buildConcat: https://onnx.ai/onnx/operators/onnx__Concat.html. The axis defaults to 1 below opset 4.
func buildConcat(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, max(n.inputs(), 1), -1); err != nil {
		return nil, err
	}
	if n.opset >= 4 && !n.hasAttr("axis") {
		return nil, errors.New("attribute \"axis\" is missing")
	}
	axis := n.int("axis", 1)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		parts, shapes := make([]shape.Elements, len(in)), make([][]int, len(in))
		for k, t := range in {
			if err := sameType(in[0], t); err != nil {
				return nil, err
			}
			var err error
			if parts[k], err = shape.Of(t.Data); err != nil {
				return nil, err
			}
			shapes[k] = t.Dims
		}
		out, dims, err := parts[0].Concat(parts[1:], shapes, axis, maxElements)
		return moved(in[0].Type, out, dims, err)
	}), nil
}

// buildSplit: https://onnx.ai/onnx/operators/onnx__Split.html. The lengths are an attribute below opset 13 (in opset 1 possibly
// an input); num_outputs came with 18.
func buildSplit(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 2); err != nil {
		return nil, err
	}
	lengths := newIntsArgument(n, "split", 1, 13)
	if n.opset < 2 && n.has(1) {
		lengths = intsArgument{slot: 1}
	}
	parts := n.outputs()
	if n.opset >= 18 && n.hasAttr("num_outputs") {
		if v := n.int("num_outputs", 0); v != int64(parts) {
			return nil, fmt.Errorf("num_outputs is %d, the node has %d outputs", v, parts)
		}
	}
	axis := n.int("axis", 0)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		dims := in[0].Dims
		k, err := shape.Axis(axis, len(dims))
		if err != nil {
			return nil, err
		}
		v, err := lengths.values(in)
		if err != nil {
			return nil, err
		}
		if v != nil && len(v) != parts {
			return nil, fmt.Errorf("%d lengths in split, the node has %d outputs", len(v), parts)
		}
		sizes, err := shape.SplitSizes(dims[k], v, parts)
		if err != nil {
			return nil, err
		}
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		ranges := wholeRanges(dims)
		out := make([]*Tensor, parts)
		at := 0
		for i, size := range sizes {
			ranges[k] = shape.Range{Start: at, Step: 1, Count: size}
			e, d, err := x.Slice(dims, ranges)
			if err != nil {
				return nil, err
			}
			out[i] = newTensor(in[0].Type, d, e.Data())
			at += size
		}
		return out, nil
	}), nil
}

// wholeRanges takes all of every axis.
func wholeRanges(dims []int) []shape.Range {
	r := make([]shape.Range, len(dims))
	for k, d := range dims {
		r[k] = shape.Range{Start: 0, Step: 1, Count: d}
	}
	return r
}

// buildSlice: https://onnx.ai/onnx/operators/onnx__Slice.html. Below opset 10 starts, ends and axes are attributes and there are
// no steps.
func buildSlice(n *nodeInfo) (operator, error) {
	args := newSliceArguments(n)
	required := 3
	if n.opset < 10 {
		required = 1
	}
	if err := requireInputs(n, required, 5); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		ranges, err := args.ranges(in)
		if err != nil {
			return nil, err
		}
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		out, dims, err := x.Slice(in[0].Dims, ranges)
		return moved(in[0].Type, out, dims, err)
	}), nil
}

// sliceArguments are the starts, ends, axes and steps of Slice.
type sliceArguments [4]intsArgument

func newSliceArguments(n *nodeInfo) sliceArguments {
	args := sliceArguments{
		newIntsArgument(n, "starts", 1, 10), newIntsArgument(n, "ends", 2, 10), newIntsArgument(n, "axes", 3, 10), {slot: 4},
	}
	if n.opset < 10 {
		args[3] = intsArgument{slot: -1}
	}
	return args
}

// ranges gives one range for each axis of input 0.
func (args sliceArguments) ranges(in []*Tensor) ([]shape.Range, error) {
	var v [4][]int64
	var err error
	for k, a := range args {
		if v[k], err = a.values(in); err != nil {
			return nil, err
		}
	}
	return shape.SliceRanges(in[0].Dims, v[0], v[1], v[2], v[3])
}

// buildExpand: https://onnx.ai/onnx/operators/onnx__Expand.html
func buildExpand(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		target, err := int64s(in[1])
		if err != nil {
			return nil, err
		}
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		out, dims, err := x.Expand(in[0].Dims, target, maxElements)
		return moved(in[0].Type, out, dims, err)
	}), nil
}

// buildTile: https://onnx.ai/onnx/operators/onnx__Tile.html. In opset 1 the inputs are the number of tiles and one axis.
func buildTile(n *nodeInfo) (operator, error) {
	want := 2
	if n.opset < 6 {
		want = 3
	}
	if err := requireInputs(n, want, want); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		repeats, err := tileRepeats(n.opset, in)
		if err != nil {
			return nil, err
		}
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		out, dims, err := x.Tile(in[0].Dims, repeats, maxElements)
		return moved(in[0].Type, out, dims, err)
	}), nil
}

func tileRepeats(opset int64, in []*Tensor) ([]int64, error) {
	if opset >= 6 {
		return int64s(in[1])
	}
	tiles, err := convertTo[int64](in[1])
	if err != nil {
		return nil, err
	}
	axis, err := convertTo[int64](in[2])
	if err != nil {
		return nil, err
	}
	if len(tiles) != 1 || len(axis) != 1 {
		return nil, fmt.Errorf("tiles and axis have shapes %v and %v, want one value each", in[1].Dims, in[2].Dims)
	}
	k, err := shape.Axis(axis[0], len(in[0].Dims))
	if err != nil {
		return nil, err
	}
	repeats := slices.Repeat([]int64{1}, len(in[0].Dims))
	repeats[k] = tiles[0]
	return repeats, nil
}
