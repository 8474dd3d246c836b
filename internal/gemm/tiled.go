package gemm

// microKernel adds to (add ≠ 0) or overwrites a block of C: alpha times the product of a block of A, whose element (i, x) is rs·i + ks·x behind
// a, and of k rows of B, bs apart. Distances are in elements, k ≥ 1. Of the last vector of columns only the first tail lanes are read and
// written.
type microKernel[C float] func(k int, a *C, rs, ks int, b *C, bs int, c *C, cs int, alpha C, tail, add int)

// block is the kernel for a number of rows.
type block[C float] struct {
	rows int
	run  microKernel[C]
}

// dots are the kernels that take inner products of a number of contiguous rows of A with four or one of Bᵀ.
type dots[C float] struct {
	rows int
	four func(k int, a *C, as int, b *C, bs int, c *C, cs int, alpha C, add int)
	one  func(k int, a *C, as int, b *C, bs int, c *C, cs int, alpha C, add int)
}

// axpy adds to (add ≠ 0) or overwrites n elements of a row of C: alpha times the sum of eight rows of B, or one, each times its x.
type axpy[C float] func(n int, x *C, xs int, b *C, bs int, c *C, alpha C, add int)

// tier is what a kind of processor offers for one element type.
type tier[C float] struct {
	lanes        int
	panel        int          // vectors of a column panel in wide matrices
	blocks       [][]block[C] // blocks[v−1] are the kernels of v vectors, largest first and the last of one row
	dots         []dots[C]    // largest first and the last of one row
	axpy8, axpy1 axpy[C]
	inner        func(n int, a, b *C) float64 // n a positive multiple of innerStep
	square       int
	transpose    func(k int, src *C, ss int, dst *C, ds int) // square rows of k elements, k a positive multiple of square
}

// Cache blocking, in elements. A panel of B of stepDepth rows stays in the first-level cache, a block of A in the second.
const (
	stepDepth  = 256
	blockElems = 96 << 10 // a block of A
	packElems  = 4 << 20  // all of the packed B that is held at once
	groupCols  = 512      // columns of C computed by one job
)

// tiling says how a product is cut. It depends on the shape of op(B) alone.
type tiling struct {
	panel int // columns of a panel of B
	depth int // k of one step
	rows  int // rows of C of one job
	cols  int // columns of C of one job
}

func (t *tier[C]) tiling(n, k int) tiling {
	vectors := ceil(n, t.lanes)
	g := tiling{panel: t.panel * t.lanes, depth: stepDepth}
	if vectors <= len(t.blocks) {
		g.panel = vectors * t.lanes
		g.depth = 2 * stepDepth
	}
	g.depth = ceil(k, ceil(k, g.depth))
	g.cols = max(groupCols/g.panel, 1) * g.panel
	tall := t.blocks[min(vectors, t.panel)-1][0].rows
	g.rows = max(blockElems/g.depth/tall, 1) * tall
	return g
}

// packed is op(B), or a range of it, cut into steps of k and panels of columns: each panel of a step is contiguous, its rows as long as the
// panel is wide.
type packed[C float] struct {
	data  []C
	width int // columns, a whole number of vectors
	k0    int // the range of k held
	depth int
	panel int
	in    bool // data are a matrix in place with rows width apart
}

// at is the start of the panel at column j of the step at k0 and the distance between its rows.
func (b *packed[C]) at(k0, k, j int) (*C, int) {
	if b.in {
		return &b.data[k0*b.width+j], b.width
	}
	return &b.data[(k0-b.k0)*b.width+j*k], min(b.panel, b.width-j)
}

