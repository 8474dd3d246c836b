package onnx

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
)

// evalDequantizeLinear is (x − zero point)·scale, per tensor, per index of an axis, or per block of one.
func evalDequantizeLinear(c *call) ([]*Array, error) {
	x, err := c.input(0)
	if err != nil {
		return nil, err
	}
	scale, err := c.input(1)
	if err != nil {
		return nil, err
	}
	if _, err := shape.Size(x.Dims, 0); err != nil {
		return nil, err
	}
	t := scale.Type
	to, err := c.node.AttrInt("output_dtype", 0)
	if err != nil {
		return nil, err
	}
	if to != 0 {
		t = DataType(to)
	}
	if c.shapeOnly {
		return shaped(t, x.Dims)
	}
	if !t.IsFloat() || !t.castable() {
		return nil, errNotEvaluated(fmt.Sprintf("dequantisation to %s is not evaluated", t))
	}
	if err := c.spend(Double, x.Dims); err != nil {
		return nil, err
	}
	at, err := c.scaleIndex(x.Dims, scale.Dims)
	if err != nil {
		return nil, err
	}
	xs, err := numbersOf(x)
	if err != nil {
		return nil, err
	}
	ss, err := numbersOf(scale)
	if err != nil {
		return nil, err
	}
	zero := func(int) float64 { return 0 }
	if c.has(2) {
		z := c.in[2]
		if z.Type != x.Type || !slices.Equal(z.Dims, scale.Dims) {
			return nil, fmt.Errorf("zero point is %s %v, x is %s and scale %v", z.Type, z.Dims, x.Type, scale.Dims)
		}
		zs, err := numbersOf(z)
		if err != nil {
			return nil, err
		}
		zero = zs.float
	}
	out := &Array{Type: Double, Dims: x.Dims, Data: filled(xs.n, func(i int) float64 {
		k := at(i)
		return (xs.float(i) - zero(k)) * ss.float(k)
	})}
	return castBack(out, t)
}

// scaleIndex maps an element of x to that of the scale which holds for it.
func (c *call) scaleIndex(dims, scale []int) (func(i int) int, error) {
	if mustSize(scale) == 1 && len(scale) <= 1 {
		return func(int) int { return 0 }, nil
	}
	a, err := c.node.AttrInt("axis", 1)
	if err != nil {
		return nil, err
	}
	axis, err := shape.Axis(a, len(dims))
	if err != nil {
		return nil, err
	}
	inner := mustSize(dims[axis+1:])
	if len(scale) == 1 {
		if scale[0] != dims[axis] {
			return nil, fmt.Errorf("%d scales for axis %d of size %d", scale[0], axis, dims[axis])
		}
		return func(i int) int { return i / inner % dims[axis] }, nil
	}
	block, err := c.node.AttrInt("block_size", 0)
	if err != nil {
		return nil, err
	}
	want := slices.Clone(dims)
	if block < 1 || len(scale) != len(dims) {
		return nil, fmt.Errorf("scale has shape %v, x %v, block_size is %d", scale, dims, block)
	}
	want[axis] = int((int64(dims[axis]) + min(block, int64(dims[axis])+1) - 1) / min(block, int64(dims[axis])+1))
	if !slices.Equal(scale, want) {
		return nil, fmt.Errorf("scale has shape %v (want %v for blocks of %d)", scale, want, block)
	}
	return func(i int) int {
		outer, along, rest := i/inner/dims[axis], i/inner%dims[axis], i%inner
		return (outer*scale[axis]+along/int(block))*inner + rest
	}, nil
}
