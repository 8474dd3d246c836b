package trals

import (
	"context"
	"math"
	"testing"

	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/tensor"
)

// weightedCase is a random W [rows, cols] and frames [q, cols] whose directions differ in size by powers of ten.
func weightedCase(root uint64, rows, cols, q int) (w, x *tensor.Dense) {
	r := seed.Stream(root, "weighted case")
	w, x = tensor.NewDense(rows, cols), tensor.NewDense(q, cols)
	for i := range w.Data {
		w.Data[i] = float32(r.NormFloat64())
	}
	for s := range q {
		shared := r.NormFloat64()
		for i := range cols {
			x.Data[s*cols+i] = float32((r.NormFloat64() + shared) * math.Pow(10, -2*float64(i)/float64(cols)))
		}
	}
	return w, x
}

func TestWeightedSweepsFall(t *testing.T) {
	w, x := weightedCase(1, 24, 60, 100)
	metric, err := NewFrameMetric(x, 1e-3)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewWeightedMatrix(context.Background(), w, metric, 20)
	if err != nil {
		t.Fatal(err)
	}
	for _, ranks := range [][]int{{1, 4, 6, 4}, {2, 3, 4, 3}, {3, 3, 2, 3}} {
		last := math.Inf(1)
		res, err := m.Decompose(context.Background(), []int{8, 8}, []int{4, 6}, Options{Ranks: ranks, Sweeps: 20, Tol: -1, OnSweep: func(s Sweep) {
			if s.RelativeError > last*(1+1e-9) {
				t.Errorf("ranks %v: sweep %d: the error rose from %g to %g", ranks, s.Number, last, s.RelativeError)
			}
			last = s.RelativeError
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(ranks, last, res.Status, res.Sweeps, res.WeightedError, m.CutBound(ranks[0]*ranks[2]))
	}
}
