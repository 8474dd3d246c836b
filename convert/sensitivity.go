package convert

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// measure collects frames, fronts and sensitivities.
func (s *split) measure(ctx context.Context) error {
	c := s.c
	var err error
	if c.o.Calibration.Data != "" {
		var ridge float64
		if s.cal, ridge, err = c.calibrated(ctx, s.ms); err != nil {
			return err
		}
		c.ridge = &ridge
		if s.ms, err = weighed(s.ms, s.cal, ridge); err != nil {
			return err
		}
	} else if s.samples, err = c.samples(ctx); err != nil {
		return err
	}
	for _, m := range s.ms {
		front, err := decompose.Front(ctx, m, s.quick())
		if err != nil {
			return err
		}
		s.fronts = append(s.fronts, front)
		c.progress(Progress{Stage: StageSearch, Site: m.Name, Matrix: len(s.fronts) - 1, Matrices: len(s.ms), Sweep: 1, Sweeps: 1})
	}
	return s.sensitivities(ctx)
}

// quick are the options of what is only tried.
func (s *split) quick() decompose.Options {
	o := s.fit
	o.OnSweep, o.OnTrial = nil, nil
	return o
}

// sensitivities measures how much the outputs of the whole model change for the error of each matrix alone, and for the rounding of its
// numbers. Where the model cannot be run all matrices count alike.
func (s *split) sensitivities(ctx context.Context) error {
	s.weights = slices.Repeat([]float64{1}, len(s.ms))
	s.rounding = slices.Repeat([]float64{square(roundingErrors[export.Int8])}, len(s.ms)+1)
	if err := s.measureRest(ctx); err != nil {
		return err
	}
	if s.cal == nil && len(s.samples) == 0 {
		s.c.warn("equal-weights", "", "the model cannot be run here, so that the errors of all matrices count alike")
		return nil
	}
	if s.cal == nil {
		s.c.warn("random-weights", "", "how much each matrix matters was measured on random inputs; --calibration measures it on real ones")
	}
	for i := range s.ms {
		if err := s.probe(ctx, i); err != nil {
			return err
		}
		if err := s.round(ctx, i); err != nil {
			return err
		}
		s.c.progress(Progress{Stage: StageCalibrate, Sample: i + 1, Samples: len(s.ms)})
	}
	return s.round(ctx, len(s.ms))
}

// probes are the parts of a matrix's numbers that its truncated SVDs keep when its sensitivity is measured.
var probes = []float64{0.03, 0.2}

// probe measures what the error of matrix i does to the outputs: the mean of the ratios of squared relative errors over truncated SVDs of a few sizes.
func (s *split) probe(ctx context.Context, i int) error {
	m, o := s.ms[i], s.quick()
	o.Format = "svd"
	sum, n := 0.0, 0
	for _, part := range probes {
		k := max(1, int(part*float64(m.Size())/float64(m.Out()+m.In)))
		r, err := decompose.Run(ctx, []decompose.Matrix{m}, decompose.Budget{Rank: min(k, m.Out(), m.In)}, o)
		if err != nil {
			return err
		}
		if r[0].KeptDense {
			continue
		}
		results := s.allDense()
		results[i] = r[0]
		overrides, _, err := s.c.overrides(factorsOf(s.c.groups, results))
		if err != nil {
			return err
		}
		p, err := s.c.withOverrides(ctx, overrides)
		if err != nil {
			return err
		}
		e, err := s.outputError(ctx, p)
		if err != nil {
			return err
		}
		if own := s.loss(i, r[0]); own > 0 && !math.IsInf(e, 0) {
			sum, n = sum+square(e/own), n+1
		}
	}
	if n > 0 {
		s.weights[i] = max(sum/float64(n), 1e-12)
	}
	return nil
}

// round measures what storing matrix i as int8, all else in full, does to the outputs; behind the last matrix, the other weights.
func (s *split) round(ctx context.Context, i int) error {
	if !slices.Contains(s.storages, export.Int8) {
		return nil
	}
	stored, err := s.onlyNarrow(ctx, i, export.Int8)
	if err != nil || stored == s.c.dense {
		return err
	}
	defer stored.Close()
	p, err := runtime.Compile(ctx, stored, runtime.Options{Threads: s.c.o.Threads})
	if err != nil {
		return err
	}
	e, err := s.outputError(ctx, p)
	if err == nil && !math.IsInf(e, 0) {
		s.rounding[i] = square(e)
	}
	return err
}

// onlyNarrow is the dense model with nothing but matrix i, or the other weights behind the last one, stored in a type.
func (s *split) onlyNarrow(ctx context.Context, i int, t Storage) (*onnx.Model, error) {
	m := uniformMix(len(s.ms), export.Float32)
	if i < len(s.ms) {
		m.shares[i].storage = t
	} else {
		m.rest = t
	}
	return s.c.stored(ctx, s.c.dense, m)
}

// measureRest measures the bytes of what is no matrix of a group, in each storage.
func (s *split) measureRest(ctx context.Context) error {
	rest := s.c.dense.Size()
	for _, g := range s.c.groups {
		rest -= g.size() * elementBytes(g.elem(), export.Float32)
	}
	for _, k := range s.c.kept {
		g := k.group
		rest += int64(k.factor.Params())*elementBytes(g.elem(), k.storage) + factorBytes - g.size()*elementBytes(g.elem(), export.Float32)
	}
	for _, t := range s.storages {
		stored, err := s.onlyNarrow(ctx, len(s.ms), t)
		if err != nil {
			return err
		}
		s.restBytes = append(s.restBytes, rest-(s.c.dense.Size()-stored.Size()))
		if stored != s.c.dense {
			stored.Close()
		}
	}
	return nil
}

func square(x float64) float64 { return x * x }

func (s *split) allDense() []decompose.Result {
	results := make([]decompose.Result, len(s.ms))
	for i, m := range s.ms {
		results[i] = decompose.Result{Matrix: m.Name, KeptDense: true}
	}
	return results
}

// aware says whether the error on data counts for a matrix.
func (s *split) aware(i int) bool {
	m := s.ms[i].Metric
	return m != nil && !m.Flat() && !m.Zero()
}

// loss is the relative error of a matrix that counts.
func (s *split) loss(i int, r decompose.Result) float64 {
	switch {
	case r.KeptDense:
		return 0
	case s.aware(i) && !math.IsNaN(r.DataError):
		return r.DataError
	}
	return r.RelativeError
}

// outputError is the worst relative error of an output of a changed model, on calibration samples held back or on random inputs.
func (s *split) outputError(ctx context.Context, p *runtime.Program) (float64, error) {
	if s.cal != nil {
		return s.c.heldBackError(ctx, s.cal, p)
	}
	cmp := newComparer()
	cmp.floatOnly = true
	for _, x := range s.samples {
		out, err := p.Run(ctx, x.feeds)
		if err != nil {
			return 0, fmt.Errorf("convert: a changed model fails where the original runs: %w", err)
		}
		if err := cmp.add(out, x.outputs, nil); err != nil {
			return 0, err
		}
	}
	return float64(cmp.result("go").Relative), nil
}
