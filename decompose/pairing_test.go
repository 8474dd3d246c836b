package decompose

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// A matrix that is a TT-matrix is found again, whatever the number of pairs and with modes of 1.
func TestExactTTMatrixIsFound(t *testing.T) {
	for name, s := range map[string]Shape{
		"two pairs":   {"ttm", 64, 60, []int{10, 6}, []int{8, 8}, []int{1, 5}},
		"three pairs": {"ttm", 64, 60, []int{5, 4, 3}, []int{4, 4, 4}, []int{1, 4, 3}},
		"four pairs":  {"ttm", 64, 60, []int{5, 2, 2, 3}, []int{4, 4, 1, 4}, []int{1, 3, 4, 2}},
		"ones":        {"ttm", 48, 35, []int{5, 1, 7}, []int{1, 12, 4}, []int{1, 3, 4}},
	} {
		f, err := Fresh(s, 1, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{"als", "svd"} {
			m := given(name, 1, 4, s.Out/4, s.In, f.Reconstruct())
			rs, err := Run(context.Background(), []Matrix{m}, Budget{Ranks: s.Ranks}, Options{Format: "ttm", InModes: s.InModes, OutModes: s.OutModes, Method: method})
			if err != nil {
				t.Fatal(err)
			}
			checkResult(t, m, rs[0])
			if rs[0].RelativeError > 1e-6 || !slices.Equal(rs[0].Factor.Ranks(), s.Ranks) {
				t.Errorf("%s, %s: error %v, ranks %v", name, method, rs[0].RelativeError, rs[0].Factor.Ranks())
			}
		}
	}
}

// Of two pairs the best TT-matrix is the truncated SVD of W rearranged to [o_1 i_1, o_2 i_2] (Van Loan and Pitsianis 1993), whose error is the tail
// of its singular values: those of the Gram, here.
func TestTwoPairsAreTheBestThereAre(t *testing.T) {
	m := weights("w", 1, 4, 16, 48, 0.4)
	w, _ := m.Load(context.Background())
	in, out := []int{6, 8}, []int{8, 8}
	rows, cols := out[0]*in[0], out[1]*in[1]
	p := make([]float64, rows*cols)
	for o := range m.Out() {
		for i := range m.In {
			p[(o/8*6+i/8)*cols+o%8*8+i%8] = float64(w.Data[o*m.In+i])
		}
	}
	gram := make([]float64, rows*rows)
	for a := range rows {
		for b := range rows {
			for c := range cols {
				gram[a*rows+b] += p[a*cols+c] * p[b*cols+c]
			}
		}
	}
	squares := linalg.Eigenvalues(rows, gram)
	total := 0.0
	for _, v := range squares {
		total += v
	}
	for _, rank := range []int{1, 4, 9} {
		tail := 0.0
		for _, v := range squares[rank:] {
			tail += v
		}
		rs, err := Run(context.Background(), []Matrix{m}, Budget{Rank: rank}, Options{Format: "ttm", InModes: in, OutModes: out})
		if err != nil {
			t.Fatal(err)
		}
		checkResult(t, m, rs[0])
		if want := math.Sqrt(tail / total); math.Abs(rs[0].RelativeError-want) > 1e-6 || math.Abs(rs[0].LowerBound-want) > 1e-5 {
			t.Errorf("rank %d: error %v, bound %v, the best is %v", rank, rs[0].RelativeError, rs[0].LowerBound, want)
		}
	}
}

// Least squares is not above its start, and more sweeps are not above fewer.
func TestTTMatrixErrorFalls(t *testing.T) {
	m := weights("w", 1, 4, 16, 60, 0.3)
	before := math.Inf(1)
	for _, o := range []Options{{Method: "svd"}, {Sweeps: 1}, {Sweeps: 3}, {Sweeps: 12}} {
		o.Format, o.InModes, o.OutModes = "ttm", []int{5, 4, 3}, []int{4, 4, 4}
		rs, err := Run(context.Background(), []Matrix{m}, Budget{Rank: 5}, o)
		if err != nil {
			t.Fatal(err)
		}
		checkResult(t, m, rs[0])
		if rs[0].RelativeError > before*(1+1e-9) {
			t.Errorf("%+v: error %v after %v", o, rs[0].RelativeError, before)
		}
		before = rs[0].RelativeError
	}
}

// Frames measure a TT-matrix, and a warning says that they did not guide it.
func TestTTMatrixAndFrames(t *testing.T) {
	m := weights("w", 1, 4, 16, 48, 0.4)
	x := tensor.NewDense(64, 48)
	for i := range x.Data {
		x.Data[i] = float32(i%7) - 3
	}
	metric, err := trals.NewFrameMetric(x, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	m.Metric = metric
	rs, err := Run(context.Background(), []Matrix{m}, Budget{Ratio: 8}, Options{Format: "ttm"})
	if err != nil {
		t.Fatal(err)
	}
	checkResult(t, m, rs[0])
	w, _ := m.Load(context.Background())
	if want := metric.Error(w, rs[0].Factor); rs[0].DataError != want || len(rs[0].Warnings) != 1 || !strings.Contains(rs[0].Warnings[0], "only measured it") {
		t.Errorf("error on frames %v, want %v; warnings %q", rs[0].DataError, want, rs[0].Warnings)
	}
}
