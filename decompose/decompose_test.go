package decompose

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// weights is a matrix like a trained one: random singular vectors, singular values that fall as a power.
func weights(name string, directions, gates, hidden, in int, decay float64) Matrix {
	r := rand.New(rand.NewPCG(uint64(in), uint64(hidden)))
	out := directions * gates * hidden
	w := tensor.NewDense(out, in)
	for k := range 12 {
		scale := math.Pow(float64(k+1), -decay)
		u, v := make([]float64, out), make([]float64, in)
		for i := range u {
			u[i] = r.NormFloat64()
		}
		for i := range v {
			v[i] = r.NormFloat64()
		}
		for i := range u {
			for j := range v {
				w.Data[i*in+j] += float32(scale * u[i] * v[j])
			}
		}
	}
	for i := range w.Data {
		w.Data[i] += float32(0.1 * r.NormFloat64())
	}
	return given(name, directions, gates, hidden, in, w)
}

func given(name string, directions, gates, hidden, in int, w *tensor.Dense) Matrix {
	return Matrix{Name: name, Directions: directions, Gates: gates, Hidden: hidden, In: in,
		Load: func(context.Context) (*tensor.Dense, error) { return w, nil }}
}

func constant(name string, gates, hidden, in int, v float32) Matrix {
	w := tensor.NewDense(gates*hidden, in)
	for i := range w.Data {
		w.Data[i] = v
	}
	return given(name, 1, gates, hidden, in, w)
}

// traceOf is Tr( G_1[i_1] … G_d[i_d] ) by its definition.
func traceOf(cores []tensor.Core, index []int) float64 {
	var trace float64
	for start := range cores[0].Left {
		row := make([]float64, cores[0].Left)
		row[start] = 1
		for k, c := range cores {
			next := make([]float64, c.Right)
			for p, v := range row {
				for q := range next {
					next[q] += v * float64(c.Data[(p*c.Mode+index[k])*c.Right+q])
				}
			}
			row = next
		}
		trace += row[start]
	}
	return trace
}

// digits writes i in mixed radix, the last mode fastest.
func digits(i int, modes []int) []int {
	d := make([]int, len(modes))
	for k := len(modes) - 1; k >= 0; k-- {
		d[k], i = i%modes[k], i/modes[k]
	}
	return d
}

// checkResult compares what a result says with the cores it holds: Ŵ is rebuilt as the trace of products of core slices.
func checkResult(t *testing.T, m Matrix, r Result) {
	t.Helper()
	if r.Matrix != m.Name {
		t.Errorf("result of %q is named %q", m.Name, r.Matrix)
	}
	if r.KeptDense {
		if r.Factor != nil || r.Reason == "" {
			t.Errorf("%s: kept dense with factor %v and reason %q", m.Name, r.Factor, r.Reason)
		}
		return
	}
	f := r.Factor
	if err := f.Validate(); err != nil {
		t.Fatalf("%s: %v", m.Name, err)
	}
	if f.Out != m.Out() || f.In != m.In {
		t.Errorf("%s: factor is %d×%d", m.Name, f.Out, f.In)
	}
	if f.Params() >= m.Size() {
		t.Errorf("%s: %d numbers for a matrix of %d", m.Name, f.Params(), m.Size())
	}
	w, _ := m.Load(context.Background())
	var diff, norm float64
	for o := range f.Out {
		for i := range f.In {
			rows, cols := digits(o, f.OutModes), digits(i, f.InModes)
			index := slices.Concat(cols, rows)
			if f.Format == "ttm" { // core k has the index (o_k, i_k)
				index = cols
				for k := range index {
					index[k] += rows[k] * f.InModes[k]
				}
			}
			trace := traceOf(f.Cores, index)
			v := float64(w.Data[o*f.In+i])
			diff += (v - trace) * (v - trace)
			norm += v * v
		}
	}
	want := 0.0
	if diff > 0 {
		want = math.Sqrt(diff / norm)
	}
	if math.Abs(want-r.RelativeError) > 1e-9+1e-6*want {
		t.Errorf("%s: reported error %v, recomputed %v", m.Name, r.RelativeError, want)
	}
	if !(r.LowerBound <= r.RelativeError) || r.LowerBound < 0 {
		t.Errorf("%s: lower bound %v for error %v", m.Name, r.LowerBound, r.RelativeError)
	}
	if k := f.Params() / (f.Out + f.In); (k == 0) != math.IsNaN(r.SVDSameSize) {
		t.Errorf("%s: SVD of rank %d, reported error %v", m.Name, k, r.SVDSameSize)
	}
	if f.Format == "svd" && math.Abs(r.SVDSameSize-r.RelativeError) > 1e-6 {
		t.Errorf("%s: truncated SVD errs by %v, the best of that rank by %v", m.Name, r.RelativeError, r.SVDSameSize)
	}
	if f.Format != "tr" && f.Ranks()[0] != 1 {
		t.Errorf("%s: format %s with ranks %v", m.Name, f.Format, f.Ranks())
	}
}

