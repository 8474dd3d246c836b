package linalg

import (
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
)

// Cholesky is the factor L of a symmetric positive definite matrix L·Lᵀ. Its zero value is ready for [Cholesky.Factor].
type Cholesky struct {
	n, cols int
	width   int       // of a panel
	a       []float64 // [n, n+cols]: Lᵀ, below its diagonal anything, and beside it what FactorWith took along
	inv     []float64 // the diagonal blocks' factors, transposed, and their inverses, side by side in [width, 2·width] each
	work    []float64
	spread  float64
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

// Factor factors a [n, n], reading its upper triangle and overwriting all of it (right-looking, blocked; Golub and Van Loan,
// algorithm 4.2.10's blocked form, transposed, with inverted diagonal blocks). It reports false if a is not positive definite to working
// precision. c keeps a until it is used again, and its other memory. Cost: n³/3 FLOPs.
func (c *Cholesky) Factor(n int, a []float64) bool { return c.FactorWith(n, 0, a) }

// FactorWith is [Cholesky.Factor] of the first n columns of a [n, n+cols]. The others, B, it takes along, which makes them L⁻¹·B: half the way
// to the solution, the other half is [Cholesky.Back].
func (c *Cholesky) FactorWith(n, cols int, a []float64) bool {
	b := narrowPanel
	if n > narrowSize {
		b = widePanel
	}
	ld := n + cols
	c.n, c.cols, c.width, c.a = n, cols, b, a
	c.inv = resized(c.inv, ceil(n, b)*b*2*b)
	c.work = resized(c.work, ld*b)
	for j := 0; j < n; j += b {
		w := min(b, n-j)
		d := c.inv[j*2*b : (j+b)*2*b]
		if !eliminateBlock(w, a[j*ld+j:], ld, d, b) {
			return false
		}
		at, rest := j+w, ld-j-w
		if rest == 0 {
			break
		}
		// The panel beside solves L_jj·X = A_j.
		beside := a[j*ld+at:]
		gemm.F64(false, false, w, rest, w, 1, d[b:], 2*b, beside, ld, 0, c.work, rest)
		gemm.CopyRows(w, rest, c.work, rest, beside, ld)
		for i := at; i < n; i += rowBlock { // upper blocks of the rest
			gemm.F64(true, false, min(rowBlock, n-i), ld-i, w, -1, a[j*ld+i:], ld, a[j*ld+i:], ld, 1, a[i*ld+i:], ld)
		}
	}
	low, high := math.Inf(1), 0.0
	for i := range n {
		low, high = min(low, a[i*ld+i]), max(high, a[i*ld+i])
	}
	c.spread = (high / low) * (high / low)
	return true
}

// Back makes (L·Lᵀ)⁻¹·B of what [Cholesky.FactorWith] made of B.
func (c *Cholesky) Back() {
	if c.cols > 0 {
		c.back(c.cols, c.a[c.n:], c.n+c.cols)
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

// eliminateBlock factors the diagonal block a [w, w] and leaves the factor's inverse in the right half of x [b, 2·b].
func eliminateBlock(w int, a []float64, ld int, x []float64, b int) bool {
	gemm.CopyRows(w, w, a, ld, x, 2*b)
	for i := range w {
		row := x[i*2*b+b : (i+1)*2*b]
		clear(row)
		row[i] = 1
	}
	if !gemm.Eliminate(b, w, x) {
		return false
	}
	gemm.CopyRows(w, w, x, 2*b, a, ld)
	return true
}

// Spread is the squared ratio of the largest to the smallest pivot: a cheap estimate of the condition number, from below.
func (c *Cholesky) Spread() float64 { return c.spread }

// Solve overwrites b [n, cols] with the solution of a·x = b. One goroutine may use c at a time.
func (c *Cholesky) Solve(cols int, b []float64) {
	c.SolveLower(cols, b)
	c.back(cols, b, cols)
}

// SolveLower overwrites b [n, cols] with L⁻¹·b.
func (c *Cholesky) SolveLower(cols int, b []float64) {
	ld := c.n + c.cols
	for j := 0; j < c.n; j += c.width {
		rows := min(c.width, c.n-j)
		gemm.F64(true, false, rows, cols, j, -1, c.a[j:], ld, b, cols, 1, b[j*cols:], cols)
		c.diagonal(false, j, rows, cols, b[j*cols:], cols)
	}
}

// back overwrites b [n, cols], whose rows are ldb apart, with L⁻ᵀ·b.
func (c *Cholesky) back(cols int, b []float64, ldb int) {
	ld := c.n + c.cols
	for j := (c.n - 1) / c.width * c.width; j >= 0; j -= c.width {
		rows := min(c.width, c.n-j)
		if at := j + rows; at < c.n {
			gemm.F64(false, false, rows, cols, c.n-at, -1, c.a[j*ld+at:], ld, b[at*ldb:], ldb, 1, b[j*ldb:], ldb)
		}
		c.diagonal(true, j, rows, cols, b[j*ldb:], ldb)
	}
}

// diagonal multiplies b by the inverse of the diagonal block of L at j, or its transpose.
func (c *Cholesky) diagonal(transposed bool, j, rows, cols int, b []float64, ldb int) {
	c.work = resized(c.work, rows*cols)
	gemm.CopyRows(rows, cols, b, ldb, c.work, cols)
	gemm.F64(transposed, false, rows, cols, rows, 1, c.inv[j*2*c.width+c.width:], 2*c.width, c.work, cols, 0, b, ldb)
}

func ceil(n, by int) int { return (n + by - 1) / by }
