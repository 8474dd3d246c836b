package gemm

import "unsafe"

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
	ahead, below []block[C]   // the last of blocks, fetching columns and rows of A in place; nil if there are none
	dots         []dots[C]    // largest first and the last of one row
	axpy8, axpy1 axpy[C]
	inner        func(n int, a, b *C) float64 // n a positive multiple of innerStep
	square       int
	transpose    func(n, k int, src *C, ss int, dst *C, ds int) // n times square rows of k elements, k a positive multiple of square
}

// Cache blocking. A panel of B of stepDepth rows stays in the first-level cache, a block of A in the second, and what is packed of B close by.
// Jobs are as large as that allows, but smaller where there would be too few of them to share.
const (
	stepDepth  = 256       // elements of k
	blockBytes = 384 << 10 // a block of A
	packBytes  = 1 << 20   // packed B that is held at once
	groupCols  = 1024      // columns of C that one job computes
	fewestJobs = 6
	fewestRows = 96  // of a job that is made smaller
	fewestCols = 128 // likewise
)

// columnDepth is stepDepth where lines of A come from the second-level cache for each k: a panel of B then stays in the first, even where it is as wide
// as there are kernels for.
const columnDepth = 128

// packed is op(B), or a range of it, cut into steps of k and panels of columns: each panel of a step is contiguous, its rows as long as the
// panel is wide.
type packed[C float] struct {
	data  []C
	width int  // columns, a whole number of vectors
	k0    int  // first row held
	depth int  // rows of a step
	panel int  // columns of a panel
	in    bool // data are a matrix in place with rows width apart
}

// layout chooses the panels and steps for a shape of op(B).
func (t *tier[C]) layout(n, k int) packed[C] {
	b := packed[C]{panel: t.panel * t.lanes, depth: stepDepth}
	if vectors := ceil(n, t.lanes); vectors <= len(t.blocks) {
		b.panel = vectors * t.lanes
		b.depth = 2 * stepDepth // C is narrow: fewer passes over it
	}
	b.depth = ceil(k, ceil(k, b.depth))
	return b
}

// layoutOf is layout for op(B), given op(A).
func (p *product[A, B, C]) layoutOf(t *tier[C]) packed[C] {
	b := t.layout(p.n, p.k)
	if p.fetchesColumns(t, &b) {
		b.depth = ceil(p.k, ceil(p.k, columnDepth))
	}
	return b
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
	if p.k >= 2*splitDepth && p.m*p.n <= pieceElems {
		p.tiledPieces(t)
		return
	}
	b := p.layoutOf(t)
	if data, ok := p.bInPlace(t); ok {
		b.data, b.width, b.in = data, p.b.row, true
		p.tiledRange(t, &b, 0, p.k, 0, p.n, lower)
		return
	}
	for j0 := 0; j0 < p.n; {
		cols := min(p.n-j0, 4*groupCols)
		b.width = ceil(cols, t.lanes) * t.lanes
		span := max(packBytes/int(unsafe.Sizeof(C(0)))/b.width/b.depth, 1) * b.depth
		for b.k0 = 0; b.k0 < p.k; b.k0 += span {
			k1 := min(b.k0+span, p.k)
			s := borrow[C]((k1 - b.k0) * b.width)
			b.data = s.data
			packPanels(t, &b, p.b, b.k0, k1, j0, cols, p.work())
			p.tiledRange(t, &b, b.k0, k1, j0, cols, lower)
			s.release()
		}
		j0 += cols
	}
}

