package trals

import (
	"context"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/tensor"
	"gonum.org/v1/gonum/mat"
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

func weightedMatrix(t *testing.T, w, x *tensor.Dense, ridge float64) (*Matrix, *Metric) {
	t.Helper()
	c, err := NewFrameMetric(x, ridge)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewWeightedMatrix(context.Background(), w, c, min(w.Dims[0], w.Dims[1]))
	if err != nil {
		t.Fatal(err)
	}
	return m, c
}

func denseOf(x *tensor.Dense) *mat.Dense {
	d := mat.NewDense(x.Dims[0], x.Dims[1], nil)
	for i, v := range x.Data {
		d.Set(i/x.Dims[1], i%x.Dims[1], float64(v))
	}
	return d
}

// The oracle is gonum's full SVD of W·Xᵀ: without a ridge, no matrix of rank k maps the frames nearer to W·Xᵀ than its truncation does.
func TestWeightedSVDIsOptimal(t *testing.T) {
	for _, dims := range [][2]int{{12, 20}, {20, 12}} {
		w, x := weightedCase(2, dims[0], dims[1], 80)
		m, c := weightedMatrix(t, w, x, 0)
		var products mat.Dense
		products.Mul(denseOf(w), denseOf(x).T())
		var svd mat.SVD
		if !svd.Factorize(&products, mat.SVDNone) {
			t.Fatal("no SVD")
		}
		var all, tail float64
		values := svd.Values(nil)
		for _, v := range values {
			all += v * v
		}
		for _, k := range []int{1, 3, 7} {
			tail = 0
			for _, v := range values[k:] {
				tail += v * v
			}
			want := math.Sqrt(tail / all)
			res, err := m.Decompose(context.Background(), []int{dims[1]}, []int{dims[0]}, Options{Ranks: []int{1, k}, Sweeps: -1})
			if err != nil {
				t.Fatal(err)
			}
			f := factor(dims[0], dims[1], []int{dims[1]}, []int{dims[0]}, res.Cores)
			for name, got := range map[string]float64{"SVDError": m.SVDError(k), "error of the cores": c.Error(w, f)} {
				if math.Abs(got-want) > 1e-5*want {
					t.Errorf("%v, rank %d: %s is %v, the optimum %v", dims, k, name, got, want)
				}
			}
		}
	}
}

var weightedShapes = []struct {
	name    string
	in, out []int
	ranks   []int
}{
	{"train", []int{8, 8}, []int{4, 6}, []int{1, 4, 6, 4}},
	{"ring", []int{8, 8}, []int{4, 6}, []int{2, 3, 4, 3}},
	{"ring of three input cores", []int{4, 4, 4}, []int{4, 6}, []int{3, 4, 4, 3, 3}},
	{"one input core", []int{60}, []int{4, 6}, []int{2, 4, 3}},
}

// The oracle of the last error is ‖(W−Ŵ)·Xᵀ‖² + λ‖W−Ŵ‖² summed from the reconstructed matrix.
func TestWeightedSweepsFall(t *testing.T) {
	w, x := weightedCase(1, 24, 60, 100)
	const ridge = 1e-3
	m, c := weightedMatrix(t, w, x, ridge)
	for _, s := range weightedShapes {
		last, sweeps := math.Inf(1), 0
		res, err := m.Decompose(context.Background(), s.in, s.out, Options{Ranks: s.ranks, Sweeps: 15, Tol: -1, OnSweep: func(sw Sweep) {
			if sw.RelativeError > last*(1+1e-9) {
				t.Errorf("%s: sweep %d: the error rose from %g to %g", s.name, sw.Number, last, sw.RelativeError)
			}
			last = sw.RelativeError
			sweeps++
		}})
		if err != nil || sweeps == 0 {
			t.Fatal(s.name, sweeps, err)
		}
		d := difference(w, factor(24, 60, s.in, s.out, res.Cores))
		var trace float64
		for _, v := range x.Data {
			trace += float64(v) * float64(v) / 100
		}
		size := func(d *tensor.Dense) float64 {
			var p mat.Dense
			p.Mul(denseOf(d), denseOf(x).T())
			return math.Pow(mat.Norm(&p, 2), 2)/100 + ridge*trace/60*d.SquaredNorm()
		}
		if want := math.Sqrt(size(d) / size(w)); math.Abs(res.WeightedError-want) > 1e-5*want || math.Abs(last-want) > 1e-4*want {
			t.Errorf("%s: errors %v and %v, recomputed %v", s.name, res.WeightedError, last, want)
		}
		if got, want := res.RelativeError, d.Norm()/w.Norm(); math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: relative error %v, recomputed %v", s.name, got, want)
		}
		if !(res.WeightedError >= m.CutBound(s.ranks[0]*s.ranks[len(s.in)])) {
			t.Errorf("%s: error %v below the bound of its cut", s.name, res.WeightedError)
		}

		plain, err := NewMatrix(context.Background(), w, 24)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plain.Decompose(context.Background(), s.in, s.out, Options{Ranks: s.ranks})
		if err != nil {
			t.Fatal(err)
		}
		before := c.Error(w, factor(24, 60, s.in, s.out, p.Cores))
		if after := c.Error(w, factor(24, 60, s.in, s.out, res.Cores)); after > before {
			t.Errorf("%s: error on the frames %v, of the plain fit %v", s.name, after, before)
		}
	}
}

