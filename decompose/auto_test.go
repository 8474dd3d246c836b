package decompose

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// generated are matrices of the kinds that favour one format or another.
func generated() map[string][]Matrix {
	r := rand.New(rand.NewPCG(3, 4))
	noise := func(out, in int) *tensor.Dense {
		w := tensor.NewDense(out, in)
		for i := range w.Data {
			w.Data[i] = float32(r.NormFloat64())
		}
		return w
	}
	lowRank := noise(32, 24)
	u, v := noise(32, 3), noise(24, 3)
	smooth := tensor.NewDense(32, 24)
	for i := range 32 {
		for j := range 24 {
			x := 0.02 * lowRank.Data[i*24+j]
			for k := range 3 {
				x += u.Data[i*3+k] * v.Data[j*3+k]
			}
			lowRank.Data[i*24+j] = x
			smooth.Data[i*24+j] = float32(math.Sin(0.1*float64(i)+0.2*float64(j)) + math.Exp(-0.05*float64(i)))
		}
	}
	f := &tensor.Factor{Format: "tr", Out: 32, In: 24, InModes: []int{4, 3, 2}, OutModes: []int{4, 2, 4}}
	for _, n := range []int{4, 3, 2, 4, 2, 4} {
		c := tensor.Core{Left: 2, Mode: n, Right: 2}
		for range 4 * n {
			c.Data = append(c.Data, float32(r.NormFloat64()))
		}
		f.Cores = append(f.Cores, c)
	}
	ring := f.Reconstruct()
	one := func(w *tensor.Dense) []Matrix { return []Matrix{given("w", 1, 4, 8, 24, w)} }
	return map[string][]Matrix{
		"low rank": one(lowRank),
		"smooth":   one(smooth),
		"ring":     one(ring),
		"noise":    one(noise(32, 24)),
		"all":      {given("low rank", 1, 4, 8, 24, lowRank), given("ring", 1, 4, 8, 24, ring), given("noise", 1, 4, 8, 24, noise(32, 24))},
	}
}

func sumOfSquares(rs []Result) float64 {
	var sum float64
	for _, r := range rs {
		if !r.KeptDense {
			sum += r.RelativeError * r.RelativeError
		}
	}
	return sum
}

func TestAutoIsNeverWorseThanAFormat(t *testing.T) {
	for name, ms := range generated() {
		for _, ratio := range []float64{3, 8} {
			run := func(format string) ([]Result, error) {
				return Run(context.Background(), ms, Budget{Ratio: ratio}, Options{Format: format, Sweeps: 10})
			}
			rs, err := run(auto)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range rs {
				checkResult(t, ms[i], r)
			}
			if n, limit := stored(ms, rs), int(float64(total(ms))/ratio); n > limit {
				t.Errorf("%s ratio %v: %d numbers, %d allowed", name, ratio, n, limit)
			}
			for _, format := range []string{"tr", "tt", "svd"} {
				alone, err := run(format)
				if be := (*BudgetError)(nil); errors.As(err, &be) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if a, b := sumOfSquares(rs), sumOfSquares(alone); a > b*(1+1e-9)+1e-14 { // at 1e-7 the float32 cores round
					t.Errorf("%s ratio %v: auto errs by %v, %s alone by %v", name, ratio, math.Sqrt(a), format, math.Sqrt(b))
				}
			}
		}
	}
}

// With calibration frames the error on them is what counts.
func TestAutoIsNeverWorseOnData(t *testing.T) {
	ms := generated()["all"]
	r := rand.New(rand.NewPCG(8, 8))
	x := tensor.NewDense(60, 24)
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64() / float64(1+i%24)) // columns of falling weight
	}
	for i := range ms {
		var err error
		if ms[i].Metric, err = trals.NewFrameMetric(x, 1e-3); err != nil {
			t.Fatal(err)
		}
	}
	sum := func(format string) float64 {
		rs, err := Run(context.Background(), ms, Budget{Ratio: 3}, Options{Format: format, Sweeps: 8})
		if err != nil {
			t.Fatal(err)
		}
		var sum float64
		for i, r := range rs {
			if r.KeptDense {
				continue
			}
			w, _ := ms[i].Load(context.Background())
			if e := errorOn(w, r.Factor.Reconstruct(), x); math.Abs(e-r.DataError) > 1e-6 {
				t.Errorf("%s: data error %v, recomputed %v", r.Matrix, r.DataError, e)
			}
			sum += r.DataError * r.DataError
		}
		return sum
	}
	a := sum(auto)
	for _, format := range []string{"tr", "tt", "svd"} {
		if b := sum(format); a > b*(1+1e-9) {
			t.Errorf("auto errs by %v on the frames, %s alone by %v", math.Sqrt(a), format, math.Sqrt(b))
		}
	}
}

