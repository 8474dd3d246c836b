package shape

import (
	"fmt"
	"math"
)

// tile is the side of the blocks in which axes are swapped: two tiles of 8-byte elements stay within the first-level cache.
const tile = 32

// copyStrided fills dst, in C order over dims, with the elements of src at off + Σ i_k·stride_k.
func copyStrided[T any](dst []T, dims []int, src []T, off int, stride []int) {
	for _, n := range dims {
		if n == 0 {
			return
		}
	}
	d, ss := coalesce(dims, [][]int{stride, Strides(dims)})
	s, ds := ss[0], ss[1]
	last := len(d) - 1
	if last >= 0 && s[last] != 0 && s[last] != 1 {
		for j := last - 1; j >= 0; j-- {
			if s[j] == 1 && d[j] >= tile/4 && d[last] >= tile/4 {
				swapTiled(dst, d, ds, src, off, s, j)
				return
			}
		}
	}
	if last > 0 && s[last] == 1 && d[last] <= short {
		copyShort(dst, d, ds, src, off, s)
		return
	}
	Runs(d, [][]int{ds, s}, func(n int, o, step []int) {
		out, from := dst[o[0]:o[0]+n], o[1]+off
		switch step[1] {
		case 1:
			copy(out, src[from:from+n])
		case 0:
			v := src[from]
			for i := range out {
				out[i] = v
			}
		default:
			for i := range out {
				out[i] = src[from]
				from += step[1]
			}
		}
	})
}

// short is the length up to which a run of neighbours is copied in less time than Runs takes to call for it.
const short = 16

// copyShort is copyStrided where src and dst are contiguous along the last axis, which is short.
func copyShort[T any](dst []T, d, ds []int, src []T, off int, s []int) {
	last := len(d) - 1
	run := d[last]
	Runs(d[:last-1], [][]int{ds[:last-1], s[:last-1]}, func(n int, o, step []int) {
		for r := range n {
			to, from := o[0]+r*step[0], off+o[1]+r*step[1]
			for range d[last-1] {
				copy(dst[to:to+run], src[from:from+run])
				to += ds[last-1]
				from += s[last-1]
			}
		}
	})
}

// swapTiled is copyStrided where src is contiguous along axis j and dst along the last one: both are walked in tiles.
func swapTiled[T any](dst []T, d, ds []int, src []T, off int, s []int, j int) {
	last := len(d) - 1
	var od, os, odst []int
	for k := range d {
		if k != j && k != last {
			od, os, odst = append(od, d[k]), append(os, s[k]), append(odst, ds[k])
		}
	}
	Runs(od, [][]int{odst, os}, func(n int, o, step []int) {
		for r := range n {
			to, from := o[0]+r*step[0], off+o[1]+r*step[1]
			for a0 := 0; a0 < d[j]; a0 += tile {
				a1 := min(a0+tile, d[j])
				for b0 := 0; b0 < d[last]; b0 += tile {
					b1 := min(b0+tile, d[last])
					for a := a0; a < a1; a++ {
						out := dst[to+a*ds[j]+b0 : to+a*ds[j]+b1]
						at := from + a + b0*s[last]
						for i := range out {
							out[i] = src[at]
							at += s[last]
						}
					}
				}
			}
		}
	})
}

// Transpose permutes axes: result axis k is input axis perm[k]; nil reverses them.
func Transpose[T any](src []T, dims []int, perm []int64) ([]T, []int, error) {
	p, err := Permutation(perm, len(dims))
	if err != nil {
		return nil, nil, err
	}
	if err := checkLen(len(src), dims); err != nil {
		return nil, nil, err
	}
	out, stride := permuted(dims, p)
	dst := make([]T, len(src))
	copyStrided(dst, out, src, 0, stride)
	return dst, out, nil
}

// permuted are dims in the order of a [Permutation], and the strides that the axes have in a tensor of these dims.
func permuted(dims, perm []int) (out, stride []int) {
	in := Strides(dims)
	out, stride = make([]int, len(dims)), make([]int, len(dims))
	for k, from := range perm {
		out[k], stride[k] = dims[from], in[from]
	}
	return out, stride
}

// TransposePart writes indices first up to last of the first axis of Transpose's result to dst, so that several goroutines can share the work. The arguments
// must be sound, perm as [Permutation] gives it, and the rank at least 1.
func TransposePart[T any](dst, src []T, dims, perm []int, first, last int) {
	out, stride := permuted(dims, perm)
	out[0] = last - first
	copyStrided(dst, out, src, first*stride[0], stride)
}

// Range is what Slice takes from one axis: Count elements from Start on, Step apart.
type Range struct{ Start, Step, Count int }

