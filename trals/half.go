package trals

import (
	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
)

// update makes one exact Gauss–Seidel pass over the cores of a chain, first to last. With S [N, a·b] the merged chain, it lowers
//
//	f(S) = ⟨S·M, S⟩ − 2⟨T, S⟩,   T [N, a·b],   M [a·b, a·b] positive semidefinite,
//
// which is ‖W − S·Oᵀ‖² less a constant when T = W·O and M = OᵀO for the other side O. Every core update is a linear least-squares
// problem whose Gram is the same for all slices of the core; it comes from transfer matrices:
//
//	F_k[p,p',b,b'] = the cores before k and M,   E_k[q,q',b,b'] = the cores after k,   Gram_k = Σ_{b,b'} F_k·E_k.
//
// f does not rise. The cores end left-orthonormal except for the last.
func (c chain) update(t, m []float64) {
	a, b := c.ends()
	if a < b { // the bond b stays open in F and E: carry the smaller one
		r := c.reversed()
		r.update(reverseModes(t, c.modes(), a, b), permute4(m, [4]int{a, b, a, b}, [4]int{1, 0, 3, 2}))
		copy(c, r.reversed())
		return
	}
	c.rightCanonical()
	last := len(c) - 1

	// After[k] is E_k; partial[k] is T contracted with the cores after k, [N before k, a, n_k, q_k].
	after, partial := make([][]float64, len(c)), make([][]float64, len(c))
	n := c[last].n
	partial[last] = permute4(t, [4]int{len(t) / (n * a * b), n, a, b}, [4]int{0, 2, 1, 3})
	for k := last; k > 0; k-- {
		g := c[k]
		if k == last {
			after[k-1] = lastTransfer(g)
		} else {
			after[k-1] = transferLeft(g, after[k], b)
		}
		rows := len(partial[k]) / (g.n * g.q)
		x := make([]float64, rows*g.p)
		gemm.F64(false, true, rows, g.p, g.n*g.q, 1, partial[k], g.n*g.q, g.v, g.n*g.q, 0, x, g.p)
		n := c[k-1].n
		partial[k-1] = permute4(x, [4]int{rows / (n * a), n, a, g.p}, [4]int{0, 2, 1, 3})
	}

	before := permute4(m, [4]int{a, b, a, b}, [4]int{0, 2, 1, 3}) // F_0[a,a',b,b']
	var left []float64                                            // cores before k, [N before k, a, p]
	for k := range c {
		g := &c[k]
		right := partial[k] // for the first core a and p are the same bond
		if k > 0 {
			rows := len(partial[k]) / (g.n * g.q)
			right = make([]float64, g.p*g.n*g.q)
			gemm.F64(true, false, g.p, g.n*g.q, rows, 1, left, g.p, partial[k], g.n*g.q, 0, right, g.n*g.q)
		}
		solveCore(g, gramOf(*g, before, after[k], b), right)
		partial[k] = nil
		if k == last {
			return
		}
		c.pushRight(k)
		if k == 0 {
			left = permute4(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 2, 1, 3})
		} else {
			rows := len(left) / g.p
			x := make([]float64, rows*g.n*g.q)
			gemm.F64(false, false, rows, g.n*g.q, g.p, 1, left, g.p, g.v, g.n*g.q, 0, x, g.n*g.q)
			left = permute4(x, [4]int{rows / a, a, g.n, g.q}, [4]int{0, 2, 1, 3})
		}
		before = transferRight(*g, before, b)
	}
}

// reverseModes turns T [n_1…n_d, a, b] into [n_d…n_1, b, a].
func reverseModes(t []float64, modes []int, a, b int) []float64 {
	n := len(t) / (a * b)
	out := make([]float64, len(t))
	for i := range n {
		j, x := 0, i
		for k := len(modes) - 1; k >= 0; k-- { // digits of i, last first, are the digits of j, first first
			j, x = j*modes[k]+x%modes[k], x/modes[k]
		}
		from, to := t[i*a*b:(i+1)*a*b], out[j*a*b:(j+1)*a*b]
		for y := range a {
			for z := range b {
				to[z*a+y] = from[y*b+z]
			}
		}
	}
	return out
}

