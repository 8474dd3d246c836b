package trals

import (
	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
)

// algebra is memory for what is as large as a Gram, and for its factors.
type algebra struct {
	scratch[float64]
	chol linalg.Cholesky

	limit float64 // of a core's strength; 0: none
}

// pairs is the number of pairs x ≤ x' of a bond. A transfer matrix X[x,x',y,y'] is symmetric under exchange of both pairs, so half of its rows
// say everything.
func pairs(x int) int { return x * (x + 1) / 2 }

// upperPairs is the rows (i,j), i ≤ j, of m [x², n].
func (s *algebra) upperPairs(m []float64, x, n int) []float64 {
	out := s.take(pairs(x) * n)
	at := 0
	for i := range x {
		at += copy(out[at:], m[(i*x+i)*n:(i+1)*x*n])
	}
	return out
}

// scatterPairs sets the blocks (i,j), i ≤ j, of out, p·q columns and rows ld apart, to m [pairs(p), q, q].
func scatterPairs(m []float64, p, q int, out []float64, ld int) {
	for i := range p {
		gemm.CopyBlocks(p-i, q, q, m, q*q, q, out[i*(q*ld+q):], q, ld)
		m = m[(p-i)*q*q:]
	}
}

// columnTransfer sets out to X[y,y',z,z'] = Σ_n S[n,y,z]·S[n,y',z'] of columns S [n, y·z].
func columnTransfer(columns []float64, n, y, z int, out []float64, s *algebra) {
	defer s.release(s.mark())
	x := s.take(len(out))
	gemm.Gram64(true, y*z, n, columns, y*z, x, y*z)
	permuteInto(out, x, [4]int{y, z, y, z}, [4]int{0, 2, 1, 3})
}

// tailTransfer is E[p,p',b,b'] = Σ_n S[p,n,b]·S[p',n,b'] of the merged tail S of a chain.
func tailTransfer(tail []float64, p, n, b int, s *algebra) []float64 {
	out := s.take(p * p * b * b)
	defer s.release(s.mark())
	columnTransfer(s.permuted(tail, [4]int{1, p, n, b}, [4]int{0, 2, 1, 3}), n, p, b, out, s)
	return out
}

// tailTransposed is tailTransfer as [b,b',p,p'].
func tailTransposed(tail []float64, p, n, b int, s *algebra) []float64 {
	out := s.take(p * p * b * b)
	defer s.release(s.mark())
	columnTransfer(s.permuted(tail, [4]int{1, p, n, b}, [4]int{0, 2, 3, 1}), n, b, p, out, s)
	return out
}

// headTransfer is H[p,p',a,a'] = Σ_N S[a,N,p]·S[a',N,p'] of the merged head S of a chain.
func headTransfer[T float](head []T, a, p int, w *scratch[T], s *algebra) []float64 {
	defer w.release(w.mark())
	out, n := s.take(p*p*a*a), len(head)/(a*p)
	defer s.release(s.mark())
	columnTransfer(widened(w.permuted(head, [4]int{1, a, n, p}, [4]int{0, 2, 3, 1}), &s.scratch), n, p, a, out, s)
	return out
}

// transferLeft is E'[p,p',b,b'] = Σ_{n,q,q'} G[p,n,q]·G[p',n,q']·E[q,q',b,b'].
func transferLeft(g core, e []float64, b int, s *algebra) []float64 {
	out := s.take(g.p * g.p * b * b)
	defer s.release(s.mark())
	cols := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 2, 3, 1}) // [n, q, p]
	transfer(g.p, g.n, g.q, b, g.v, cols, e, out, s)
	return out
}

// transferRight is F'[q,q',b,b'] = Σ_{n,p,p'} G[p,n,q]·G[p',n,q']·F[p,p',b,b'].
func transferRight(g core, f []float64, b int, s *algebra) []float64 {
	out := s.take(g.q * g.q * b * b)
	defer s.release(s.mark())
	rows := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 3, 2, 1}) // [q, n, p]
	cols := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 2, 1, 3}) // [n, p, q]
	transfer(g.q, g.n, g.p, b, rows, cols, f, out, s)
	return out
}

// transfer sets out to Y[x,x',b,b'] = Σ_{n,y,y'} H[x,n,y]·H[x',n,y']·F[y,y',b,b'], with rows H as [x, n, y] and cols H as [n, y, x].
func transfer(x, n, y, b int, rows, cols, f, out []float64, s *algebra) {
	bb := b * b
	z := s.take(n * y * bb) // [n, y', b, b']
	for i := range x {
		gemm.F64(false, false, n, y*bb, y, 1, rows[i*n*y:], y, f, y*bb, 0, z, y*bb)
		gemm.F64(true, false, i+1, bb, n*y, 1, cols, x, z, bb, 0, out[i*x*bb:], bb)
		for j := range i {
			gemm.Transpose(b, b, out[(i*x+j)*bb:], b, out[(j*x+i)*bb:], b)
		}
	}
}

