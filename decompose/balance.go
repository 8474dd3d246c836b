package decompose

import (
	"context"

	"github.com/trconvert/trconvert/tensor"
)

const (
	// A fit of fewer than a faintRatio-th of the matrix's numbers that keeps less than littleKept of its squared norm says little about which
	// modes and ranks suit the matrix.
	faintRatio = 200
	littleKept = 0.1
	// balanceMargin is the part of the error by which a balanced ring may err more.
	balanceMargin = 0.01
)

// balance replaces the ring that was found with n numbers by the one of even ranks (see [ShapeFor]), where the fit of the first keeps
// little, the second errs hardly more, and its r_0·r_n, the rank that Ŵ can have, is larger: training makes more of a ring that can express
// more.
func (j *job) balance(ctx context.Context, n int) error {
	if j.o.Format != tensor.Ring || j.result.KeptDense || j.Size()/faintRatio < n || square(j.loss()) <= 1-littleKept {
		return nil
	}
	s, _ := j.even(n)
	if s.Ranks == nil || s.Ranks[0]*s.Ranks[len(s.InModes)] <= j.result.Factor.Cut() {
		return nil
	}
	even := j.as(j.o.Format)
	even.o.OnSweep = nil
	if err := even.finish(ctx, candidate{shape: shape{s.InModes, s.OutModes}, ranks: s.Ranks, params: s.Params()}); err != nil {
		return err
	}
	if even.loss() <= (1+balanceMargin)*j.loss() {
		j.result = even.result
		j.result.Balanced = true
	}
	return nil
}
