package convert

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/trals"
)

// ridges are the weights of the error of W beside the error on the frames that are tried (see trals.Metric): almost none, as much,
// ten times as much, and nothing but W. Which is best depends on how the model goes on: where rare inputs decide, frames that are counted by
// how often they come mislead. So the outputs of the whole model decide, on samples that were held back. What is run for the
// choice are truncated SVDs, which cost next to nothing; it then holds for every format.
var ridges = []float64{1e-3, 1, 10, math.Inf(1)}

// choiceRuns bounds the runs of the model for one ridge.
const choiceRuns = 1600

// calibrated returns the metrics of the groups, with the ridge whose truncated SVDs err least on the samples held back.
func (c *conversion) calibrated(ctx context.Context, ms []decompose.Matrix) ([]*trals.Metric, error) {
	cal, err := c.calibrate(ctx)
	if err != nil {
		return nil, err
	}
	blocks := thin(cal.choose, choiceRuns/(float64(len(cal.choose))*float64(cal.data.Steps())))
	want, err := c.reference(ctx, cal, blocks)
	if err != nil {
		return nil, err
	}
	budget := c.o.Budget
	if budget.Ratio == 0 && budget.MaxParams == 0 { // ranks and errors mean other sizes for an SVD
		budget = Budget{}
	}
	var best []*trals.Metric
	least := math.Inf(1)
	for k, ridge := range ridges {
		metrics := make([]*trals.Metric, len(cal.metrics))
		for i, m := range cal.metrics {
			if m == nil {
				continue
			}
			if metrics[i], err = m.WithRidge(ridge); err != nil {
				return nil, err
			}
		}
		if best == nil {
			best = metrics
		}
		results, err := decompose.Run(ctx, weighed(ms, metrics), budget, decompose.Options{Format: "svd"})
		if errors.As(err, new(*decompose.BudgetError)) {
			return best, nil // no SVD is as small
		}
		if err != nil {
			return nil, err
		}
		e, err := c.heldBackError(ctx, cal, blocks, want, results)
		if err != nil {
			return nil, err
		}
		if e < least {
			best, least = metrics, e
		}
		c.progress(Progress{Stage: StageCalibrate, Sample: k + 1, Samples: len(ridges)})
	}
	return best, nil
}

// weighed is the matrices with metrics.
func weighed(ms []decompose.Matrix, metrics []*trals.Metric) []decompose.Matrix {
	ms = slices.Clone(ms)
	for i, m := range metrics {
		ms[i].Metric = m
	}
	return ms
}

// reference is the original model's outputs on blocks.
func (c *conversion) reference(ctx context.Context, cal *calibration, blocks []int) ([]map[string]*onnx.Array, error) {
	p, err := runtime.Compile(ctx, c.dense, runtime.Options{Threads: c.o.Threads})
	if err != nil {
		return nil, err
	}
	var outputs []map[string]*onnx.Array
	s := &subject{model: c.dense, inputs: p.Inputs(), run: p.Run}
	err = cal.each(ctx, c.o.Calibration, s, blocks, func(_, _ int, out map[string]*onnx.Array) (bool, error) {
		outputs = append(outputs, out)
		return false, nil
	})
	return outputs, err
}

// heldBackError is the worst relative error of an output with the results in place of W.
func (c *conversion) heldBackError(ctx context.Context, cal *calibration, blocks []int, want []map[string]*onnx.Array, results []decompose.Result) (float64, error) {
	var rs []export.Replacement
	for i, r := range results {
		if !r.KeptDense {
			rs = append(rs, export.Replacement{Sites: c.groups[i].sites, Factor: r.Factor})
		}
	}
	overrides, _, err := c.overrides(rs)
	if err != nil {
		return 0, err
	}
	ro := runtime.Options{Threads: c.o.Threads}
	for _, ov := range overrides {
		ro.Overrides = append(ro.Overrides, runtime.Override{Node: ov.site.Node, Slot: recurrent.SlotW, Value: ov.value})
	}
	p, err := runtime.Compile(ctx, c.dense, ro)
	if err != nil {
		return 0, err
	}
	skip := make(map[string]bool)
	for out := range c.o.Calibration.Reading.States {
		skip[out] = true
	}
	cmp := newComparer()
	cmp.floatOnly = true
	at := 0
	s := &subject{model: c.dense, inputs: p.Inputs(), run: p.Run}
	err = cal.each(ctx, c.o.Calibration, s, blocks, func(_, _ int, out map[string]*onnx.Array) (bool, error) {
		at++
		return false, cmp.add(out, want[at-1], skip)
	})
	if err != nil {
		return 0, err
	}
	return float64(cmp.result("go").Relative), nil
}
