package decompose

import (
	"context"
	"math"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// weigh makes the job's search, allocation and fit minimise the error on the frames of its metric. The matrix without it stays for
// what a report says of W itself.
func (j *job) weigh(ctx context.Context, leading int) error {
	j.plain = j.m
	if j.Metric == nil {
		return nil
	}
	if j.Metric.Zero() {
		j.warnings = append(j.warnings, "all calibration frames are zero: fitted without them")
		return nil
	}
	weighted, err := trals.NewWeightedMatrix(ctx, j.w, j.Metric, leading)
	if err != nil {
		return err
	}
	if weighted.Energy() == 0 {
		j.warnings = append(j.warnings, "W maps all calibration frames to zero: fitted without them")
		return nil
	}
	j.m = weighted
	return nil
}

// aware reports whether the fit minimises the error on data.
func (j *job) aware() bool { return j.m != j.plain }

// better returns the fit that errs less on the data: res, or one that starts where the fit without data ends, which is therefore never
// better.
func (j *job) better(ctx context.Context, c candidate, res *trals.Result) (*trals.Result, error) {
	if !j.aware() || j.o.Method == "svd" || j.o.Init == "random" {
		return res, nil
	}
	c.ranks = ranksOf(candidate{cores: res.Cores})
	c.cores = nil
	plain, err := j.fit(ctx, j.plain, c, j.o.Sweeps, 0, false)
	if err != nil {
		return nil, err
	}
	c.cores = plain.Cores
	other, err := j.fit(ctx, j.m, c, j.o.Sweeps, 0, false)
	if err != nil {
		return nil, err
	}
	if other.WeightedError < res.WeightedError {
		return other, nil
	}
	return res, nil
}

// dataError is the relative error of a factor on the frames, NaN without any.
func (j *job) dataError(f *tensor.Factor) float64 {
	if j.Metric == nil || j.Metric.Zero() {
		return math.NaN()
	}
	return j.Metric.Error(j.w, f)
}
