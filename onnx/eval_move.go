package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
)

func evalIdentity(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	return []*Array{a}, nil
}

func evalReshape(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	target, err := c.axes("shape", 1) // an attribute before opset 5
	if err != nil {
		return nil, err
	}
	if target == nil {
		return nil, fmt.Errorf("input 1 is missing")
	}
	allowZero, err := c.node.AttrInt("allowzero", 0)
	if err != nil {
		return nil, err
	}
	dims, err := shape.ReshapeDims(a.Dims, target, allowZero != 0)
	if err != nil {
		return nil, err
	}
	return viewed(a, dims)
}

func evalFlatten(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	axis, err := c.node.AttrInt("axis", 1)
	if err != nil {
		return nil, err
	}
	dims, err := shape.FlattenDims(a.Dims, axis)
	if err != nil {
		return nil, err
	}
	return viewed(a, dims)
}

func evalSqueeze(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	axes, err := c.axes("axes", 1)
	if err != nil {
		return nil, err
	}
	dims, err := shape.SqueezeDims(a.Dims, axes)
	if err != nil {
		return nil, err
	}
	return viewed(a, dims)
}

func evalUnsqueeze(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	axes, err := c.axes("axes", 1)
	if err != nil {
		return nil, err
	}
	if axes == nil {
		return nil, fmt.Errorf("no axes are given")
	}
	dims, err := shape.UnsqueezeDims(a.Dims, axes)
	if err != nil {
		return nil, err
	}
	return viewed(a, dims)
}

func evalTranspose(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	perm, err := c.node.AttrInts("perm")
	if err != nil {
		return nil, err
	}
	dims, err := shape.TransposeDims(a.Dims, perm)
	if err != nil {
		return nil, err
	}
	return c.moved(a, dims, func(e shape.Elements) (shape.Elements, []int, error) { return e.Transpose(a.Dims, perm) })
}

func evalSlice(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	var args [4][]int64 // starts, ends, axes, steps: attributes before opset 10
	for i, name := range []string{"starts", "ends", "axes", "steps"} {
		if args[i], err = c.axes(name, i+1); err != nil {
			return nil, err
		}
	}
	if args[0] == nil || args[1] == nil {
		return nil, errors.New("starts or ends are missing")
	}
	ranges, err := shape.SliceRanges(a.Dims, args[0], args[1], args[2], args[3])
	if err != nil {
		return nil, err
	}
	return c.moved(a, shape.SliceDims(ranges), func(e shape.Elements) (shape.Elements, []int, error) { return e.Slice(a.Dims, ranges) })
}

func evalSplit(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	axis, err := c.node.AttrInt("axis", 0)
	if err != nil {
		return nil, err
	}
	k, err := shape.Axis(axis, len(a.Dims))
	if err != nil {
		return nil, err
	}
	lengths, err := c.axes("split", 1)
	if err != nil {
		return nil, err
	}
	outputs := len(c.node.Outputs)
	parts, err := c.node.AttrInt("num_outputs", int64(outputs))
	if err != nil {
		return nil, err
	}
	if parts != int64(outputs) || (lengths != nil && len(lengths) != outputs) {
		return nil, fmt.Errorf("%d parts, %d lengths, %d outputs", parts, len(lengths), outputs)
	}
	if c.node.Attr("num_outputs") == nil && lengths == nil && (outputs == 0 || a.Dims[k]%outputs != 0) {
		return nil, fmt.Errorf("an axis of size %d does not split into %d equal parts", a.Dims[k], outputs)
	}
	sizes, err := shape.SplitSizes(a.Dims[k], lengths, outputs)
	if err != nil {
		return nil, err
	}
	out := make([]*Array, outputs)
	ranges := make([]shape.Range, len(a.Dims))
	for j, d := range a.Dims {
		ranges[j] = shape.Range{Start: 0, Step: 1, Count: d}
	}
	at := 0
	for i, l := range sizes {
		ranges[k] = shape.Range{Start: at, Step: 1, Count: l}
		at += l
		if c.node.Outputs[i] == "" || c.readers[valueKey{c.node.Graph, c.node.Outputs[i]}] == 0 {
			continue
		}
		part, err := c.moved(a, shape.SliceDims(ranges), func(e shape.Elements) (shape.Elements, []int, error) { return e.Slice(a.Dims, ranges) })
		if err != nil {
			return nil, err
		}
		out[i] = part[0]
	}
	return out, nil
}

func evalConcat(c *call) ([]*Array, error) {
	def := int64(math.MinInt64)
	if c.version < 4 {
		def = 1
	}
	axis, err := c.node.AttrInt("axis", def)
	if err != nil {
		return nil, err
	}
	if axis == math.MinInt64 {
		return nil, fmt.Errorf("attribute \"axis\" is missing")
	}
	shapes := make([][]int, len(c.in))
	for k := range c.in {
		a, err := c.input(k)
		if err != nil {
			return nil, err
		}
		if a.Type != c.in[0].Type {
			return nil, fmt.Errorf("inputs 0 and %d have types %s and %s", k, c.in[0].Type, a.Type)
		}
		shapes[k] = a.Dims
	}
	dims, err := shape.ConcatDims(axis, shapes...)
	if err != nil {
		return nil, err
	}
	return c.moved(c.in[0], dims, func(e shape.Elements) (shape.Elements, []int, error) {
		others := make([]shape.Elements, len(c.in)-1)
		for k, a := range c.in[1:] {
			var err error
			if others[k], err = shape.Of(a.Data); err != nil {
				return nil, nil, err
			}
		}
		return e.Concat(others, shapes, axis, 0)
	})
}

