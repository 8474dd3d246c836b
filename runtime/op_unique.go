package runtime

import (
	"cmp"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildUnique: https://onnx.ai/onnx/operators/onnx__Unique.html: the distinct elements, or the distinct slices of an axis, with
// the index of their first occurrence, the inverse mapping and their counts.
func buildUnique(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	sorted, flat, axis := n.bool("sorted", true), !n.hasAttr("axis"), n.int("axis", 0)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		t := in[0]
		dims := t.Dims
		if flat {
			dims = []int{elements(dims)}
		}
		k, err := shape.Axis(axis, len(dims))
		if err != nil {
			return nil, err
		}
		key := t
		if isHalf(t.Type) {
			key = widenHalf(t)
		}
		compare, err := sliceOrder(key, dims, k)
		if err != nil {
			return nil, err
		}
		first, inverse, counts := unique(dims[k], compare, sorted)
		x, err := shape.Of(t.Data)
		if err != nil {
			return nil, err
		}
		y, out, err := x.Gather(dims, first, []int{len(first)}, int64(k), maxElements)
		if err != nil {
			return nil, err
		}
		result := []*Tensor{newTensor(t.Type, out, y.Data())}
		for _, v := range [][]int64{first, inverse, counts} {
			result = append(result, newTensor(onnx.Int64, []int{len(v)}, v))
		}
		return result, nil
	}), nil
}

// unique groups the indices 0…n−1 by a total order.
func unique(n int, compare func(i, j int) int, sorted bool) (first, inverse, counts []int64) {
	order := allAxes(n)
	slices.SortStableFunc(order, compare)
	inverse = make([]int64, n)
	for p, i := range order {
		if p == 0 || compare(order[p-1], i) != 0 {
			first, counts = append(first, int64(i)), append(counts, 0)
		}
		inverse[i] = int64(len(first) - 1)
		counts[len(first)-1]++
	}
	if sorted {
		return first, inverse, counts
	}
	// In order of first occurrence.
	groups := allAxes(len(first))
	slices.SortFunc(groups, func(a, b int) int { return cmp.Compare(first[a], first[b]) })
	rank := make([]int64, len(groups))
	firstSeen, countsSeen := make([]int64, len(groups)), make([]int64, len(groups))
	for p, g := range groups {
		rank[g], firstSeen[p], countsSeen[p] = int64(p), first[g], counts[g]
	}
	for i, g := range inverse {
		inverse[i] = rank[g]
	}
	return firstSeen, inverse, countsSeen
}

// sliceOrder compares two slices of an axis element by element.
func sliceOrder(t *Tensor, dims []int, axis int) (func(i, j int) int, error) {
	switch x := t.Data.(type) {
	case []float32:
		return orderOf(x, dims, axis, cmp.Compare[float32]), nil
	case []float64:
		return orderOf(x, dims, axis, cmp.Compare[float64]), nil
	case []int8:
		return orderOf(x, dims, axis, cmp.Compare[int8]), nil
	case []int16:
		return orderOf(x, dims, axis, cmp.Compare[int16]), nil
	case []int32:
		return orderOf(x, dims, axis, cmp.Compare[int32]), nil
	case []int64:
		return orderOf(x, dims, axis, cmp.Compare[int64]), nil
	case []uint8:
		return orderOf(x, dims, axis, cmp.Compare[uint8]), nil
	case []uint16:
		return orderOf(x, dims, axis, cmp.Compare[uint16]), nil
	case []uint32:
		return orderOf(x, dims, axis, cmp.Compare[uint32]), nil
	case []uint64:
		return orderOf(x, dims, axis, cmp.Compare[uint64]), nil
	case []string:
		return orderOf(x, dims, axis, cmp.Compare[string]), nil
	case []bool:
		v, err := convertTo[uint8](t)
		return orderOf(v, dims, axis, cmp.Compare[uint8]), err
	}
	return nil, unsupportedType(t.Type)
}

func orderOf[T any](x []T, dims []int, axis int, compare func(a, b T) int) func(i, j int) int {
	inner, outer := elements(dims[axis+1:]), elements(dims[:axis])
	return func(i, j int) int {
		for o := range outer {
			a, b := (o*dims[axis]+i)*inner, (o*dims[axis]+j)*inner
			for e := range inner {
				if c := compare(x[a+e], x[b+e]); c != 0 {
					return c
				}
			}
		}
		return 0
	}
}
