package gemm

// smallRows is the number of rows of C up to which packing B costs more than it saves.
const smallRows = 3

// direct computes a product of few rows in place, and reports whether the layout suits it: contiguous rows of op(A), and B with
// either its rows or its columns contiguous.
func (p *product[A, B, C]) direct() bool {
	if p.a.col != 1 && p.m > 1 {
		return false
	}
	if p.b.col == 1 {
		p.axpyRows()
	} else {
		p.dotRows()
	}
	return true
}

// axpyRows adds rows of B, four at a time, to each row of C; columns are cut into fixed blocks.
func (p *product[A, B, C]) axpyRows() {
	const block = 512
	parallel(ceil(p.n, block), p.m*p.n*p.k, func() (func(int), func()) {
		return func(t int) {
			j0 := t * block
			n := min(block, p.n-j0)
			for i := range p.m {
				c := p.c[i*p.ldc+j0 : i*p.ldc+j0+n]
				a := p.a.data[i*p.a.row:]
				x := 0
				for ; x+4 <= p.k; x += 4 {
					a0, a1 := p.alpha*C(a[x*p.a.col]), p.alpha*C(a[(x+1)*p.a.col])
					a2, a3 := p.alpha*C(a[(x+2)*p.a.col]), p.alpha*C(a[(x+3)*p.a.col])
					s := x*p.b.row + j0
					b0, b1 := p.b.data[s:s+n], p.b.data[s+p.b.row:s+p.b.row+n]
					b2, b3 := p.b.data[s+2*p.b.row:s+2*p.b.row+n], p.b.data[s+3*p.b.row:s+3*p.b.row+n]
					for j := range c {
						c[j] += (a0*C(b0[j]) + a1*C(b1[j])) + (a2*C(b2[j]) + a3*C(b3[j]))
					}
				}
				for ; x < p.k; x++ {
					ax := p.alpha * C(a[x*p.a.col])
					b := p.b.data[x*p.b.row+j0 : x*p.b.row+j0+n]
					for j := range c {
						c[j] += ax * C(b[j])
					}
				}
			}
		}, nothing
	})
}

// dotRows takes inner products of contiguous rows of op(A) with contiguous columns of op(B), four partial sums each.
func (p *product[A, B, C]) dotRows() {
	const block = 64
	parallel(ceil(p.n, block), p.m*p.n*p.k, func() (func(int), func()) {
		row := make([]C, p.k)
		return func(t int) {
			for i := range p.m {
				a := p.a.data[i*p.a.row:]
				for x := range row {
					row[x] = C(a[x*p.a.col])
				}
				for j := t * block; j < min(t*block+block, p.n); j++ {
					b := p.b.data[j*p.b.col : j*p.b.col+p.k]
					var s0, s1, s2, s3 C
					x := 0
					for ; x+4 <= len(b) && x+4 <= len(row); x += 4 {
						r, q := row[x:x+4], b[x:x+4]
						s0 += r[0] * C(q[0])
						s1 += r[1] * C(q[1])
						s2 += r[2] * C(q[2])
						s3 += r[3] * C(q[3])
					}
					for ; x < len(b); x++ {
						s0 += row[x] * C(b[x])
					}
					p.c[i*p.ldc+j] += p.alpha * ((s0 + s1) + (s2 + s3))
				}
			}
		}, nothing
	})
}