// lastTransfer is E[p,p',b,b'] = Σ_n G[p,n,b]·G[p',n,b'] of the last core.
func lastTransfer(g core) []float64 {
	x := permute4(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 1, 3, 2}) // [p, b, n]
	e := make([]float64, g.p*g.q*g.p*g.q)
	gemm.Gram64(false, g.p*g.q, g.n, x, g.n, e, g.p*g.q)
	return permute4(e, [4]int{g.p, g.q, g.p, g.q}, [4]int{0, 2, 1, 3})
}

// transferLeft is E'[p,p',B] = Σ_{n,q,q'} G[p,n,q]·G[p',n,q']·E[q,q',B], B running over (b, b').
func transferLeft(g core, e []float64, b int) []float64 {
	bb := b * b
	out, z := make([]float64, g.p*g.p*bb), make([]float64, g.p*g.q*bb)
	for n := range g.n {
		slice := g.v[n*g.q:] // G[:,n,:], rows n·q apart
		gemm.F64(false, false, g.p, g.q*bb, g.q, 1, slice, g.n*g.q, e, g.q*bb, 0, z, g.q*bb)
		for p := range g.p {
			gemm.F64(false, false, g.p, bb, g.q, 1, slice, g.n*g.q, z[p*g.q*bb:], bb, 1, out[p*g.p*bb:], bb)
		}
	}
	return out
}

// transferRight is F'[q,q',B] = Σ_{n,p,p'} G[p,n,q]·G[p',n,q']·F[p,p',B].
func transferRight(g core, f []float64, b int) []float64 {
	bb := b * b
	out, z := make([]float64, g.q*g.q*bb), make([]float64, g.q*g.p*bb)
	for n := range g.n {
		slice := g.v[n*g.q:]
		gemm.F64(true, false, g.q, g.p*bb, g.p, 1, slice, g.n*g.q, f, g.p*bb, 0, z, g.p*bb)
		for q := range g.q {
			gemm.F64(true, false, g.q, bb, g.p, 1, slice, g.n*g.q, z[q*g.p*bb:], bb, 1, out[q*g.q*bb:], bb)
		}
	}
	return out
}

// gramOf is the Gram of a core's least-squares problem, [p·q, p·q]. after is nil for the last core, whose bond q is b itself.
func gramOf(g core, before, after []float64, b int) []float64 {
	x := before
	if after != nil {
		x = make([]float64, g.p*g.p*g.q*g.q)
		gemm.F64(false, true, g.p*g.p, g.q*g.q, b*b, 1, before, b*b, after, b*b, 0, x, g.q*g.q)
	}
	return permute4(x, [4]int{g.p, g.p, g.q, g.q}, [4]int{0, 2, 1, 3})
}

const (
	// ridge is the proximal weight relative to the Gram's mean eigenvalue: it moves nothing that matters and bounds the condition
	// number of the normal equations.
	ridge   = 1e-10
	maxCond = 1e12
)

// solveCore minimises the quadratic of one core plus a proximal term λ‖G − G_old‖², which cannot raise it: (Gram + λ)·Δ = right −
// Gram·G_old. right is [p, n, q]. λ grows until the pivots' spread is below maxCond.
func solveCore(g *core, gram, right []float64) {
	pq := g.p * g.q
	old := permute4(g.v, [4]int{1, g.p, g.n, g.q}, [4]int{0, 1, 3, 2}) // [p·q, n]
	delta := permute4(right, [4]int{1, g.p, g.n, g.q}, [4]int{0, 1, 3, 2})
	gemm.F64(false, false, pq, g.n, pq, -1, gram, pq, old, g.n, 1, delta, g.n)
	var mean float64
	for i := range pq {
		mean += gram[i*pq+i] / float64(pq)
	}
	if !(mean > 0) {
		return // the other cores are zero: every value of this one is as good
	}
	a := make([]float64, len(gram))
	for weight := ridge; weight < 1e3; weight *= 30 {
		copy(a, gram)
		for i := range pq {
			a[i*pq+i] += weight * mean
		}
		if f, ok := linalg.NewCholesky(pq, a); ok && f.Spread() <= maxCond {
			f.Solve(g.n, delta)
			for i, d := range delta {
				old[i] += d
			}
			g.v = permute4(old, [4]int{1, g.p, g.q, g.n}, [4]int{0, 1, 3, 2})
			return
		}
	}
}
