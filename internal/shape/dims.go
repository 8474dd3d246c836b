package shape

import (
	"fmt"
	"math"
	"slices"
)

// ReshapeDims resolves the target of Reshape: -1 is inferred from the rest, and 0 copies the input's dimension at the
// same place unless allowZero is set (ONNX Reshape, opset 5 and 14).
func ReshapeDims(dims []int, target []int64, allowZero bool) ([]int, error) {
	total, err := Size(dims, 0)
	if err != nil {
		return nil, err
	}
	out := make([]int, len(target))
	infer, zero := -1, false
	for k, t := range target {
		switch {
		case t == -1 && infer >= 0:
			return nil, fmt.Errorf("target %v has two -1", target)
		case t == -1:
			infer = k
			out[k] = 1
		case t == 0 && !allowZero:
			if k >= len(dims) {
				return nil, fmt.Errorf("target %v copies dimension %d of shape %v, which has none", target, k, dims)
			}
			out[k] = dims[k]
		case t < 0 || t > math.MaxInt:
			return nil, fmt.Errorf("target %v has the dimension %d", target, t)
		default:
			zero = zero || t == 0
			out[k] = int(t)
		}
	}
	if infer >= 0 && zero {
		return nil, fmt.Errorf("target %v has both 0 and -1 with allowzero", target)
	}
	rest, err := Size(out, 0)
	if err != nil {
		return nil, err
	}
	if infer >= 0 {
		if rest == 0 || total%rest != 0 {
			return nil, fmt.Errorf("shape %v of %d elements does not fit target %v", dims, total, target)
		}
		out[infer] = total / rest
		return out, nil
	}
	if rest != total {
		return nil, fmt.Errorf("shape %v of %d elements does not fit target %v of %d", dims, total, target, rest)
	}
	return out, nil
}

