package gemm

const (
	dotRows  = 4    // rows of C up to which inner products with the rows of Bᵀ beat transposing them
	axpyRows = 3    // rows of C up to which adding rows of B beats the tiles
	axpyCols = 2048 // columns of C that one job of them computes
	dotCols  = 64   // and of inner products
)

// isFew reports that few computes the product.
func (p *product[A, B, C]) isFew() bool {
	_, okA := any(p.a.data).([]C)
	_, okB := any(p.b.data).([]C)
	switch {
	case !okA || !okB:
		return false
	case p.single():
		return p.a.col == 1 || p.a.row == 1
	}
	return p.byDots() || p.b.col == 1 && p.m <= axpyRows
}

// single is a product with one column, which is computed as its transpose.
func (p *product[A, B, C]) single() bool { return p.n == 1 && p.ldc == 1 && p.m > 1 }

func (p *product[A, B, C]) byDots() bool {
	return p.b.row == 1 && p.m <= dotRows && (p.a.col == 1 || p.m == 1)
}

// few computes a product of few rows or one column in place, whose layout suits the kernels for it.
func (p *product[A, B, C]) few(t *tier[C]) {
	if p.single() {
		q := product[B, A, C]{m: 1, n: p.m, k: p.k, alpha: p.alpha, a: p.b.transposed(), b: p.a.transposed(), c: p.c, ldc: p.m, add: p.add}
		q.few(t)
		return
	}
	a, b := any(p.a.data).([]C), any(p.b.data).([]C)
	if p.byDots() {
		p.dotRowsOf(t, a, b)
	} else {
		p.axpyRowsOf(t, a, b)
	}
}

func (v view[T]) transposed() view[T] { return view[T]{v.data, v.col, v.row} }

func (p *product[A, B, C]) dotRowsOf(t *tier[C], a, b []C) {
	as := p.a.row
	if p.a.col != 1 { // a single row
		s := borrow[C](p.k)
		defer s.release()
		for x := range p.k {
			s.data[x] = a[x*p.a.col]
		}
		a = s.data
	}
	parallel(ceil(p.n, dotCols), p.m*p.n*p.k/vectorWork, func() (func(int), func()) {
		return func(job int) {
			j, last := job*dotCols, min(job*dotCols+dotCols, p.n)
			for j < last {
				cols := 4
				if last-j < cols {
					cols = 1
				}
				kernels := t.dots
				for i := 0; i < p.m; {
					for kernels[0].rows > p.m-i {
						kernels = kernels[1:]
					}
					run := kernels[0].four
					if cols == 1 {
						run = kernels[0].one
					}
					run(p.k, &a[i*as], as, &b[j*p.b.col], p.b.col, &p.c[i*p.ldc+j], p.ldc, p.alpha, p.add)
					i += kernels[0].rows
				}
				j += cols
			}
		}, nothing
	})
}

func (p *product[A, B, C]) axpyRowsOf(t *tier[C], a, b []C) {
	parallel(ceil(p.n, axpyCols), p.m*p.n*p.k/vectorWork, func() (func(int), func()) {
		return func(job int) {
			j := job * axpyCols
			n := min(axpyCols, p.n-j)
			for i := range p.m {
				add := p.add
				run, step := t.axpy8, 8
				for x := 0; x < p.k; x += step {
					if x+8 > p.k {
						run, step = t.axpy1, 1
					}
					run(n, &a[i*p.a.row+x*p.a.col], p.a.col, &b[x*p.b.row+j], p.b.row, &p.c[i*p.ldc+j], p.alpha, add)
					add = 1
				}
			}
		}, nothing
	})
}