// SliceRanges resolves the arguments of Slice (opset 10 and later: numbers are clamped to the axis, steps may be negative)
// to one Range per axis. nil axes are the first len(starts) ones, nil steps are 1.
func SliceRanges(dims []int, starts, ends, axes, steps []int64) ([]Range, error) {
	if len(starts) != len(ends) || (axes != nil && len(axes) != len(starts)) || (steps != nil && len(steps) != len(starts)) {
		return nil, fmt.Errorf("%d starts, %d ends, %d axes, %d steps", len(starts), len(ends), len(axes), len(steps))
	}
	if axes == nil {
		axes = make([]int64, len(starts))
		for k := range axes {
			axes[k] = int64(k)
		}
	}
	ks, err := Axes(axes, len(dims))
	if err != nil {
		return nil, err
	}
	out := make([]Range, len(dims))
	for k, d := range dims {
		out[k] = Range{0, 1, d}
	}
	for i, k := range ks {
		step := int64(1)
		if steps != nil {
			step = steps[i]
		}
		if step == 0 {
			return nil, fmt.Errorf("step 0 on axis %d", k)
		}
		out[k] = sliceRange(int64(dims[k]), starts[i], ends[i], step)
	}
	return out, nil
}

func sliceRange(n, start, end, step int64) Range {
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	// Steps beyond the axis take one element; bounding them keeps the arithmetic within range.
	step = min(max(step, -n-1), n+1)
	var count int64
	if step > 0 {
		start, end = min(max(start, 0), n), min(max(end, 0), n)
		count = (end - start + step - 1) / step
	} else {
		start, end = min(max(start, 0), n-1), min(max(end, -1), n-1)
		count = (start - end - step - 1) / -step
	}
	if count <= 0 {
		return Range{0, 1, 0}
	}
	return Range{int(start), int(step), int(count)}
}

// SliceDims is the shape of a slice.
func SliceDims(ranges []Range) []int {
	out := make([]int, len(ranges))
	for k, r := range ranges {
		out[k] = r.Count
	}
	return out
}

// Slice takes one Range of every axis; ranges as [SliceRanges] gives them, one per axis.
func Slice[T any](src []T, dims []int, ranges []Range) ([]T, []int, error) {
	if err := checkLen(len(src), dims); err != nil {
		return nil, nil, err
	}
	if len(ranges) != len(dims) {
		return nil, nil, fmt.Errorf("%d ranges for rank %d", len(ranges), len(dims))
	}
	for k, r := range ranges {
		if r.Count == 0 {
			continue
		}
		end := r.Start + (r.Count-1)*r.Step
		if r.Count < 0 || r.Count > dims[k] || r.Start < 0 || r.Start >= dims[k] || end < 0 || end >= dims[k] {
			return nil, nil, fmt.Errorf("%d elements from %d in steps of %d leave axis %d of size %d", r.Count, r.Start, r.Step, k, dims[k])
		}
	}
	out := SliceDims(ranges)
	n, err := Size(out, 0)
	if err != nil {
		return nil, nil, err
	}
	dst := make([]T, n)
	stride := Strides(dims)
	off := 0
	for k, r := range ranges {
		off += r.Start * stride[k]
		stride[k] *= r.Step
	}
	copyStrided(dst, out, src, off, stride)
	return dst, out, nil
}

// Split cuts an axis into parts of the given lengths (see [SplitSizes]) and returns the parts with their shapes.
func Split[T any](src []T, dims []int, axis int64, lengths []int) ([][]T, [][]int, error) {
	k, err := Axis(axis, len(dims))
	if err != nil {
		return nil, nil, err
	}
	ranges := make([]Range, len(dims))
	for j, d := range dims {
		ranges[j] = Range{0, 1, d}
	}
	parts, shapes := make([][]T, len(lengths)), make([][]int, len(lengths))
	at := 0
	for i, l := range lengths {
		if l < 0 || l > dims[k]-at {
			return nil, nil, fmt.Errorf("lengths %v leave axis %d of size %d", lengths, k, dims[k])
		}
		ranges[k] = Range{at, 1, l}
		if parts[i], shapes[i], err = Slice(src, dims, ranges); err != nil {
			return nil, nil, err
		}
		at += l
	}
	return parts, shapes, nil
}

