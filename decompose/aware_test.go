package decompose

import (
	"context"
	"math"
	"testing"

	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// awareMatrix has rows and columns of random numbers, and frames of which few directions hold most.
func awareMatrix(t *testing.T, name string, hidden, in int) (m Matrix, frames *tensor.Dense) {
	t.Helper()
	r := seed.Stream(1, "aware", name)
	w := tensor.NewDense(4*hidden, in)
	for i := range w.Data {
		w.Data[i] = float32(r.NormFloat64())
	}
	frames = tensor.NewDense(3*in, in)
	for s := range 3 * in {
		a, b := r.NormFloat64(), r.NormFloat64()
		for i := range in {
			frames.Data[s*in+i] = float32(a*math.Sin(float64(i)) + b*math.Cos(3*float64(i)) + 0.2*r.NormFloat64())
		}
	}
	metric, err := trals.NewFrameMetric(frames, 1e-3)
	if err != nil {
		t.Fatal(err)
	}
	load := func(context.Context) (*tensor.Dense, error) { return w, nil }
	return Matrix{Name: name, Directions: 1, Gates: 4, Hidden: hidden, In: in, Load: load, Metric: metric}, frames
}

// The oracle of data_error is ‖(W−Ŵ)·Xᵀ‖/‖W·Xᵀ‖, frame by frame.
func TestMetricLowersTheErrorOnData(t *testing.T) {
	a, xa := awareMatrix(t, "a", 16, 48)
	b, xb := awareMatrix(t, "b", 12, 64)
	measure := func(m Matrix, x *tensor.Dense, f *tensor.Factor) float64 {
		w, err := m.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hat := f.Reconstruct()
		var e, all float64
		for s := range x.Dims[0] {
			for o := range m.Out() {
				var d, y float64
				for i := range m.In {
					v := float64(x.Data[s*m.In+i])
					y += float64(w.Data[o*m.In+i]) * v
					d += (float64(w.Data[o*m.In+i]) - float64(hat.Data[o*m.In+i])) * v
				}
				e, all = e+d*d, all+y*y
			}
		}
		return math.Sqrt(e / all)
	}
	for _, format := range []string{"tr", "tt", "svd"} {
		for _, budget := range []Budget{{Ratio: 8}, {MaxParams: 900}, {Rank: 4}} {
			aware, err := Run(t.Context(), []Matrix{a, b}, budget, Options{Format: format})
			if err != nil {
				t.Fatal(format, err)
			}
			flat := []Matrix{a, b}
			for i := range flat {
				if flat[i].Metric, err = flat[i].Metric.WithRidge(math.Inf(1)); err != nil {
					t.Fatal(err)
				}
			}
			plain, err := Run(t.Context(), flat, budget, Options{Format: format})
			if err != nil {
				t.Fatal(format, err)
			}
			for i, x := range []*tensor.Dense{xa, xb} {
				for _, r := range []Result{aware[i], plain[i]} {
					if want := measure(flat[i], x, r.Factor); math.Abs(r.DataError-want) > 1e-4*want+1e-6 {
						t.Errorf("%s, %+v: %s: data error %v, recomputed %v", format, budget, r.Matrix, r.DataError, want)
					}
					if !(r.LowerBound <= r.RelativeError) {
						t.Errorf("%s, %+v: %s: error %v below its bound %v", format, budget, r.Matrix, r.RelativeError, r.LowerBound)
					}
				}
				if budget.Rank > 0 && aware[i].DataError > plain[i].DataError { // the same size
					t.Errorf("%s, rank 4: %s errs by %v on the data, without a metric by %v", format, aware[i].Matrix, aware[i].DataError, plain[i].DataError)
				}
			}
			if x, y := aware[0].DataError+aware[1].DataError, plain[0].DataError+plain[1].DataError; x > 0.9*y {
				t.Errorf("%s, %+v: errors on the data %v, without a metric %v", format, budget, x, y)
			}
		}
	}
}

func TestNoFramesNoError(t *testing.T) {
	m, _ := awareMatrix(t, "a", 16, 48)
	m.Metric = nil
	plain, err := Run(t.Context(), []Matrix{m}, Budget{}, Options{Format: "tr"})
	if err != nil || !math.IsNaN(plain[0].DataError) {
		t.Fatal(plain, err)
	}
	if m.Metric, err = trals.NewFrameMetric(tensor.NewDense(5, 48), 1e-3); err != nil {
		t.Fatal(err)
	}
	zero, err := Run(t.Context(), []Matrix{m}, Budget{}, Options{Format: "tr"})
	if err != nil || len(zero[0].Warnings) == 0 || zero[0].RelativeError != plain[0].RelativeError {
		t.Errorf("frames of zeros: %+v, %v; without %v", zero, err, plain[0].RelativeError)
	}
	other, _ := awareMatrix(t, "b", 12, 64)
	m.Metric = other.Metric
	if _, err := Run(t.Context(), []Matrix{m}, Budget{}, Options{}); err == nil {
		t.Error("frames of another width: no error")
	}
}
