package trals

import "github.com/trconvert/trconvert/internal/gemm"

// float is the type of what is as large as a side of the matrix.
type float interface{ float32 | float64 }

// scratch hands out memory that lasts until it is released, last first, and is used again by the next sweep. Its zero value is ready.
type scratch[T float] struct {
	data []T
	used int
	most int // that was ever in use
}

// take returns n elements that may hold anything.
func (s *scratch[T]) take(n int) []T {
	at := s.used
	s.used += (n + lineElements - 1) / lineElements * lineElements
	s.most = max(s.most, s.used)
	if s.used > len(s.data) {
		return make([]T, n)
	}
	return s.data[at : at+n : at+n]
}

// lineElements keeps what is taken at the start of a cache line.
const lineElements = 16

func (s *scratch[T]) mark() int { return s.used }

func (s *scratch[T]) release(mark int) {
	s.used = mark
	if mark == 0 && s.most > len(s.data) {
		s.data = make([]T, s.most)
	}
}

// permuted is permute4 into the scratch memory.
func (s *scratch[T]) permuted(x []T, dims, perm [4]int) []T {
	out := s.take(len(x))
	permuteInto(out, x, dims, perm)
	return out
}

// transposed is xᵀ [n, m] of x [m, n].
func (s *scratch[T]) transposed(m, n int, x []T) []T {
	out := s.take(len(x))
	gemm.Transpose(m, n, x, n, out, m)
	return out
}

// narrowed is x in type T.
func (s *scratch[T]) narrowed(x []float64) []T {
	if y, ok := any(x).([]T); ok {
		return y
	}
	y := s.take(len(x))
	for i, v := range x {
		y[i] = T(v)
	}
	return y
}

// rounded is x in type T, to which x is rounded as well.
func (s *scratch[T]) rounded(x []float64) []T {
	if y, ok := any(x).([]T); ok {
		return y
	}
	y := s.take(len(x))
	for i, v := range x {
		y[i] = T(v)
		x[i] = float64(y[i])
	}
	return y
}

// widened is x in float64.
func widened[T float](x []T, s *scratch[float64]) []float64 {
	switch x := any(x).(type) {
	case []float64:
		return x
	case []float32:
		y := s.take(len(x))
		gemm.Widen(y, x)
		return y
	}
	return nil
}

// permute4 returns x [dims] with its axes in the order perm.
func permute4[T float](x []T, dims, perm [4]int) []T {
	if perm == [4]int{0, 1, 2, 3} {
		return x
	}
	out := make([]T, len(x))
	permuteInto(out, x, dims, perm)
	return out
}

// nearRows is the number of rows of each block that permuteInto copies before it goes to the next block.
const nearRows = 64

// permuteInto sets out to x [dims] with its axes in the order perm.
func permuteInto[T float](out, x []T, dims, perm [4]int) {
	stride := [4]int{dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1}
	var n, s [4]int
	for k, p := range perm {
		n[k], s[k] = dims[p], stride[p]
	}
	if perm == [4]int{0, 2, 3, 1} || perm == [4]int{0, 3, 1, 2} { // a matrix transposed, or several
		rows, cols := n[3], n[1]*n[2]
		if perm[1] == 3 {
			rows, cols = n[2]*n[3], n[1]
		}
		for i := range n[0] {
			gemm.Transpose(rows, cols, x[i*s[0]:], cols, out[i*s[0]:], rows)
		}
		return
	}
	row, block := n[3], n[2]*n[3]
	for i := range n[0] {
		from, at := i*s[0], i*n[1]*block
		switch 1 { // the axis along which x is contiguous
		case s[3]:
			// Rows that lie far apart are gathered for a while only, so that the lines they share with others stay close by.
			if n[1] > n[2] {
				for j := 0; j < n[1]; j += nearRows {
					gemm.CopyBlocks(n[2], min(nearRows, n[1]-j), row, x[from+j*s[1]:], s[2], s[1], out[at+j*block:], row, block)
				}
			} else {
				for j := 0; j < n[2]; j += nearRows {
					gemm.CopyBlocks(n[1], min(nearRows, n[2]-j), row, x[from+j*s[2]:], s[1], s[2], out[at+j*row:], block, row)
				}
			}
		case s[2]:
			for j := range n[1] {
				gemm.Transpose(row, n[2], x[from+j*s[1]:], s[3], out[at+j*block:], row)
			}
		case s[1]:
			for j := range n[2] {
				gemm.Transpose(row, n[1], x[from+j*s[2]:], s[3], out[at+j*row:], block)
			}
		default:
			for j := range block * n[1] {
				out[at+j] = x[from+j/block*s[1]+j%block/row*s[2]+j%row*s[3]]
			}
		}
	}
}

// mergeChain sets out to the chain contracted to [∏n, a·b], or [∏n, b·a] if lastFirst.
func mergeChain[T float](c chain, lastFirst bool, out []T, w *scratch[T]) {
	defer w.release(w.mark())
	a, b := c.ends()
	x, rows := w.narrowed(c[0].v), c[0].n // [a, rows, q]
	for _, g := range c[1:] {
		y := w.take(a * rows * g.n * g.q)
		gemm.Mul(false, false, a*rows, g.n*g.q, g.p, 1, x, g.p, w.narrowed(g.v), g.n*g.q, 0, y, g.n*g.q)
		x, rows = y, rows*g.n
	}
	perm := [4]int{0, 2, 1, 3}
	if lastFirst {
		perm = [4]int{0, 2, 3, 1}
	}
	permuteInto(out, x, [4]int{1, a, rows, b}, perm)
}