// Concat joins tensors along axis.
func Concat[T any](srcs [][]T, shapes [][]int, axis int64, limit int) ([]T, []int, error) {
	if len(srcs) != len(shapes) {
		return nil, nil, fmt.Errorf("%d tensors, %d shapes", len(srcs), len(shapes))
	}
	out, err := ConcatDims(axis, shapes...)
	if err != nil {
		return nil, nil, err
	}
	n, err := Size(out, limit)
	if err != nil {
		return nil, nil, err
	}
	for i, s := range srcs {
		if err := checkLen(len(s), shapes[i]); err != nil {
			return nil, nil, fmt.Errorf("input %d: %w", i, err)
		}
	}
	dst := make([]T, n)
	if n == 0 {
		return dst, out, nil
	}
	k, _ := Axis(axis, len(out))
	row := n // elements of the result per index of the axes before axis
	for _, d := range out[:k] {
		row /= d
	}
	at := 0
	for i, s := range srcs {
		block := row / out[k] * shapes[i][k]
		if block == 0 {
			continue
		}
		for from, to := 0, at; from < len(s); from, to = from+block, to+row {
			copy(dst[to:to+block], s[from:from+block])
		}
		at += block
	}
	return dst, out, nil
}

// Expand repeats a tensor to the shape both broadcast to.
func Expand[T any](src []T, dims []int, target []int64, limit int) ([]T, []int, error) {
	out, err := ExpandDims(dims, target)
	if err != nil {
		return nil, nil, err
	}
	dst, err := BroadcastTo(src, dims, out, limit)
	if err != nil {
		return nil, nil, err
	}
	return dst, out, nil
}

// BroadcastTo repeats a tensor to shape out.
func BroadcastTo[T any](src []T, dims, out []int, limit int) ([]T, error) {
	if err := checkLen(len(src), dims); err != nil {
		return nil, err
	}
	n, err := Size(out, limit)
	if err != nil {
		return nil, err
	}
	stride, err := BroadcastStrides(dims, out)
	if err != nil {
		return nil, err
	}
	dst := make([]T, n)
	copyStrided(dst, out, src, 0, stride)
	return dst, nil
}

// Tile repeats a tensor along its axes.
func Tile[T any](src []T, dims []int, repeats []int64, limit int) ([]T, []int, error) {
	out, err := TileDims(dims, repeats)
	if err != nil {
		return nil, nil, err
	}
	n, err := Size(out, limit)
	if err != nil {
		return nil, nil, err
	}
	if err := checkLen(len(src), dims); err != nil {
		return nil, nil, err
	}
	dst := make([]T, n)
	// The result walked as (repeat, dim) pairs is a broadcast of the input.
	pairs, stride := make([]int, 0, 2*len(dims)), make([]int, 0, 2*len(dims))
	for k, s := range Strides(dims) {
		pairs = append(pairs, int(repeats[k]), dims[k])
		stride = append(stride, 0, s)
	}
	copyStrided(dst, pairs, src, 0, stride)
	return dst, out, nil
}

// Pad extends (or, where pads are negative, crops) every axis. mode is "constant" (filled with value), "edge", "reflect"
// or "wrap"; pads as for [PadDims].
func Pad[T any](src []T, dims []int, pads []int64, mode string, value T, limit int) ([]T, []int, error) {
	out, err := PadDims(dims, pads)
	if err != nil {
		return nil, nil, err
	}
	n, err := Size(out, limit)
	if err != nil {
		return nil, nil, err
	}
	if err := checkLen(len(src), dims); err != nil {
		return nil, nil, err
	}
	dst := make([]T, n)
	if n == 0 {
		return dst, out, nil
	}
	// table[k][i] is the offset that index i of the result's axis k adds to the source's, or outside.
	const outside = math.MinInt
	table := make([][]int, len(dims))
	for k, st := range Strides(dims) {
		table[k] = make([]int, out[k])
		for i := range table[k] {
			j, ok := padIndex(i-int(pads[k]), dims[k], mode)
			if ok {
				table[k][i] = j * st
			} else if mode == "constant" {
				table[k][i] = outside
			} else {
				return nil, nil, fmt.Errorf("mode %q cannot extend axis %d of size %d (want constant, edge, reflect or wrap, and something to repeat)", mode, k, dims[k])
			}
		}
	}
	at := make([]int, len(out))
	for to := range dst {
		from := 0
		for k, i := range at {
			if table[k][i] == outside {
				from = outside
				break
			}
			from += table[k][i]
		}
		if from == outside {
			dst[to] = value
		} else {
			dst[to] = src[from]
		}
		for k := len(at) - 1; k >= 0; k-- {
			if at[k]++; at[k] < out[k] {
				break
			}
			at[k] = 0
		}
	}
	return dst, out, nil
}

// padIndex maps an index that may lie outside an axis of size n into it.
func padIndex(i, n int, mode string) (int, bool) {
	switch {
	case i >= 0 && i < n:
		return i, true
	case n == 0:
		return 0, false
	case mode == "edge":
		return min(max(i, 0), n-1), true
	case mode == "wrap":
		return ((i % n) + n) % n, true
	case mode == "reflect" && n == 1:
		return 0, true
	case mode == "reflect":
		period := 2 * (n - 1)
		i = ((i % period) + period) % period
		return min(i, period-i), true
	}
	return 0, false
}
