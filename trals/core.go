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

// pairs is the number of pairs b ≤ b' of a bond. A transfer matrix X[x,x',b,b'] is symmetric under exchange of both pairs, so it is held as
// [x, x', pairs(b)], row after row of the upper triangle over (b,b').
func pairs(b int) int { return b * (b + 1) / 2 }

// gatherPairs sets out [x, x', pairs(b)] to the symmetric matrix m [x·b, x·b], what has b = b' times diagonal.
func gatherPairs(m []float64, x, b int, diagonal float64, out []float64) {
	at := 0
	for i := range x {
		for j := range x {
			for k := range b {
				from := (i*b+k)*x*b + j*b + k
				row, values := out[at:at+b-k], m[from:from+b-k]
				for l := range row {
					row[l] = values[l]
				}
				row[0] *= diagonal
				at += b - k
			}
		}
	}
}

// scatterPairs sets the symmetric matrix out [x·b, x·b] to m [x, x', pairs(b)].
func scatterPairs(m []float64, x, b int, out []float64) {
	xb := x * b
	for i := range x {
		for j := range x {
			for k := range b {
				row, column := out[(i*b+k)*xb+j*b:], out[(j*b+k)*xb+i*b+k:]
				for l := k; l < b; l++ {
					row[l] = m[0]
					column[(l-k)*xb] = m[0]
					m = m[1:]
				}
			}
		}
	}
}

// tailTransfer is E[p,p',b,b'] = Σ_n S[p,n,b]·S[p',n,b'] of the merged tail S of a chain; what has b = b' is multiplied by diagonal.
func tailTransfer(tail []float64, p, n, b int, diagonal float64, s *algebra) []float64 {
	out := s.take(p * p * pairs(b))
	defer s.release(s.mark())
	x := s.permuted(tail, [4]int{1, p, n, b}, [4]int{0, 1, 3, 2}) // [p, b, n]
	e := s.take(p * b * p * b)
	gemm.Gram64(false, p*b, n, x, n, e, p*b)
	gatherPairs(e, p, b, diagonal, out)
	return out
}

// transferLeft is E'[p,p',b,b'] = Σ_{n,q,q'} G[p,n,q]·G[p',n,q']·E[q,q',b,b'].
func transferLeft(g core, e []float64, b int, s *algebra) []float64 {
	cols := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 2, 3, 1}) // [n, q, p]
	return transfer(g.p, g.n, g.q, b, g.v, cols, e, s)
}

// transferRight is F'[q,q',b,b'] = Σ_{n,p,p'} G[p,n,q]·G[p',n,q']·F[p,p',b,b'].
func transferRight(g core, f []float64, b int, s *algebra) []float64 {
	rows := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 3, 2, 1}) // [q, n, p]
	cols := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 2, 1, 3}) // [n, p, q]
	return transfer(g.q, g.n, g.p, b, rows, cols, f, s)
}

// transfer is Y[x,x',b,b'] = Σ_{n,y,y'} H[x,n,y]·H[x',n,y']·F[y,y',b,b'], with rows H as [x, n, y] and cols H as [n, y, x].
func transfer(x, n, y, b int, rows, cols, f []float64, s *algebra) []float64 {
	bb := pairs(b)
	out := s.take(x * x * bb)
	defer s.release(s.mark())
	z := s.take(n * y * bb) // [n, y', B]
	for i := range x {
		gemm.F64(false, false, n, y*bb, y, 1, rows[i*n*y:], y, f, y*bb, 0, z, y*bb)
		gemm.F64(true, false, x, bb, n*y, 1, cols, x, z, bb, 0, out[i*x*bb:], bb)
	}
	return out
}

// transferCost is the number of multiplications of transfer.
func transferCost(x, n, y, b int) int { return x * n * y * (x + y) * pairs(b) }

// gramOf is the Gram of a core's least-squares problem, [p·q, p·q]. after is nil for the last core, whose bond q is b itself; else what it has
// for b = b' is halved.
func gramOf(g core, before, after []float64, b int, s *algebra) []float64 {
	pq := g.p * g.q
	gram := s.take(pq * pq)
	if after == nil {
		scatterPairs(before, g.p, b, gram)
		return gram
	}
	defer s.release(s.mark())
	pp, qq, bb := g.p*g.p, g.q*g.q, pairs(b)
	x := s.take(pp * qq)
	gemm.F64(false, true, pp, qq, bb, 1, before, bb, after, bb, 0, x, qq)
	half := s.permuted(x, [4]int{g.p, g.p, g.q, g.q}, [4]int{0, 2, 1, 3}) // of the pairs b ≤ b'; the others' is its transpose
	gemm.Transpose(pq, pq, half, pq, gram, pq)
	gemm.F64(false, false, 1, len(gram), 1, 1, []float64{1}, 1, half, len(half), 1, gram, len(gram))
	return gram
}