func stored(ms []Matrix, rs []Result) int {
	n := 0
	for i, r := range rs {
		if r.KeptDense {
			n += ms[i].Size()
		} else {
			n += r.Factor.Params()
		}
	}
	return n
}

var models = map[string][]Matrix{
	"one":            {weights("w", 1, 4, 16, 48, 0.5)},
	"two alike":      {weights("a", 1, 4, 16, 40, 0.3), weights("b", 1, 4, 16, 32, 1.5)},
	"prime input":    {weights("p", 1, 3, 16, 61, 0.7)},
	"bidirectional":  {weights("bi", 2, 4, 8, 36, 0.7)},
	"one cannot":     {weights("column", 2, 4, 16, 1, 1), weights("full", 2, 4, 16, 32, 0.7)},
	"plain RNN":      {weights("rnn", 1, 1, 60, 50, 0.7)},
	"small and wide": {weights("s", 1, 3, 5, 7, 0.7), weights("l", 1, 3, 20, 90, 0.7)},
}

func TestRatioIsMetAndUsed(t *testing.T) {
	for name, ms := range models {
		for _, format := range []string{"tr", "tt", "svd", "ttm"} {
			for _, ratio := range []float64{2, 4, 8} {
				rs, err := Run(context.Background(), ms, Budget{Ratio: ratio}, Options{Format: format, Sweeps: 5})
				if err != nil {
					var be *BudgetError
					if !errors.As(err, &be) || !strings.HasPrefix(be.Asked, "ratio") || !strings.HasPrefix(be.Best, "ratio") {
						t.Errorf("%s %s ratio %v: %v", name, format, ratio, err)
					}
					continue
				}
				for i, r := range rs {
					checkResult(t, ms[i], r)
					if m := ms[i]; !r.KeptDense && r.Factor.Cut()*(m.In+m.Out()) > m.Size() {
						t.Errorf("%s %s ratio %v: merged sides of %d features take more multiplications than %q", name, format, ratio, r.Factor.Cut(), m.Name)
					}
				}
				n, limit := stored(ms, rs), int(float64(total(ms))/ratio)
				if n > limit {
					t.Errorf("%s %s ratio %v: %d numbers, %d allowed", name, format, ratio, n, limit)
				}
				// A truncated SVD, which is a train of two cores, comes in steps of rows + columns; a ring in smaller ones.
				step, coarse := 0, false
				for i, m := range ms {
					step += m.Out() + m.In
					coarse = coarse || !rs[i].KeptDense && len(rs[i].Factor.Cores) == 2
				}
				if coarse && n < limit-step || !coarse && n < limit*3/4 {
					t.Errorf("%s %s ratio %v: only %d of %d numbers used", name, format, ratio, n, limit)
				}
			}
		}
	}
}

func TestUnreachableRatioNamesTheBest(t *testing.T) {
	ms := models["one cannot"]
	_, err := Run(context.Background(), ms, Budget{Ratio: 1000}, Options{})
	var be *BudgetError
	if !errors.As(err, &be) {
		t.Fatalf("ratio 1000: %v", err)
	}
	var best float64
	if _, err := fmt.Sscanf(be.Best, "ratio %f", &best); err != nil || best >= 1000 || best < 4 {
		t.Fatalf("best that can be reached: %q", be.Best)
	}
	rs, err := Run(context.Background(), ms, Budget{Ratio: best}, Options{})
	if err != nil {
		t.Fatalf("the best ratio, %v, was refused: %v", best, err)
	}
	if got := float64(total(ms)) / float64(stored(ms, rs)); got < best {
		t.Errorf("ratio %v reached, %v promised", got, best)
	}
	if !rs[0].KeptDense || rs[1].KeptDense {
		t.Errorf("the matrix of one column must stay dense, the other must not: %+v", rs)
	}
}

