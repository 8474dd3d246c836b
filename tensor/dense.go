package tensor

import (
	"fmt"
	"math"
	"slices"
)

// Dense is an n-mode array in C order: the last index runs fastest.
type Dense struct {
	Dims []int
	Data []float32
}

// NewDense returns a zero array. It panics if a dimension is negative.
func NewDense(dims ...int) *Dense {
	return &Dense{slices.Clone(dims), make([]float32, product(dims))}
}

// Validate checks that no dimension is negative and that the dimensions multiply to the number of elements.
func (d *Dense) Validate() error {
	n := 1
	for k, m := range d.Dims {
		if m < 0 {
			return fmt.Errorf("tensor: dims %v: dimension %d is negative", d.Dims, k)
		}
		if m > 0 && n > math.MaxInt/m {
			return fmt.Errorf("tensor: dims %v: the number of elements overflows", d.Dims)
		}
		n *= m
	}
	if n != len(d.Data) {
		return fmt.Errorf("tensor: dims %v: %d elements, but the array holds %d", d.Dims, n, len(d.Data))
	}
	return nil
}

// FirstNonFinite returns the flat index of the first NaN or infinite element, or −1.
func (d *Dense) FirstNonFinite() int { return firstNonFinite(d.Data) }

func firstNonFinite(x []float32) int {
	return slices.IndexFunc(x, func(v float32) bool { return v-v != 0 })
}

// Index turns a flat index into one index for each mode.
func (d *Dense) Index(flat int) []int {
	ix := make([]int, len(d.Dims))
	for k := len(ix) - 1; k >= 0; k-- {
		if m := d.Dims[k]; m > 0 {
			ix[k], flat = flat%m, flat/m
		}
	}
	return ix
}

// SquaredNorm is ‖X‖_F², summed in float64 over blocks in index order.
func (d *Dense) SquaredNorm() float64 {
	var sum float64
	for block := range slices.Chunk(d.Data, 4096) {
		var s0, s1 float64
		for len(block) >= 2 {
			a, b := float64(block[0]), float64(block[1])
			s0 += a * a
			s1 += b * b
			block = block[2:]
		}
		if len(block) == 1 {
			s0 += float64(block[0]) * float64(block[0])
		}
		sum += s0 + s1
	}
	return sum
}

// Norm is the Frobenius norm ‖X‖_F. float32 values cannot overflow or underflow its float64 sum.
func (d *Dense) Norm() float64 { return math.Sqrt(d.SquaredNorm()) }

// Transpose returns the array with its axes permuted: axis k of the result is axis perm[k] of d. It panics if perm is no permutation.
func (d *Dense) Transpose(perm ...int) *Dense {
	dims := make([]int, len(perm))
	for k, p := range perm {
		dims[k] = d.Dims[p]
	}
	return &Dense{dims, permute(d.Data, d.Dims, perm)}
}

// Unfold is the classical mode-n unfolding X_(n), n counted from 0: rows run over mode n, columns over the other modes in their
// order, the last one fastest.
func (d *Dense) Unfold(n int) *Dense {
	perm := []int{n}
	for k := range d.Dims {
		if k != n {
			perm = append(perm, k)
		}
	}
	return d.unfold(perm)
}

// UnfoldCyclic is the cyclic mode-n unfolding X_[n] that tensor rings use: columns run over modes n+1, …, d−1, 0, …, n−1, the last
// one fastest. For a ring it is the product of the unfolded core n with the subchain of the other cores in their order.
func (d *Dense) UnfoldCyclic(n int) *Dense {
	perm := make([]int, len(d.Dims))
	for k := range perm {
		perm[k] = (n + k) % len(perm)
	}
	return d.unfold(perm)
}

func (d *Dense) unfold(perm []int) *Dense {
	t := d.Transpose(perm...)
	t.Dims = []int{t.Dims[0], product(t.Dims[1:])}
	return t
}

func product(dims []int) int {
	n := 1
	for _, m := range dims {
		n *= m
	}
	return n
}
