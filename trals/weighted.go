package trals

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
)

// NewWeightedMatrix is [NewMatrix] under a metric c on the columns: singular values, errors, starts and fits of the result are those of
// ‖W − Ŵ‖_C/‖W‖_C. Its truncated SVD of rank k is the best matrix of that rank, Ŵ = U·Uᵀ·W with the leading eigenvectors U of
// W·C·Wᵀ (Eckart and Young on W·C^½).
//
// [Result].RelativeError of its fits speaks of W itself as ever, WeightedError is what was minimised, LowerBound is NaN.
func NewWeightedMatrix(ctx context.Context, w *tensor.Dense, c *Metric, leading int) (*Matrix, error) {
	if len(w.Dims) != 2 || w.Dims[1] != c.n {
		return nil, fmt.Errorf("trals: a matrix %v and frames of width %d", w.Dims, c.n)
	}
	if err := checkData(w); err != nil {
		return nil, err
	}
	if c.Zero() {
		return nil, errors.New("trals: all frames are zero")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, k := c.root(w)
	m := &Matrix{rows: w.Dims[0], cols: w.Dims[1], w: w, energy: c.norm(w, false), metric: c, root: f}
	var err error
	if m.spectrum, err = linalg.Analyze(ctx, f, m.rows, k, m.energy, min(max(leading, 1), m.rows, m.cols)); err != nil {
		return nil, err
	}
	m.spectrum.Squares = m.spectrum.Squares[:min(len(m.spectrum.Squares), m.rows, m.cols)]
	return m, ctx.Err()
}

// weightedTruncate is truncate in the metric: left [rows, k] spans the best outputs, right = Wᵀ·U in the same scale.
func (m *Matrix) weightedTruncate(k int) (left, right []float64) {
	left, _ = m.spectrum.Truncate(m.root, k)
	right = make([]float64, m.cols*k)
	gemm.Wide(true, false, m.cols, k, m.rows, 1, m.w.Data, m.cols, left, k, 0, right, k)
	for j := range k { // a column of left has norm √σ
		square := m.strength(left, j, k)
		if square == 0 {
			square = 1
		}
		for i := range m.cols {
			right[i*k+j] /= square
		}
	}
	return left, right
}

// weightedSweep is sweep in the metric. The output cores see R under C, exactly as they see R without one:
//
//	‖W − L·Rᵀ‖_C² = ‖W‖_C² − 2⟨W·C·R, L⟩ + ⟨LᵀL, RᵀCR⟩.
//
// The input cores are coupled through C, and each is improved by conjugate gradients (see chain.updateWeighted).
func (m *Matrix) weightedSweep(ctx context.Context, s split, r ring) float64 {
	a, b := r.cut()
	ab := a * b
	work := new(algebra)
	r.out.orthonormalEnds(r.in, work)
	left := r.out.merge(true)
	gram := make([]float64, ab*ab)
	gemm.Gram64(true, ab, m.rows, left, ab, gram, ab)
	if t := m.timesT(left, ab); len(r.in) == 1 { // the core is R itself, whose optimum Wᵀ·L·(LᵀL)⁻¹ does not depend on C
		r.in.update(ctx, append(t, make([]float64, product(s.in)*ab-len(t))...), gram)
	} else {
		r.in.updateWeighted(ctx, m.metric, m.onMode(s.in), m.metric.Times(t, ab), gram)
	}

	if ctx.Err() != nil {
		return math.NaN()
	}
	r.in.orthonormalEnds(r.out, work)
	right := r.in.merge(false)[:m.cols*ab]
	cr := m.metric.Times(right, ab)
	gram = symmetric(right, cr, m.cols, ab)
	t := m.times(cr, ab)
	r.out.update(ctx, permute4(t, [4]int{1, m.rows, a, b}, [4]int{0, 1, 3, 2}), permute4(gram, [4]int{a, b, a, b}, [4]int{1, 0, 3, 2}))
	if ctx.Err() != nil {
		return math.NaN()
	}
	left = r.out.merge(true)
	outer := make([]float64, ab*ab)
	gemm.Gram64(true, ab, m.rows, left, ab, outer, ab)
	return m.relative(m.energy - 2*dot(t, left) + dot(outer, gram))
}

// symmetric is xᵀ·y [k, k] of x, y [n, k], where it is symmetric but for rounding.
func symmetric(x, y []float64, n, k int) []float64 {
	g := make([]float64, k*k)
	gemm.F64(true, false, k, k, n, 1, x, k, y, k, 0, g, k)
	for i := range k {
		for j := range i {
			v := (g[i*k+j] + g[j*k+i]) / 2
			g[i*k+j], g[j*k+i] = v, v
		}
	}
	return g
}

const (
	// innerSteps and innerTol end the conjugate gradients of one core: so many steps, or the residual fallen so far. Sweeps come back to
	// the core, so more would be wasted.
	innerSteps = 12
	innerTol   = 1e-3
)

// updateWeighted makes one Gauss–Seidel pass over the cores of the input side. With S [N, a·b] the merged chain it lowers
//
//	f(S) = ⟨C·S·M, S⟩ − 2⟨T, S⟩,   T = C·Wᵀ·L [n, a·b],   M = LᵀL.
//
// S is linear in each core, S = J(G) with J from the merged cores before and after it, so f is a quadratic of p·n·q unknowns with the
// Hessian Jᵀ(C ⊗ M)J. It is never formed: conjugate gradients start at the present core and every step lowers f. They are
// preconditioned by the Kronecker product of what C and M come to on the core's three axes. Cost of a step: 2·n·a·b·(n + a·b +
// p + q) FLOPs for a moment. Padded rows of S weigh nothing.
func (c chain) updateWeighted(ctx context.Context, metric *Metric, onMode [][]float64, t, m []float64) {
	a, b := c.ends()
	work := new(algebra)
	c.rightCanonical(work)
	traceA, traceB := partialTraces(m, a, b)

	after := make([][]float64, len(c)) // cores after k, [q, N after, b]
	after[len(c)-1] = identity(b)
	for k := len(c) - 1; k > 0; k-- {
		g := c[k]
		rest := len(after[k]) / g.q
		x := make([]float64, g.p*g.n*rest)
		gemm.F64(false, false, g.p*g.n, rest, g.q, 1, g.v, g.q, after[k], rest, 0, x, rest)
		after[k-1] = x
	}
	before := identity(a) // cores before k, [N before, a, p]
	for k := range c {
		g := &c[k]
		p := &coreProblem{metric: metric, m: m, a: a, b: b, before: before, after: after[k], shape: *g}
		p.precondition(traceA, traceB, onMode[k])
		if p.descend(ctx, g.v, t); ctx.Err() != nil {
			return
		}
		if k == len(c)-1 {
			return
		}
		c.pushRight(k, work)
		rows := len(before) / g.p
		x := make([]float64, rows*g.n*g.q)
		gemm.F64(false, false, rows, g.n*g.q, g.p, 1, before, g.p, g.v, g.n*g.q, 0, x, g.n*g.q)
		before = permute4(x, [4]int{rows / a, a, g.n, g.q}, [4]int{0, 2, 1, 3})
	}
}

func identity(n int) []float64 {
	x := make([]float64, n*n)
	for i := range n {
		x[i*n+i] = 1
	}
	return x
}

// partialTraces are Σ_b M[(a,b),(a',b)] and Σ_a M[(a,b),(a,b')].
func partialTraces(m []float64, a, b int) (onA, onB []float64) {
	onA, onB = make([]float64, a*a), make([]float64, b*b)
	ab := a * b
	for i := range a {
		for j := range a {
			for k := range b {
				onA[i*a+j] += m[(i*b+k)*ab+j*b+k]
			}
		}
		for k := range b {
			for l := range b {
				onB[k*b+l] += m[(i*b+k)*ab+i*b+l]
			}
		}
	}
	return onA, onB
}

// coreProblem is the quadratic of one core [p, n, q].
type coreProblem struct {
	metric        *Metric
	m             []float64
	a, b          int
	before, after []float64 // [N before, a, p] and [q, N after, b]
	shape         core

	left, mode, right *linalg.Cholesky // the preconditioner's factors, [p, p], [n, n], [q, q]
	diagonal          []float64        // [n] in place of mode
}

// expand is S = J(g): [n, a·b] without the padding.
func (p *coreProblem) expand(g []float64) []float64 {
	s := p.shape
	rows, rest := len(p.before)/s.p, len(p.after)/s.q
	x := make([]float64, rows*s.n*s.q)
	gemm.F64(false, false, rows, s.n*s.q, s.p, 1, p.before, s.p, g, s.n*s.q, 0, x, s.n*s.q)
	y := make([]float64, rows*s.n*rest)
	gemm.F64(false, false, rows*s.n, rest, s.q, 1, x, s.q, p.after, rest, 0, y, rest)
	y = permute4(y, [4]int{rows / p.a, p.a, s.n * rest / p.b, p.b}, [4]int{0, 2, 1, 3})
	return y[:p.metric.n*p.a*p.b]
}

// collect is Jᵀ(s): [p, n, q] from [n, a·b].
func (p *coreProblem) collect(s []float64) []float64 {
	g := p.shape
	rows, rest := len(p.before)/g.p, len(p.after)/g.q
	if full := rows * g.n * rest; len(s) < full {
		s = append(append(make([]float64, 0, full), s...), make([]float64, full-len(s))...)
	}
	s = permute4(s, [4]int{rows / p.a, g.n * rest / p.b, p.a, p.b}, [4]int{0, 2, 1, 3})
	x := make([]float64, rows*g.n*g.q)
	gemm.F64(false, true, rows*g.n, g.q, rest, 1, s, rest, p.after, rest, 0, x, g.q)
	y := make([]float64, g.p*g.n*g.q)
	gemm.F64(true, false, g.p, g.n*g.q, rows, 1, p.before, g.p, x, g.n*g.q, 0, y, g.n*g.q)
	return y
}

// hessian is Jᵀ(C·J(g)·M).
func (p *coreProblem) hessian(g []float64) []float64 {
	ab := p.a * p.b
	s := p.expand(g)
	x := make([]float64, len(s))
	gemm.F64(false, false, p.metric.n, ab, ab, 1, s, ab, p.m, ab, 0, x, ab)
	return p.collect(p.metric.roughTimes(x, ab))
}

// precondition factors the three axes' matrices: M and C with all other indices traced out.
func (p *coreProblem) precondition(traceA, traceB, onMode []float64) {
	s := p.shape
	factor := func(n int, g []float64) *linalg.Cholesky {
		var mean float64
		for i := range n {
			mean += g[i*n+i] / float64(n)
		}
		for shift := 1e-6 * mean; mean > 0 && shift < 1e3*mean; shift *= 100 {
			x := append([]float64(nil), g...)
			for i := range n {
				x[i*n+i] += shift
			}
			if f, ok := linalg.NewCholesky(n, x); ok {
				return f
			}
		}
		f, _ := linalg.NewCholesky(n, identity(n))
		return f
	}
	if len(onMode) == s.n {
		p.diagonal = onMode
	} else {
		p.mode = factor(s.n, onMode)
	}

	// [N before, a, p] under traceA, and [q, N after, b] under traceB.
	rows := len(p.before) / (p.a * s.p)
	g := make([]float64, s.p*s.p)
	x := make([]float64, p.a*s.p)
	for i := range rows {
		block := p.before[i*p.a*s.p : (i+1)*p.a*s.p]
		gemm.F64(false, false, p.a, s.p, p.a, 1, traceA, p.a, block, s.p, 0, x, s.p)
		gemm.F64(true, false, s.p, s.p, p.a, 1, block, s.p, x, s.p, 1, g, s.p)
	}
	p.left = factor(s.p, g)

	rest := len(p.after) / s.q
	y := make([]float64, len(p.after))
	gemm.F64(false, false, len(p.after)/p.b, p.b, p.b, 1, p.after, p.b, traceB, p.b, 0, y, p.b)
	g = make([]float64, s.q*s.q)
	gemm.F64(false, true, s.q, s.q, rest, 1, p.after, rest, y, rest, 0, g, s.q)
	p.right = factor(s.q, g)
}

// solve applies the preconditioner's inverse to r [p, n, q].
func (p *coreProblem) solve(r []float64) []float64 {
	s := p.shape
	z := append([]float64(nil), r...)
	p.left.Solve(s.n*s.q, z)
	for i := range s.p {
		if block := z[i*s.n*s.q : (i+1)*s.n*s.q]; p.mode != nil {
			p.mode.Solve(s.q, block)
		} else {
			for at := range block {
				if d := p.diagonal[at/s.q]; d > 0 { // 0: all of this slice is padding
					block[at] /= d
				}
			}
		}
	}
	z = linalg.Transpose(s.p*s.n, s.q, z)
	p.right.Solve(s.p*s.n, z)
	return linalg.Transpose(s.q, s.p*s.n, z)
}

// descend lowers f from g on, in place, by preconditioned conjugate gradients (Hestenes and Stiefel 1952).
func (p *coreProblem) descend(ctx context.Context, g, t []float64) {
	r := p.collect(t)
	for i, v := range p.hessian(g) {
		r[i] -= v
	}
	z := p.solve(r)
	d := append([]float64(nil), z...)
	rz := dot(r, z)
	first := rz
	for range innerSteps {
		if !(rz > innerTol*innerTol*first) || ctx.Err() != nil {
			return
		}
		h := p.hessian(d)
		curve := dot(d, h)
		if !(curve > 0) {
			return
		}
		step := rz / curve
		if math.IsInf(step, 0) || math.IsNaN(step) {
			return
		}
		for i := range g {
			g[i] += step * d[i]
			r[i] -= step * h[i]
		}
		z = p.solve(r)
		next := dot(r, z)
		beta := next / rz
		for i := range d {
			d[i] = z[i] + beta*d[i]
		}
		rz = next
	}
}

// weightedError is ‖W − Ŵ‖_C/‖W‖_C of rounded cores.
func (m *Matrix) weightedError(f *tensor.Factor) float64 {
	return m.relative(m.metric.norm(difference(m.w, f), false))
}

// difference is W − Ŵ.
func difference(w *tensor.Dense, f *tensor.Factor) *tensor.Dense {
	d := f.Reconstruct()
	for i, v := range w.Data {
		d.Data[i] = v - d.Data[i]
	}
	return d
}

// strength is σ_j of a truncated SVD: the squared norm of column j of left [rows, k].
func (m *Matrix) strength(left []float64, j, k int) float64 {
	var s float64
	for i := range m.rows {
		s += left[i*k+j] * left[i*k+j]
	}
	return s
}

// onMode keeps the metric's moments on the modes last asked for.
func (m *Matrix) onMode(modes []int) [][]float64 {
	if !slices.Equal(m.momentModes, modes) {
		m.momentModes, m.modeMoments = slices.Clone(modes), m.metric.modeMoments(modes)
	}
	return m.modeMoments
}
