package trals

import (
	"context"
	"math"
	"testing"
)

// countdown is a context that ends when it has been looked at a number of times.
type countdown struct {
	context.Context
	left, looks int
}

func (c *countdown) Err() error {
	c.looks++
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// A fit looks at its context before every core. Whenever the context ends, the best ring so far is returned, with its own error.
func TestCancelledAtAnyMoment(t *testing.T) {
	w := ringMatrix([]int{3, 4, 2}, []int{4, 3}, uniform(5, 2), 0.1)
	in, out := []int{3, 4, 2}, []int{4, 3}
	metric, err := NewFrameMetric(ringMatrix([]int{24}, []int{30}, uniform(2, 3), 0.1), 1e-3)
	if err != nil {
		t.Fatal(err)
	}
	for name, analyse := range map[string]func() (*Matrix, error){
		"plain":    func() (*Matrix, error) { return NewMatrix(t.Context(), w, 4) },
		"weighted": func() (*Matrix, error) { return NewWeightedMatrix(t.Context(), w, metric, 4) },
	} {
		m, err := analyse()
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Ranks: uniform(5, 2), Init: InitRandom, Sweeps: 3, Tol: -1}
		all := &countdown{Context: t.Context(), left: math.MaxInt}
		if _, err := m.Decompose(all, in, out, o); err != nil {
			t.Fatal(err)
		}
		if least := 3 * len(o.Ranks); all.looks < least {
			t.Errorf("%s: 3 sweeps over %d cores looked at the context %d times", name, len(o.Ranks), all.looks)
		}
		previous := math.Inf(1)
		for left := range all.looks {
			res, err := m.Decompose(&countdown{Context: t.Context(), left: left}, in, out, o)
			if err != nil {
				t.Fatal(err)
			}
			if res.Status != Cancelled {
				t.Fatalf("%s: cancelled at look %d of %d, status %v", name, left, all.looks, res.Status)
			}
			f := factor(m.rows, m.cols, in, out, res.Cores)
			if e := f.Error(w); math.Abs(e-res.RelativeError) > 1e-6*e {
				t.Errorf("%s: look %d: reported %v, recomputed %v", name, left, res.RelativeError, e)
			}
			if res.WeightedError > previous*(1+1e-5) {
				t.Errorf("%s: cancelled at look %d the error is %v, one look earlier it was %v", name, left, res.WeightedError, previous)
			}
			previous = res.WeightedError
		}
	}
}
