package trals

import (
	"context"
	"math"
	"testing"

	"github.com/trconvert/trconvert/tensor"
)

// Matrices that have no business being factored end with a ring, a status and an error between the bound and 1, from every start.
func TestDegenerateMatrices(t *testing.T) {
	fill := func(rows, cols int, f func(i, j int) float64) *tensor.Dense {
		w := tensor.NewDense(rows, cols)
		for i := range w.Data {
			w.Data[i] = float32(f(i/cols, i%cols))
		}
		return w
	}
	for _, c := range []struct {
		name    string
		w       *tensor.Dense
		in, out []int
		rank    int
		exact   bool // a ring of these ranks has the matrix
	}{
		{"zero", fill(12, 20, func(i, j int) float64 { return 0 }), []int{4, 5}, []int{3, 4}, 3, true},
		{"constant", fill(12, 20, func(i, j int) float64 { return -2 }), []int{4, 5}, []int{3, 4}, 3, true},
		{"one row that counts", fill(12, 20, func(i, j int) float64 { return float64(max(0, i-10)) * float64(j%5) }), []int{4, 5}, []int{3, 4}, 3, true},
		{"equal columns, ranks beyond use", fill(64, 64, func(i, j int) float64 { return float64(i%7) - 3 }), []int{8, 8}, []int{8, 8}, 8, true},
		{"a single row", fill(1, 30, func(i, j int) float64 { return float64(j) - 11 }), []int{5, 6}, []int{1}, 6, true},
		{"a single column", fill(30, 1, func(i, j int) float64 { return float64(i) - 11 }), []int{1}, []int{5, 6}, 6, true},
		{"prime sides", fill(13, 17, func(i, j int) float64 { return float64((i+j)%3) - 1 }), []int{17}, []int{13}, 2, true},
		{"prime columns, padded", fill(12, 17, func(i, j int) float64 { return float64(i+1) / float64(j+2) }), []int{3, 6}, []int{3, 4}, 3, false},
		{"denormal", fill(12, 20, func(i, j int) float64 { return float64((i*j)%5) * 1e-43 }), []int{4, 5}, []int{3, 4}, 3, false},
		{"near the largest", fill(12, 20, func(i, j int) float64 { return float64(i%3-1) * 3e38 }), []int{4, 5}, []int{3, 4}, 3, true},
		{"tiny and large", fill(12, 20, func(i, j int) float64 { return math.Pow(10, float64(i*3-15)) }), []int{4, 5}, []int{3, 4}, 3, true},
	} {
		m, err := NewMatrix(context.Background(), c.w, c.rank*c.rank)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, init := range []Init{InitCut, InitRandom} {
			ranks := uniform(len(c.in)+len(c.out), c.rank)
			res, err := m.Decompose(context.Background(), c.in, c.out, Options{Ranks: ranks, Init: init, Restarts: 1, Sweeps: 40})
			if err != nil {
				t.Errorf("%s, init %d: %v", c.name, init, err)
				continue
			}
			if e := res.RelativeError; math.IsNaN(e) || e > 1 || e < res.LowerBound || c.exact && e > 1e-5 {
				t.Errorf("%s, init %d: error %v, bound %v, %v", c.name, init, e, res.LowerBound, res.Status)
			}
		}
	}
}
