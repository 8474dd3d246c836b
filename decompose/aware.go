package decompose

import (
	"context"
	"fmt"
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
	if j.Metric.Columns() != j.In {
		return fmt.Errorf("calibration frames have %d numbers, the matrix %d columns", j.Metric.Columns(), j.In)
	}
	if j.Metric.Flat() {
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

const (
	// A start at the plain fit's cores gets tasteSweeps sweeps, and more if its error is then within tasteMargin of the other's.
	tasteSweeps = 3
	tasteMargin = 0.01
	// awareTrials are the candidates that are tried under a metric, whose sweeps cost several plain ones; each lowers the error more, so
	// that half the sweeps do.
	awareTrials = 10
)

// trials is how many candidates are tried, and with how many sweeps first.
func (j *job) trials() (candidates, sweeps int) {
	if j.aware() {
		return awareTrials, trialSweeps / 2
	}
	return trials, trialSweeps
}

// better returns the fit that errs less on the data: res, or one that starts where the fit without data ends, which is therefore never
// better.
func (j *job) better(ctx context.Context, c candidate, res *trals.Result) (*trals.Result, error) {
	if !j.aware() || j.o.Method == "svd" || j.o.Init == "random" {
		return res, nil
	}
	c.ranks = ranksOf(candidate{cores: res.Cores})
	c.cores = nil
	other, err := j.fit(ctx, j.plain, c, j.o.Sweeps, 0, false)
	if err != nil {
		return nil, err
	}
	for _, sweeps := range []int{tasteSweeps, j.o.Sweeps} {
		c.cores = other.Cores
		if other, err = j.fit(ctx, j.m, c, sweeps, 0, false); err != nil {
			return nil, err
		}
		if other.WeightedError >= res.WeightedError*(1+tasteMargin) {
			return res, nil
		}
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