// tiledAlone is tiled for what is too small to share: it runs in this goroutine and leaves nothing on the heap.
func (p *product[A, B, C]) tiledAlone(t *tier[C], lower bool) {
	if a, b, ok := p.closeBy(t); ok {
		p.panels(t, &b, a, p.a.row, p.a.col, p.k, 0, 0, p.m, 0, 0, p.n, p.add, lower, nil)
		return
	}
	b := p.layoutOf(t)
	if data, ok := p.bInPlace(t); ok {
		b.data, b.width, b.in = data, p.b.row, true
	} else {
		b.width = ceil(p.n, t.lanes) * t.lanes
		s := borrow[C](p.k * b.width)
		defer s.release()
		b.data = s.data
		for job := range ceil(p.k, b.depth) * ceil(p.n, b.panel) {
			packPanel(t, &b, p.b, 0, p.k, 0, p.n, job)
		}
	}
	if way := p.wayOf(t, &b, p.m, p.n); way.inPlace != nil && p.k <= b.depth {
		for i := 0; i < p.m; i += way.rows {
			p.panels(t, &b, way.inPlace[i*p.a.row:], p.a.row, p.a.col, p.k, 0, i, min(i+way.rows, p.m), 0, 0, p.n, p.add, lower, way.blocks)
		}
		return
	}
	w := borrow[C](0)
	defer w.release()
	rows := t.blockRows(&b)
	for i := 0; i < p.m; i += rows {
		p.tiledJob(t, &b, w, 0, p.k, i, min(i+rows, p.m), 0, 0, p.n, lower)
	}
}

// closeBy returns A and B as they lie if B is all within the first-level cache and A's elements are close together: nothing is gained by moving
// them then, and choosing a way would cost as much as the product.
func (p *product[A, B, C]) closeBy(t *tier[C]) (a []C, b packed[C], ok bool) {
	a, okA := any(p.a.data).([]C)
	data, okB := any(p.b.data).([]C)
	if !okA || !okB || p.b.col != 1 || p.k*p.b.row*int(unsafe.Sizeof(C(0))) > closeBytes || p.a.col != 1 && (p.a.row != 1 || p.a.col > nearColumns) {
		return nil, b, false
	}
	b = packed[C]{data: data, width: p.b.row, depth: p.k, panel: t.panel * t.lanes, in: true}
	if most := len(t.blocks); p.n <= most*t.lanes || p.m <= t.blocks[most-1][0].rows {
		b.panel = most * t.lanes
	}
	return a, b, true
}

// closeBytes is the size of a B that is close by.
const closeBytes = 32 << 10

// blockRows is the number of rows of A that fill a block.
func (t *tier[C]) blockRows(b *packed[C]) int {
	tall := t.tall(b)
	return max(blockBytes/int(unsafe.Sizeof(C(0)))/b.depth/tall, 1) * tall
}

// bInPlace returns B if a copy of it would cost more than it saves: elements of C's type, contiguous rows, and few rows of A, or a single panel as
// a copy would be, or one that the first-level cache holds as it lies there.
func (p *product[A, B, C]) bInPlace(t *tier[C]) ([]C, bool) {
	b, ok := any(p.b.data).([]C)
	if !ok || p.b.col != 1 {
		return nil, false
	}
	if p.b.row == p.n && p.n%t.lanes == 0 && p.n <= len(t.blocks)*t.lanes {
		return b, true
	}
	stride := p.b.row * int(unsafe.Sizeof(C(0)))
	sets := cachePeriod / (stride & -stride) // that the rows of a column share
	return b, p.m <= 2*t.blocks[0][0].rows || p.k <= cacheWays*max(sets, 1) && p.k <= inPlaceDepth && p.k*stride <= inPlaceBytes
}

// What a first-level cache of 32 KiB in 8 ways holds of a matrix in place: addresses a multiple of cachePeriod apart compete for cacheWays
// lines.
const (
	cachePeriod  = 4096
	cacheWays    = 8
	inPlaceDepth = 128
	inPlaceBytes = 256 << 10 // spread over no more pages than have their addresses at hand
)

// work is what parallel weighs, 0 where the caller runs on many goroutines already.
func (p *product[A, B, C]) work() int {
	if p.serial {
		return 0
	}
	return p.m * p.n * p.k / vectorWork
}

// shared says whether tiled is to be preferred to tiledAlone. Their sums are the same where a single step takes all of k; elsewhere the choice must not depend
// on who is awake.
func (p *product[A, B, C]) shared() bool {
	if p.k <= columnDepth {
		return shares(p.work())
	}
	return p.work() >= leastWork
}

// pieceElems is the size of C up to which deep products are cut along k.
const pieceElems = 1 << 14

