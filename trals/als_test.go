package trals

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/tensor"
)

// element is X̂ at an index by definition: the trace of the product of the cores' slices.
func element(cores []tensor.Core, index []int) float64 {
	var sum float64
	r0 := cores[0].Left
	for start := range r0 {
		row := make([]float64, r0)
		row[start] = 1
		for k, c := range cores {
			next := make([]float64, c.Right)
			for p, v := range row {
				if v == 0 {
					continue
				}
				for q := range next {
					next[q] += v * float64(c.Data[(p*c.Mode+index[k])*c.Right+q])
				}
			}
			row = next
		}
		sum += row[start]
	}
	return sum
}

// full builds the tensor of a ring element by element.
func full(cores []tensor.Core) *tensor.Dense {
	dims := make([]int, len(cores))
	for k, c := range cores {
		dims[k] = c.Mode
	}
	x := tensor.NewDense(dims...)
	for i := range x.Data {
		x.Data[i] = float32(element(cores, x.Index(i)))
	}
	return x
}

// errorByDefinition is the relative error of a ring, from its elements.
func errorByDefinition(x *tensor.Dense, cores []tensor.Core) float64 {
	var diff, norm float64
	for i, v := range x.Data {
		d := float64(v) - element(cores, x.Index(i))
		diff += d * d
		norm += float64(v) * float64(v)
	}
	return math.Sqrt(diff / norm)
}

func randomCores(seed uint64, modes, ranks []int) []tensor.Core {
	r := rand.New(rand.NewPCG(seed, 1))
	cores := make([]tensor.Core, len(modes))
	for k, n := range modes {
		c := tensor.Core{Left: ranks[k], Mode: n, Right: ranks[(k+1)%len(modes)]}
		for range c.Left * n * c.Right {
			c.Data = append(c.Data, float32(r.NormFloat64()/math.Sqrt(float64(c.Left))))
		}
		cores[k] = c
	}
	return cores
}

func uniform(d, r int) []int {
	x := make([]int, d)
	for i := range x {
		x[i] = r
	}
	return x
}

// noisy adds noise of the given relative size.
func noisy(seed uint64, x *tensor.Dense, level float64) *tensor.Dense {
	r := rand.New(rand.NewPCG(seed, 2))
	scale := level * x.Norm() / math.Sqrt(float64(len(x.Data)))
	y := tensor.NewDense(x.Dims...)
	for i, v := range x.Data {
		y.Data[i] = v + float32(scale*r.NormFloat64())
	}
	return y
}

