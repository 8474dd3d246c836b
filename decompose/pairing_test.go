package decompose

import (
	"context"
	"math"
	"math/rand/v2"
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

// framesFor are 80 frames of a few directions, the first much longer than the last.
func framesFor(t *testing.T, n int) *trals.Metric {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 5))
	x := tensor.NewDense(80, n)
	for k := range 12 {
		v := make([]float64, n)
		for i := range v {
			v[i] = r.NormFloat64() * math.Pow(0.7, float64(k))
		}
		for f := range 80 {
			a := r.NormFloat64()
			for i := range v {
				x.Data[f*n+i] += float32(a * v[i])
			}
		}
	}
	metric, err := trals.NewFrameMetric(x, 1e-3)
	if err != nil {
		t.Fatal(err)
	}
	return metric
}

// On frames of few directions the error of a TT-matrix falls well below that of the fit to W, more sweeps are not above fewer, and at the end no
// small change of the cores lowers it.
func TestTTMatrixFollowsTheFrames(t *testing.T) {
	for name, in := range map[string]int{"exact": 48, "padded": 47} {
		m := weights(name, 1, 4, 16, in, 0.2)
		w, _ := m.Load(context.Background())
		o := Options{Format: "ttm", InModes: []int{4, 4, 3}, OutModes: []int{4, 4, 4}, Tol: 1e-9}
		plain, err := Run(context.Background(), []Matrix{m}, Budget{Rank: 6}, o)
		if err != nil {
			t.Fatal(err)
		}
		metric := framesFor(t, in)
		m.Metric = metric
		before := metric.Error(w, plain[0].Factor)
		plainError := before
		var last Result
		for _, sweeps := range []int{1, 3, 120} {
			o.Sweeps = sweeps
			rs, err := Run(context.Background(), []Matrix{m}, Budget{Rank: 6}, o)
			if err != nil {
				t.Fatal(err)
			}
			last = rs[0]
			checkResult(t, m, last)
			if len(last.Warnings) > 0 || last.DataError > before*(1+1e-6) {
				t.Errorf("%s, %d sweeps: error %v after %v, warnings %q", name, sweeps, last.DataError, before, last.Warnings)
			}
			before = last.DataError
		}
		if last.DataError > 0.7*plainError {
			t.Errorf("%s: error on the frames %v, of the fit to W %v", name, last.DataError, plainError)
		}
		r := rand.New(rand.NewPCG(8, 8))
		for range 20 {
			f := *last.Factor
			f.Cores = slices.Clone(f.Cores)
			k := r.IntN(len(f.Cores))
			f.Cores[k].Data = slices.Clone(f.Cores[k].Data)
			for i := range f.Cores[k].Data {
				f.Cores[k].Data[i] *= 1 + 1e-3*float32(r.NormFloat64())
			}
			if e := metric.Error(w, &f); e < last.DataError*(1-1e-4) {
				t.Errorf("%s: a small change of core %d brings the error from %v to %v", name, k, last.DataError, e)
			}
		}
	}
}

// Where only the start is asked for, frames measure a TT-matrix, and a warning says so.
func TestTTMatrixMeasuredByFrames(t *testing.T) {
	m := weights("w", 1, 4, 16, 48, 0.4)
	m.Metric = framesFor(t, 48)
	rs, err := Run(context.Background(), []Matrix{m}, Budget{Rank: 4}, Options{Format: "ttm", Method: "svd"})
	if err != nil {
		t.Fatal(err)
	}
	checkResult(t, m, rs[0])
	w, _ := m.Load(context.Background())
	if want := m.Metric.Error(w, rs[0].Factor); rs[0].DataError != want || len(rs[0].Warnings) != 1 || !strings.Contains(rs[0].Warnings[0], "measure it only") {
		t.Errorf("error on frames %v, want %v; warnings %q", rs[0].DataError, want, rs[0].Warnings)
	}
}