// transferCost is the number of multiplications of transfer.
func transferCost(x, n, y, b int) int { return x * n * y * (y + (x+1)/2) * b * b }

// headPays reports that F is better contracted from H and M, of which H is needed for the merged chain's Gram, than from the F before it.
func (c chain) headPays() bool {
	a, b := c.ends()
	open, closed, states := 0, 0, 1 // states before core k
	for k := 1; k < len(c); k++ {
		g, h := c[k-1], c[k]
		states *= g.n
		whole := headCost(states, a, h.p)
		open += min(whole, transferCost(g.q, g.n, g.p, a)) + pairs(h.p)*a*a*b*b
		closed += transferCost(g.q, g.n, g.p, b)
		if k == len(c)-1 {
			closed += whole
		}
	}
	return open <= closed
}

// headCost is the number of multiplications of headTransfer.
func headCost(n, a, p int) int { return n * a * p * (a*p + 1) / 2 }

// damping is the proximal weight relative to the Gram's mean eigenvalue, and the spread of pivots from which it grows. It moves nothing
// that matters, and bounds what the rounding of T comes to in directions that the Gram hardly sees.
type damping struct{ weight, spread float64 }

// dampingOf is for T in float64 or float32.
func dampingOf[T float]() damping {
	if _, ok := any(T(0)).(float32); ok {
		return damping{1e-8, 1e8}
	}
	return damping{1e-10, 1e12}
}

// solveCore minimises the quadratic of one core plus a proximal term λ‖G − G_old‖², which cannot raise it: (Gram + λ)·G = right + λ·G_old.
// blocks [pairs(p), q²] are the Gram's blocks [q, q'] for p ≤ p', right is [p, n, q]. λ grows until the pivots' spread is small enough.
//
// Where the minimum is stronger than s.limit allows, and not much weaker than what was there, a ridge μ·Σ Gram[pq,pq]·‖G[p,:,q]‖² joins, and μ grows until the core is weak enough.
func solveCore(g *core, blocks, right []float64, d damping, s *algebra) {
	defer s.release(s.mark())
	pq, ld := g.p*g.q, g.p*g.q+g.n
	shape, swap := [4]int{1, g.p, g.n, g.q}, [4]int{0, 1, 3, 2}
	old, x := s.permuted(g.v, shape, swap), s.permuted(right, shape, swap) // [p·q, n]
	found := s.take(len(x))
	var mean, largest float64
	diagonal := s.take(pq)
	block := blocks
	for i := range g.p {
		for j := range g.q {
			v := block[j*(g.q+1)]
			diagonal[i*g.q+j] = v
			mean += v / float64(pq)
			largest = max(largest, v)
		}
		block = block[(g.p-i)*g.q*g.q:]
	}
	if !(mean > 0) {
		return // the other cores are zero: every value of this one is as good
	}
	a := s.take(pq * ld) // the Gram, and beside it what becomes G
	ridge := 0.0
	for weight := d.weight; weight < 1e3; {
		scatterPairs(blocks, g.p, g.q, a, ld)
		for i, v := range diagonal {
			a[i*ld+i] = v + weight*mean + ridge*v
			beside := a[i*ld+pq : (i+1)*ld]
			from, was := x[i*g.n:(i+1)*g.n], old[i*g.n:(i+1)*g.n]
			for n := range beside {
				beside[n] = from[n] + weight*mean*was[n]
			}
		}
		if !s.chol.FactorWith(pq, g.n, a) || s.chol.Spread() > d.spread {
			weight *= 30
			continue
		}
		s.chol.Back()
		gemm.CopyRows(pq, g.n, a[pq:], ld, found, g.n)
		// A start may be out of scale, and then comes down by itself.
		if s.limit > 0 && ridge < 1 && largest*gemm.Dot(found, found) > s.limit {
			if now := strength(diagonal, found); now > s.limit && now > strength(diagonal, old)/100 {
				ridge = max(30*ridge, firstRidge)
				continue
			}
		}
		permuteInto(g.v, found, [4]int{1, g.p, g.q, g.n}, swap)
		return
	}
}

// firstRidge is the least ridge that is tried.
const firstRidge = 1e-12

// strength is Σ diagonal[i]·‖x_i‖² of the rows of x, diagonal being the Gram's: the squared norm of the tensor if the core's slices were
// orthogonal in it. How often it exceeds the tensor's own is how much rounding errors of the core are magnified.
func strength(diagonal, x []float64) float64 {
	var sum float64
	n := len(x) / len(diagonal)
	for i, v := range diagonal {
		row := x[i*n : (i+1)*n]
		sum += v * dot(row, row)
	}
	return sum
}