// mergedGram sets out to SᵀS [a·b, a·b] of a merged chain S = left·G: left [a, N, p] are the cores before the last one, G. spare is as large as
// left.
func mergedGram[T float](left, spare []T, a int, g core, out []float64, s *algebra) {
	defer s.release(s.mark())
	ap, n := a*g.p, len(left)/(a*g.p)
	h := s.take(ap * ap)
	permuteInto(spare, left, [4]int{1, a, n, g.p}, [4]int{0, 2, 1, 3})
	gramOfColumns(n, ap, spare, h)
	h = s.permuted(h, [4]int{a, g.p, a, g.p}, [4]int{0, 2, 1, 3})
	bb := pairs(g.q)
	x := s.take(a * a * bb)
	gemm.F64(false, false, a*a, bb, g.p*g.p, 1, h, g.p*g.p, tailTransfer(g.v, g.p, g.n, g.q, 1, s), bb, 0, x, bb)
	scatterPairs(x, a, g.q, out)
}

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

// solveCore minimises the quadratic of one core plus a proximal term λ‖G − G_old‖², which cannot raise it: (Gram + λ)·Δ = right −
// Gram·G_old. right is [p, n, q]. λ grows until the pivots' spread is small enough.
//
// Where the minimum is stronger than s.limit allows, and not much weaker than what was there, a ridge μ·Σ Gram[pq,pq]·‖G[p,:,q]‖² joins, and μ grows until the core is weak enough.
func solveCore(g *core, gram, right []float64, d damping, s *algebra) {
	defer s.release(s.mark())
	pq := g.p * g.q
	old := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 1, 3, 2}) // [p·q, n]
	residual := s.permuted(right, [4]int{1, g.p, g.n, g.q}, [4]int{0, 1, 3, 2})
	gemm.F64(false, false, pq, g.n, pq, -1, gram, pq, old, g.n, 1, residual, g.n)
	var mean float64
	for i := range pq {
		mean += gram[i*pq+i] / float64(pq)
	}
	if !(mean > 0) {
		return // the other cores are zero: every value of this one is as good
	}
	a, delta := s.take(len(gram)), s.take(len(old))
	limit := max(s.limit, strength(pq, g.n, gram, old)/100) // a start may be out of scale, and then comes down by itself
	ridge := 0.0
	for weight := d.weight; weight < 1e3; {
		copy(a, gram)
		copy(delta, residual)
		for i := range pq {
			on := ridge * gram[i*pq+i]
			a[i*pq+i] += weight*mean + on
			if on > 0 {
				row, was := delta[i*g.n:(i+1)*g.n], old[i*g.n:(i+1)*g.n]
				for n, v := range was {
					row[n] -= on * v
				}
			}
		}
		if !s.chol.Factor(pq, a) || s.chol.Spread() > d.spread {
			weight *= 30
			continue
		}
		s.chol.Solve(g.n, delta)
		for i, v := range old {
			delta[i] += v
		}
		if s.limit > 0 && ridge < 1 && strength(pq, g.n, gram, delta) > limit {
			ridge = max(30*ridge, firstRidge)
			continue
		}
		permuteInto(g.v, delta, [4]int{1, g.p, g.q, g.n}, [4]int{0, 1, 3, 2})
		return
	}
}

// firstRidge is the least ridge that is tried.
const firstRidge = 1e-12

// strength is Σ Gram[i,i]·‖x_i‖² of the rows of x [pq, n]: the squared norm of the tensor if the core's slices were orthogonal in it. How often it
// exceeds the tensor's own is how much rounding errors of the core are magnified.
func strength(pq, n int, gram, x []float64) float64 {
	var sum float64
	for i := range pq {
		row := x[i*n : (i+1)*n]
		sum += gram[i*pq+i] * dot(row, row)
	}
	return sum
}
