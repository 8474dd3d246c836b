package runtime

import (
	"errors"
	"fmt"
)

// window is the geometry that convolutions and poolings share, along the spatial axes of an [N, C, D1, …] tensor.
type window struct {
	kernel, strides, dilations []int
	begin, end                 []int // padding
	autoPad                    string
	ceil                       bool
}

// newWindow reads the attributes. The kernel may be nil (a convolution takes it from its weights).
func newWindow(n *nodeInfo) (window, error) {
	w := window{autoPad: n.string("auto_pad", "NOTSET")}
	switch w.autoPad {
	case "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "":
	default:
		return w, fmt.Errorf("auto_pad %q (want NOTSET, SAME_UPPER, SAME_LOWER or VALID)", w.autoPad)
	}
	var err error
	read := func(name string, least int64) []int {
		v := n.ints(name, nil)
		if v == nil {
			return nil
		}
		out := make([]int, len(v))
		for i, x := range v {
			if x < least || x > maxElements {
				err = errors.Join(err, fmt.Errorf("attribute %q is %v, want values from %d on", name, v, least))
			}
			out[i] = int(x)
		}
		return out
	}
	w.kernel = read("kernel_shape", 1)
	w.strides = read("strides", 1)
	w.dilations = read("dilations", 1)
	pads := read("pads", 0)
	if len(pads)%2 != 0 {
		return w, fmt.Errorf("attribute \"pads\" has %d values, want a begin and an end for each axis", len(pads))
	}
	if pads != nil {
		w.begin, w.end = pads[:len(pads)/2], pads[len(pads)/2:]
	}
	return w, err
}

// fit completes the geometry for spatial dims and gives the dims of the result. It returns a copy; w stays as it is.
func (w window) fit(in []int) (window, []int, error) {
	rank := len(in)
	complete := func(name string, v []int, def int) ([]int, error) {
		if v == nil {
			v = make([]int, rank)
			for i := range v {
				v[i] = def
			}
		}
		if len(v) != rank {
			return nil, fmt.Errorf("%s %v has %d values for %d spatial axes", name, v, len(v), rank)
		}
		return v, nil
	}
	var err error
	for _, p := range []struct {
		name string
		v    *[]int
		def  int
	}{{"kernel_shape", &w.kernel, 1}, {"strides", &w.strides, 1}, {"dilations", &w.dilations, 1}, {"pads", &w.begin, 0}, {"pads", &w.end, 0}} {
		if *p.v, err = complete(p.name, *p.v, p.def); err != nil {
			return w, nil, err
		}
	}
	begin, end := make([]int, rank), make([]int, rank)
	if w.autoPad == "NOTSET" || w.autoPad == "" {
		copy(begin, w.begin)
		copy(end, w.end)
	}
	out := make([]int, rank)
	for d, size := range in {
		span, stride := (w.kernel[d]-1)*w.dilations[d]+1, w.strides[d]
		if w.autoPad == "SAME_UPPER" || w.autoPad == "SAME_LOWER" {
			out[d] = (size + stride - 1) / stride
			total := max((out[d]-1)*stride+span-size, 0)
			begin[d], end[d] = total/2, total-total/2
			if w.autoPad == "SAME_LOWER" {
				begin[d], end[d] = end[d], begin[d]
			}
			continue
		}
		room := size + begin[d] + end[d] - span
		if room < 0 {
			return w, nil, fmt.Errorf("a window of %d (kernel %v, dilations %v) does not fit axis %d of %v with pads %d and %d", span, w.kernel, w.dilations, d, in, begin[d], end[d])
		}
		out[d] = room/stride + 1
		if w.ceil && room%stride != 0 && out[d]*stride < size+begin[d] {
			out[d]++ // a last window that starts inside the input or its left padding
		}
	}
	w.begin, w.end = begin, end
	return w, out, nil
}

// first is the input index of kernel position 0 at output position o of an axis; it may lie in the padding.
func (w window) first(axis, o int) int { return o*w.strides[axis] - w.begin[axis] }

// inside gives the kernel positions [lo, hi) that meet the input, where position 0 meets index first of an axis of the given
// size.
func (w window) inside(axis, first, size int) (lo, hi int) {
	d := w.dilations[axis]
	return min(ceilDiv(max(-first, 0), d), w.kernel[axis]), max(min(ceilDiv(size-first, d), w.kernel[axis]), 0)
}

// ceilDiv is ⌈a/b⌉ for b > 0.
func ceilDiv(a, b int) int {
	q := a / b
	if a%b > 0 {
		q++
	}
	return q
}

// increment steps a multi-index through dims in C order; false after the last one.
func increment(index, dims []int) bool {
	for d := len(dims) - 1; d >= 0; d-- {
		if index[d]++; index[d] < dims[d] {
			return true
		}
		index[d] = 0
	}
	return false
}

// spatial checks that a tensor is [N, C, D1, …] and gives its spatial dims.
func spatial(t *Tensor) ([]int, error) {
	if len(t.Dims) < 3 {
		return nil, fmt.Errorf("input has shape %v, want [N, C, D1, …]", t.Dims)
	}
	return t.Dims[2:], nil
}
