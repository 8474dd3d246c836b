package gemm

import "strconv"

const (
	innerStep  = 32      // elements that a kernel takes at once
	innerBlock = 1 << 16 // elements of one partial sum
)

// Dot64 is the inner product of two float32 vectors of the same length, every product and sum in float64. Partial sums of fixed blocks are
// added in order.
func Dot64(a, b []float32) float64 { return inner(tierOf[float32](), a, b) }

// SumSquares64 is [Dot64] of a vector with itself: the square of its norm.
func SumSquares64(a []float32) float64 { return Dot64(a, a) }

// Dot is [Dot64] on float64 vectors.
func Dot(a, b []float64) float64 { return inner(tierOf[float64](), a, b) }

func inner[T float](t *tier[T], a, b []T) float64 {
	checkLengths(len(a), len(b))
	if len(a) <= innerBlock {
		return innerOf(t, a, b)
	}
	sums := make([]float64, ceil(len(a), innerBlock))
	parallel(len(sums), len(a), func() (func(int), func()) {
		return func(i int) {
			at, end := i*innerBlock, min((i+1)*innerBlock, len(a))
			sums[i] = innerOf(t, a[at:end], b[at:end])
		}, nothing
	})
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return total
}

func checkLengths(a, b int) {
	if a != b {
		panic("gemm: vectors of " + strconv.Itoa(a) + " and " + strconv.Itoa(b) + " elements (lengths must be equal)")
	}
}

func innerOf[T float](t *tier[T], a, b []T) float64 {
	total := 0.0
	if t != nil {
		if n := len(a) &^ (innerStep - 1); n > 0 {
			total = t.inner(n, &a[0], &b[0])
			a, b = a[n:], b[n:]
		}
	}
	var s0, s1, s2, s3 float64
	for len(a) >= 4 && len(b) >= 4 {
		s0 += float64(a[0]) * float64(b[0])
		s1 += float64(a[1]) * float64(b[1])
		s2 += float64(a[2]) * float64(b[2])
		s3 += float64(a[3]) * float64(b[3])
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += float64(v) * float64(b[i])
	}
	return total + ((s0 + s1) + (s2 + s3))
}
