package gemm

import (
	"sync"
	"unsafe"
)

// Tile sizes. A packed A panel (tileRows × depth float64) fills a quarter of a 1 MiB second-level cache; a column micro-panel stays
// in the first level.
const (
	tileRows   = 128
	tileCols   = 256
	depth      = 256
	microRows  = 4
	microCols  = 2
	splitDepth = 4096 // deep products with one tile of C are cut along k into pieces of this length
)

// product is one call, its operands as strided views.
type product[A, B, C float] struct {
	m, n, k int
	alpha   C
	a       view[A]
	b       view[B]
	c       []C
	ldc     int
	serial  bool
	add     int // 0 if C is to be overwritten (only the kernels of a tier do)
}

// tiles computes C tile by tile; lower skips the tiles strictly above the diagonal.
func (p *product[A, B, C]) tiles(lower bool) {
	cols := tileCols
	if lower {
		cols = tileRows
	}
	down, across := ceil(p.m, tileRows), ceil(p.n, cols)
	parallel(down*across, p.m*p.n*p.k, func() (func(int), func()) {
		w := newScratch[C](min(p.m, tileRows), min(p.n, cols), min(p.k, depth))
		return func(t int) {
			i, j := t/across, t%across
			if lower && j > i {
				return
			}
			i0, j0 := i*tileRows, j*cols
			p.tile(w, i0, min(i0+tileRows, p.m), j0, min(j0+cols, p.n), 0, p.k, p.c[i0*p.ldc+j0:], p.ldc)
		}, w.release
	})
}

// splitDepth cuts k into fixed pieces, computes each into its own buffer and adds them in order.
func (p *product[A, B, C]) splitDepth() {
	pieces := ceil(p.k, splitDepth)
	size := p.m * p.n
	sums := make([]C, pieces*size)
	parallel(pieces, p.m*p.n*p.k, func() (func(int), func()) {
		w := newScratch[C](p.m, p.n, depth)
		return func(t int) {
			k0 := t * splitDepth
			p.tile(w, 0, p.m, 0, p.n, k0, min(k0+splitDepth, p.k), sums[t*size:], p.n)
		}, w.release
	})
	for t := range pieces {
		for i := range p.m {
			row, s := p.c[i*p.ldc:i*p.ldc+p.n], sums[t*size+i*p.n:]
			for j := range row {
				row[j] += s[j]
			}
		}
	}
}

// scratch is one goroutine's packing space.
type scratch[C float] struct{ a, b []C }

func newScratch[C float](rows, cols, k int) *scratch[C] {
	k += k & 1
	a, b := ceil(rows, microRows)*microRows*k, ceil(cols, microCols)*microCols*k
	w, _ := scratches[C]().Get().(*scratch[C])
	if w == nil {
		w = new(scratch[C])
	}
	if cap(w.a) < a {
		w.a = make([]C, a)
	}
	if cap(w.b) < b {
		w.b = make([]C, b)
	}
	w.a, w.b = w.a[:a], w.b[:b]
	return w
}

func (w *scratch[C]) release() { scratches[C]().Put(w) }

var scratches32, scratches64 sync.Pool

func scratches[C float]() *sync.Pool {
	if unsafe.Sizeof(C(0)) == 4 {
		return &scratches32
	}
	return &scratches64
}

// tile adds alpha·A[i0:i1, k0:k1]·B[k0:k1, j0:j1] to the tile c.
func (p *product[A, B, C]) tile(w *scratch[C], i0, i1, j0, j1, k0, k1 int, c []C, ldc int) {
	for ; k0 < k1; k0 += depth {
		k := min(depth, k1-k0)
		even := k + k&1
		packA(w.a, p.a, i0, i1, k0, k)
		packB(w.b, p.b, j0, j1, k0, k)
		for j := j0; j < j1; j += microCols {
			b := w.b[(j-j0)*even : (j-j0+microCols)*even]
			for i := i0; i < i1; i += microRows {
				a := w.a[(i-i0)*even : (i-i0+microRows)*even]
				at := (i-i0)*ldc + j - j0
				if i+microRows <= i1 && j+microCols <= j1 {
					micro(a, b, p.alpha, c[at:], ldc)
					continue
				}
				var edge [microRows * microCols]C
				micro(a, b, p.alpha, edge[:], microCols)
				for y := range min(microRows, i1-i) {
					for x := range min(microCols, j1-j) {
						c[at+y*ldc+x] += edge[y*microCols+x]
					}
				}
			}
		}
	}
}