// tiled computes C = alpha·A·B + C (or without C if add is 0) with the kernels of a tier; lower leaves most of what is above the diagonal
// undone.
func (p *product[A, B, C]) tiled(t *tier[C], lower bool) {
	g := t.tiling(p.n, p.k)
	if b, ok := any(p.b.data).([]C); ok && p.b.col == 1 && p.m <= 2*t.blocks[0][0].rows {
		p.tiledRange(t, g, &packed[C]{data: b, width: p.b.row, depth: g.depth, panel: g.panel, in: true}, 0, p.k, 0, p.n, lower)
		return
	}
	for j0 := 0; j0 < p.n; {
		cols := min(p.n-j0, 8*groupCols)
		width := ceil(cols, t.lanes) * t.lanes
		span := max(packElems/width/g.depth, 1) * g.depth
		for k0 := 0; k0 < p.k; k0 += span {
			k1 := min(k0+span, p.k)
			s := borrow[C]((k1 - k0) * width)
			b := &packed[C]{data: s.data, width: width, k0: k0, depth: g.depth, panel: g.panel}
			packPanels(t, b, p.b, k0, k1, j0, cols)
			p.tiledRange(t, g, b, k0, k1, j0, cols, lower)
			s.release()
		}
		j0 += cols
	}
}

// packPanels fills b with columns j0…j0+cols of rows k0…k1 of op(B).
func packPanels[B, C float](t *tier[C], b *packed[C], from view[B], k0, k1, j0, cols int) {
	across := ceil(cols, b.panel)
	parallel(ceil(k1-k0, b.depth)*across, (k1-k0)*cols*8, func() (func(int), func()) {
		return func(job int) {
			x0, j := k0+job/across*b.depth, job%across*b.panel
			k := min(b.depth, k1-x0)
			w := min(b.panel, b.width-j)
			at := (x0-k0)*b.width + j*k
			pack(t, b.data[at:at+k*w], w, from, x0, k, j0+j, min(w, cols-j))
		}, nothing
	})
}

// tiledRange adds the products of k0…k1 to columns j0…j0+cols of C.
func (p *product[A, B, C]) tiledRange(t *tier[C], g tiling, b *packed[C], k0, k1, j0, cols int, lower bool) {
	down, across := ceil(p.m, g.rows), ceil(cols, g.cols)
	parallel(down*across, p.m*cols*(k1-k0)/4, func() (func(int), func()) {
		w := borrow[C](0)
		return func(job int) {
			i0, j := job/across*g.rows, job%across*g.cols
			p.tiledJob(t, g, b, w, k0, k1, i0, min(i0+g.rows, p.m), j0, j, min(j+g.cols, cols), lower)
		}, w.release
	})
}

func (p *product[A, B, C]) tiledJob(t *tier[C], g tiling, b *packed[C], w *space[C], k0, k1, i0, i1, j0, first, last int, lower bool) {
	if lower && j0+first >= i1 {
		return
	}
	add := p.add
	if k0 > 0 {
		add = 1
	}
	same, ok := any(p.a.data).([]C)
	inPlace := ok && (p.a.col == 1 && last-first <= 2*g.panel || p.a.row == 1 && p.a.col <= 64)
	for x := k0; x < k1; x += g.depth {
		k := min(g.depth, k1-x)
		a, rs, ks := same, p.a.row, p.a.col
		switch {
		case inPlace:
			a = a[i0*rs+x*ks:]
		case p.a.col == 1:
			rs, ks = k+t.lanes, 1 // rows not a power of two apart
			a = w.grow((i1 - i0) * rs)
			pack(t, a, rs, p.a, i0, i1-i0, x, k)
		default:
			rs, ks = 1, i1-i0
			a = w.grow(k * ks)
			pack(t, a, ks, view[A]{p.a.data, p.a.col, p.a.row}, x, k, i0, i1-i0)
		}
		for j := first; j < last; j += g.panel {
			if lower && j0+j >= i1 {
				break
			}
			n := min(g.panel, last-j)
			vectors := ceil(n, t.lanes)
			tail := n - (vectors-1)*t.lanes
			bp, bs := b.at(x, k, j)
			blocks := t.blocks[vectors-1]
			for i := i0; i < i1; {
				for blocks[0].rows > i1-i {
					blocks = blocks[1:]
				}
				blocks[0].run(k, &a[(i-i0)*rs], rs, ks, bp, bs, &p.c[i*p.ldc+j0+j], p.ldc, p.alpha, tail, add)
				i += blocks[0].rows
			}
		}
		add = 1
	}
}
