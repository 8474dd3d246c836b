package trals

import (
	"math"
	"math/rand/v2"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
)

// core is a tensor [p, n, q] of a chain during fitting.
type core struct {
	p, n, q int
	v       []float64
}

// chain is a run of cores with two open ends: one side of a ring.
type chain []core

func (c chain) clone() chain {
	d := make(chain, len(c))
	for k, g := range c {
		d[k] = core{g.p, g.n, g.q, append([]float64(nil), g.v...)}
	}
	return d
}

// ends are the open bonds.
func (c chain) ends() (first, last int) { return c[0].p, c[len(c)-1].q }

func (c chain) modes() []int {
	m := make([]int, len(c))
	for k, g := range c {
		m[k] = g.n
	}
	return m
}

// merge contracts the chain to [∏n, first·last], or [∏n, last·first] if lastFirst.
func (c chain) merge(lastFirst bool) []float64 {
	shapes, data := make([][3]int, len(c)), make([][]float64, len(c))
	for k, g := range c {
		shapes[k], data[k] = [3]int{g.p, g.n, g.q}, g.v
	}
	return tensor.MergeChain(shapes, data, lastFirst)
}

// reversed is the chain read from its end: cores in reverse order, each with its bonds exchanged.
func (c chain) reversed() chain {
	r := make(chain, len(c))
	for k, g := range c {
		r[len(c)-1-k] = core{g.q, g.n, g.p, permute4(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 3, 2, 1})}
	}
	return r
}

// rightCanonical makes the rows of every core but the first, seen as [p, n·q], orthonormal, moving the factors to the left. The
// chain's tensor does not change.
func (c chain) rightCanonical(s *algebra) {
	for k := len(c) - 1; k > 0; k-- {
		if g := &c[k]; g.p <= g.n*g.q {
			s.orthonormalRows(g, &c[k-1])
		}
	}
}

// pushRight makes the columns of core k, seen as [p·n, q], orthonormal and moves the factor into the next core.
func (c chain) pushRight(k int, s *algebra) {
	if g := &c[k]; g.q <= g.p*g.n {
		s.orthonormalColumns(g, &c[k+1])
	}
}

// orthonormalRows makes the rows of g, seen as [p, n·q] with p ≤ n·q, orthonormal and moves the factor into h, the core before it.
func (s *algebra) orthonormalRows(g, h *core) {
	defer s.release(s.mark())
	rows := g.n * g.q
	x, r, v := s.take(len(g.v)), s.take(g.p*g.p), s.take(max(len(g.v), len(h.v)))
	gemm.Transpose(g.p, rows, g.v, rows, x, g.p)
	linalg.FastQR(rows, g.p, x, r, &s.chol, v)
	gemm.Transpose(rows, g.p, x, g.p, g.v, rows)
	gemm.F64(false, true, h.p*h.n, g.p, g.p, 1, h.v, g.p, r, g.p, 0, v, g.p)
	copy(h.v, v)
}

// orthonormalColumns makes the columns of g, seen as [p·n, q] with q ≤ p·n, orthonormal and moves the factor into h, the core after it.
func (s *algebra) orthonormalColumns(g, h *core) {
	defer s.release(s.mark())
	r, v := s.take(g.q*g.q), s.take(max(len(g.v), len(h.v)))
	linalg.FastQR(g.p*g.n, g.q, g.v, r, &s.chol, v)
	gemm.F64(false, false, g.q, h.n*h.q, g.q, 1, r, g.q, h.v, h.n*h.q, 0, v, h.n*h.q)
	copy(h.v, v)
}

// endSpread is the spread of pivots (see [linalg.Cholesky.Spread]) at an end of a chain from which the bond there is given another basis.
const endSpread = 1e4

// orthonormalEnds makes what a chain has at its ends orthonormal, the rows of its first core [p, n·q] and the columns of its last [p·n, q], and
// moves the factors into the chain that the ring goes on with, unless both ends are near that anyway. The ring's tensor does not
// change. It reports whether the chains did. Without it a bond with more states than the data need drifts to a basis of nearly parallel
// vectors, of which large multiples cancel.
func (c chain) orthonormalEnds(next chain, s *algebra) bool {
	moved := false
	if g := &c[0]; g.p <= g.n*g.q && s.parallelRows(g) {
		moved = true
		s.orthonormalRows(g, &next[len(next)-1])
	}
	if g := &c[len(c)-1]; g.q <= g.p*g.n && s.parallel(g.p*g.n, g.q, g.v) {
		moved = true
		s.orthonormalColumns(g, &next[0])
	}
	return moved
}

// parallelRows is parallel of the rows of g.
func (s *algebra) parallelRows(g *core) bool {
	defer s.release(s.mark())
	x, rows := s.take(len(g.v)), g.n*g.q
	gemm.Transpose(g.p, rows, g.v, rows, x, g.p)
	return s.parallel(rows, g.p, x)
}

// parallel reports that columns of x [m, n] of unit length would be too near each other's span.
func (s *algebra) parallel(m, n int, x []float64) bool {
	defer s.release(s.mark())
	gram := s.take(n * n)
	gemm.Gram64(true, n, m, x, n, gram, n)
	scale := s.take(n)
	for i := range n {
		scale[i] = math.Sqrt(gram[i*n+i])
		if scale[i] == 0 {
			return false
		}
	}
	for i := range n {
		for j := range n {
			gram[i*n+j] /= scale[i] * scale[j]
		}
	}
	return !s.chol.Factor(n, gram) || s.chol.Spread() > endSpread
}

// randomChain draws cores so that the merged elements have a variance near 1/√(∏ ranks).
func randomChain(r *rand.Rand, modes, ranks []int) chain {
	c := make(chain, len(modes))
	for k, n := range modes {
		g := core{ranks[k], n, ranks[k+1], make([]float64, ranks[k]*n*ranks[k+1])}
		for i := range g.v {
			g.v[i] = r.NormFloat64() / math.Sqrt(float64(g.p))
		}
		c[k] = g
	}
	return c
}

// splitChain is the TT-SVD of a side with open ends (Oseledets 2011, algorithm 1, with a first and a last bond that stay): side is
// [first, modes…, last]; ranks lists the bonds from first to last.
func splitChain(side []float64, modes, ranks []int) chain {
	c := make(chain, len(modes))
	rest := side
	last := ranks[len(modes)]
	for k, n := range modes {
		p := ranks[k]
		if k == len(modes)-1 {
			c[k] = core{p, n, last, rest}
			break
		}
		rows, cols := p*n, len(rest)/(p*n)
		q := ranks[k+1]
		have := min(q, rows, cols)
		u, vt, _ := linalg.TruncateDense(rows, cols, rest, have)
		if have < q { // more states than the data have: spare ones stay zero in the rest and get a direction in this core
			u, vt = widenBond(rows, cols, have, q, u, vt)
		}
		c[k] = core{p, n, q, u}
		rest = vt
	}
	return c
}

// widenBond adds unit columns to u [rows, have] and zero rows to vt [have, cols].
func widenBond(rows, cols, have, want int, u, vt []float64) (u2, vt2 []float64) {
	u2, vt2 = make([]float64, rows*want), make([]float64, want*cols)
	copy(vt2, vt)
	for i := range rows {
		copy(u2[i*want:], u[i*have:(i+1)*have])
	}
	for j := have; j < want; j++ {
		u2[(j%rows)*want+j] = 1
	}
	return u2, vt2
}