// micro adds alpha·a·b to a 4×2 block of C. The panels are packed with k running slowest and padded to an even k.
func micro[C float](a, b []C, alpha C, c []C, ldc int) {
	var c00, c01, c10, c11, c20, c21, c30, c31 C
	for len(a) >= 2*microRows && len(b) >= 2*microCols {
		a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
		x := b[0]
		c00 += a0 * x
		c10 += a1 * x
		c20 += a2 * x
		c30 += a3 * x
		x = b[1]
		c01 += a0 * x
		c11 += a1 * x
		c21 += a2 * x
		c31 += a3 * x
		a0, a1, a2, a3 = a[4], a[5], a[6], a[7]
		x = b[2]
		c00 += a0 * x
		c10 += a1 * x
		c20 += a2 * x
		c30 += a3 * x
		x = b[3]
		c01 += a0 * x
		c11 += a1 * x
		c21 += a2 * x
		c31 += a3 * x
		a, b = a[2*microRows:], b[2*microCols:]
	}
	c[0] += alpha * c00
	c[1] += alpha * c01
	c[ldc] += alpha * c10
	c[ldc+1] += alpha * c11
	c[2*ldc] += alpha * c20
	c[2*ldc+1] += alpha * c21
	c[3*ldc] += alpha * c30
	c[3*ldc+1] += alpha * c31
}

// packA copies rows i0…i1, columns k0…k0+k of a into micro-panels of four rows; missing rows and an odd last column are zero.
func packA[A, C float](dst []C, a view[A], i0, i1, k0, k int) {
	even := k + k&1
	for i := i0; i < i1; i += microRows {
		d := dst[(i-i0)*even : (i-i0+microRows)*even]
		if k != even {
			clear(d[k*microRows:])
		}
		if i+microRows > i1 {
			clear(d)
			for y := range i1 - i {
				s := (i+y)*a.row + k0*a.col
				for x := range k {
					d[x*microRows+y] = C(a.data[s+x*a.col])
				}
			}
			continue
		}
		s := i*a.row + k0*a.col
		if a.row == 1 {
			for x := range k {
				r := a.data[s+x*a.col:]
				q := d[x*microRows : x*microRows+microRows]
				_ = r[3]
				q[0], q[1], q[2], q[3] = C(r[0]), C(r[1]), C(r[2]), C(r[3])
			}
			continue
		}
		r0, r1 := a.data[s:s+k], a.data[s+a.row:s+a.row+k]
		r2, r3 := a.data[s+2*a.row:s+2*a.row+k], a.data[s+3*a.row:s+3*a.row+k]
		for x, v := range r0 {
			q := d[x*microRows : x*microRows+microRows]
			q[0], q[1], q[2], q[3] = C(v), C(r1[x]), C(r2[x]), C(r3[x])
		}
	}
}

// packB copies rows k0…k0+k, columns j0…j1 of b into micro-panels of two columns, padded like packA's.
func packB[B, C float](dst []C, b view[B], j0, j1, k0, k int) {
	even := k + k&1
	for j := j0; j < j1; j += microCols {
		d := dst[(j-j0)*even : (j-j0+microCols)*even]
		if k != even {
			clear(d[k*microCols:])
		}
		s := k0*b.row + j*b.col
		switch {
		case j+microCols > j1:
			clear(d)
			for x := range k {
				d[x*microCols] = C(b.data[s+x*b.row])
			}
		case b.col == 1:
			for x := range k {
				r := b.data[s+x*b.row:]
				_ = r[1]
				d[x*microCols], d[x*microCols+1] = C(r[0]), C(r[1])
			}
		default:
			r0, r1 := b.data[s:s+k], b.data[s+b.col:s+b.col+k]
			for x, v := range r0 {
				d[x*microCols], d[x*microCols+1] = C(v), C(r1[x])
			}
		}
	}
}

func ceil(n, by int) int { return (n + by - 1) / by }
