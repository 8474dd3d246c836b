package trals

import (
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
)

// Round lowers the ranks r_1 … r_{d−1} of a ring without its tensor: TT-rounding (Oseledets 2011, algorithm 2) of the chain that is
// left when the ring is opened at r_0, which stays as it is. For a train (r_0 = 1) the truncations are optimal bond by bond. For a ring
// they are optimal for the opened chain, whose error is at least 1/√r_0 of the ring's, so with Accuracy the thresholds are taken √r_0 smaller.
//
// With Ranks, every rank becomes at most Ranks[k]; Ranks[0] must be r_0. The result's RelativeError is measured against the given
// ring, to about 1e-7. Cost: O(d·n·r³), and for norms O(d·n·r_0²·r³).
func Round(cores []tensor.Core, o SVDOptions) (*Result, error) {
	d := len(cores)
	if d < 2 {
		return nil, optionError("a ring needs two cores or more, not %d", d)
	}
	given := len(o.Ranks) > 0
	if given == (o.Accuracy > 0) {
		return nil, optionError("set either ranks or a positive accuracy")
	}
	modes, ranks := make([]int, d), make([]int, d)
	for k, c := range cores {
		if c.Left < 1 || c.Mode < 1 || c.Right < 1 {
			return nil, optionError("core %d is %d×%d×%d", k, c.Left, c.Mode, c.Right)
		}
		modes[k], ranks[k] = c.Mode, c.Left
	}
	r, err := givenStart(newSplit(modes[:1], modes[1:], ranks), cores)
	if err != nil {
		return nil, err
	}
	if given {
		if err := checkRanks(modes, o.Ranks); err != nil {
			return nil, err
		}
		if o.Ranks[0] != ranks[0] {
			return nil, optionError("rounding keeps r_0 = %d, it cannot become %d", ranks[0], o.Ranks[0])
		}
	}
	before := append(r.in, r.out...)
	after := before.clone()
	energy := overlap(before, before)
	after.rightCanonical(new(algebra))
	limit := o.Accuracy * o.Accuracy * energy / float64(ranks[0]*(d-1))
	for k := range d - 1 {
		g, h := &after[k], &after[k+1]
		rows := g.p * g.n
		keep := min(rows, g.q)
		if given {
			keep = min(keep, o.Ranks[k+1])
		} else {
			_, _, squares := linalg.TruncateDense(rows, g.q, g.v, 1)
			keep = keepAbove(squares, limit)
		}
		u, vt, _ := linalg.TruncateDense(rows, g.q, g.v, keep)
		next := make([]float64, keep*h.n*h.q)
		gemm.F64(false, false, keep, h.n*h.q, g.q, 1, vt, g.q, h.v, h.n*h.q, 0, next, h.n*h.q)
		*g, *h = core{g.p, g.n, keep, u}, core{keep, h.n, h.q, next}
	}
	res := &Result{Cores: ring{after[:1], after[1:]}.cores(), LowerBound: math.NaN(), Status: Converged}
	if diff := energy - 2*overlap(before, after) + overlap(after, after); diff > 0 {
		res.RelativeError = math.Sqrt(diff / energy)
	}
	return res, nil
}

// overlap is the inner product of the tensors of two rings with the same modes: the trace of the product of their transfer matrices.
func overlap(x, y chain) float64 {
	a, b := x[0].p, y[0].p
	// f[(i, j), (p, q)]: the cores so far between first bonds i, j and last bonds p, q; begins as the identity.
	f := make([]float64, a*b*a*b)
	for i := range a * b {
		f[i*a*b+i] = 1
	}
	for k, g := range x {
		h := y[k]
		next := make([]float64, a*b*g.q*h.q)
		for n := range g.n {
			for i := range a * b {
				// Gᵀ·F_i·H for the slice n.
				t := make([]float64, g.q*h.p)
				gemm.F64(true, false, g.q, h.p, g.p, 1, g.v[n*g.q:], g.n*g.q, f[i*g.p*h.p:], h.p, 0, t, h.p)
				gemm.F64(false, false, g.q, h.q, h.p, 1, t, h.p, h.v[n*h.q:], h.n*h.q, 1, next[i*g.q*h.q:], h.q)
			}
		}
		f = next
	}
	var trace float64
	for i := range a * b {
		trace += f[i*a*b+i]
	}
	return trace
}
