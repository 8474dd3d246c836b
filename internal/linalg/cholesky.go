package linalg

import (
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
)

// Cholesky is the factor L of a symmetric positive definite matrix L·Lᵀ. Its zero value is ready for [Cholesky.Factor].
type Cholesky struct {
	n      int
	width  int       // of a panel
	l      []float64 // lower triangle; above it anything
	inv    []float64 // the diagonal blocks' factors, transposed, and their inverses, side by side in [width, 2·width] each
	work   []float64
	spread float64
}

// Panels are narrow where there are few of them: what is inside a diagonal block is computed element by element.
const (
	narrowPanel, widePanel = 16, 32
	narrowSize             = 128 // of a matrix with narrow panels
)

// NewCholesky is [Cholesky.Factor] of a new one.
func NewCholesky(n int, a []float64) (*Cholesky, bool) {
	c := new(Cholesky)
	return c, c.Factor(n, a)
}

// Factor factors a [n, n], reading its lower triangle and overwriting all of it (right-looking, blocked; Golub and Van Loan,
// algorithm 4.2.10's blocked form, with inverted diagonal blocks). It reports false if a is not positive definite to working precision. c keeps
// a until it is used again, and its other memory. Cost: n³/3 FLOPs.
func (c *Cholesky) Factor(n int, a []float64) bool { return c.FactorWith(n, 0, a) }

// FactorWith is [Cholesky.Factor] of the first n rows of a [n+rows, n]. The other rows B it takes along, which makes them B·L⁻ᵀ: half the way
// to the solution, see [Cholesky.Back].
func (c *Cholesky) FactorWith(n, rows int, a []float64) bool {
	b := narrowPanel
	if n > narrowSize {
		b = widePanel
	}
	c.n, c.width, c.l = n, b, a
	c.inv = resized(c.inv, ceil(n, b)*b*2*b)
	c.work = resized(c.work, (n+rows)*b)
	for j := 0; j < n; j += b {
		w := min(b, n-j)
		d := c.inv[j*2*b : (j+b)*2*b]
		if !eliminateBlock(n, j, w, a, d, b) {
			return false
		}
		below := j + w
		if below == n+rows {
			break
		}
		// The panel below solves X·L_jjᵀ = A_j.
		gemm.F64(false, true, n+rows-below, w, w, 1, a[below*n+j:], n, d[b:], 2*b, 0, c.work, w)
		gemm.CopyRows(n+rows-below, w, c.work, w, a[below*n+j:], n)
		for i := below; i < n+rows && below < n; i += rowBlock { // lower blocks of the rest
			m := min(rowBlock, n+rows-i)
			gemm.F64(false, true, m, min(i+m, n)-below, w, -1, a[i*n+j:], n, a[below*n+j:], n, 1, a[i*n+below:], n)
		}
	}
	low, high := math.Inf(1), 0.0
	for i := range n {
		low, high = min(low, a[i*n+i]), max(high, a[i*n+i])
	}
	c.spread = (high / low) * (high / low)
	return true
}

// Back overwrites x [rows, n] with x·L⁻¹: what [Cholesky.FactorWith] makes of B with B·(L·Lᵀ)⁻¹.
func (c *Cholesky) Back(rows int, x []float64) {
	n, l, w := c.n, c.l, c.width
	c.work = resized(c.work, rows*w)
	for j := (n - 1) / w * w; j >= 0; j -= w {
		cols := min(w, n-j)
		below := j + cols
		gemm.CopyRows(rows, cols, x[j:], n, c.work, cols)
		if below < n {
			gemm.F64(false, false, rows, cols, n-below, -1, x[below:], n, l[below*n+j:], n, 1, c.work, cols)
		}
		gemm.F64(false, false, rows, cols, cols, 1, c.work, cols, c.inv[j*2*w+w:], 2*w, 0, x[j:], n)
	}
}

// resized is x with n elements of no particular content.
func resized(x []float64, n int) []float64 {
	if cap(x) < n {
		return make([]float64, n)
	}
	return x[:n]
}

const rowBlock = 128

// eliminateBlock factors the diagonal block [w, w] at j and leaves the factor's inverse in the right half of x [b, 2·b].
func eliminateBlock(n, j, w int, a, x []float64, b int) bool {
	at := j*n + j
	gemm.Transpose(w, w, a[at:], n, x, 2*b)
	for i := range w {
		row := x[i*2*b+b : (i+1)*2*b]
		clear(row)
		row[i] = 1
	}
	if !gemm.Eliminate(b, w, x) {
		return false
	}
	gemm.Transpose(w, w, x, 2*b, a[at:], n)
	return true
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

// Solve overwrites b [n, cols] with the solution of a·x = b. One goroutine may use c at a time.
func (c *Cholesky) Solve(cols int, b []float64) {
	n, l, w := c.n, c.l, c.width
	c.work = resized(c.work, w*cols)
	part := c.work
	diagonal := func(transposed bool, j, rows int) { // b's block j times the inverse of L_jj, or its transpose
		copy(part, b[j*cols:(j+rows)*cols])
		gemm.F64(transposed, false, rows, cols, rows, 1, c.inv[j*2*w+w:], 2*w, part, cols, 0, b[j*cols:], cols)
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
