package shape

import (
	"fmt"
	"slices"
)

// index resolves a value of an index tensor; -n ≤ i < n.
func index(i int64, n int) (int, error) {
	if i < -int64(n) || i >= int64(n) {
		return 0, fmt.Errorf("index %d is outside an axis of size %d", i, n)
	}
	if i < 0 {
		i += int64(n)
	}
	return int(i), nil
}

// Gather takes slices of an axis by index.
func Gather[T any](src []T, dims []int, indices []int64, idims []int, axis int64, limit int) ([]T, []int, error) {
	out, err := GatherDims(dims, idims, axis)
	if err != nil {
		return nil, nil, err
	}
	n, err := sizes(out, limit, len(src), dims, len(indices), idims)
	if err != nil {
		return nil, nil, err
	}
	k, _ := Axis(axis, len(dims))
	at := make([]int, len(indices))
	for i, v := range indices {
		if at[i], err = index(v, dims[k]); err != nil {
			return nil, nil, err
		}
	}
	dst := make([]T, 0, n)
	if n == 0 {
		return dst, out, nil
	}
	block := Strides(dims)[k]
	for base := 0; base < len(src); base += dims[k] * block {
		for _, i := range at {
			dst = append(dst, src[base+i*block:base+(i+1)*block]...)
		}
	}
	return dst, out, nil
}

// GatherElements takes single elements: the result has the shape of the indices, which replace the index along axis.
func GatherElements[T any](src []T, dims []int, indices []int64, idims []int, axis int64, limit int) ([]T, []int, error) {
	n, err := sizes(idims, limit, len(src), dims, len(indices), idims)
	if err != nil {
		return nil, nil, err
	}
	dst := make([]T, n)
	err = elementwise(dims, indices, idims, axis, func(i, at int) { dst[i] = src[at] })
	if err != nil {
		return nil, nil, err
	}
	return dst, slices.Clone(idims), nil
}

// ScatterElements copies src and replaces (or, with combine, updates) single elements, addressed as in [GatherElements],
// in C order of the indices. updates has the shape of the indices.
func ScatterElements[T any](src []T, dims []int, indices []int64, idims []int, updates []T, axis int64, combine func(old, update T) T) ([]T, error) {
	if _, err := sizes(dims, 0, len(src), dims, len(indices), idims); err != nil {
		return nil, err
	}
	if len(updates) != len(indices) {
		return nil, fmt.Errorf("%d updates for %d indices", len(updates), len(indices))
	}
	dst := slices.Clone(src)
	err := elementwise(dims, indices, idims, axis, func(i, at int) {
		if combine != nil {
			dst[at] = combine(dst[at], updates[i])
		} else {
			dst[at] = updates[i]
		}
	})
	if err != nil {
		return nil, err
	}
	return dst, nil
}

// elementwise calls f with each position of the index tensor and the offset in a tensor of shape dims that it addresses.
func elementwise(dims []int, indices []int64, idims []int, axis int64, f func(i, at int)) error {
	k, err := Axis(axis, len(dims))
	if err != nil {
		return err
	}
	if len(idims) != len(dims) {
		return fmt.Errorf("indices %v and data %v differ in rank", idims, dims)
	}
	for j := range dims {
		if j != k && idims[j] > dims[j] {
			return fmt.Errorf("indices %v reach outside data %v", idims, dims)
		}
	}
	stride := Strides(dims)
	pos := make([]int, len(idims))
	for i, v := range indices {
		along, err := index(v, dims[k])
		if err != nil {
			return err
		}
		at := along * stride[k]
		for j, p := range pos {
			if j != k {
				at += p * stride[j]
			}
		}
		f(i, at)
		for j := len(pos) - 1; j >= 0; j-- {
			if pos[j]++; pos[j] < idims[j] {
				break
			}
			pos[j] = 0
		}
	}
	return nil
}

// GatherND takes slices addressed by index tuples, the last axis of the indices, within each of the batch dimensions.
func GatherND[T any](src []T, dims []int, indices []int64, idims []int, batch int64, limit int) ([]T, []int, error) {
	out, err := GatherNDDims(dims, idims, batch)
	if err != nil {
		return nil, nil, err
	}
	n, err := sizes(out, limit, len(src), dims, len(indices), idims)
	if err != nil {
		return nil, nil, err
	}
	dst := make([]T, 0, n)
	if n == 0 {
		return dst, out, nil
	}
	b := int(batch)
	perBatch := len(indices)
	for _, d := range idims[:b] {
		perBatch /= d
	}
	batchStride := len(src)
	for _, d := range dims[:b] {
		batchStride /= d
	}
	err = tuples(dims[b:], indices, idims[len(idims)-1], func(i, at, block int) {
		at += i * idims[len(idims)-1] / perBatch * batchStride
		dst = append(dst, src[at:at+block]...)
	})
	if err != nil {
		return nil, nil, err
	}
	return dst, out, nil
}

