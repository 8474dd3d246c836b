package runtime

import (
	"errors"
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildPad: https://onnx.ai/onnx/operators/onnx__Pad.html. Pads and value are attributes below opset 11; axes came as an input
// with 18.
func buildPad(n *nodeInfo) (operator, error) {
	mode := n.string("mode", "constant")
	switch mode {
	case "constant", "reflect", "edge", "wrap":
	default:
		return nil, unsupportedf("mode = %q", mode)
	}
	pads := newPadArguments(n)
	required, value := 2, float32(0)
	if n.opset < 11 {
		required, value = 1, n.float("value", 0)
	}
	if err := requireInputs(n, required, 4); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		v, err := pads.of(in)
		if err != nil {
			return nil, err
		}
		fill := optional(in, 2)
		if n.opset < 11 {
			if fill, err = cast(newTensor(onnx.Float, []int{1}, []float32{value}), in[0].Type); err != nil {
				return nil, err
			}
		}
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		var constant shape.Elements
		if fill != nil && fill.Data != nil && mode == "constant" {
			if err := sameType(in[0], fill); err != nil {
				return nil, err
			}
			if constant, err = shape.Of(fill.Data); err != nil {
				return nil, err
			}
		}
		out, dims, err := x.Pad(in[0].Dims, v, mode, constant, maxElements)
		return moved(in[0].Type, out, dims, err)
	}), nil
}

// padArguments are the pads, by attribute or input.
type padArguments struct{ pads intsArgument }

func newPadArguments(n *nodeInfo) padArguments {
	name := "pads"
	if n.opset < 2 {
		name = "paddings"
	}
	return padArguments{newIntsArgument(n, name, 1, 11)}
}

// of gives the begins of all axes of input 0, then their ends.
func (p padArguments) of(in []*Tensor) ([]int64, error) {
	v, err := p.pads.values(in)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, errors.New("pads are missing")
	}
	if t := optional(in, 3); t != nil {
		return padsOfAxes(v, t, len(in[0].Dims))
	}
	return v, nil
}

// padsOfAxes spreads pads of some axes over all of them.
func padsOfAxes(v []int64, axes *Tensor, rank int) ([]int64, error) {
	list, err := int64s(axes)
	if err != nil {
		return nil, err
	}
	ks, err := shape.Axes(list, rank)
	if err != nil {
		return nil, err
	}
	if len(v) != 2*len(ks) {
		return nil, fmt.Errorf("%d pads for %d axes, want a begin and an end for each", len(v), len(ks))
	}
	all := make([]int64, 2*rank)
	for i, k := range ks {
		all[k], all[rank+k] = v[i], v[len(ks)+i]
	}
	return all, nil
}
