package runtime

import (
	"math"
	"testing"
)

// TestDeepProducts compares A·Bᵀ of few columns and great depth with its definition in float64.
func TestDeepProducts(t *testing.T) {
	for _, s := range [][3]int{{20, 5, innerDepth}, {5, 8, innerDepth + 3}, {33, 7, 3*innerDepth + 1}, {4, 5, innerDepth}, {9, 9, innerDepth}} {
		m, n, k := s[0], s[1], s[2]
		a, b, c := noise(m*k, 1), noise(n*k, 1), noise(m*n, 1)
		old := append([]float32(nil), c...)
		gemmInto(false, true, m, n, k, 0.5, a, b, 2, c)
		for i := range m {
			for j := range n {
				sum, size := 0.0, 0.0
				for x := range k {
					p := float64(a[i*k+x]) * float64(b[j*k+x])
					sum += p
					size += math.Abs(p)
				}
				want := 0.5*sum + 2*float64(old[i*n+j])
				// Rounding of a sum of k products in any order is at most about k·ε·Σ|products|; of so many it is far less.
				if d := math.Abs(float64(c[i*n+j]) - want); !(d <= 0x1p-24*math.Sqrt(float64(k))*size) {
					t.Fatalf("%v: element %d,%d is %v, want %v", s, i, j, c[i*n+j], want)
				}
			}
		}
	}
}
