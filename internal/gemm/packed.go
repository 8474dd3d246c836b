package gemm

// Packed is a float32 matrix op(B) laid out for the kernels in use, for products with the same weights again and again. It is a copy: the
// source may change or go. Any number of goroutines may use one at a time.
type Packed struct {
	n, k   int
	tier   *tier[float32]
	panels packed[float32]
	plain  []float32 // op(B) row after row, where there is no tier
}

// PackB lays out op(B) [k, n], which is B, or Bᵀ if tb is set, with rows of B ldb apart. It takes time and memory for one copy of B.
func PackB(tb bool, n, k int, b []float32, ldb int) *Packed {
	return PackBIn(make([]float32, PackedSize(n, k)), tb, n, k, b, ldb)
}

// PackedSize is the number of elements that a packed op(B) [k, n] takes.
func PackedSize(n, k int) int {
	if n <= 0 || k <= 0 {
		return 0
	}
	if t := current.f32; t != nil {
		n = ceil(n, t.lanes) * t.lanes
	}
	return k * n
}

// PackBIn is [PackB] in memory of the caller's, PackedSize elements of any content, which must be left alone as long as the result is used.
func PackBIn(space []float32, tb bool, n, k int, b []float32, ldb int) *Packed {
	p := &Packed{n: n, k: k, tier: current.f32}
	if n <= 0 || k <= 0 {
		return p
	}
	v := view[float32]{b, ldb, 1}
	if tb {
		v = view[float32]{b, 1, ldb}
		checkMatrix("B", len(b), n, k, ldb)
	} else {
		checkMatrix("B", len(b), k, n, ldb)
	}
	if p.tier == nil {
		p.plain = space[:k*n]
		for x := range k {
			for j := range n {
				p.plain[x*n+j] = b[x*v.row+j*v.col]
			}
		}
		return p
	}
	width := ceil(n, p.tier.lanes) * p.tier.lanes
	p.panels = p.tier.layout(n, k)
	p.panels.data, p.panels.width = space[:k*width], width
	packPanels(p.tier, &p.panels, v, 0, k, 0, n, k*n)
	return p
}

// Dims are the rows and columns of op(B).
func (p *Packed) Dims() (k, n int) { return p.k, p.n }

// F32Packed is [F32] with a packed op(B), whose shape gives n and k: C = alpha·op(A)·op(B) + beta·C with op(A) [m, k] and C [m, n].
func F32Packed(ta bool, m int, alpha float32, a []float32, lda int, b *Packed, beta float32, c []float32, ldc int) {
	if b.tier == nil {
		F32(ta, false, m, b.n, b.k, alpha, a, lda, b.plain, b.n, beta, c, ldc)
		return
	}
	if m <= 0 || b.n <= 0 {
		return
	}
	checkMatrix("C", len(c), m, b.n, ldc)
	if b.k <= 0 || alpha == 0 {
		scale(m, b.n, beta, c, ldc)
		return
	}
	p := product[float32, float32, float32]{m: m, n: b.n, k: b.k, alpha: alpha, a: view[float32]{a, lda, 1}, c: c, ldc: ldc}
	if ta {
		p.a = view[float32]{a, 1, lda}
		checkMatrix("A", len(a), b.k, m, lda)
	} else {
		checkMatrix("A", len(a), m, b.k, lda)
	}
	if beta != 0 {
		scale(m, b.n, beta, c, ldc)
		p.add = 1
	}
	if !shares(p.work()) { // one job, and nothing on the heap
		w := borrow[float32](0)
		p.tiledJob(b.tier, &b.panels, w, 0, b.k, 0, m, 0, 0, b.n, false)
		w.release()
		return
	}
	q := p
	q.tiledRange(b.tier, &b.panels, 0, b.k, 0, b.n, false)
}