// tiledPieces cuts k into fixed pieces, computes each into its own buffer and adds them in order.
func (p *product[A, B, C]) tiledPieces(t *tier[C]) {
	pieces, size := ceil(p.k, splitDepth), p.m*p.n
	s := borrow[C](pieces * size)
	defer s.release()
	parallel(pieces, p.work(), func() (func(int), func()) {
		return func(i int) {
			q := *p
			k0 := i * splitDepth
			q.k = min(splitDepth, p.k-k0)
			q.a.data, q.b.data = p.a.data[k0*p.a.col:], p.b.data[k0*p.b.row:]
			q.c, q.ldc, q.add, q.serial = s.data[i*size:], p.n, 0, true
			q.tiled(t, false)
		}, nothing
	})
	first := 0
	if p.add == 0 {
		for i := range p.m {
			copy(p.c[i*p.ldc:i*p.ldc+p.n], s.data[i*p.n:])
		}
		first = 1
	}
	for piece := first; piece < pieces; piece++ {
		for i := range p.m {
			row, part := p.c[i*p.ldc:i*p.ldc+p.n], s.data[piece*size+i*p.n:]
			for j := range row {
				row[j] += part[j]
			}
		}
	}
}

// packPanels fills b with columns j0…j0+cols of rows k0…k1 of op(B).
func packPanels[B, C float](t *tier[C], b *packed[C], from view[B], k0, k1, j0, cols, work int) {
	across := ceil(cols, b.panel)
	parallel(ceil(k1-k0, b.depth)*across, min(work, (k1-k0)*cols*8), func() (func(int), func()) {
		return func(job int) { packPanel(t, b, from, k0, k1, j0, cols, job) }, nothing
	})
}

// packPanel does one job of packPanels.
func packPanel[B, C float](t *tier[C], b *packed[C], from view[B], k0, k1, j0, cols, job int) {
	across := ceil(cols, b.panel)
	x0, j := k0+job/across*b.depth, job%across*b.panel
	k := min(b.depth, k1-x0)
	w := min(b.panel, b.width-j)
	at := (x0-k0)*b.width + j*k
	pack(t, b.data[at:at+k*w], w, from, x0, k, j0+j, min(w, cols-j))
}

// tiledRange adds the products of k0…k1 to columns j0…j0+cols of C.
func (p *product[A, B, C]) tiledRange(t *tier[C], b *packed[C], k0, k1, j0, cols int, lower bool) {
	tall := t.tall(b)
	rows := min(t.blockRows(b), max(ceil(p.m, fewestJobs), fewestRows))
	down := ceil(p.m, rows)
	rows = ceil(ceil(p.m, down), tall) * tall
	down = ceil(p.m, rows)
	group := min(groupCols, max(ceil(cols, ceil(fewestJobs, down)), fewestCols))
	group = ceil(group, b.panel) * b.panel
	across := ceil(cols, group)
	parallel(down*across, min(p.work(), p.m*cols*(k1-k0)/vectorWork), func() (func(int), func()) {
		w := borrow[C](0)
		return func(job int) {
			i0, j := job/across*rows, job%across*group
			p.tiledJob(t, b, w, k0, k1, i0, min(i0+rows, p.m), j0, j, min(j+group, cols), lower)
		}, w.release
	})
}

// tiledJob adds the products of k0…k1 to rows i0…i1, columns j0+first…j0+last of C.
func (p *product[A, B, C]) tiledJob(t *tier[C], b *packed[C], w *space[C], k0, k1, i0, i1, j0, first, last int, lower bool) {
	if lower && j0+first >= i1 {
		return
	}
	add := p.add
	if k0 > 0 {
		add = 1
	}
	way := p.wayOf(t, b, i1-i0, last-first)
	for x := k0; x < k1; x += b.depth {
		k := min(b.depth, k1-x)
		block, rs, ks := way.inPlace, p.a.row, p.a.col
		switch {
		case block != nil:
			block = block[i0*rs+x*ks:]
		case p.a.col == 1:
			rs, ks = k+t.lanes, 1 // rows not a power of two apart
			block = w.grow((i1 - i0) * rs)
			pack(t, block, rs, p.a, i0, i1-i0, x, k)
		default:
			rs, ks = 1, i1-i0
			block = w.grow(k * ks)
			pack(t, block, ks, p.a.transposed(), x, k, i0, i1-i0)
		}
		for i := i0; i < i1; i += way.rows {
			p.panels(t, b, block[(i-i0)*rs:], rs, ks, k, x, i, min(i+way.rows, i1), j0, first, last, add, lower, way.blocks)
		}
		add = 1
	}
}

