package onnx

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/shape"
)

func evalConstant(c *call) ([]*Array, error) {
	if len(c.node.Attributes) != 1 {
		return nil, fmt.Errorf("Constant has %d attributes (want one value)", len(c.node.Attributes))
	}
	a := c.node.Attributes[0]
	switch a.Name {
	case "value":
		if a.T == nil {
			return nil, fmt.Errorf("attribute \"value\" holds no tensor")
		}
		t, err := tensorArray(a.T, !c.shapeOnly)
		if err != nil {
			return nil, err
		}
		return []*Array{t}, nil
	case "value_float":
		return []*Array{{Type: Float, Data: []float32{a.F}}}, nil
	case "value_int":
		return []*Array{{Type: Int64, Data: []int64{a.I}}}, nil
	case "value_string":
		return []*Array{{Type: String, Data: []string{string(a.S)}}}, nil
	case "value_floats":
		return []*Array{{Type: Float, Dims: []int{len(a.Floats)}, Data: a.Floats}}, nil
	case "value_ints":
		return []*Array{{Type: Int64, Dims: []int{len(a.Ints)}, Data: a.Ints}}, nil
	case "value_strings":
		s := make([]string, len(a.Strings))
		for i, b := range a.Strings {
			s[i] = string(b)
		}
		return []*Array{{Type: String, Dims: []int{len(s)}, Data: s}}, nil
	}
	return nil, errNotEvaluated("attribute " + quote(a.Name) + " is not evaluated")
}

func evalConstantOfShape(c *call) ([]*Array, error) {
	target, err := c.ints(0)
	if err != nil {
		return nil, err
	}
	dims, err := shape.ToDims(target)
	if err != nil {
		return nil, err
	}
	value := &Array{Type: Float, Dims: []int{1}, Data: []float32{0}}
	a, err := c.node.attrOf("value", AttrTensor)
	if err != nil {
		return nil, err
	}
	if a != nil {
		if a.T == nil || a.T.Elements() != 1 {
			return nil, fmt.Errorf("attribute \"value\" is not a tensor of one element")
		}
		if value, err = a.T.Array(); err != nil {
			return nil, err
		}
	}
	return c.moved(value, dims, func(e shape.Elements) (shape.Elements, []int, error) {
		e, _, err := e.Expand([]int{1}, []int64{int64(mustSize(dims))}, 0)
		return e, dims, err
	})
}

// mustSize is the product of dims that were checked before.
func mustSize(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// dims of the input of Shape and Size, which may be known from a declaration alone.
func (c *call) dims() ([]int, error) {
	if len(c.in) > 0 && c.in[0] == nil {
		if d := c.e.declared(c.node, 0); d != nil {
			return d, nil
		}
	}
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	return a.Dims, nil
}

func evalShape(c *call) ([]*Array, error) {
	dims, err := c.dims()
	if err != nil {
		return nil, err
	}
	rank := int64(len(dims))
	start, err := c.node.AttrInt("start", 0)
	if err != nil {
		return nil, err
	}
	end, err := c.node.AttrInt("end", rank)
	if err != nil {
		return nil, err
	}
	clamp := func(v int64) int64 {
		if v < 0 {
			v += rank
		}
		return min(max(v, 0), rank)
	}
	start, end = clamp(start), clamp(end)
	out := []int64{}
	for k := start; k < end; k++ {
		out = append(out, int64(dims[k]))
	}
	return []*Array{{Type: Int64, Dims: []int{len(out)}, Data: out}}, nil
}

func evalSize(c *call) ([]*Array, error) {
	dims, err := c.dims()
	if err != nil {
		return nil, err
	}
	n, err := shape.Size(dims, 0)
	if err != nil {
		return nil, err
	}
	return []*Array{{Type: Int64, Data: []int64{int64(n)}}}, nil
}

// evalRange counts as the specification does: max(ceil((limit − start) / delta), 0) elements, start + i·delta.
func evalRange(c *call) ([]*Array, error) {
	if _, _, err := c.operands(3); err != nil {
		return nil, err
	}
	var v [3]float64
	var iv [3]int64
	t := c.in[0].Type
	for k, a := range c.in {
		if n, err := shape.Size(a.Dims, 0); err != nil || n != 1 {
			return nil, fmt.Errorf("input %d has shape %v (want a scalar)", k, a.Dims)
		}
		r, err := numbersOf(a)
		if err != nil {
			return nil, err
		}
		v[k] = r.float(0)
		if r.integer != nil {
			iv[k] = r.integer(0)
		}
	}
	if !(v[2] < 0 || v[2] > 0) {
		return nil, fmt.Errorf("delta is %v", v[2])
	}
	n := math.Max(math.Ceil((v[1]-v[0])/v[2]), 0)
	if !(n < math.MaxInt32) {
		return nil, errNotEvaluated(fmt.Sprintf("a range of %v elements is not evaluated", n))
	}
	dims := []int{int(n)}
	if err := c.spend(Double, dims); err != nil {
		return nil, err
	}
	out := &Array{Type: Double, Dims: dims, Data: filled(int(n), func(i int) float64 { return v[0] + float64(i)*v[2] })}
	if t == Int64 || t == Int32 || t == Int16 {
		out = &Array{Type: Int64, Dims: dims, Data: filled(int(n), func(i int) int64 { return iv[0] + int64(i)*iv[2] })}
	} else if !t.IsFloat() {
		return nil, errNotEvaluated(fmt.Sprintf("a range of %s is not evaluated", t))
	}
	return castBack(out, t)
}
