package linalg

import (
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
)

// Cholesky is the factor L of a symmetric positive definite matrix L·Lᵀ.
type Cholesky struct {
	n      int
	l      []float64 // lower triangle; above it anything
	inv    []float64 // inverses of the diagonal blocks, [choleskyBlock, choleskyBlock] each
	spread float64
}

// choleskyBlock is the width of a panel.
const choleskyBlock = 48

// NewCholesky factors a [n, n], reading its lower triangle and overwriting all of it (right-looking, blocked; Golub and Van Loan,
// algorithm 4.2.10's blocked form, with inverted diagonal blocks). It reports false if a is not positive definite to working precision. Cost: n³/3 FLOPs.
func NewCholesky(n int, a []float64) (*Cholesky, bool) {
	const b = choleskyBlock
	inv, panel := make([]float64, ceil(n, b)*b*b), make([]float64, n*b)
	for j := 0; j < n; j += b {
		w := min(b, n-j)
		if !factorBlock(n, j, w, a) {
			return nil, false
		}
		d := inv[j*b : (j+b)*b]
		invertBlock(n, j, w, a, d)
		below := j + w
		if below == n {
			break
		}
		// The panel below solves X·L_jjᵀ = A_j.
		gemm.F64(false, true, n-below, w, w, 1, a[below*n+j:], n, d, b, 0, panel, w)
		for i := below; i < n; i++ {
			copy(a[i*n+j:i*n+below], panel[(i-below)*w:])
		}
		for i := below; i < n; i += rowBlock { // lower blocks of the rest
			rows := min(rowBlock, n-i)
			gemm.F64(false, true, rows, i+rows-below, w, -1, a[i*n+j:], n, a[below*n+j:], n, 1, a[i*n+below:], n)
		}
	}
	low, high := math.Inf(1), 0.0
	for i := range n {
		low, high = min(low, a[i*n+i]), max(high, a[i*n+i])
	}
	return &Cholesky{n, a, inv, (high / low) * (high / low)}, true
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

// invertBlock writes the inverse of the lower triangular diagonal block [w, w] at j into d, rows choleskyBlock apart.
func invertBlock(n, j, w int, a, d []float64) {
	const b = choleskyBlock
	for i := range w {
		row := d[i*b : i*b+w]
		for k := range i {
			axpy(-a[(j+i)*n+j+k], d[k*b:k*b+k+1], row[:k+1])
		}
		pivot := 1 / a[(j+i)*n+j+i]
		scaleRow(pivot, row[:i])
		row[i] = pivot
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
	const w = choleskyBlock
	n, l := c.n, c.l
	part := make([]float64, w*cols)
	diagonal := func(transposed bool, j, rows int) { // b's block j times the inverse of L_jj, or its transpose
		copy(part, b[j*cols:(j+rows)*cols])
		gemm.F64(transposed, false, rows, cols, rows, 1, c.inv[j*w:], w, part, cols, 0, b[j*cols:], cols)
	}
	for j := 0; j < n; j += w { // L·y = b
		rows := min(w, n-j)
		gemm.F64(false, false, rows, cols, j, -1, l[j*n:], n, b, cols, 1, b[j*cols:], cols)
		diagonal(false, j, rows)
	}
	for j := (n - 1) / w * w; j >= 0; j -= w { // Lᵀ·x = y
		rows := min(w, n-j)
		if below := j + rows; below < n {
			gemm.F64(true, false, rows, cols, n-below, -1, l[below*n+j:], n, b[below*cols:], cols, 1, b[j*cols:], cols)
		}
		diagonal(true, j, rows)
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
