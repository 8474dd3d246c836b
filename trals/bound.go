package trals

import (
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
)

// Limits of the certificate: arcs beside the two sides are checked for matrices of at most arcElements (each needs a permuted copy), if
// they have at most arcSide states, in order until arcProducts multiplications are used up.
const (
	arcElements = 1 << 22
	arcSide     = 256
	arcProducts = 1e9
)

// bound is the certificate of a ring's modes and ranks: for every contiguous arc of the ring, the unfolding that puts the arc's modes
// in the rows has rank at most r_a·r_b of the ring, a and b being the bonds at its ends, so by Eckart and Young (1936) the error is
// at least the tail of its singular values. The largest such tail over the two sides and the arcs that are cheap to unfold is
// returned, relative to ‖W‖_F. With padded columns only arcs of output modes are used: the padding is not data.
func (m *Matrix) bound(f *tensor.Factor) float64 {
	best := m.CutBound(f.Cut())
	n, d := len(f.InModes), len(f.Cores)
	padded := product(f.InModes) != f.In
	var dims []int // W as a tensor: output modes, then input modes (or the columns as one)
	for _, c := range f.Cores[n:] {
		dims = append(dims, c.Mode)
	}
	if padded {
		dims = append(dims, f.In)
	} else {
		dims = append(dims, f.InModes...)
	}
	axis := func(k int) int { // of core k
		if k >= n {
			return k - n
		}
		return d - n + k
	}
	left := arcProducts
	if len(m.w.Data) > arcElements {
		return best
	}
	for length := 1; length < d; length++ {
		for start := range d {
			var rows, perm []int
			states, outside := 1, false
			for i := range length {
				k := (start + i) % d
				outside = outside || padded && k < n
				rows = append(rows, k)
				states = satMul(states, f.Cores[k].Mode)
			}
			rank := satMul(f.Cores[start].Left, f.Cores[(start+length)%d].Left)
			work := float64(states) * float64(len(m.w.Data))
			if outside || states > arcSide || rank >= states || rank >= len(m.w.Data)/states || work > left || start == n && length == d-n {
				continue
			}
			left -= work
			member := make([]bool, len(dims))
			for _, k := range rows {
				perm = append(perm, axis(k))
				member[axis(k)] = true
			}
			for i := range dims {
				if !member[i] {
					perm = append(perm, i)
				}
			}
			w := tensor.Dense{Dims: dims, Data: m.w.Data}
			best = max(best, m.relative(tailOf(w.Transpose(perm...).Data, states, rank, m.energy)))
		}
	}
	return best
}

// tailOf is Σ_{i>rank} σ_i² of x [rows, …] less its rounding.
func tailOf(x []float32, rows, rank int, energy float64) float64 {
	cols := len(x) / rows
	g := make([]float64, rows*rows)
	gemm.Gram(false, rows, cols, x, cols, g, rows)
	var tail float64
	values := linalg.Eigenvalues(rows, g)
	for i := rows - 1; i >= rank; i-- {
		tail += math.Max(values[i], 0)
	}
	return math.Max(0, tail-1e-13*energy)
}