// errorOn is ‖(W−V)·Xᵀ‖/‖W·Xᵀ‖ by definition.
func errorOn(w, v, x *tensor.Dense) float64 {
	var diff, norm float64
	out, in := w.Dims[0], w.Dims[1]
	for f := range x.Dims[0] {
		for o := range out {
			var a, b float64
			for i := range in {
				a += float64(w.Data[o*in+i]) * float64(x.Data[f*in+i])
				b += float64(v.Data[o*in+i]) * float64(x.Data[f*in+i])
			}
			diff += (a - b) * (a - b)
			norm += a * a
		}
	}
	return math.Sqrt(diff / norm)
}

// What can be told without a search: exact low rank is best kept as an SVD, an exact ring as a ring.
func TestAutoFindsTheStructure(t *testing.T) {
	ms := generated()
	rs, err := Run(context.Background(), ms["ring"], Budget{MaxError: 0.01}, Options{Format: auto, InModes: []int{4, 3, 2}, OutModes: []int{4, 2, 4}, Sweeps: 100})
	if err != nil {
		t.Fatal(err)
	}
	if f := rs[0].Factor; f == nil || f.Format != "tr" {
		t.Errorf("a ring of rank 2 is kept as %+v", rs[0])
	}
	rs, err = Run(context.Background(), ms["low rank"], Budget{MaxError: 0.05}, Options{Format: auto})
	if err != nil {
		t.Fatal(err)
	}
	if r := rs[0]; r.KeptDense || r.Factor.Params() > 3*(32+24) || r.RelativeError > 0.05 {
		t.Errorf("rank 3 and noise of 2 %% within 5 %%: %+v", r)
	}
}

func TestAutoKeepsErrorsBelowTheLimit(t *testing.T) {
	ms := generated()["all"]
	for _, limit := range []float64{0.5} {
		rs, err := Run(context.Background(), ms, Budget{MaxError: limit}, Options{Format: auto, Sweeps: 10})
		if err != nil {
			t.Fatal(err)
		}
		n := stored(ms, rs)
		for i, r := range rs {
			checkResult(t, ms[i], r)
			if r.RelativeError > limit {
				t.Errorf("%s: error %v, at most %v was asked for", r.Matrix, r.RelativeError, limit)
			}
		}
		for _, format := range []string{"tr", "tt", "svd"} {
			alone, err := Run(context.Background(), ms, Budget{MaxError: limit}, Options{Format: format, Sweeps: 10})
			if err == nil && stored(ms, alone) < n {
				t.Errorf("limit %v: auto takes %d numbers, %s alone %d", limit, n, format, stored(ms, alone))
			}
		}
	}
	_, err := Run(context.Background(), generated()["noise"], Budget{MaxError: 1e-7}, Options{Format: auto, Sweeps: 2})
	if be := (*BudgetError)(nil); !errors.As(err, &be) {
		t.Errorf("noise within 1e-7: %v", err)
	}
}

func TestAutoWithGivenRanksIsARing(t *testing.T) {
	rs, err := Run(context.Background(), generated()["ring"], Budget{Rank: 2}, Options{Format: auto, InModes: []int{24}, OutModes: []int{32}})
	if err != nil {
		t.Fatal(err)
	}
	if f := rs[0].Factor; f.Format != "tr" || !slices.Equal(f.InModes, []int{24}) || !slices.Equal(f.Ranks(), []int{2, 2}) {
		t.Errorf("%s %v|%v %v", f.Format, f.InModes, f.OutModes, f.Ranks())
	}
}

func TestAutoIsDeterministic(t *testing.T) {
	ms := generated()["all"]
	run := func(procs int) ([]Result, [][]Point) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		rs, fronts, err := Plan(context.Background(), ms, Budget{Ratio: 5}, Options{Format: auto, Sweeps: 6})
		if err != nil {
			t.Fatal(err)
		}
		return rs, fronts
	}
	rs, fronts := run(1)
	again, frontsAgain := run(2)
	same := func(a, b any) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) } // NaN is NaN here
	for i := range rs {
		if !reflect.DeepEqual(rs[i].Factor, again[i].Factor) {
			t.Errorf("%s: cores depend on GOMAXPROCS", rs[i].Matrix)
		}
	}
	if !same(fronts, frontsAgain) {
		t.Errorf("fronts depend on GOMAXPROCS:\n%+v\n%+v", fronts, frontsAgain)
	}
	alone, err := Run(context.Background(), ms, Budget{Ratio: 5}, Options{Format: auto, Sweeps: 6})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rs {
		if !reflect.DeepEqual(rs[i].Factor, alone[i].Factor) {
			t.Errorf("%s: Plan and Run differ", rs[i].Matrix)
		}
	}
}

