package gemm

import "strconv"

// float is an element type of a matrix.
type float interface{ float32 | float64 }

// F32 computes C = alpha·op(A)·op(B) + beta·C, where op(X) is X, or Xᵀ if ta (tb) is set; op(A) is m×k, op(B) k×n and C m×n. All
// matrices are row-major and lda, ldb, ldc are the distances between their stored rows. With beta 0, C is overwritten and may
// hold anything before. C must not overlap A or B. It panics if a slice is too short for its shape.
func F32(ta, tb bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	mul(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// F64 is [F32] on float64 matrices.
func F64(ta, tb bool, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	mul(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// Mul is [F32] or [F64].
func Mul[T float](ta, tb bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	mul(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// Mixed is [F32] on float32 operands with a float64 result: every product and sum is float64.
func Mixed(ta, tb bool, m, n, k int, alpha float64, a []float32, lda int, b []float32, ldb int, beta float64, c []float64, ldc int) {
	mul(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// Wide is [Mul] with a float32 matrix on the left: every product and sum has the type of the rest.
func Wide[T float](ta, tb bool, m, n, k int, alpha T, a []float32, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	mul(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

func mul[A, B, C float](ta, tb bool, m, n, k int, alpha C, a []A, lda int, b []B, ldb int, beta C, c []C, ldc int) {
	if m <= 0 || n <= 0 {
		return
	}
	checkMatrix("C", len(c), m, n, ldc)
	if k <= 0 || alpha == 0 {
		scale(m, n, beta, c, ldc)
		return
	}
	va := view[A]{a, lda, 1}
	if ta {
		va = view[A]{a, 1, lda}
		checkMatrix("A", len(a), k, m, lda)
	} else {
		checkMatrix("A", len(a), m, k, lda)
	}
	vb := view[B]{b, ldb, 1}
	if tb {
		vb = view[B]{b, 1, ldb}
		checkMatrix("B", len(b), n, k, ldb)
	} else {
		checkMatrix("B", len(b), k, n, ldb)
	}
	p := product[A, B, C]{m: m, n: n, k: k, alpha: alpha, a: va, b: vb, c: c, ldc: ldc}
	if t := tierOf[C](); t != nil {
		if beta != 0 {
			scale(m, n, beta, c, ldc)
			p.add = 1
		}
		few := p.isFew()
		if !few && !p.shared() && k < 2*splitDepth {
			p.tiledAlone(t, false)
			return
		}
		q := p // on the heap, for goroutines to see
		if few {
			q.few(t)
		} else {
			q.tiled(t, false)
		}
		return
	}
	scale(m, n, beta, c, ldc)
	q := p
	switch {
	case m <= smallRows && q.direct():
	case k >= 2*splitDepth && m <= tileRows && n <= tileCols:
		q.splitDepth()
	default:
		q.tiles(false)
	}
}

// Gram computes the symmetric C = op(A)·op(A)ᵀ (m×m, op(A) m×k) of a float32 matrix in float64. Half the products are computed,
// the rest mirrored.
func Gram(ta bool, m, k int, a []float32, lda int, c []float64, ldc int) {
	gram(ta, m, k, a, lda, c, ldc)
}

// Gram64 is [Gram] of a float64 matrix.
func Gram64(ta bool, m, k int, a []float64, lda int, c []float64, ldc int) {
	gram(ta, m, k, a, lda, c, ldc)
}

func gram[A float](ta bool, m, k int, a []A, lda int, c []float64, ldc int) {
	if m <= 0 {
		return
	}
	checkMatrix("C", len(c), m, m, ldc)
	t := tierOf[float64]()
	if t == nil || k <= 0 {
		scale(m, m, 0, c, ldc)
	}
	if k <= 0 {
		return
	}
	va, vb := view[A]{a, lda, 1}, view[A]{a, 1, lda}
	if ta {
		va, vb = vb, va
		checkMatrix("A", len(a), k, m, lda)
	} else {
		checkMatrix("A", len(a), m, k, lda)
	}
	p := product[A, A, float64]{m: m, n: m, k: k, alpha: 1, a: va, b: vb, c: c, ldc: ldc}
	if t != nil && !p.shared() && k < 2*splitDepth {
		p.tiledAlone(t, true)
	} else {
		q := p // on the heap, for goroutines to see
		switch {
		case t != nil:
			q.tiled(t, true)
		case k >= 2*splitDepth && m <= tileRows:
			q.splitDepth()
		default:
			q.tiles(true)
		}
	}
	mirror(m, c, ldc)
}

// mirror copies what is below the diagonal of c [m, m] to above it.
func mirror(m int, c []float64, ldc int) {
	const block = 8
	for i := 0; i < m; i += block {
		rows := min(block, m-i)
		if i > 0 {
			Transpose(rows, i, c[i*ldc:], ldc, c[i:], ldc)
		}
		for x := i; x < i+rows; x++ {
			for j := i; j < x; j++ {
				c[j*ldc+x] = c[x*ldc+j]
			}
		}
	}
}

func scale[C float](m, n int, beta C, c []C, ldc int) {
	if beta == 1 {
		return
	}
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		if beta == 0 {
			clear(row)
			continue
		}
		for j := range row {
			row[j] *= beta
		}
	}
}

func checkMatrix(name string, length, rows, cols, ld int) {
	if ld < cols || length < (rows-1)*ld+cols {
		badMatrix(name, length, rows, cols, ld)
	}
}

func badMatrix(name string, length, rows, cols, ld int) {
	panic("gemm: matrix " + name + ": " + strconv.Itoa(rows) + "×" + strconv.Itoa(cols) + " with rows " + strconv.Itoa(ld) +
		" apart does not fit " + strconv.Itoa(length) + " elements")
}

// view is a matrix with any strides: element (i, j) is data[i·row + j·col].
type view[T float] struct {
	data     []T
	row, col int
}
