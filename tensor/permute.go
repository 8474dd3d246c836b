package tensor

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/gemm"
)

// axis is an axis of a permuted copy: its size, and how far apart its elements lie before and after.
type axis struct{ n, from, to int }

// permute copies x, an array of the given dimensions, with its axes in the order perm.
func permute[T Float](x []T, dims, perm []int) []T {
	if len(perm) != len(dims) {
		panic(fmt.Sprintf("tensor: %v is no permutation of %d axes", perm, len(dims)))
	}
	if slices.IsSorted(perm) {
		return slices.Clone(x)
	}
	out := make([]T, len(x))
	axes := joined(dims, perm)
	if len(x) == 0 || len(axes) == 0 {
		copy(out, x)
		return out
	}
	// The plane of the last axis and another one is moved at a time: of the last two axes where the last one is contiguous in x too, else of the
	// last one and that which is.
	last := len(axes) - 1
	other := slices.IndexFunc(axes, func(a axis) bool { return a.from == 1 })
	if other == last {
		if last == 0 {
			copy(out, x)
			return out
		}
		other = last - 1
	}
	c, b := axes[last], axes[other]
	rest := slices.Delete(axes[:last:last], other, other+1)
	ix := make([]int, len(rest))
	for from, to := 0, 0; ; {
		if c.from == 1 {
			gemm.CopyRows(b.n, c.n, x[from:], b.from, out[to:], b.to)
		} else {
			gemm.Transpose(c.n, b.n, x[from:], c.from, out[to:], b.to)
		}
		k := len(rest) - 1
		for ; k >= 0; k-- {
			ix[k]++
			from, to = from+rest[k].from, to+rest[k].to
			if ix[k] < rest[k].n {
				break
			}
			from, to = from-ix[k]*rest[k].from, to-ix[k]*rest[k].to
			ix[k] = 0
		}
		if k < 0 {
			return out
		}
	}
}

// joined lists the axes of the copy in their order, neighbours that stay neighbours taken together and axes of size 1 left out.
func joined(dims, perm []int) []axis {
	stride := make([]int, len(dims))
	for k, s := len(dims)-1, 1; k >= 0; k-- {
		stride[k] = s
		s *= dims[k]
	}
	var axes []axis
	for _, p := range perm {
		switch last := len(axes) - 1; {
		case dims[p] == 1:
		case last >= 0 && axes[last].from == dims[p]*stride[p]:
			axes[last].n, axes[last].from = axes[last].n*dims[p], stride[p]
		default:
			axes = append(axes, axis{n: dims[p], from: stride[p]})
		}
	}
	for k, s := len(axes)-1, 1; k >= 0; k-- {
		axes[k].to = s
		s *= axes[k].n
	}
	return axes
}