// panels adds the products of k rows of B from x on to rows i0…i1, columns j0+first…j0+last of C; a is row i0 of A.
func (p *product[A, B, C]) panels(t *tier[C], b *packed[C], a []C, rs, ks, k, x, i0, i1, j0, first, last, add int, lower bool, fetching []block[C]) {
	for j := first; j < last; j += b.panel {
		if lower && j0+j >= i1 {
			return
		}
		n := min(b.panel, last-j)
		vectors := ceil(n, t.lanes)
		tail := n - (vectors-1)*t.lanes
		bp, bs := b.at(x, k, j)
		blocks := t.blocks[vectors-1]
		if fetching != nil && vectors == len(t.blocks) {
			blocks = fetching
		}
		i := i0
		if lower && j0+j > i0 { // blocks that end above the diagonal
			i += (j0 + j - i0) / blocks[0].rows * blocks[0].rows
		}
		for i < i1 {
			for blocks[0].rows > i1-i {
				blocks = blocks[1:]
			}
			blocks[0].run(k, &a[(i-i0)*rs], rs, ks, bp, bs, &p.c[i*p.ldc+j0+j], p.ldc, p.alpha, tail, add)
			i += blocks[0].rows
		}
	}
}

// way is how a job goes through A.
type way[C float] struct {
	inPlace []C        // A, or nil if its blocks are copied
	rows    int        // that are taken through all panels of B at a time
	blocks  []block[C] // kernels that fetch it, for panels as wide as theirs; nil for those that do not
}

// wayOf chooses the way of a job of so many rows and columns of C. Only elements of C's type stay in place. Rows do unless they meet in the same
// sets of a cache; those are taken a few at a time if all the panels stay close by. Columns do where they are close together, or where
// one panel is all there is and there are kernels for them.
func (p *product[A, B, C]) wayOf(t *tier[C], b *packed[C], rows, cols int) way[C] {
	a, ok := any(p.a.data).([]C)
	copied, whole := way[C]{rows: rows}, way[C]{inPlace: a, rows: rows}
	switch size := int(unsafe.Sizeof(C(0))); {
	case !ok:
		return copied
	case p.a.col != 1 && p.a.row != 1:
		return copied
	case p.a.col != 1 && p.a.col <= nearColumns:
		return whole
	case p.fetchesColumns(t, b):
		whole.blocks = t.ahead
		return whole
	case p.a.col != 1:
		return copied
	case p.a.row*size%cachePeriod != 0 || ceil(cols, b.panel)*t.tall(b) <= 24:
		if p.a.row*size >= fetchStride {
			whole.blocks = t.below
		}
		return whole
	case cols*b.depth*size > inPlaceB:
		return copied
	}
	whole.rows = t.tall(b)
	return whole
}

// nearColumns is the distance of columns, in elements, up to which they stay in place without being fetched.
const nearColumns = 128

// fetchesColumns reports that columns of A, far apart, are multiplied in place by the kernels that fetch them.
func (p *product[A, B, C]) fetchesColumns(t *tier[C], b *packed[C]) bool {
	_, same := any(p.a.data).([]C)
	return same && t.ahead != nil && p.a.row == 1 && p.a.col > nearColumns && b.panel == len(t.blocks)*t.lanes
}

// fetchStride is the distance of rows, in bytes, from which those below are fetched.
const fetchStride = 1024

// inPlaceB is the part of the second-level cache that a step of B may take up.
const inPlaceB = 512 << 10

// tall is the number of rows of the largest kernel for b's panels.
func (t *tier[C]) tall(b *packed[C]) int { return t.blocks[b.panel/t.lanes-1][0].rows }
