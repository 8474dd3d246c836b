package linalg

import (
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
)

// Cholesky is the factor L of a symmetric positive definite matrix L·Lᵀ.
type Cholesky struct {
	n      int
	l      []float64 // lower triangle; above it anything
	spread float64
}

// choleskyBlock is the width of a panel.
const choleskyBlock = 48

// NewCholesky factors a [n, n], reading its lower triangle and overwriting all of it (right-looking, blocked; Golub and Van Loan,
// algorithm 4.2.10's blocked form). It reports false if a is not positive definite to working precision. Cost: n³/3 FLOPs.
func NewCholesky(n int, a []float64) (*Cholesky, bool) {
	for j := 0; j < n; j += choleskyBlock {
		w := min(choleskyBlock, n-j)
		if !factorBlock(n, j, w, a) {
			return nil, false
		}
		below := j + w
		gemm.Parallel(ceil(n-below, rowBlock), func(t int) {
			for i := below + t*rowBlock; i < min(below+(t+1)*rowBlock, n); i++ {
				forwardRow(n, j, w, a, a[i*n+j:i*n+j+w])
			}
		})
		for i := below; i < n; i += rowBlock { // lower blocks of the rest
			rows := min(rowBlock, n-i)
			gemm.F64(false, true, rows, i+rows-below, w, -1, a[i*n+j:], n, a[below*n+j:], n, 1, a[i*n+below:], n)
		}
	}
	low, high := math.Inf(1), 0.0
	for i := range n {
		low, high = min(low, a[i*n+i]), max(high, a[i*n+i])
	}
	return &Cholesky{n, a, (high / low) * (high / low)}, true
}

const rowBlock = 128

// factorBlock factors the diagonal block [w, w] at j.
func factorBlock(n, j, w int, a []float64) bool {
	for r := j; r < j+w; r++ {
		row := a[r*n+j : r*n+r]
		for c := j; c < r; c++ {
			row[c-j] = (row[c-j] - dot(row[:c-j], a[c*n+j:c*n+c])) / a[c*n+c]
		}
		d := a[r*n+r] - dot(row, row)
		if !(d > 0) || math.IsInf(d, 1) {
			return false
		}
		a[r*n+r] = math.Sqrt(d)
	}
	return true
}

// forwardRow solves x·L_jjᵀ = x for one row of the panel below block j.
func forwardRow(n, j, w int, a, x []float64) {
	for c := range w {
		x[c] = (x[c] - dot(x[:c], a[(j+c)*n+j:(j+c)*n+j+c])) / a[(j+c)*n+j+c]
	}
}

func dot(x, y []float64) float64 {
	var s0, s1 float64
	y = y[:len(x)]
	i := 0
	for ; i+2 <= len(x); i += 2 {
		s0 += x[i] * y[i]
		s1 += x[i+1] * y[i+1]
	}
	if i < len(x) {
		s0 += x[i] * y[i]
	}
	return s0 + s1
}

// Spread is the squared ratio of the largest to the smallest pivot: a cheap estimate of the condition number, from below.
func (c *Cholesky) Spread() float64 { return c.spread }

// Solve overwrites b [n, cols] with the solution of a·x = b.
func (c *Cholesky) Solve(cols int, b []float64) {
	n, l := c.n, c.l
	row := func(i int) []float64 { return b[i*cols : (i+1)*cols] }
	for j := 0; j < n; j += choleskyBlock { // L·y = b
		w := min(choleskyBlock, n-j)
		gemm.F64(false, false, w, cols, j, -1, l[j*n:], n, b, cols, 1, b[j*cols:], cols)
		for i := j; i < j+w; i++ {
			for k := j; k < i; k++ {
				axpy(-l[i*n+k], row(k), row(i))
			}
			scaleRow(1/l[i*n+i], row(i))
		}
	}
	for j := (n - 1) / choleskyBlock * choleskyBlock; j >= 0; j -= choleskyBlock { // Lᵀ·x = y
		w := min(choleskyBlock, n-j)
		if below := j + w; below < n {
			gemm.F64(true, false, w, cols, n-below, -1, l[below*n+j:], n, b[below*cols:], cols, 1, b[j*cols:], cols)
		}
		for i := j + w - 1; i >= j; i-- {
			for k := i + 1; k < j+w; k++ {
				axpy(-l[k*n+i], row(k), row(i))
			}
			scaleRow(1/l[i*n+i], row(i))
		}
	}
}

func axpy(a float64, x, y []float64) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += a * v
	}
}

func scaleRow(a float64, x []float64) {
	for i := range x {
		x[i] *= a
	}
}

func ceil(n, by int) int { return (n + by - 1) / by }
