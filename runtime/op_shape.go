package runtime

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildShape: https://onnx.ai/onnx/operators/onnx__Shape.html. start and end came with opset 15 and are clamped to the rank.
func buildShape(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	start, end, hasEnd := int64(0), int64(0), false
	if n.opset >= 15 {
		start, hasEnd = n.int("start", 0), n.hasAttr("end")
		end = n.int("end", 0)
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		rank := int64(len(in[0].Dims))
		clamp := func(v int64) int64 {
			if v < 0 {
				v += rank
			}
			return min(max(v, 0), rank)
		}
		from, to := clamp(start), rank
		if hasEnd {
			to = clamp(end)
		}
		v := []int64{}
		for k := from; k < to; k++ {
			v = append(v, int64(in[0].Dims[k]))
		}
		return []*Tensor{newTensor(onnx.Int64, []int{len(v)}, v)}, nil
	}), nil
}

// buildSize: https://onnx.ai/onnx/operators/onnx__Size.html
func buildSize(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		return []*Tensor{newTensor(onnx.Int64, nil, []int64{int64(elements(in[0].Dims))})}, nil
	}), nil
}

// buildConstantOfShape: https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html
func buildConstantOfShape(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	value, err := n.tensor("value")
	if err != nil {
		return nil, err
	}
	if value == nil {
		value = newTensor(onnx.Float, []int{1}, []float32{0})
	}
	if elements(value.Dims) != 1 {
		return nil, fmt.Errorf("value has shape %v, want one element", value.Dims)
	}
	element, err := shape.Of(value.Data)
	if err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		target, err := int64s(in[0])
		if err != nil {
			return nil, err
		}
		out, dims, err := element.Expand(nil, target, maxElements)
		return moved(value.Type, out, dims, err)
	}), nil
}

// buildConstant: https://onnx.ai/onnx/operators/onnx__Constant.html
func buildConstant(n *nodeInfo) (operator, error) {
	t, err := constantValue(n)
	if err != nil {
		return nil, err
	}
	return opFunc(func(*call, []*Tensor) ([]*Tensor, error) { return []*Tensor{t}, nil }), nil
}

func constantValue(n *nodeInfo) (*Tensor, error) {
	var found *Tensor
	given := 0
	set := func(t *Tensor) {
		found = t
		given++
	}
	t, err := n.tensor("value")
	if err != nil {
		return nil, err
	}
	if t != nil {
		set(t)
	}
	if n.hasAttr("value_float") {
		set(newTensor(onnx.Float, nil, []float32{n.float("value_float", 0)}))
	}
	if n.hasAttr("value_floats") {
		v := append([]float32{}, n.floats("value_floats", nil)...)
		set(newTensor(onnx.Float, []int{len(v)}, v))
	}
	if n.hasAttr("value_int") {
		set(newTensor(onnx.Int64, nil, []int64{n.int("value_int", 0)}))
	}
	if n.hasAttr("value_ints") {
		v := append([]int64{}, n.ints("value_ints", nil)...)
		set(newTensor(onnx.Int64, []int{len(v)}, v))
	}
	if n.hasAttr("value_string") {
		set(newTensor(onnx.String, nil, []string{n.string("value_string", "")}))
	}
	if n.hasAttr("value_strings") {
		v := append([]string{}, n.strings("value_strings", nil)...)
		set(newTensor(onnx.String, []int{len(v)}, v))
	}
	if n.hasAttr("sparse_value") {
		a := n.attr("sparse_value", onnx.AttrSparse)
		if a == nil || a.Sparse == nil {
			return nil, fmt.Errorf("attribute \"sparse_value\" holds nothing")
		}
		return nil, unsupportedf("sparse_value")
	}
	if given != 1 {
		return nil, fmt.Errorf("node has %d values, want one", given)
	}
	return found, nil
}

// buildRange: https://onnx.ai/onnx/operators/onnx__Range.html. The length is max(ceil((limit − start) / delta), 0).
func buildRange(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 3, 3); err != nil {
		return nil, err
	}
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		switch in[0].Type {
		case onnx.Float:
			return one(rangeOf[float32](in))
		case onnx.Double:
			return one(rangeOf[float64](in))
		case onnx.Int16:
			return one(rangeOf[int16](in))
		case onnx.Int32:
			return one(rangeOf[int32](in))
		case onnx.Int64:
			return one(rangeOf[int64](in))
		}
		return nil, unsupportedType(in[0].Type)
	}), nil
}

func rangeOf[T numeric](in []*Tensor) (*Tensor, error) {
	var arg [3]T
	for k, t := range in[:3] {
		v, ok := t.Data.([]T)
		if !ok || len(v) != 1 {
			return nil, fmt.Errorf("input %d is %v of shape %v, want one value of type %v", k, t.Type, t.Dims, in[0].Type)
		}
		arg[k] = v[0]
	}
	start, limit, delta := arg[0], arg[1], arg[2]
	if delta == 0 {
		return nil, fmt.Errorf("delta is 0 (start %v, limit %v)", start, limit)
	}
	n, err := rangeLength(start, limit, delta)
	if err != nil {
		return nil, err
	}
	out := make([]T, n)
	for i := range out {
		out[i] = start + T(i)*delta
	}
	return newTensor(in[0].Type, []int{n}, out), nil
}

// rangeLength is max(ceil((limit − start) / delta), 0).
func rangeLength[T numeric](start, limit, delta T) (int, error) {
	if delta > 0 && limit <= start || delta < 0 && limit >= start {
		return 0, nil
	}
	n := math.Ceil((float64(limit) - float64(start)) / float64(delta))
	if a, isInt64 := any(start).(int64); isInt64 {
		n = int64Steps(a, int64(limit), int64(delta))
	}
	if !(n <= maxElements) { // NaN too
		return 0, fmt.Errorf("range from %v to %v by %v has more elements than the limit of %d", start, limit, delta, maxElements)
	}
	return int(n), nil
}

// int64Steps counts the steps of size delta from start to limit, whose distance may be beyond int64 but not beyond uint64.
func int64Steps(start, limit, delta int64) float64 {
	way, step := uint64(limit)-uint64(start), uint64(delta)
	if delta < 0 {
		way, step = -way, -step
	}
	n := way / step
	if way%step != 0 {
		n++
	}
	return float64(n)
}
