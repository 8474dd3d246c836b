package trals

import (
	"context"
	"math"
	"slices"

	"github.com/trconvert/trconvert/tensor"
)

// Decompose fits a ring to W by exact alternating least squares, half by half: with one side merged to a matrix, T = Wᵀ·L (or W·R)
// and the Gram LᵀL (RᵀR) hold all that the other side's cores need, so a sweep reads W twice and updates every core once, each update
// an exact minimisation given all others. The relative error therefore does not rise from sweep to sweep, but for rounding.
//
// inModes must multiply to at least the columns, outModes exactly to the rows. Columns beyond W's are free: they are filled with the
// ring's own values before each pass over the input side, which keeps the error over the true columns falling.
//
// A cancelled ctx ends the fit with the best ring so far and status Cancelled; it is no error. Cost of a sweep: 4·rows·cols·r_0·r_n
// FLOPs and, for each core, about 2·n_k·r⁵ + 3·r⁶. Memory beside W: (2·cols + 3·rows)·r_0·r_n numbers for the two sides and, for each bond
// of rank r_k inside a side, 2·r·n_1⋯n_k·r_k for the states before it, n_1⋯n_k being the side's modes up to the bond and r the rank the side
// starts with (a side whose last rank is three times its first or more is read from its end, and takes another copy); they are float32 while the products with W are, else float64. And float64 for Grams: 8·(r_k·r_{k+1})² of the core, or of two
// bonds of one side, where that is largest, and 2·r_k²·b² for each bond, b being the bond that its side ends with.
func (m *Matrix) Decompose(ctx context.Context, inModes, outModes []int, o Options) (*Result, error) {
	modes := append(slices.Clone(inModes), outModes...)
	if err := m.checkModes(inModes, outModes); err != nil {
		return nil, err
	}
	if err := checkRanks(modes, o.Ranks); err != nil {
		return nil, err
	}
	ranks := o.Ranks
	if o.Init != InitGiven {
		ranks = CapRanks(modes, ranks)
	}
	s := newSplit(inModes, outModes, ranks)
	first, err := m.start(ctx, s, o)
	if err != nil {
		return nil, err
	}
	best := m.result(inModes, outModes, m.fit(ctx, s, first, 0, o))
	for restart := 1; restart <= o.Restarts && o.sweeps() > 0 && ctx.Err() == nil; restart++ {
		next := m.result(inModes, outModes, m.fit(ctx, s, randomStart(s, o.Seed, restart), restart, o))
		if next.WeightedError < best.WeightedError || math.IsNaN(best.WeightedError) {
			best = next
		}
	}
	if ctx.Err() != nil {
		best.Status = Cancelled
	}
	if m.w != nil && m.metric == nil {
		best.LowerBound = min(m.bound(factor(m.rows, m.cols, inModes, outModes, best.Cores)), best.RelativeError)
	}
	return best, nil
}

func (m *Matrix) checkModes(in, out []int) error {
	if len(in) == 0 || len(out) == 0 {
		return optionError("%d input and %d output modes (each side needs one)", len(in), len(out))
	}
	for _, n := range append(slices.Clone(in), out...) {
		if n < 1 || n > math.MaxInt32 {
			return optionError("modes %v and %v: mode %d", in, out, n)
		}
	}
	size := func(modes []int) int {
		n := 1
		for _, m := range modes {
			n = satMul(n, m)
		}
		return n
	}
	if n := size(in); n < m.cols || n > 2*m.cols {
		return optionError("input modes %v multiply to %d for %d columns", in, n, m.cols)
	}
	if n := size(out); n != m.rows {
		return optionError("output modes %v multiply to %d for %d rows", out, n, m.rows)
	}
	return nil
}

func (m *Matrix) start(ctx context.Context, s split, o Options) (ring, error) {
	switch o.Init {
	case InitCut:
		return m.improved(ctx, s, m.cutStart(s, o.Seed)), nil
	case InitRandom:
		return randomStart(s, o.Seed, 0), nil
	case InitGiven:
		return givenStart(s, o.Start)
	case InitTRSVD:
		if m.w == nil || product(s.in) != m.cols {
			return ring{}, optionError("TR-SVD cannot start with padded columns (%d for %d)", product(s.in), m.cols)
		}
		cores, err := m.sequential(ctx, s)
		if err != nil {
			return ring{}, err
		}
		return givenStart(s, cores)
	}
	return ring{}, optionError("init %d is unknown", int(o.Init))
}

// fitted is one start's outcome.
type fitted struct {
	ring   ring
	err    float64 // relative, of the last sweep; NaN before the first
	sweeps int
	status Status
}