func TestFront(t *testing.T) {
	m := generated()["ring"][0]
	points, err := Front(context.Background(), m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	last := points[len(points)-1]
	if last.Format != "dense" || last.Params != m.Size() || last.RelativeError != 0 || last.Cost.Bottleneck != 2*32*24 {
		t.Errorf("the last point is %+v", last)
	}
	for i, p := range points {
		if i > 0 && (p.Params <= points[i-1].Params || p.RelativeError >= points[i-1].RelativeError) {
			t.Errorf("point %d is beaten by the one before:\n%+v\n%+v", i, points[i-1], p)
		}
		if p.Format == "dense" {
			continue
		}
		if n := paramsOf(append(slices.Clone(p.InModes), p.OutModes...), p.Ranks); n != p.Params {
			t.Errorf("%+v has %d numbers", p, n)
		}
		cut := p.Ranks[0] * p.Ranks[len(p.InModes)]
		if want := float64(2 * cut * (32 + 24)); p.Cost.Bottleneck != want {
			t.Errorf("%+v: want %v FLOPs in the bottleneck form", p, want)
		}
	}
}

func TestPlanMarksTheChoice(t *testing.T) {
	ms := generated()["all"]
	rs, fronts, err := Plan(context.Background(), ms, Budget{Ratio: 4}, Options{Format: "tt", Sweeps: 4})
	if err != nil {
		t.Fatal(err)
	}
	for i, front := range fronts {
		var chosen []Point
		for _, p := range front {
			if p.Chosen {
				chosen = append(chosen, p)
			}
			if p.Format == "tr" {
				t.Errorf("%s is on the front of tt", p.Format)
			}
		}
		if len(chosen) != 1 || !rs[i].KeptDense && (chosen[0].Params != rs[i].Factor.Params() || chosen[0].RelativeError != rs[i].RelativeError) {
			t.Errorf("%s: chosen %+v, result %+v", rs[i].Matrix, chosen, rs[i])
		}
	}
}

// Cancelled at any trial or sweep, a search ends with the context's error and soon.
func TestAutoCanBeCancelled(t *testing.T) {
	ms := generated()["all"]
	for _, after := range []int{1, 5, 30} {
		ctx, cancel := context.WithCancel(context.Background())
		trials, late := 0, 0
		o := Options{Format: auto, OnTrial: func(tr Trial) {
			if trials++; trials == after {
				cancel()
			}
			if trials > after {
				late++
			}
			if tr.Matrix == "" || tr.Done < 1 || tr.Done > tr.Most {
				t.Errorf("%+v", tr)
			}
		}}
		if _, _, err := Plan(ctx, ms, Budget{Ratio: 4}, o); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at trial %d: %v", after, err)
		}
		if late > 0 {
			t.Errorf("%d trials after the end of the context", late)
		}
		cancel()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := Run(ctx, ms, Budget{Ratio: 4}, Options{Format: auto, OnSweep: func(string, trals.Sweep) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled at a sweep: %v", err)
	}
}

// A mix is the best there is: compared with all mixes of random options.
func TestBestMix(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		options := make([][]option, 3)
		for i := range options {
			for range 4 {
				options[i] = append(options[i], option{params: 1 + r.IntN(50), square: r.Float64()})
			}
		}
		n := 30 + r.IntN(120)
		best := math.Inf(1)
		for a := range 4 {
			for b := range 4 {
				for c := range 4 {
					if options[0][a].params+options[1][b].params+options[2][c].params <= n {
						best = min(best, options[0][a].square+options[1][b].square+options[2][c].square)
					}
				}
			}
		}
		got, used := math.Inf(1), 0
		if mix := bestMix(options, n); mix != nil {
			got = 0
			for i, k := range mix {
				got += options[i][k].square
				used += options[i][k].params
			}
		}
		if math.Abs(got-best) > 1e-12 && !(math.IsInf(got, 1) && math.IsInf(best, 1)) || used > n {
			t.Errorf("mix of %v with %d of %d numbers, the best is %v", got, used, n, best)
		}
	}
}
