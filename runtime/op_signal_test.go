package runtime

import (
	"math"
	"math/cmplx"
	"testing"
)

// TestFFT: the oracle is the defining sum, at lengths that split into small factors, and primes that take the other way.
func TestFFT(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 8, 12, 30, 49, 61, 64, 67, 97, 100, 127, 134, 251, 400} {
		x := make([]complex128, n)
		for j := range x {
			x[j] = complex(math.Sin(float64(3*j+1)), math.Cos(float64(j*j)))
		}
		for _, inverse := range []bool{false, true} {
			sign := -2 * math.Pi
			if inverse {
				sign = -sign
			}
			got := fft(x, inverse)
			for k := range n {
				var want complex128
				for j, v := range x {
					want += v * cmplx.Rect(1, sign*float64(j*k%n)/float64(n))
				}
				if d := cmplx.Abs(got[k] - want); !(d <= 1e-12*float64(n)) {
					t.Errorf("length %d, inverse %v: X[%d] = %v, the sum gives %v", n, inverse, k, got[k], want)
				}
			}
		}
	}
}