// FlattenDims is the 2-D shape Flatten gives: the axes before axis, and the rest. axis may equal the rank.
func FlattenDims(dims []int, axis int64) ([]int, error) {
	rank := int64(len(dims))
	if axis < -rank || axis > rank {
		return nil, fmt.Errorf("axis %d is outside rank %d", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	if _, err := Size(dims, 0); err != nil {
		return nil, err
	}
	out := []int{1, 1}
	for k, d := range dims {
		if int64(k) < axis {
			out[0] *= d
		} else {
			out[1] *= d
		}
	}
	return out, nil
}

// SqueezeDims drops the given axes, each of size 1; nil axes drop all of size 1.
func SqueezeDims(dims []int, axes []int64) ([]int, error) {
	drop := make([]bool, len(dims))
	if axes == nil {
		for k, d := range dims {
			drop[k] = d == 1
		}
	} else {
		ks, err := Axes(axes, len(dims))
		if err != nil {
			return nil, err
		}
		for _, k := range ks {
			if dims[k] != 1 {
				return nil, fmt.Errorf("axis %d of shape %v has size %d, not 1", k, dims, dims[k])
			}
			drop[k] = true
		}
	}
	out := make([]int, 0, len(dims))
	for k, d := range dims {
		if !drop[k] {
			out = append(out, d)
		}
	}
	return out, nil
}

// UnsqueezeDims inserts axes of size 1; axes count in the result.
func UnsqueezeDims(dims []int, axes []int64) ([]int, error) {
	rank := len(dims) + len(axes)
	ks, err := Axes(axes, rank)
	if err != nil {
		return nil, err
	}
	out := make([]int, rank)
	for _, k := range ks {
		out[k] = -1
	}
	next := 0
	for k := range out {
		if out[k] == -1 {
			out[k] = 1
		} else {
			out[k] = dims[next]
			next++
		}
	}
	return out, nil
}

// Permutation resolves Transpose's perm; nil reverses the axes.
func Permutation(perm []int64, rank int) ([]int, error) {
	if perm == nil {
		out := make([]int, rank)
		for k := range out {
			out[k] = rank - 1 - k
		}
		return out, nil
	}
	if len(perm) != rank {
		return nil, fmt.Errorf("perm %v has %d entries, the tensor has rank %d", perm, len(perm), rank)
	}
	out, err := Axes(perm, rank)
	if err != nil {
		return nil, fmt.Errorf("perm %v: %w", perm, err)
	}
	return out, nil
}

// TransposeDims is the shape of a transposed tensor.
func TransposeDims(dims []int, perm []int64) ([]int, error) {
	p, err := Permutation(perm, len(dims))
	if err != nil {
		return nil, err
	}
	out := make([]int, len(dims))
	for k, from := range p {
		out[k] = dims[from]
	}
	return out, nil
}

// ConcatDims is the shape of a concatenation along axis.
func ConcatDims(axis int64, shapes ...[]int) ([]int, error) {
	if len(shapes) == 0 {
		return nil, fmt.Errorf("no inputs")
	}
	k, err := Axis(axis, len(shapes[0]))
	if err != nil {
		return nil, err
	}
	out := slices.Clone(shapes[0])
	for _, s := range shapes[1:] {
		if len(s) != len(out) {
			return nil, fmt.Errorf("shapes %v and %v differ in rank", shapes[0], s)
		}
		for j, d := range s {
			if j != k && d != out[j] {
				return nil, fmt.Errorf("shapes %v and %v differ outside axis %d", shapes[0], s, k)
			}
		}
		if out[k] > math.MaxInt-s[k] {
			return nil, fmt.Errorf("axis %d grows beyond memory", k)
		}
		out[k] += s[k]
	}
	return out, nil
}

// SplitSizes are the lengths of Split's outputs along an axis of size n: the given ones, which must add up to n, or
// parts equal ones of which the last may be smaller (opset 18's num_outputs).
func SplitSizes(n int, lengths []int64, parts int) ([]int, error) {
	if lengths == nil {
		if parts < 1 {
			return nil, fmt.Errorf("%d outputs", parts)
		}
		size := n / parts
		if n%parts != 0 {
			size++
		}
		out := make([]int, parts)
		for k, left := 0, n; k < parts; k++ {
			out[k] = min(size, left)
			left -= out[k]
		}
		if parts > 1 && (parts-1) > n/max(size, 1) && n > 0 {
			return nil, fmt.Errorf("an axis of size %d does not split into %d parts", n, parts)
		}
		return out, nil
	}
	out := make([]int, len(lengths))
	sum := 0
	for k, l := range lengths {
		if l < 0 || l > int64(n-sum) {
			return nil, fmt.Errorf("lengths %v do not add up to the axis' size %d", lengths, n)
		}
		out[k] = int(l)
		sum += out[k]
	}
	if sum != n {
		return nil, fmt.Errorf("lengths %v add up to %d, the axis has size %d", lengths, sum, n)
	}
	return out, nil
}

// ToDims turns a shape tensor's values into dims.
func ToDims(v []int64) ([]int, error) {
	out := make([]int, len(v))
	for k, d := range v {
		if d < 0 || d > math.MaxInt {
			return nil, fmt.Errorf("shape %v has the dimension %d", v, d)
		}
		out[k] = int(d)
	}
	return out, nil
}

// ExpandDims is the shape Expand gives: dims broadcast against target (both ways).
func ExpandDims(dims []int, target []int64) ([]int, error) {
	t, err := ToDims(target)
	if err != nil {
		return nil, err
	}
	out, err := Broadcast(dims, t)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// TileDims is the shape Tile gives: each dimension times its repeat.
func TileDims(dims []int, repeats []int64) ([]int, error) {
	if len(repeats) != len(dims) {
		return nil, fmt.Errorf("%d repeats for rank %d", len(repeats), len(dims))
	}
	out := make([]int, len(dims))
	for k, r := range repeats {
		if r < 0 || (dims[k] > 0 && r > int64(math.MaxInt/dims[k])) {
			return nil, fmt.Errorf("repeats %v of shape %v (negative or too large)", repeats, dims)
		}
		out[k] = dims[k] * int(r)
	}
	return out, nil
}

// PadDims is the shape Pad gives. pads holds the begins of all axes, then the ends; negative numbers crop.
func PadDims(dims []int, pads []int64) ([]int, error) {
	if len(pads) != 2*len(dims) {
		return nil, fmt.Errorf("%d pads for rank %d (want begin and end of each axis)", len(pads), len(dims))
	}
	out := make([]int, len(dims))
	for k, d := range dims {
		b, e := pads[k], pads[k+len(dims)]
		const far = math.MaxInt / 4
		if b > far || e > far || d > far || b < -far || e < -far || int64(d)+b+e < 0 {
			return nil, fmt.Errorf("pads %d and %d of axis %d do not fit its size %d", b, e, k, d)
		}
		out[k] = d + int(b) + int(e)
	}
	return out, nil
}

// GatherDims is the shape Gather gives: axis is replaced by the axes of the indices.
func GatherDims(dims, indices []int, axis int64) ([]int, error) {
	k, err := Axis(axis, len(dims))
	if err != nil {
		return nil, err
	}
	return slices.Concat(dims[:k], indices, dims[k+1:]), nil
}

// GatherNDDims is the shape GatherND gives.
func GatherNDDims(dims, indices []int, batch int64) ([]int, error) {
	r := len(indices)
	if r == 0 || batch < 0 || batch >= int64(r) || batch >= int64(len(dims)) {
		return nil, fmt.Errorf("batch_dims %d with data %v and indices %v", batch, dims, indices)
	}
	b := int(batch)
	if !slices.Equal(dims[:b], indices[:b]) {
		return nil, fmt.Errorf("data %v and indices %v differ in their %d batch dimensions", dims, indices, b)
	}
	m := indices[r-1]
	if m < 1 || m > len(dims)-b {
		return nil, fmt.Errorf("indices %v address %d axes, data %v has %d after the batch", indices, m, dims, len(dims)-b)
	}
	return slices.Concat(indices[:r-1], dims[b+m:]), nil
}

// MatMulDims is the shape MatMul gives: NumPy's rules for 1-D operands and broadcast batches. inner is the length of the
// contracted axis.
func MatMulDims(a, b []int) (out []int, inner int, err error) {
	if len(a) == 0 || len(b) == 0 {
		return nil, 0, fmt.Errorf("scalar operand (shapes %v and %v)", a, b)
	}
	am, bm := a, b
	if len(a) == 1 {
		am = []int{1, a[0]}
	}
	if len(b) == 1 {
		bm = []int{b[0], 1}
	}
	ra, rb := len(am), len(bm)
	inner = am[ra-1]
	if inner != bm[rb-2] {
		return nil, 0, fmt.Errorf("shapes %v and %v: %d columns against %d rows", a, b, inner, bm[rb-2])
	}
	out, err = Broadcast(am[:ra-2], bm[:rb-2])
	if err != nil {
		return nil, 0, err
	}
	if len(a) > 1 {
		out = append(out, am[ra-2])
	}
	if len(b) > 1 {
		out = append(out, bm[rb-1])
	}
	return out, inner, nil
}
