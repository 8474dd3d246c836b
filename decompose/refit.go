package decompose

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// Refit moves the cores of a factor of m towards m on the frames of m.Metric, which must be given: modes and ranks stay, and the fit begins at the cores that are there.
//
//	min ‖(W − Ŵ)·X‖²_F + λ·‖W − Ŵ‖²_F,   λ the metric's ridge
//
// Rings, trains and truncated SVDs go through exact alternating least squares, a TT-matrix through conjugate gradients core by core; neither lets the sum rise. Of o
// Sweeps, Tol and OnSweep count. The result is f itself, with no sweeps, where the error on the frames alone would not fall; f is not changed.
// before is the error of f on the frames. LowerBound and SVDSameSize are not asked for: NaN.
func Refit(ctx context.Context, m Matrix, f *tensor.Factor, o Options) (r Result, before float64, err error) {
	fail := func(err error) (Result, float64, error) {
		return Result{}, 0, m.failed(ctx, err)
	}
	if m.Metric == nil {
		return fail(fmt.Errorf("a refit needs frames, there are none"))
	}
	if f.Out != m.Out() || f.In != m.In {
		return fail(fmt.Errorf("the factor is of a matrix [%d %d], W is [%d %d]", f.Out, f.In, m.Out(), m.In))
	}
	o.Format, o.Method, o.Init, o.Restarts = f.Format, "als", "svd", 0
	j, err := newJob(ctx, m, Budget{MaxParams: 1}, o, m.Size())
	if err != nil {
		return fail(err)
	}
	r = Result{
		Matrix: m.Name, Factor: f, RelativeError: f.Error(j.w), DataError: j.dataError(f), LowerBound: math.NaN(), SVDSameSize: math.NaN(), Status: trals.Stalled, Warnings: j.warnings,
	}
	if !j.aware() {
		return r, r.DataError, nil
	}
	before = r.DataError
	refitted := j.factor(shape{f.InModes, f.OutModes}, cloned(f.Cores))
	res := &trals.Result{Status: trals.Converged}
	if f.HasSides() {
		c := candidate{shape: shape{f.InModes, f.OutModes}, ranks: f.Ranks(), cores: refitted.Cores}
		if res, err = j.fit(ctx, j.m, c, o.Sweeps, 0, true); err != nil {
			return Result{}, 0, err
		}
		refitted.Cores = res.Cores
	} else if res.Sweeps, err = j.refine(ctx, refitted); err != nil {
		return fail(err)
	}
	if e := j.dataError(refitted); e < before {
		r.Factor, r.DataError, r.RelativeError, r.Sweeps, r.Status = refitted, e, refitted.Error(j.w), res.Sweeps, res.Status
	}
	return r, before, nil
}

func cloned(cores []tensor.Core) []tensor.Core {
	out := slices.Clone(cores)
	for k := range out {
		out[k].Data = slices.Clone(out[k].Data)
	}
	return out
}