// gathered are the operands of the Gather family.
func gathered(c *call) (data, indices *Array, err error) {
	if data, err = c.input(0); err != nil {
		return nil, nil, err
	}
	if indices, err = c.input(1); err != nil {
		return nil, nil, err
	}
	if indices.Type != Int64 && indices.Type != Int32 {
		return nil, nil, fmt.Errorf("input 1 has type %s (want int32 or int64)", indices.Type)
	}
	return data, indices, nil
}

// movedBy is moved with the values of an index input.
func (c *call) movedBy(a, indices *Array, dims []int, move func(e shape.Elements, at []int64) (shape.Elements, []int, error)) ([]*Array, error) {
	return c.moved(a, dims, func(e shape.Elements) (shape.Elements, []int, error) {
		at, err := indexValues(indices, "input 1")
		if err != nil {
			return nil, nil, err
		}
		return move(e, at)
	})
}

func evalGather(c *call) ([]*Array, error) {
	a, i, err := gathered(c)
	if err != nil {
		return nil, err
	}
	axis, err := c.node.AttrInt("axis", 0)
	if err != nil {
		return nil, err
	}
	dims, err := shape.GatherDims(a.Dims, i.Dims, axis)
	if err != nil {
		return nil, err
	}
	return c.movedBy(a, i, dims, func(e shape.Elements, at []int64) (shape.Elements, []int, error) {
		return e.Gather(a.Dims, at, i.Dims, axis, 0)
	})
}

func evalGatherElements(c *call) ([]*Array, error) {
	a, i, err := gathered(c)
	if err != nil {
		return nil, err
	}
	axis, err := c.node.AttrInt("axis", 0)
	if err != nil {
		return nil, err
	}
	return c.movedBy(a, i, slices.Clone(i.Dims), func(e shape.Elements, at []int64) (shape.Elements, []int, error) {
		return e.GatherElements(a.Dims, at, i.Dims, axis, 0)
	})
}

func evalGatherND(c *call) ([]*Array, error) {
	a, i, err := gathered(c)
	if err != nil {
		return nil, err
	}
	batch, err := c.node.AttrInt("batch_dims", 0)
	if err != nil {
		return nil, err
	}
	dims, err := shape.GatherNDDims(a.Dims, i.Dims, batch)
	if err != nil {
		return nil, err
	}
	return c.movedBy(a, i, dims, func(e shape.Elements, at []int64) (shape.Elements, []int, error) {
		return e.GatherND(a.Dims, at, i.Dims, batch, 0)
	})
}

func evalExpand(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	target, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	dims, err := shape.ExpandDims(a.Dims, target)
	if err != nil {
		return nil, err
	}
	return c.moved(a, dims, func(e shape.Elements) (shape.Elements, []int, error) { return e.Expand(a.Dims, target, 0) })
}

func evalTile(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	repeats, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	dims, err := shape.TileDims(a.Dims, repeats)
	if err != nil {
		return nil, err
	}
	return c.moved(a, dims, func(e shape.Elements) (shape.Elements, []int, error) { return e.Tile(a.Dims, repeats, 0) })
}

func evalPad(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	name := "pads"
	if c.version < 2 {
		name = "paddings"
	}
	pads, err := c.axes(name, 1)
	if err != nil {
		return nil, err
	}
	mode, err := c.node.AttrString("mode", "constant")
	if err != nil {
		return nil, err
	}
	if c.has(3) { // axes that the pads are for, from opset 18 on
		axes, err := c.ints(3)
		if err != nil {
			return nil, err
		}
		if pads, err = spreadPads(pads, axes, len(a.Dims)); err != nil {
			return nil, err
		}
	}
	dims, err := shape.PadDims(a.Dims, pads)
	if err != nil {
		return nil, err
	}
	return c.moved(a, dims, func(e shape.Elements) (shape.Elements, []int, error) {
		var value shape.Elements
		if c.has(2) {
			if value, err = shape.Of(c.in[2].Data); err != nil {
				return nil, nil, err
			}
		} else if v := c.node.Attr("value"); v != nil && v.F != 0 {
			cast, err := castArray(&Array{Type: Float, Data: []float32{v.F}}, a.Type, true)
			if err != nil {
				return nil, nil, err
			}
			if value, err = shape.Of(cast.Data); err != nil {
				return nil, nil, err
			}
		}
		return e.Pad(a.Dims, pads, mode, value, 0)
	})
}

// spreadPads gives the axes that are not named a padding of 0.
func spreadPads(pads, axes []int64, rank int) ([]int64, error) {
	ks, err := shape.Axes(axes, rank)
	if err != nil {
		return nil, err
	}
	if len(pads) != 2*len(ks) {
		return nil, fmt.Errorf("%d pads for %d axes", len(pads), len(ks))
	}
	out := make([]int64, 2*rank)
	for i, k := range ks {
		out[k], out[k+rank] = pads[i], pads[i+len(ks)]
	}
	return out, nil
}

func evalWhere(c *call) ([]*Array, error) {
	for k := range 3 {
		if _, err := c.input(k); err != nil {
			return nil, err
		}
	}
	cond, x, y := c.in[0], c.in[1], c.in[2]
	if cond.Type != Bool || x.Type != y.Type {
		return nil, fmt.Errorf("inputs have types %s, %s and %s (want bool and two alike)", cond.Type, x.Type, y.Type)
	}
	dims, err := shape.Broadcast(cond.Dims, x.Dims, y.Dims)
	if err != nil {
		return nil, err
	}
	return c.moved(x, dims, func(e shape.Elements) (shape.Elements, []int, error) {
		other, err := shape.Of(y.Data)
		if err != nil {
			return nil, nil, err
		}
		return e.Where(cond.Data.([]bool), cond.Dims, x.Dims, other, y.Dims, 0)
	})
}
