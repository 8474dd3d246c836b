package shape

import (
	"fmt"
	"math"
	"math/bits"
)

// Size is the product of dims: the number of elements. It fails on negative dims, on overflow, and above limit (0: none).
func Size(dims []int, limit int) (int, error) {
	n, zero, over := uint64(1), false, false
	for _, d := range dims {
		if d < 0 {
			return 0, fmt.Errorf("negative dimension %d in shape %v", d, dims)
		}
		if d == 0 {
			zero = true
		}
		hi, lo := bits.Mul64(n, uint64(d))
		over = over || hi != 0 || lo > math.MaxInt
		n = lo
	}
	if zero {
		return 0, nil
	}
	if over {
		return 0, fmt.Errorf("shape %v has more elements than memory can hold", dims)
	}
	if limit > 0 && n > uint64(limit) {
		return 0, fmt.Errorf("shape %v has %d elements, the limit is %d", dims, n, limit)
	}
	return int(n), nil
}

// Strides are the C-order strides of dims, in elements.
func Strides(dims []int) []int {
	s := make([]int, len(dims))
	n := 1
	for k := len(dims) - 1; k >= 0; k-- {
		s[k] = n
		n *= dims[k]
	}
	return s
}

// Axis resolves an axis of a tensor of the given rank; -rank ≤ axis < rank.
func Axis(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, fmt.Errorf("axis %d is outside rank %d", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// Axes resolves several axes, which must be distinct, and keeps their order.
func Axes(axes []int64, rank int) ([]int, error) {
	out := make([]int, len(axes))
	seen := make([]bool, rank)
	for i, a := range axes {
		k, err := Axis(a, rank)
		if err != nil {
			return nil, err
		}
		if seen[k] {
			return nil, fmt.Errorf("axis %d is named twice in %v", k, axes)
		}
		seen[k] = true
		out[i] = k
	}
	return out, nil
}

// Broadcast is the common shape of several shapes under ONNX's multidirectional (NumPy) broadcasting.
func Broadcast(shapes ...[]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]int, rank)
	for k := range out {
		out[k] = 1
	}
	for _, s := range shapes {
		lead := rank - len(s)
		for k, d := range s {
			switch o := out[lead+k]; {
			case d == o || d == 1:
			case o == 1:
				out[lead+k] = d
			default:
				return nil, fmt.Errorf("shapes %v do not broadcast: %d against %d", shapes, o, d)
			}
		}
	}
	return out, nil
}

// BroadcastStrides are the strides with which a tensor of shape dims is read over the broadcast shape out: 0 along the
// axes it is repeated on.
func BroadcastStrides(dims, out []int) ([]int, error) {
	lead := len(out) - len(dims)
	if lead < 0 {
		return nil, fmt.Errorf("shape %v does not broadcast to %v", dims, out)
	}
	s := make([]int, len(out))
	for k, st := range Strides(dims) {
		switch dims[k] {
		case 1:
		case out[lead+k]:
			s[lead+k] = st
		default:
			return nil, fmt.Errorf("shape %v does not broadcast to %v", dims, out)
		}
	}
	return s, nil
}

// Runs walks the index space dims in C order for operands that are strided over it, and calls f once for each run along
// the last axis, with which as many outer axes are merged as all operands allow. n is the length of the run; off[k] and
// step[k] are the element offset and the stride of operand k in it. The slices belong to Runs.
func Runs(dims []int, strides [][]int, f func(n int, off, step []int)) {
	for _, d := range dims {
		if d == 0 {
			return
		}
	}
	dims, strides = coalesce(dims, strides)
	last := len(dims) - 1
	off, step := make([]int, len(strides)), make([]int, len(strides))
	if last < 0 {
		f(1, off, step)
		return
	}
	for k, s := range strides {
		step[k] = s[last]
	}
	at := make([]int, last)
	for {
		f(dims[last], off, step)
		k := last - 1
		for ; k >= 0; k-- {
			at[k]++
			for j, s := range strides {
				off[j] += s[k]
			}
			if at[k] < dims[k] {
				break
			}
			for j, s := range strides {
				off[j] -= at[k] * s[k]
			}
			at[k] = 0
		}
		if k < 0 {
			return
		}
	}
}

// coalesce drops axes of size 1 and merges neighbours that every operand walks as one axis.
func coalesce(dims []int, strides [][]int) ([]int, [][]int) {
	d := make([]int, 0, len(dims))
	s := make([][]int, len(strides))
	for j := range s {
		s[j] = make([]int, 0, len(dims))
	}
	for k, n := range dims {
		if n == 1 {
			continue
		}
		merge := len(d) > 0
		for j := range strides {
			merge = merge && s[j][len(d)-1] == strides[j][k]*n
		}
		if merge {
			d[len(d)-1] *= n
		} else {
			d = append(d, n)
		}
		for j := range strides {
			if merge {
				s[j][len(d)-1] = strides[j][k]
			} else {
				s[j] = append(s[j], strides[j][k])
			}
		}
	}
	return d, s
}

// Binary applies f elementwise with broadcasting.
func Binary[A, B, C any](a []A, adims []int, b []B, bdims []int, limit int, f func(A, B) C) ([]C, []int, error) {
	out, err := Broadcast(adims, bdims)
	if err != nil {
		return nil, nil, err
	}
	n, err := Size(out, limit)
	if err != nil {
		return nil, nil, err
	}
	if err := checkLen(len(a), adims); err != nil {
		return nil, nil, err
	}
	if err := checkLen(len(b), bdims); err != nil {
		return nil, nil, err
	}
	as, err := BroadcastStrides(adims, out)
	if err != nil {
		return nil, nil, err
	}
	bs, err := BroadcastStrides(bdims, out)
	if err != nil {
		return nil, nil, err
	}
	dst := make([]C, n)
	at := 0
	Runs(out, [][]int{as, bs}, func(n int, off, step []int) {
		ia, ib := off[0], off[1]
		for i := range dst[at : at+n] {
			dst[at+i] = f(a[ia], b[ib])
			ia += step[0]
			ib += step[1]
		}
		at += n
	})
	return dst, out, nil
}

// checkLen checks that a slice of n elements is a tensor of shape dims.
func checkLen(n int, dims []int) error {
	want, err := Size(dims, 0)
	if err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("%d elements do not fill shape %v", n, dims)
	}
	return nil
}