// fit sweeps from one start.
func (m *Matrix) fit(ctx context.Context, s split, r ring, restart int, o Options) fitted {
	best := fitted{ring: r.clone(), err: math.NaN(), status: SweepLimit}
	if m.energy == 0 {
		for _, g := range append(slices.Clone(best.ring.in), best.ring.out...) {
			clear(g.v)
		}
		best.err, best.status = 0, Stalled
		return best
	}
	a, b := r.cut()
	bound := m.CutBound(a * b)
	slow, noise, shown := 0, 0.0, math.Inf(1)
	w := newSweeper(m, s, r)
	for n := 1; n <= o.sweeps(); n++ {
		if ctx.Err() != nil {
			best.status = Cancelled
			return best
		}
		e := w.sweep(ctx, best.err)
		if math.IsNaN(e) && ctx.Err() != nil { // part of a sweep
			best.status = Cancelled
			return best
		}
		if math.IsNaN(e) || math.IsInf(e, 0) {
			best.status = Diverged
			return best
		}
		before := best.err
		rose := e*e > before*before*(1+2e-6)+noise
		if !(e > before) || noise > 0 && !rose { // also the first
			best.ring, best.err = r.clone(), e
		}
		best.sweeps = n
		shown = min(shown, e)
		if o.OnSweep != nil {
			o.OnSweep(Sweep{restart, n, shown})
		}
		if noise = 0; w.fast != nil {
			noise = fastNoise
			if n > 1 && before-e <= o.tol()*before {
				w.slow, slow = true, 1 // float32 has no last say in when to end
				continue
			}
		}
		switch {
		case e <= roundingLevel || e <= bound*(1+1e-6):
			best.status = Stalled
			return best
		case rose:
			best.status = Diverged
			return best
		case e >= before && before < 1e-5:
			best.status = Stalled
			return best
		case before-e <= o.tol()*before:
			if slow++; slow == 2 {
				best.status = Converged
				return best
			}
		default:
			slow = 0
		}
	}
	return best
}

// dot is Σ x·y, summed in blocks.
func dot(x, y []float64) float64 {
	var sum float64
	for i := 0; i < len(x); i += 1024 {
		var s float64
		for j := i; j < min(i+1024, len(x)); j++ {
			s += x[j] * y[j]
		}
		sum += s
	}
	return sum
}

// result rounds the ring and measures it.
func (m *Matrix) result(inModes, outModes []int, f fitted) *Result {
	res := &Result{Cores: f.ring.cores(), RelativeError: f.err, WeightedError: f.err, LowerBound: math.NaN(), Sweeps: f.sweeps, Status: f.status}
	if m.w != nil {
		fac := factor(m.rows, m.cols, inModes, outModes, res.Cores)
		res.RelativeError = fac.Error(m.w)
		if m.metric != nil {
			res.WeightedError = m.weightedError(fac)
			return res
		}
		res.WeightedError = res.RelativeError
	}
	return res
}

// Decompose fits a ring to a dense tensor of two modes or more. The modes are cut where the two sides are most alike in size, and the
// matrix between them is fitted as [Matrix.Decompose] says; x is neither copied nor permuted. Core k of the result belongs to mode k,
// and Options.Ranks[k] is its left bond.
func Decompose(ctx context.Context, x *tensor.Dense, o Options) (*Result, error) {
	if err := checkData(x); err != nil {
		return nil, err
	}
	d := len(x.Dims)
	if d < 2 {
		return nil, optionError("a ring needs two modes or more, not %d", d)
	}
	if err := checkRanks(x.Dims, o.Ranks); err != nil {
		return nil, err
	}
	h := balancedCut(x.Dims)
	rotate := func(ranks []int) []int { return append(slices.Clone(ranks[h:]), ranks[:h]...) }
	ranks := CapRanks(x.Dims, o.Ranks)
	m, err := NewMatrix(ctx, &tensor.Dense{Dims: []int{product(x.Dims[:h]), product(x.Dims[h:])}, Data: x.Data}, ranks[0]*ranks[h])
	if err != nil {
		return nil, err
	}
	inner := o
	if o.Init == InitGiven {
		if len(o.Start) != d {
			return nil, optionError("start has %d cores for %d modes", len(o.Start), d)
		}
		ranks = o.Ranks
		inner.Start = append(slices.Clone(o.Start[h:]), o.Start[:h]...)
	}
	if o.Init == InitTRSVD {
		start, err := TRSVD(ctx, x, SVDOptions{Ranks: ranks})
		if err != nil {
			return nil, err
		}
		inner.Init, inner.Start = InitGiven, append(slices.Clone(start.Cores[h:]), start.Cores[:h]...)
	}
	inner.Ranks = rotate(ranks)
	res, err := m.Decompose(ctx, x.Dims[h:], x.Dims[:h], inner)
	if err != nil {
		return nil, err
	}
	res.Cores = append(slices.Clone(res.Cores[d-h:]), res.Cores[:d-h]...)
	return res, nil
}

// balancedCut is the number of leading modes whose product is nearest to that of the rest.
func balancedCut(dims []int) int {
	best, h := math.Inf(1), 1
	for i := 1; i < len(dims); i++ {
		if d := math.Abs(math.Log(float64(product(dims[:i])) / float64(product(dims[i:])))); d < best {
			best, h = d, i
		}
	}
	return h
}