// Frames ±√n·e_i have the second moment 1, under which the weighted error is the plain one: both fits descend on the same function from
// the same start, so that their errors may differ only by what inexact steps leave.
func TestIdentityMetricIsPlain(t *testing.T) {
	w, _ := weightedCase(3, 24, 60, 1)
	x := tensor.NewDense(60, 60)
	for i := range 60 {
		x.Data[i*60+i] = float32(math.Sqrt(60))
	}
	m, c := weightedMatrix(t, w, x, 0)
	plain, err := NewMatrix(context.Background(), w, 24)
	if err != nil {
		t.Fatal(err)
	}
	for k := 1; k < 20; k++ {
		if a, b := m.SVDError(k), plain.SVDError(k); math.Abs(a-b) > 1e-6 {
			t.Errorf("rank %d: error %v, plain %v", k, a, b)
		}
	}
	for _, s := range weightedShapes {
		o := Options{Ranks: s.ranks, Sweeps: 60, Tol: 1e-7}
		a, err := m.Decompose(context.Background(), s.in, s.out, o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := plain.Decompose(context.Background(), s.in, s.out, o)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(a.WeightedError-a.RelativeError) > 1e-6 || math.Abs(c.Error(w, factor(24, 60, s.in, s.out, a.Cores))-a.RelativeError) > 1e-6 {
			t.Errorf("%s: weighted %v, relative %v", s.name, a.WeightedError, a.RelativeError)
		}
		if a.RelativeError > b.RelativeError*1.01 {
			t.Errorf("%s: error %v, plain %v", s.name, a.RelativeError, b.RelativeError)
		}
	}
}

// A sample and its second moment are the same data. The low-rank form of a metric leaves out less than its ridge, and the sample's form never
// builds the moment: the errors that both measure must agree closely, those that both reach nearly.
func TestFormsOfMetricAgree(t *testing.T) {
	r := seed.Stream(4, "forms")
	const n, q, directions = 320, 400, 12
	x := tensor.NewDense(q, n)
	basis := seed.Normal(r, directions*n)
	for s := range q {
		for d := range directions {
			v := r.NormFloat64() / float64(d+1)
			for i := range n {
				x.Data[s*n+i] += float32(v * basis[d*n+i])
			}
		}
		for i := range n {
			x.Data[s*n+i] += float32(1e-3 * r.NormFloat64())
		}
	}
	w, _ := weightedCase(4, 24, n, 1)
	sample := &Metric{n: n, frames: make([]float32, len(x.Data)), count: q}
	for i, v := range x.Data {
		sample.frames[i] = float32(float64(v) / math.Sqrt(q))
		sample.trace += float64(v) * float64(v) / q
	}
	if err := sample.prepare(1e-3); err != nil {
		t.Fatal(err)
	}
	moment, err := NewFrameMetric(x, 1e-3)
	if err != nil {
		t.Fatal(err)
	}
	full := &Metric{n: n, moment: moment.moment, trace: moment.trace, lambda: 1e-3 * moment.trace / n, narrow: make([]float32, n*n)}
	for i, v := range full.moment {
		full.narrow[i] = float32(v)
	}
	if moment.low == nil || sample.low == nil || sample.moment != nil {
		t.Fatal("the forms are not those that the test is about")
	}
	in, out, ranks := []int{20, 16}, []int{24}, []int{2, 5, 4}
	reached := map[string]float64{}
	var f *tensor.Factor
	for name, c := range map[string]*Metric{"sample": sample, "moment of low rank": moment, "moment": full} {
		m, err := NewWeightedMatrix(context.Background(), w, c, 24)
		if err != nil {
			t.Fatal(err)
		}
		res, err := m.Decompose(context.Background(), in, out, Options{Ranks: ranks, Sweeps: 40, Tol: 1e-6})
		if err != nil {
			t.Fatal(err)
		}
		f = factor(24, n, in, out, res.Cores)
		reached[name] = moment.Error(w, f)
	}
	if a, b := sample.Error(w, f), moment.Error(w, f); math.Abs(a-b) > 1e-5*b {
		t.Errorf("the same factor errs by %v on the sample, by %v under its moment", a, b)
	}
	for name, e := range reached {
		if want := reached["moment"]; math.Abs(e-want) > 0.02*want {
			t.Errorf("%s: reached %v, with the whole moment %v", name, e, want)
		}
	}
}

func TestWeightedPaddingAndThreads(t *testing.T) {
	w, x := weightedCase(5, 24, 58, 40) // fewer frames than columns, six columns of padding
	m, _ := weightedMatrix(t, w, x, 1e-3)
	var want []tensor.Core
	for _, procs := range []int{1, 2} {
		before := runtime.GOMAXPROCS(procs)
		res, err := m.Decompose(context.Background(), []int{4, 4, 4}, []int{4, 6}, Options{Ranks: []int{2, 4, 4, 3, 3}})
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		if res.WeightedError > 0.9 {
			t.Errorf("error %v", res.WeightedError)
		}
		if want == nil {
			want = res.Cores
		}
		for k := range want {
			if !slices.Equal(want[k].Data, res.Cores[k].Data) {
				t.Errorf("GOMAXPROCS %d: core %d differs", procs, k)
			}
		}
	}
}

func TestBadFrames(t *testing.T) {
	nan := tensor.NewDense(2, 3)
	nan.Data[4] = float32(math.NaN())
	for name, x := range map[string]*tensor.Dense{"NaN": nan, "none": tensor.NewDense(0, 3), "rank": tensor.NewDense(6)} {
		if c, err := NewFrameMetric(x, 1e-3); err == nil {
			t.Errorf("%s: no error, metric %v", name, c)
		}
	}
	w, x := weightedCase(6, 4, 6, 5)
	c, err := NewFrameMetric(x, 1e-3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewWeightedMatrix(context.Background(), tensor.NewDense(4, 7), c, 2); err == nil {
		t.Error("frames of another width: no error")
	}
	zero, err := NewFrameMetric(tensor.NewDense(5, 6), 1e-3)
	if err != nil || !zero.Zero() {
		t.Fatal(err)
	}
	if _, err := NewWeightedMatrix(context.Background(), w, zero, 2); err == nil {
		t.Error("zero frames: no error")
	}
	if flat, err := c.WithRidge(math.Inf(1)); err != nil || !flat.Flat() || c.Flat() {
		t.Error(err)
	}
}