// exactRings are rings of 4 to 13 modes, the ranks small against the modes and not.
var exactRings = []struct {
	modes, ranks []int
}{
	{[]int{6, 5, 4, 7}, []int{3, 3, 3, 3}},
	{[]int{6, 5, 4, 7}, []int{2, 4, 3, 3}},
	{[]int{4, 4, 4, 4, 4}, []int{3, 3, 3, 3, 3}},
	{[]int{2, 3, 4, 3, 2, 4}, []int{2, 2, 3, 3, 2, 2}},
	{[]int{3, 4, 3, 3, 4, 3, 2}, uniform(7, 3)},
	{[]int{4, 2, 3, 3, 2, 4, 2, 3}, uniform(8, 3)},
	{[]int{2, 3, 2, 3, 2, 2, 3, 2, 2, 3}, uniform(10, 2)},
	{[]int{2, 2, 2, 3, 2, 2, 2, 2, 3, 2, 2, 2, 2}, uniform(13, 2)},
	{[]int{4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, []int{1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2}}, // a train
}

func TestExactRankIsRecovered(t *testing.T) {
	for i, c := range exactRings {
		for _, init := range []Init{InitCut, InitRandom} {
			x := full(randomCores(uint64(i), c.modes, c.ranks))
			last := math.Inf(1)
			res, err := Decompose(context.Background(), x, Options{Ranks: c.ranks, Init: init, Sweeps: 300, Tol: 1e-7, Restarts: 3, Seed: 5,
				OnSweep: func(s Sweep) {
					if s.Number > 1 && s.RelativeError > last*(1+1e-9) {
						t.Errorf("%v %v: error rose from %v to %v in sweep %d", c.modes, c.ranks, last, s.RelativeError, s.Number)
					}
					last = s.RelativeError
				}})
			if err != nil {
				t.Fatal(err)
			}
			if res.RelativeError > 1e-6 {
				t.Errorf("%v %v init %d: error %v after %d sweeps, %v", c.modes, c.ranks, init, res.RelativeError, res.Sweeps, res.Status)
			}
			if e := errorByDefinition(x, res.Cores); math.Abs(e-res.RelativeError) > 1e-9 {
				t.Errorf("%v: reported error %v, recomputed %v", c.modes, res.RelativeError, e)
			}
			if res.LowerBound > res.RelativeError {
				t.Errorf("%v: lower bound %v above the error %v", c.modes, res.LowerBound, res.RelativeError)
			}
		}
	}
}

func TestNoisyRingIsFittedToTheNoise(t *testing.T) {
	for i, c := range exactRings {
		x := noisy(uint64(i), full(randomCores(uint64(i), c.modes, c.ranks)), 0.01)
		res, err := Decompose(context.Background(), x, Options{Ranks: c.ranks, Sweeps: 100, Restarts: 4, Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		// The generating ring errs by the noise, 1 %, and has a few parameters to fit noise with.
		if res.RelativeError > 0.0101 {
			t.Errorf("%v %v: error %v, %v", c.modes, c.ranks, res.RelativeError, res.Status)
		}
		if res.LowerBound > res.RelativeError || res.LowerBound < 0.3*res.RelativeError {
			t.Errorf("%v %v: lower bound %v for error %v", c.modes, c.ranks, res.LowerBound, res.RelativeError)
		}
	}
}

func TestSameSeedSameBits(t *testing.T) {
	x := noisy(1, full(randomCores(1, []int{6, 5, 4, 7, 3}, uniform(5, 3))), 0.1)
	run := func(procs int) []tensor.Core {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		res, err := Decompose(context.Background(), x, Options{Ranks: []int{3, 4, 4, 4, 2}, Restarts: 1, Seed: 9, Sweeps: 7})
		if err != nil {
			t.Fatal(err)
		}
		return res.Cores
	}
	want := run(1)
	for _, procs := range []int{1, 2, 4} {
		for k, c := range run(procs) {
			if !slices.Equal(c.Data, want[k].Data) {
				t.Errorf("GOMAXPROCS %d: core %d differs", procs, k)
			}
		}
	}
}

// A matrix whose columns are padded: the padding must cost nothing. Its ring exists without a constraint on the padded columns, and
// would not exist if they had to be zero.
func TestPaddedColumnsAreFree(t *testing.T) {
	in, out, ranks := []int{4, 5}, []int{3, 6}, []int{2, 3, 2, 3}
	cores := randomCores(8, append(slices.Clone(in), out...), ranks)
	f := factor(18, 19, in, out, cores)
	w := f.Reconstruct() // 19 of the 20 columns
	m, err := NewMatrix(context.Background(), w, 8)
	if err != nil {
		t.Fatal(err)
	}
	last := math.Inf(1)
	res, err := m.Decompose(context.Background(), in, out, Options{Ranks: ranks, Sweeps: 2000, Tol: 1e-9, Restarts: 2, OnSweep: func(s Sweep) {
		if s.Number > 1 && s.RelativeError > last*(1+1e-9) {
			t.Errorf("error rose from %v to %v in sweep %d", last, s.RelativeError, s.Number)
		}
		last = s.RelativeError
	}})
	if err != nil {
		t.Fatal(err)
	}
	if res.RelativeError > 1e-5 {
		t.Errorf("error %v after %d sweeps", res.RelativeError, res.Sweeps)
	}
	if e := factor(18, 19, in, out, res.Cores).Error(w); e != res.RelativeError {
		t.Errorf("reported %v, recomputed %v", res.RelativeError, e)
	}
}

// The pass over a side must leave the core it updates last at a minimum of ‖W − S·Oᵀ‖², and must lower it from where it was. The
// objective is evaluated by its definition and differentiated numerically.
func TestUpdateMinimises(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	draw := func(n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		return x
	}
	for _, ends := range [][2]int{{3, 2}, {2, 3}, {1, 4}, {2, 2}} {
		for _, modes := range [][]int{{5}, {3, 4}, {2, 3, 2}, {2, 2, 2, 2}} {
			ranks := append(append([]int{ends[0]}, uniform(len(modes)-1, 3)...), ends[1])
			c := randomChain(r, modes, ranks)
			ab, n, rows := ends[0]*ends[1], product(modes), 11
			o, w := draw(rows*ab), draw(n*rows) // the other side, and the matrix with this side in the rows
			objective := func(c chain) float64 {
				s := c.merge(false)
				var sum float64
				for i := range n {
					for j := range rows {
						v := w[i*rows+j]
						for k := range ab {
							v -= s[i*ab+k] * o[j*ab+k]
						}
						sum += v * v
					}
				}
				return sum
			}
			t2, m := make([]float64, n*ab), make([]float64, ab*ab)
			for k := range ab {
				for j := range rows {
					for i := range n {
						t2[i*ab+k] += w[i*rows+j] * o[j*ab+k]
					}
					for l := range ab {
						m[k*ab+l] += o[j*ab+k] * o[j*ab+l]
					}
				}
			}
			before := objective(c)
			c.update(t.Context(), t2, m)
			after := objective(c)
			if after > before*(1+1e-12) {
				t.Errorf("ends %v modes %v: objective rose from %v to %v", ends, modes, before, after)
			}
			updated := len(c) - 1
			if ends[1]*ends[1] > reversePays*ends[0]*ends[0] {
				updated = 0 // the chain was read from its end
			}
			g := c[updated]
			for i := range g.v {
				old := g.v[i]
				const h = 1e-4
				g.v[i] = old + h
				up := objective(c)
				g.v[i] = old - h
				down := objective(c)
				g.v[i] = old
				if slope := (up - down) / (2 * h); math.Abs(slope) > 1e-6*(1+before) {
					t.Fatalf("ends %v modes %v: slope %v at element %d of the last core updated", ends, modes, slope, i)
				}
			}
		}
	}
}

func TestStartsAndStatus(t *testing.T) {
	ctx := context.Background()
	x := noisy(2, full(randomCores(2, []int{6, 5, 4, 7}, uniform(4, 2))), 0.05)
	o := Options{Ranks: uniform(4, 2), Init: InitTRSVD, Sweeps: -1}
	start, err := Decompose(ctx, x, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Sweeps = 20
	swept, err := Decompose(ctx, x, o)
	if err != nil {
		t.Fatal(err)
	}
	if start.Sweeps != 0 || swept.Sweeps == 0 || swept.RelativeError > start.RelativeError {
		t.Errorf("TR-SVD start %v, after %d sweeps %v", start.RelativeError, swept.Sweeps, swept.RelativeError)
	}
	again, err := Decompose(ctx, x, Options{Ranks: uniform(4, 2), Init: InitGiven, Start: swept.Cores, Sweeps: 3})
	if err != nil {
		t.Fatal(err)
	}
	if again.RelativeError > swept.RelativeError*(1+1e-6) {
		t.Errorf("continuing raised the error from %v to %v", swept.RelativeError, again.RelativeError)
	}

	cancelled, cancel := context.WithCancel(ctx)
	seen := 0
	res, err := Decompose(cancelled, x, Options{Ranks: uniform(4, 2), Init: InitRandom, Tol: -1, OnSweep: func(Sweep) {
		if seen++; seen == 2 {
			cancel()
		}
	}})
	if err != nil || res.Status != Cancelled || res.Sweeps != 2 {
		t.Errorf("cancelled after two sweeps: %+v, %v", res, err)
	}
	if e := errorByDefinition(x, res.Cores); math.Abs(e-res.RelativeError) > 1e-9 {
		t.Errorf("the ring of a cancelled fit has error %v, reported %v", e, res.RelativeError)
	}
	if res, err = Decompose(ctx, x, Options{Ranks: uniform(4, 2), Tol: -1, Sweeps: 2}); err != nil || res.Status != SweepLimit {
		t.Errorf("two sweeps: status %v, %v", res.Status, err)
	}
}

func TestOddTensors(t *testing.T) {
	fill := func(dims []int, f func(i int) float32) *tensor.Dense {
		x := tensor.NewDense(dims...)
		for i := range x.Data {
			x.Data[i] = f(i)
		}
		return x
	}
	dims := []int{4, 3, 5, 2}
	for name, x := range map[string]*tensor.Dense{
		"zero":      fill(dims, func(int) float32 { return 0 }),
		"constant":  fill(dims, func(int) float32 { return -3 }),
		"denormal":  fill(dims, func(i int) float32 { return float32(i%3) * 1e-44 }),
		"huge":      fill(dims, func(i int) float32 { return float32(i%3) * 1e38 }),
		"one spike": fill(dims, func(i int) float32 { return float32(i / 119) }),
		"one row":   fill([]int{1, 9}, func(i int) float32 { return float32(i) }),
		"ones":      fill([]int{1, 1, 1}, func(int) float32 { return 2 }),
	} {
		res, err := Decompose(context.Background(), x, Options{Ranks: uniform(len(x.Dims), 3), Restarts: 1})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// All have a ring of rank 3 or less but the denormal one, whose last digits no float32 core can hold.
		if limit := 1e-5; res.RelativeError > limit && name != "denormal" || res.RelativeError > 0.2 || math.IsNaN(res.RelativeError) {
			t.Errorf("%s: error %v, %v", name, res.RelativeError, res.Status)
		}
	}
}

func TestRefusals(t *testing.T) {
	x := full(randomCores(3, []int{3, 4, 2}, uniform(3, 2)))
	bad := tensor.NewDense(3, 4, 2)
	bad.Data[9] = float32(math.NaN())
	for name, c := range map[string]struct {
		x *tensor.Dense
		o Options
	}{
		"too few ranks":       {x, Options{Ranks: []int{2, 2}}},
		"rank 0":              {x, Options{Ranks: []int{2, 0, 2}}},
		"absurd rank":         {x, Options{Ranks: []int{2, 1 << 30, 2}}},
		"unknown init":        {x, Options{Ranks: uniform(3, 2), Init: 9}},
		"no start":            {x, Options{Ranks: uniform(3, 2), Init: InitGiven}},
		"start of other size": {x, Options{Ranks: uniform(3, 2), Init: InitGiven, Start: randomCores(1, []int{3, 4, 3}, uniform(3, 2))}},
		"TR-SVD cannot start": {x, Options{Ranks: uniform(3, 2), Init: InitTRSVD}},
		"one mode":            {tensor.NewDense(5), Options{Ranks: []int{1}}},
		"NaN":                 {bad, Options{Ranks: uniform(3, 2)}},
		"no elements":         {tensor.NewDense(3, 0, 2), Options{Ranks: uniform(3, 2)}},
		"short data":          {&tensor.Dense{Dims: []int{3, 4, 2}, Data: make([]float32, 5)}, Options{Ranks: uniform(3, 2)}},
	} {
		if res, err := Decompose(context.Background(), c.x, c.o); err == nil {
			t.Errorf("%s: accepted, %+v", name, res)
		}
	}
	if _, err := Decompose(context.Background(), bad, Options{Ranks: uniform(3, 2)}); !strings.Contains(err.Error(), "[1 0 1]") {
		t.Errorf("error %q does not name the element", err)
	}
}

func TestCapRanks(t *testing.T) {
	for _, c := range []struct{ modes, ranks, want []int }{
		{[]int{4, 4, 4}, []int{5, 5, 5}, []int{5, 5, 5}},
		{[]int{2, 9, 9}, []int{1, 9, 2}, []int{1, 2, 2}},
		{[]int{2, 2, 2, 2, 50}, []int{1, 99, 99, 99, 99}, []int{1, 2, 4, 8, 16}},
		{[]int{7, 5}, []int{1, 9}, []int{1, 5}},
	} {
		if got := CapRanks(c.modes, c.ranks); !slices.Equal(got, c.want) {
			t.Errorf("modes %v, ranks %v: capped to %v, want %v", c.modes, c.ranks, got, c.want)
		}
	}
}

// Every ring, good or bad, errs at least by the bound of its shape.
func TestLowerBoundHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for i := range 20 {
		d := 3 + i%3
		modes, ranks := make([]int, d), make([]int, d)
		for k := range modes {
			modes[k], ranks[k] = 2+r.IntN(4), 1+r.IntN(3)
		}
		x := noisy(uint64(i), full(randomCores(uint64(i), modes, uniform(d, 4))), 0.3)
		res, err := Decompose(context.Background(), x, Options{Ranks: ranks, Sweeps: 60, Restarts: 5, Seed: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		h := balancedCut(modes)
		m, err := NewMatrix(context.Background(), &tensor.Dense{Dims: []int{product(modes[:h]), product(modes[h:])}, Data: x.Data}, 1)
		if err != nil {
			t.Fatal(err)
		}
		cores := append(slices.Clone(res.Cores[h:]), res.Cores[:h]...)
		bound := m.bound(factor(m.rows, m.cols, modes[h:], modes[:h], cores))
		if e := errorByDefinition(x, res.Cores); bound > e {
			t.Errorf("modes %v, ranks %v: bound %v above the error %v", modes, ranks, bound, e)
		}
	}
}
