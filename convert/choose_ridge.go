package convert

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// ridges are the weights of the error of W beside the error on the frames that are tried (see trals.Metric): hardly any, as much,
// ten times as much, and nothing but W. Which is best depends on how the model goes on: where rare inputs decide, frames that are counted by
// how often they come mislead. So the outputs of the whole model decide, on samples that were held back. What is run for the
// choice are truncated SVDs, which cost next to nothing.
var ridges = []float64{0.03, 1, 10, flatRidge}

var flatRidge = math.Inf(1)

// silentError is the relative error of outputs of zero: an error as large says nothing for a fit.
const silentError = 1

// choiceRuns bounds the runs of the model for one choice.
const choiceRuns = 1600

// outcome is what a fit gave.
type outcome struct {
	results []decompose.Result
	fronts  [][]decompose.Point
}

// fitOnData fits under the ridge whose truncated SVDs err least on the samples held back, and once without weights; of the two that which
// errs less on those samples is kept, but the second where the first errs by silentError or more and the second has balanced rings. Where
// a largest error of W is the budget, the two have different sizes and there is no choice.
func (c *conversion) fitOnData(ctx context.Context, ms []decompose.Matrix, fit func([]decompose.Matrix) (outcome, error)) (outcome, error) {
	cal, ridge, err := c.calibrated(ctx, ms)
	if err != nil {
		return outcome{}, err
	}
	if ms, err = weighed(ms, cal, ridge); err != nil {
		return outcome{}, err
	}
	best, err := fit(ms)
	if err != nil || ridge == flatRidge || c.o.Budget.MaxError > 0 {
		return best, err
	}
	if ms, err = weighed(ms, cal, flatRidge); err != nil {
		return outcome{}, err
	}
	plain, err := fit(ms)
	if err != nil {
		return outcome{}, err
	}
	with, err := c.heldBackErrorOf(ctx, cal, best.results)
	if err != nil {
		return outcome{}, err
	}
	without, err := c.heldBackErrorOf(ctx, cal, plain.results)
	if err != nil {
		return outcome{}, err
	}
	if without < with || with >= silentError && slices.ContainsFunc(plain.results, balanced) {
		return plain, nil
	}
	return best, nil
}

// calibrated collects frames and chooses a ridge for them.
func (c *conversion) calibrated(ctx context.Context, ms []decompose.Matrix) (cal *calibration, ridge float64, err error) {
	if cal, err = c.calibrate(ctx); err != nil {
		return nil, 0, err
	}
	if err := c.reference(ctx, cal); err != nil {
		return nil, 0, err
	}
	ridge, err = c.chooseRidge(ctx, cal, ms)
	return cal, ridge, err
}

func balanced(r decompose.Result) bool { return r.Balanced }

// chooseRidge compares truncated SVDs of the same budget. Where none is as small, it is the first ridge.
func (c *conversion) chooseRidge(ctx context.Context, cal *calibration, ms []decompose.Matrix) (float64, error) {
	budget := c.o.Budget
	if budget.Ratio == 0 && budget.MaxParams == 0 { // ranks and errors mean other sizes for an SVD
		budget = Budget{}
	}
	best, least := ridges[0], math.Inf(1)
	for k, ridge := range ridges {
		weighted, err := weighed(ms, cal, ridge)
		if err != nil {
			return 0, err
		}
		results, err := decompose.Run(ctx, weighted, budget, decompose.Options{Format: "svd"})
		if errors.As(err, new(*decompose.BudgetError)) {
			return best, nil
		}
		if err != nil {
			return 0, err
		}
		e, err := c.heldBackErrorOf(ctx, cal, results)
		if err != nil {
			return 0, err
		}
		if e < least {
			best, least = ridge, e
		}
		c.progress(Progress{Stage: StageCalibrate, Sample: k + 1, Samples: len(ridges)})
	}
	return best, nil
}

// weighed is the matrices under the metrics of their groups.
func weighed(ms []decompose.Matrix, cal *calibration, ridge float64) ([]decompose.Matrix, error) {
	ms = slices.Clone(ms)
	for i, m := range cal.metrics {
		if m == nil {
			continue
		}
		var err error
		if ms[i].Metric, err = m.WithRidge(ridge); err != nil {
			return nil, err
		}
	}
	return ms, nil
}

// reference keeps the original model's outputs on the samples held back, or on some of them.
func (c *conversion) reference(ctx context.Context, cal *calibration) error {
	cal.choose = thin(cal.choose, choiceRuns/(float64(len(cal.choose))*float64(cal.data.Steps())))
	p, err := runtime.Compile(ctx, c.dense, runtime.Options{Threads: c.o.Threads})
	if err != nil {
		return err
	}
	s := &subject{model: c.dense, inputs: p.Inputs(), run: p.Run}
	return cal.each(ctx, c.o.Calibration, s, cal.choose, func(_, _ int, out map[string]*onnx.Array) (bool, error) {
		cal.want = append(cal.want, out)
		return false, nil
	})
}

// heldBackErrorOf is the worst relative error of an output with the results in place of their matrices.
func (c *conversion) heldBackErrorOf(ctx context.Context, cal *calibration, results []decompose.Result) (float64, error) {
	overrides, _, err := c.overrides(factorsOf(c.groups, results))
	if err != nil {
		return 0, err
	}
	p, err := c.withOverrides(ctx, overrides)
	if err != nil {
		return 0, err
	}
	return c.heldBackError(ctx, cal, p)
}

// heldBackError is the worst relative error of an output of a changed model.
func (c *conversion) heldBackError(ctx context.Context, cal *calibration, p *runtime.Program) (float64, error) {
	skip := make(map[string]bool)
	for out := range c.o.Calibration.Reading.States {
		skip[out] = true
	}
	cmp := newComparer()
	cmp.floatOnly = true
	at := 0
	s := &subject{model: c.dense, inputs: p.Inputs(), run: p.Run}
	err := cal.each(ctx, c.o.Calibration, s, cal.choose, func(_, _ int, out map[string]*onnx.Array) (bool, error) {
		at++
		return false, cmp.add(out, cal.want[at-1], skip)
	})
	if err != nil {
		return 0, err
	}
	return float64(cmp.result("go").Relative), nil
}