// ScatterND copies src and replaces (or, with combine, updates) the slices addressed by index tuples, in order.
func ScatterND[T any](src []T, dims []int, indices []int64, idims []int, updates []T, udims []int, combine func(old, update T) T) ([]T, error) {
	want, err := GatherNDDims(dims, idims, 0)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(want, udims) {
		return nil, fmt.Errorf("updates %v, indices %v of data %v want %v", udims, idims, dims, want)
	}
	if _, err := sizes(udims, 0, len(src), dims, len(indices), idims); err != nil {
		return nil, err
	}
	if err := checkLen(len(updates), udims); err != nil {
		return nil, fmt.Errorf("updates: %w", err)
	}
	dst := slices.Clone(src)
	err = tuples(dims, indices, idims[len(idims)-1], func(i, at, block int) {
		from := updates[i*block : (i+1)*block]
		if combine == nil {
			copy(dst[at:at+block], from)
			return
		}
		for j, u := range from {
			dst[at+j] = combine(dst[at+j], u)
		}
	})
	if err != nil {
		return nil, err
	}
	return dst, nil
}

// tuples calls f for every index tuple of length m with its number, the offset it addresses in a tensor of shape dims, and
// the number of elements that lie there.
func tuples(dims []int, indices []int64, m int, f func(i, at, block int)) error {
	stride := Strides(dims)
	block := 1
	for _, d := range dims[m:] {
		block *= d
	}
	for i := range len(indices) / m {
		at := 0
		for j, v := range indices[i*m : (i+1)*m] {
			k, err := index(v, dims[j])
			if err != nil {
				return err
			}
			at += k * stride[j]
		}
		f(i, at, block)
	}
	return nil
}

// sizes checks the lengths of data and indices and returns the size of the result.
func sizes(out []int, limit int, data int, dims []int, indices int, idims []int) (int, error) {
	if err := checkLen(data, dims); err != nil {
		return 0, fmt.Errorf("data: %w", err)
	}
	if err := checkLen(indices, idims); err != nil {
		return 0, fmt.Errorf("indices: %w", err)
	}
	n, err := Size(out, limit)
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Where takes x where cond holds and y elsewhere, with broadcasting.
func Where[T any](cond []bool, cdims []int, x []T, xdims []int, y []T, ydims []int, limit int) ([]T, []int, error) {
	out, err := Broadcast(cdims, xdims, ydims)
	if err != nil {
		return nil, nil, err
	}
	n, err := Size(out, limit)
	if err != nil {
		return nil, nil, err
	}
	strides := make([][]int, 3)
	for i, in := range []struct {
		n    int
		dims []int
	}{{len(cond), cdims}, {len(x), xdims}, {len(y), ydims}} {
		if err := checkLen(in.n, in.dims); err != nil {
			return nil, nil, fmt.Errorf("input %d: %w", i, err)
		}
		if strides[i], err = BroadcastStrides(in.dims, out); err != nil {
			return nil, nil, err
		}
	}
	dst := make([]T, 0, n)
	Runs(out, strides, func(n int, off, step []int) {
		for i := range n {
			if cond[off[0]+i*step[0]] {
				dst = append(dst, x[off[1]+i*step[1]])
			} else {
				dst = append(dst, y[off[2]+i*step[2]])
			}
		}
	})
	return dst, out, nil
}

// Compress keeps the slices of an axis for which cond holds; cond may be shorter than the axis. With flat set the tensor is
// taken as one axis.
func Compress[T any](src []T, dims []int, cond []bool, axis int64, flat bool) ([]T, []int, error) {
	if err := checkLen(len(src), dims); err != nil {
		return nil, nil, err
	}
	if flat {
		dims, axis = []int{len(src)}, 0
	}
	k, err := Axis(axis, len(dims))
	if err != nil {
		return nil, nil, err
	}
	var keep []int64
	for i, c := range cond {
		if c {
			keep = append(keep, int64(i))
		}
	}
	if len(cond) > dims[k] {
		return nil, nil, fmt.Errorf("%d conditions for an axis of size %d", len(cond), dims[k])
	}
	return Gather(src, dims, keep, []int{len(keep)}, int64(k), 0)
}

// NonZero lists the indices of the elements that are not zero, as ONNX does: a [rank, count] tensor in C order.
func NonZero[T comparable](src []T, dims []int) ([]int64, []int, error) {
	if err := checkLen(len(src), dims); err != nil {
		return nil, nil, err
	}
	var zero T
	var at []int
	for i, v := range src {
		if v != zero {
			at = append(at, i)
		}
	}
	out := make([]int64, len(dims)*len(at))
	for k, st := range Strides(dims) {
		for j, i := range at {
			out[k*len(at)+j] = int64(i / st % dims[k])
		}
	}
	return out, []int{len(dims), len(at)}, nil
}
