package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// rowBlock is how many copies of an operand that stands still along a row are laid out for a row kernel at a time.
const rowBlock = 1024

// zip applies a row kernel to two operands under multidirectional broadcasting. Whatever the shapes, the kernel gets three slices
// of one length.
func zip[T, R any](a, b *Tensor, result onnx.DataType, kernel func(dst []R, a, b []T)) (*Tensor, error) {
	x, okA := a.Data.([]T)
	y, okB := b.Data.([]T)
	if !okA || !okB {
		return nil, fmt.Errorf("operands have types %v and %v, want the same", a.Type, b.Type)
	}
	if sameDims(a.Dims, b.Dims) {
		dst := make([]R, len(x))
		kernel(dst, x, y)
		return newTensor(result, a.Dims, dst), nil
	}
	dims, strides, err := broadcast(a, b)
	if err != nil {
		return nil, err
	}
	dst, err := alloc[R](dims)
	if err != nil {
		return nil, err
	}
	var still [2][]T
	row := func(k int, data []T, off, step, n int) []T {
		if step == 1 || n == 1 {
			return data[off : off+n]
		}
		if len(still[k]) < n {
			still[k] = make([]T, n)
		}
		s := still[k][:n]
		for i := range s {
			s[i] = data[off]
			off += step
		}
		return s
	}
	to := dst
	shape.Runs(dims, strides, func(n int, off, step []int) {
		if step[0] == 1 && step[1] == 1 {
			kernel(to[:n], x[off[0]:off[0]+n], y[off[1]:off[1]+n])
			to = to[n:]
			return
		}
		for from := 0; from < n; from += rowBlock {
			m := min(rowBlock, n-from)
			kernel(to[:m], row(0, x, off[0]+from*step[0], step[0], m), row(1, y, off[1]+from*step[1], step[1], m))
			to = to[m:]
		}
	})
	return newTensor(result, dims, dst), nil
}

// broadcast gives the common shape of several tensors and the strides with which each is read over it.
func broadcast(ts ...*Tensor) (dims []int, strides [][]int, err error) {
	shapes := make([][]int, len(ts))
	for k, t := range ts {
		shapes[k] = t.Dims
	}
	if dims, err = shape.Broadcast(shapes...); err != nil {
		return nil, nil, err
	}
	strides = make([][]int, len(ts))
	for k, s := range shapes {
		if strides[k], err = shape.BroadcastStrides(s, dims); err != nil {
			return nil, nil, err
		}
	}
	return dims, strides, nil
}
