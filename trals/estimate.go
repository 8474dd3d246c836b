package trals

import (
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
)

// BondTails predicts how the error of a ring grows with the ranks inside one side. The side of the truncated SVD across the cut,
// weighted with the singular values so that its error is W's, is reshaped to [r_0, modes…, r_n] (for the output side [r_n, modes…,
// r_0]); tails[j][r] is the sum of squares beyond rank r of its unfolding at the bond after mode j, relative to ‖W‖². TT-SVD of the
// side errs by at most the sum of the tails at its ranks (Oseledets 2011, theorem 2.2), and by the Pythagorean theorem the cut's own
// tail adds to that. Least squares then does better; as a ranking of shapes the prediction serves.
//
// Padding counts as zero columns. r_0·r_n must not exceed [Matrix.Known].
func (m *Matrix) BondTails(output bool, modes []int, r0, rn int) (tails [][]float64) {
	if len(modes) < 2 {
		return nil
	}
	k := r0 * rn
	left, right := m.truncate(k)
	side, rows, perm, first := right, m.cols, [4]int{0, 2, 1, 3}, r0
	if output {
		side, rows, perm, first = left, m.rows, [4]int{0, 3, 1, 2}, rn
	}
	n := product(modes)
	weighted := make([]float64, n*k)
	for j := range k { // a column of norm √σ becomes one of norm σ
		var norm float64
		for i := range rows {
			norm += side[i*k+j] * side[i*k+j]
		}
		norm = math.Sqrt(norm)
		if m.metric != nil && !output && norm > 0 { // a column of right has length σ in the metric, and some other one
			norm = m.strength(left, j, k) / norm
		}
		for i := range rows {
			weighted[i*k+j] = side[i*k+j] * norm
		}
	}
	x := permute4(weighted, [4]int{1, n, r0, rn}, perm)
	before := first
	for _, mode := range modes[:len(modes)-1] {
		before *= mode
		tails = append(tails, m.tailsOf(x, before, len(x)/before))
	}
	return tails
}

const (
	exactTails = 200 // unfoldings up to this size have all their singular values computed
	knownTails = 112 // above it so many leading ones are estimated
)

// tailsOf lists Σ_{i>r} σ_i²/‖W‖² of x [rows, cols] for r = 0, 1, …; beyond what is estimated the tail falls on a straight line.
func (m *Matrix) tailsOf(x []float64, rows, cols int) []float64 {
	n := min(rows, cols)
	tails := make([]float64, n+1)
	if m.energy == 0 {
		return tails
	}
	g := make([]float64, n*n)
	gemm.Gram64(rows > cols, n, max(rows, cols), x, cols, g, n)
	var values []float64
	if n <= exactTails {
		values = linalg.Eigenvalues(n, g)
	} else {
		values = linalg.RitzValues(n, g, knownTails)
	}
	var trace float64
	for i := range n {
		trace += g[i*n+i]
	}
	for r := range n {
		tails[r] = max(0, trace/m.energy)
		if r < len(values) {
			trace -= values[r]
		} else {
			trace -= trace / float64(n-r)
		}
	}
	return tails
}
