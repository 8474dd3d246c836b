package gemm

import (
	"math"
	"strconv"
)

// Eliminate factors the leading w×w block A of x [panel, 2·panel], panel 16 or 32, symmetric and positive definite: with A = L·Lᵀ it
// makes it Lᵀ, and the identity, which must stand beside it at column panel, L⁻¹. Only the upper triangle of A is read; what is below it
// afterwards is of no use. It reports false if a pivot is not positive or not finite. It panics if x is too short.
func Eliminate(panel, w int, x []float64) bool {
	if w < 1 {
		return true
	}
	checkMatrix("block", len(x), w, 2*panel, 2*panel)
	done := 0
	switch {
	case panel != 16 && panel != 32 || w > panel:
		panic("gemm: block of " + strconv.Itoa(w) + " in a panel of " + strconv.Itoa(panel) + " (panels are 16 or 32 wide)")
	case current.eliminate16 == nil:
		done = eliminate(panel, w, x)
	case panel == 16:
		done = current.eliminate16(w, &x[0])
	default:
		done = current.eliminate32(w, &x[0])
	}
	if done < w {
		return false
	}
	for i := range w {
		if p := x[i*2*panel+i]; !(p > 0) || math.IsInf(p, 1) {
			return false
		}
	}
	return true
}

// eliminate is Eliminate in portable Go; it returns the number of positive pivots.
func eliminate(panel, w int, x []float64) int {
	for c := range w {
		row := x[c*2*panel : (c+1)*2*panel]
		if !(row[c] > 0) {
			return c
		}
		scale := 1 / math.Sqrt(row[c])
		upper, inverse := row[c:w], row[panel:panel+c+1]
		for i := range upper {
			upper[i] *= scale
		}
		for i := range inverse {
			inverse[i] *= scale
		}
		for r := c + 1; r < w; r++ {
			f, to := row[r], x[r*2*panel:(r+1)*2*panel]
			rest, beside := to[r:w], to[panel:panel+c+1]
			for i, v := range row[r:w] {
				rest[i] -= f * v
			}
			for i, v := range inverse {
				beside[i] -= f * v
			}
		}
	}
	return w
}
