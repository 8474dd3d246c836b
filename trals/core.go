package trals

import (
	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
)

// lastTransfer is E[p,p',b,b'] = Σ_n G[p,n,b]·G[p',n,b'] of the last core.
func lastTransfer(g core, s *scratch[float64]) []float64 {
	out := s.take(g.p * g.p * g.q * g.q)
	defer s.release(s.mark())
	x := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 1, 3, 2}) // [p, b, n]
	e := s.take(len(out))
	gemm.Gram64(false, g.p*g.q, g.n, x, g.n, e, g.p*g.q)
	permuteInto(out, e, [4]int{g.p, g.q, g.p, g.q}, [4]int{0, 2, 1, 3})
	return out
}

// transferLeft is E'[p,p',b,b'] = Σ_{n,q,q'} G[p,n,q]·G[p',n,q']·E[q,q',b,b'], the matrix being symmetric under exchange of both pairs.
func transferLeft(g core, e []float64, b int, s *scratch[float64]) []float64 {
	cols := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 2, 3, 1}) // [n, q, p]
	return transfer(g.p, g.n, g.q, b, g.v, cols, e, s)
}

// transferRight is F'[q,q',b,b'] = Σ_{n,p,p'} G[p,n,q]·G[p',n,q']·F[p,p',b,b'].
func transferRight(g core, f []float64, b int, s *scratch[float64]) []float64 {
	rows := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 3, 2, 1}) // [q, n, p]
	cols := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 2, 1, 3}) // [n, p, q]
	return transfer(g.q, g.n, g.p, b, rows, cols, f, s)
}

// transfer is Y[x,x',b,b'] = Σ_{n,y,y'} H[x,n,y]·H[x',n,y']·F[y,y',b,b'], with rows H as [x, n, y] and cols H as [n, y, x]. Of Y, x' ≤ x is
// computed and the rest mirrored.
func transfer(x, n, y, b int, rows, cols, f []float64, s *scratch[float64]) []float64 {
	bb := b * b
	out := s.take(x * x * bb)
	defer s.release(s.mark())
	z := s.take(x * n * y * bb) // [x, n, y', B]
	gemm.F64(false, false, x*n, y*bb, y, 1, rows, y, f, y*bb, 0, z, y*bb)
	for i := range x {
		gemm.F64(true, false, i+1, bb, n*y, 1, cols, x, z[i*n*y*bb:], bb, 0, out[i*x*bb:], bb)
		for j := range i {
			transposeInto(out[(j*x+i)*bb:(j*x+i+1)*bb], out[(i*x+j)*bb:], b, b)
		}
	}
	return out
}

// transposeInto sets to to the transpose of from [rows, cols].
func transposeInto(to, from []float64, rows, cols int) {
	for i := range rows {
		for j, v := range from[i*cols : (i+1)*cols] {
			to[j*rows+i] = v
		}
	}
}

// gramOf is the Gram of a core's least-squares problem, [p·q, p·q]. after is nil for the last core, whose bond q is b itself. Of the
// sums over (b, b'), p' ≤ p is computed and the rest mirrored.
func gramOf(g core, before, after []float64, b int, s *scratch[float64]) []float64 {
	if after == nil {
		return s.permuted(before, [4]int{g.p, g.p, g.q, g.q}, [4]int{0, 2, 1, 3})
	}
	bb, qq, pq := b*b, g.q*g.q, g.p*g.q
	gram := s.take(pq * pq)
	defer s.release(s.mark())
	half := s.take(g.p * (g.p + 1) / 2 * bb)[:0]
	for p := range g.p {
		half = append(half, before[p*g.p*bb:(p*g.p+p+1)*bb]...)
	}
	x := s.take(len(half) / bb * qq)
	gemm.F64(false, true, len(half)/bb, qq, bb, 1, half, bb, after, bb, 0, x, qq)
	at := 0
	for p := range g.p {
		for other := range p + 1 {
			for q := range g.q {
				row := x[at : at+g.q]
				copy(gram[(p*g.q+q)*pq+other*g.q:], row)
				for r, v := range row {
					gram[(other*g.q+r)*pq+p*g.q+q] = v
				}
				at += g.q
			}
		}
	}
	return gram
}

// mergedGram sets out to SᵀS [a·b, a·b] of a merged chain S = left·G: left [N, a, p] are the cores before the last one, G.
func mergedGram[T float](left []T, a int, g core, out []float64, s *scratch[float64]) {
	defer s.release(s.mark())
	ap, b := a*g.p, g.q
	h := s.take(ap * ap)
	gramOfColumns(len(left)/ap, ap, left, h)
	h = s.permuted(h, [4]int{a, g.p, a, g.p}, [4]int{0, 2, 1, 3})
	x := s.take(len(out))
	gemm.F64(false, false, a*a, b*b, g.p*g.p, 1, h, g.p*g.p, lastTransfer(g, s), b*b, 0, x, b*b)
	permuteInto(out, x, [4]int{a, a, b, b}, [4]int{0, 2, 1, 3})
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
func solveCore(g *core, gram, right []float64, d damping, s *scratch[float64]) {
	defer s.release(s.mark())
	pq := g.p * g.q
	old := s.permuted(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 1, 3, 2}) // [p·q, n]
	delta := s.permuted(right, [4]int{1, g.p, g.n, g.q}, [4]int{0, 1, 3, 2})
	gemm.F64(false, false, pq, g.n, pq, -1, gram, pq, old, g.n, 1, delta, g.n)
	var mean float64
	for i := range pq {
		mean += gram[i*pq+i] / float64(pq)
	}
	if !(mean > 0) {
		return // the other cores are zero: every value of this one is as good
	}
	a := s.take(len(gram))
	for weight := d.weight; weight < 1e3; weight *= 30 {
		copy(a, gram)
		for i := range pq {
			a[i*pq+i] += weight * mean
		}
		if f, ok := linalg.NewCholesky(pq, a); ok && f.Spread() <= d.spread {
			f.Solve(g.n, delta)
			for i, v := range delta {
				old[i] += v
			}
			permuteInto(g.v, old, [4]int{1, g.p, g.q, g.n}, [4]int{0, 1, 3, 2})
			return
		}
	}
}