func TestMaxParams(t *testing.T) {
	ms := models["two alike"]
	for _, n := range []int{300, 1000, 2000} {
		rs, err := Run(context.Background(), ms, Budget{MaxParams: n}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := stored(ms, rs); got > n || got < n*3/4 {
			t.Errorf("at most %d numbers: %d used", n, got)
		}
	}
	rs, err := Run(context.Background(), ms, Budget{MaxParams: total(ms)}, Options{})
	if err != nil || !rs[0].KeptDense || !rs[1].KeptDense {
		t.Errorf("room for everything: %+v, %v", rs, err)
	}
	var be *BudgetError
	if _, err := Run(context.Background(), ms, Budget{MaxParams: 5}, Options{}); !errors.As(err, &be) || !strings.Contains(be.Best, "numbers") {
		t.Errorf("5 numbers: %v", err)
	}
}

func TestMaxError(t *testing.T) {
	ms := models["one"]
	for _, format := range []string{"tr", "tt", "svd", "ttm"} {
		before := 0
		for _, limit := range []float64{0.8, 0.5, 0.3} {
			rs, err := Run(context.Background(), ms, Budget{MaxError: limit}, Options{Format: format, Sweeps: 10})
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range rs {
				checkResult(t, ms[i], r)
				if r.RelativeError > limit {
					t.Errorf("%s, error at most %v: %s has %v", format, limit, r.Matrix, r.RelativeError)
				}
			}
			n := stored(ms, rs)
			if n < before {
				t.Errorf("%s: error %v takes %d numbers, a larger error took %d", format, limit, n, before)
			}
			before = n
		}
	}
	var be *BudgetError
	if _, err := Run(context.Background(), models["one"], Budget{MaxError: 1e-9}, Options{Sweeps: 3}); !errors.As(err, &be) || !strings.Contains(be.Best, "with any saving") {
		t.Errorf("error 1e-9 of a matrix of full rank: %v", err)
	}
}

func TestRankBudgets(t *testing.T) {
	ms := models["one"]
	for _, format := range []string{"tr", "tt", "svd", "ttm"} {
		rs, err := Run(context.Background(), ms, Budget{Rank: 3}, Options{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		checkResult(t, ms[0], rs[0])
		for k, r := range rs[0].Factor.Ranks() {
			if r != 3 && (k > 0 || format == "tr") {
				t.Errorf("%s: ranks %v", format, rs[0].Factor.Ranks())
			}
		}
	}
	ranks := []int{2, 4, 3, 5, 2}
	rs, err := Run(context.Background(), ms, Budget{Ranks: ranks}, Options{InModes: []int{6, 8}, OutModes: []int{4, 4, 4}})
	if err != nil || !slices.Equal(rs[0].Factor.Ranks(), ranks) || !slices.Equal(rs[0].Factor.InModes, []int{6, 8}) {
		t.Errorf("ranks %v: %+v, %v", ranks, rs, err)
	}
	if rs, err = Run(context.Background(), ms, Budget{Ranks: ranks}, Options{}); err != nil || !slices.Equal(rs[0].Factor.Ranks(), ranks) {
		t.Errorf("five ranks, modes chosen: %+v, %v", rs, err)
	}
	if rs, err = Run(context.Background(), ms, Budget{Rank: 40}, Options{}); err != nil || !rs[0].KeptDense || !strings.Contains(rs[0].Reason, "3072") {
		t.Errorf("rank 40 of a matrix of 3072 numbers: %+v, %v", rs, err)
	}
	rs, err = Run(context.Background(), ms, Budget{Ranks: []int{1, 2, 60, 40}}, Options{InModes: []int{2, 24}, OutModes: []int{2, 32}})
	if err != nil || !rs[0].KeptDense {
		t.Fatalf("%+v, %v", rs, err)
	}
	if len(rs[0].Warnings) == 0 || !strings.Contains(rs[0].Warnings[0], "[1 2 60 40]") {
		t.Errorf("ranks above what cores can use: warnings %q", rs[0].Warnings)
	}
}

func TestWideCutIsWarnedOf(t *testing.T) {
	rs, err := Run(context.Background(), []Matrix{weights("w", 1, 4, 32, 8, 1)}, Budget{Ranks: []int{3, 3, 3, 3}}, Options{InModes: []int{4, 2}, OutModes: []int{16, 8}})
	if err != nil || rs[0].KeptDense {
		t.Fatalf("%+v, %v", rs, err)
	}
	if w := strings.Join(rs[0].Warnings, "\n"); !strings.Contains(w, "r_0·r_n = 9") || !strings.Contains(w, "8 columns") {
		t.Errorf("r_0·r_n = 9 with 8 columns: warnings %q", w)
	}
}

func TestExactRingIsFound(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := &tensor.Factor{Format: "tr", Out: 64, In: 60, InModes: []int{4, 5, 3}, OutModes: []int{4, 4, 4}}
	for _, m := range append(slices.Clone(f.InModes), f.OutModes...) {
		c := tensor.Core{Left: 3, Mode: m, Right: 3}
		for range 9 * m {
			c.Data = append(c.Data, float32(r.NormFloat64()))
		}
		f.Cores = append(f.Cores, c)
	}
	ms := []Matrix{given("ring", 1, 4, 16, 60, f.Reconstruct())}
	rs, err := Run(context.Background(), ms, Budget{Rank: 3}, Options{InModes: f.InModes, OutModes: f.OutModes, Sweeps: 300, Tol: 1e-8, Restarts: 2})
	if err != nil || rs[0].RelativeError > 1e-6 {
		t.Errorf("%+v, %v", rs, err)
	}
	checkResult(t, ms[0], rs[0])
}

func TestOddMatrices(t *testing.T) {
	denormal := weights("denormal", 1, 4, 8, 24, 0.7)
	w, _ := denormal.Load(context.Background())
	for i := range w.Data {
		w.Data[i] *= 1e-41
	}
	for _, c := range []struct {
		m    Matrix
		most float64
		warn string
	}{
		{constant("zero", 4, 8, 24, 0), 0, "all elements are zero"},
		{constant("constant", 4, 8, 24, 0.25), 1e-6, ""},
		{constant("one row", 1, 1, 24, 0.25), 0, ""},
		{constant("one column", 4, 16, 1, 0.25), 0, ""},
		{constant("one number", 1, 1, 1, 3), 0, ""},
		{denormal, 1, "denormal"},
	} {
		for _, b := range []Budget{{Ratio: 2}, {Rank: 1}, {MaxError: 0.99}} {
			rs, err := Run(context.Background(), []Matrix{c.m}, b, Options{})
			var be *BudgetError
			if errors.As(err, &be) {
				if c.m.Size() > 100 {
					t.Errorf("%s %+v: %v", c.m.Name, b, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s %+v: %v", c.m.Name, b, err)
				continue
			}
			checkResult(t, c.m, rs[0])
			if !(rs[0].RelativeError <= c.most) {
				t.Errorf("%s %+v: error %v", c.m.Name, b, rs[0].RelativeError)
			}
			if c.warn != "" && !strings.Contains(strings.Join(rs[0].Warnings, "\n"), c.warn) {
				t.Errorf("%s %+v: warnings %q", c.m.Name, b, rs[0].Warnings)
			}
		}
	}
}

func TestBrokenMatrices(t *testing.T) {
	nan := constant("layer W", 4, 8, 24, 1)
	w, _ := nan.Load(context.Background())
	w.Data[24*3+5] = float32(math.Inf(1))
	_, err := Run(context.Background(), []Matrix{nan}, Budget{}, Options{})
	if err == nil || !strings.Contains(err.Error(), `"layer W"`) || !strings.Contains(err.Error(), "[3 5]") {
		t.Errorf("infinite element: %v", err)
	}
	other := constant("w", 4, 8, 24, 1)
	other.In = 25
	if _, err := Run(context.Background(), []Matrix{other}, Budget{}, Options{}); err == nil || !strings.Contains(err.Error(), "[32 24]") || !strings.Contains(err.Error(), "[32 25]") {
		t.Errorf("loaded with another shape: %v", err)
	}
	cause := errors.New("disk gone")
	other.Load = func(context.Context) (*tensor.Dense, error) { return nil, cause }
	if _, err := Run(context.Background(), []Matrix{other}, Budget{}, Options{}); !errors.Is(err, cause) {
		t.Errorf("failed load: %v", err)
	}
}

func TestRefusedOptions(t *testing.T) {
	w := weights("w", 1, 4, 16, 48, 0.5)
	load := w.Load
	w.Load = func(ctx context.Context) (*tensor.Dense, error) {
		t.Error("a refused option still loaded the matrix")
		return load(ctx)
	}
	for want, c := range map[string]struct {
		b Budget
		o Options
	}{
		"2 budgets":                            {Budget{Rank: 2, Ratio: 4}, Options{}},
		"rank: -1":                             {Budget{Rank: -1}, Options{}},
		"rank: 100000":                         {Budget{Rank: 100000}, Options{}},
		"r_1 is 0":                             {Budget{Ranks: []int{2, 0, 2}}, Options{}},
		"ratio: 0.5":                           {Budget{Ratio: 0.5}, Options{}},
		"ratio: NaN":                           {Budget{Ratio: math.NaN()}, Options{}},
		"ratio: +Inf":                          {Budget{Ratio: math.Inf(1)}, Options{}},
		"max-error: 1.5":                       {Budget{MaxError: 1.5}, Options{}},
		"max-error: NaN":                       {Budget{MaxError: math.NaN()}, Options{}},
		"max-params: -3":                       {Budget{MaxParams: -3}, Options{}},
		`format: "cp"`:                         {Budget{}, Options{Format: "cp"}},
		`method: "qr"`:                         {Budget{}, Options{Method: "qr"}},
		`init: "zero"`:                         {Budget{}, Options{Init: "zero"}},
		"random start":                         {Budget{}, Options{Init: "random", Method: "svd"}},
		"sweeps: -1":                           {Budget{}, Options{Sweeps: -1}},
		"tol: 2":                               {Budget{}, Options{Tol: 2}},
		"restarts: -1":                         {Budget{}, Options{Restarts: -1}},
		`"w": 4x8 multiplies to 32, but`:       {Budget{}, Options{InModes: []int{4, 8}}},
		"7x8 multiplies to 56, more than 5 %":  {Budget{}, Options{InModes: []int{7, 8}}},
		"48x1: mode 1":                         {Budget{}, Options{InModes: []int{48, 1}}},
		"-48: mode -48":                        {Budget{}, Options{InModes: []int{-48}}},
		"above 2147483647":                     {Budget{}, Options{InModes: []int{1 << 20, 1 << 20}}},
		"8x9 multiplies to 72, but the matrix": {Budget{}, Options{OutModes: []int{8, 9}}},
		"3 ranks for 4 cores":                  {Budget{Ranks: []int{2, 2, 2}}, Options{InModes: []int{6, 8}, OutModes: []int{8, 8}}},
		"svd has no modes":                     {Budget{}, Options{Format: "svd", InModes: []int{6, 8}}},
		"r_0 = 1, not 2":                       {Budget{Ranks: []int{2, 2, 2}}, Options{Format: "tt"}},
		"has one rank":                         {Budget{Ranks: []int{2, 2, 2}}, Options{Format: "svd"}},
		"49 is more than the 48":               {Budget{Rank: 49}, Options{Format: "svd"}},
	} {
		_, err := Run(context.Background(), []Matrix{w}, c.b, c.o)
		var oe *OptionError
		if !errors.As(err, &oe) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an OptionError with %q", err, want)
		}
	}
	w.Load = load
	if _, err := Run(context.Background(), []Matrix{w}, Budget{Ranks: slices.Repeat([]int{2}, 40)}, Options{}); err == nil || !strings.Contains(err.Error(), "40 ranks") {
		t.Errorf("40 ranks: %v", err)
	}
	w.Gates = 0
	if _, err := Run(context.Background(), []Matrix{w}, Budget{}, Options{}); err == nil || !strings.Contains(err.Error(), "0 gates") {
		t.Errorf("no gates: %v", err)
	}
}

func TestModes(t *testing.T) {
	for n := 2; n < 3000; n += 1 + n/50 {
		for count := 1; count <= 5; count++ {
			modes := inputModes(n, count)
			if modes == nil {
				continue
			}
			if p, err := modesProduct(modes, 2); err != nil || p < n || p > padLimit(n) || len(modes) != count {
				t.Errorf("%d columns in %d modes: %v", n, count, modes)
			}
		}
	}
	for _, c := range []struct{ n, count, largest int }{
		{257, 2, 24}, {1662, 2, 48}, {1662, 3, 16}, {1032, 2, 40}, {57600, 5, 10}, {4096, 4, 8}, {128, 2, 16}, {997, 2, 40},
	} {
		modes := inputModes(c.n, c.count)
		if modes == nil || slices.Max(modes) > c.largest {
			t.Errorf("%d columns in %d modes: %v, want none above %d", c.n, c.count, modes, c.largest)
		}
	}
	for _, c := range []struct {
		groups, hidden, count int
		want                  []int
	}{
		{4, 128, 1, []int{512}}, {4, 128, 2, []int{16, 32}}, {4, 128, 3, []int{8, 8, 8}}, {8, 64, 3, []int{8, 8, 8}},
		{3, 7, 2, []int{3, 7}}, {1, 13, 2, nil}, {3, 13, 3, nil},
	} {
		got := outputModes(c.groups, c.hidden, c.count)
		ok := slices.Equal(got, c.want)
		if c.count == 2 && got != nil && c.want != nil {
			ok = got[0]*got[1] == c.groups*c.hidden && got[0]%c.groups == 0 && max(got[0], got[1]) <= slices.Max(c.want)
		}
		if !ok {
			t.Errorf("%d groups of %d in %d modes: %v, want %v", c.groups, c.hidden, c.count, got, c.want)
		}
	}
}

func TestSameSeedSameBits(t *testing.T) {
	ms := models["small and wide"]
	run := func(procs int) []Result {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		rs, err := Run(context.Background(), ms, Budget{Ratio: 3}, Options{Restarts: 1, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	want := run(1)
	for _, procs := range []int{1, 2, 4} {
		for i, r := range run(procs) {
			if r.RelativeError != want[i].RelativeError || r.LowerBound != want[i].LowerBound {
				t.Errorf("GOMAXPROCS %d: %s errs by %v (bound %v), before by %v (%v)", procs, r.Matrix, r.RelativeError, r.LowerBound, want[i].RelativeError, want[i].LowerBound)
			}
			if r.KeptDense {
				if !want[i].KeptDense {
					t.Errorf("GOMAXPROCS %d: %s kept dense, before not", procs, r.Matrix)
				}
				continue
			}
			for k, c := range r.Factor.Cores {
				if !slices.Equal(c.Data, want[i].Factor.Cores[k].Data) {
					t.Errorf("GOMAXPROCS %d: %s, core %d differs", procs, r.Matrix, k)
				}
			}
		}
	}
}

func TestSweepsAreReportedAndFall(t *testing.T) {
	ms := models["two alike"]
	last := map[string]float64{}
	_, err := Run(context.Background(), ms, Budget{Rank: 3}, Options{OnSweep: func(name string, s trals.Sweep) {
		if before, ok := last[name]; ok && s.RelativeError > before*(1+1e-9) {
			t.Errorf("%s: error rose from %v to %v in sweep %d", name, before, s.RelativeError, s.Number)
		}
		last[name] = s.RelativeError
	}})
	if err != nil || len(last) != 2 {
		t.Errorf("sweeps of %d matrices, %v", len(last), err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Run(ctx, models["two alike"], Budget{Rank: 3}, Options{OnSweep: func(string, trals.Sweep) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in the first sweep: %v", err)
	}
	for _, b := range []Budget{{Ratio: 4}, {MaxError: 0.5}, {Rank: 2}} {
		if _, err := Run(ctx, models["two alike"], b, Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v with a dead context: %v", b, err)
		}
	}
}

func ExampleRun() {
	m := weights("lstm W", 1, 4, 16, 48, 0.5) // an LSTM of 16 units on 48 features
	results, err := Run(context.Background(), []Matrix{m}, Budget{Ratio: 4}, Options{Format: "tr"})
	if err != nil {
		fmt.Println(err)
		return
	}
	f := results[0].Factor
	fmt.Printf("at most a quarter of %d numbers: %v\n", m.Size(), f.Params() <= m.Size()/4)
	fmt.Println("error between the bound and 1:", results[0].LowerBound <= results[0].RelativeError && results[0].RelativeError < 1)
	// Output:
	// at most a quarter of 3072 numbers: true
	// error between the bound and 1: true
}
