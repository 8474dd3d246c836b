package runtime

import (
	"github.com/trconvert/trconvert/onnx"
)

// gradientOf makes a gradient builder of a function that reads no elements of inputs or outputs: the operator is linear, with coefficients that do not depend on values.
func gradientOf(run func(c *backCall, in, out, d []*Tensor) ([]*Tensor, error)) gradientBuilder {
	return func(*nodeInfo) (*gradient, error) { return &gradient{run: run}, nil }
}

// flatGradient serves the operators all of whose outputs have derivative zero wherever one exists.
func flatGradient(*nodeInfo) (*gradient, error) { return nil, nil }

// whereVariable is mask if input k of the node depends on a parameter, else nothing.
func (n *nodeInfo) whereVariable(k int, mask uint64) uint64 {
	if k < len(n.variable) && n.variable[k] {
		return mask
	}
	return 0
}

// sumTo is the gradient of a value of the given dims that was broadcast to those of t: the sum over the axes along which it was repeated.
func sumTo(t *Tensor, dims []int) (*Tensor, error) {
	if sameDims(t.Dims, dims) {
		return t, nil
	}
	lead := len(t.Dims) - len(dims)
	var axes []int
	for k, d := range t.Dims {
		if k < lead && d != 1 || k >= lead && dims[k-lead] != d {
			axes = append(axes, k)
		}
	}
	if axes == nil {
		return newTensor(t.Type, dims, t.Data), nil
	}
	s, err := reduce(reduceSum, t, axes, true)
	if err != nil {
		return nil, err
	}
	return newTensor(t.Type, dims, s.Data), nil
}

// scaled is factor·t.
func scaled(t *Tensor, factor float64) (*Tensor, error) {
	switch factor {
	case 1:
		return t, nil
	case -1:
		return mapFloats(t, func(v float64) float64 { return -v })
	}
	return mapFloats(t, func(v float64) float64 { return factor * v })
}

// mapFloats applies f to the elements of a float32 or float64 tensor.
func mapFloats(t *Tensor, f func(float64) float64) (*Tensor, error) {
	switch t.Type {
	case onnx.Float:
		return mapRow(t, t.Type, floatRow[float32](f))
	case onnx.Double:
		return mapRow(t, t.Type, floatRow[float64](f))
	}
	return nil, unsupportedType(t.Type)
}

// zipFloats combines two tensors of one type, float32 or float64, with broadcasting.
func zipFloats(a, b *Tensor, f func(a, b float64) float64) (*Tensor, error) {
	if err := sameType(a, b); err != nil {
		return nil, err
	}
	switch a.Type {
	case onnx.Float:
		return zip(a, b, a.Type, zipRow[float32](f))
	case onnx.Double:
		return zip(a, b, a.Type, zipRow[float64](f))
	}
	return nil, unsupportedType(a.Type)
}

func zipRow[T floating](f func(a, b float64) float64) func(dst, a, b []T) {
	return func(dst, a, b []T) {
		for i := range dst {
			dst[i] = T(f(float64(a[i]), float64(b[i])))
		}
	}
}

// like is a gradient with the dims of t, which may have been read in another shape.
func like(t, g *Tensor, err error) (*Tensor, error) {
	if err != nil {
		return nil, err
	}
	return newTensor(g.Type, t.Dims, g.Data), nil
}
