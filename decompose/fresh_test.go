package decompose

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
)

var freshShapes = map[string]Shape{
	"ring":                  {"tr", 32, 24, []int{4, 6}, []int{4, 8}, []int{3, 3, 3, 3}},
	"ring of unequal ranks": {"tr", 16, 24, []int{2, 3, 4}, []int{4, 2, 2}, []int{2, 4, 3, 5, 4, 2}},
	"ring with ranks of 1":  {"tr", 16, 12, []int{3, 4}, []int{4, 4}, []int{2, 1, 1, 3}},
	"padded ring":           {"tr", 32, 23, []int{4, 6}, []int{4, 8}, []int{3, 3, 3, 3}},
	"train":                 {"tt", 16, 24, []int{4, 6}, []int{4, 4}, []int{1, 4, 5, 4}},
	"long train":            {"tt", 16, 64, []int{2, 2, 2, 2, 2, 2}, []int{2, 2, 2, 2}, []int{1, 2, 4, 4, 4, 4, 4, 4, 4, 2}},
	"svd":                   {"svd", 16, 24, []int{24}, []int{16}, []int{1, 5}},
	"svd of rank 1":         {"svd", 16, 24, []int{24}, []int{16}, []int{1, 1}},
	"TT-matrix":             {"ttm", 32, 30, []int{5, 3, 2}, []int{4, 2, 4}, []int{1, 4, 3}},
	"padded TT-matrix":      {"ttm", 32, 29, []int{5, 3, 2}, []int{4, 2, 4}, []int{1, 4, 3}},
}

// Over many seeds the mean square of all elements is the variance asked for, and the mean of a few single elements and of their squares is 0 and
// the variance: each within 5 standard errors, which the sample itself gives.
func TestFreshVariance(t *testing.T) {
	const seeds, variance = 600, 0.037
	for name, s := range freshShapes {
		t.Run(name, func(t *testing.T) {
			probes := []int{0, s.In - 1, s.In*s.Out/2 + 1, s.In*s.Out - 1}
			samples := make(map[string][]float64)
			for seed := range uint64(seeds) {
				f, err := Fresh(s, variance, seed)
				if err != nil {
					t.Fatal(err)
				}
				w := f.Reconstruct()
				samples["mean square"] = append(samples["mean square"], w.SquaredNorm()/float64(len(w.Data)))
				for _, p := range probes {
					v := float64(w.Data[p])
					samples["mean of an element"] = append(samples["mean of an element"], v)
					samples["square of an element"] = append(samples["square of an element"], v*v)
				}
			}
			for what, x := range samples {
				want := variance
				if what == "mean of an element" {
					want = 0
				}
				n := len(x)
				if what != "mean square" { // four elements of one draw are not independent
					n /= 4
				}
				mean, se := statistics(x, n)
				if !(math.Abs(mean-want) <= 5*se) {
					t.Errorf("%s is %v ± %v, want %v", what, mean, se, want)
				}
				if se > variance/4 {
					t.Errorf("%s: standard error %v says nothing about %v", what, se, variance)
				}
			}
		})
	}
}

// statistics are the mean and its standard error if n of the samples are independent.
func statistics(x []float64, n int) (mean, se float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		se += (v - mean) * (v - mean) / float64(len(x)-1)
	}
	return mean, math.Sqrt(se / float64(n))
}

func TestFreshIsRepeatable(t *testing.T) {
	for name, s := range freshShapes {
		a, err := Fresh(s, 1, 7)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := Fresh(s, 1, 7)
		c, _ := Fresh(s, 1, 8)
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: one seed gives two factors", name)
		}
		if reflect.DeepEqual(a, c) {
			t.Errorf("%s: two seeds give one factor", name)
		}
		if !reflect.DeepEqual(ShapeOf(a), s) || s.Params() != a.Params() {
			t.Errorf("%s: shape %+v of %d numbers came back as %+v of %d", name, s, s.Params(), ShapeOf(a), a.Params())
		}
	}
}

// normalCores are independent normal cores of the same variances, what orthogonal slices are compared with.
func normalCores(s Shape, variance float64, r *rand.Rand) *tensor.Factor {
	f, _ := s.empty()
	for k := range f.Cores {
		c := &f.Cores[k]
		d := math.Sqrt(math.Pow(variance, 1/float64(len(f.Cores))) / math.Sqrt(float64(c.Left*c.Right)))
		for range c.Left * c.Mode * c.Right {
			c.Data = append(c.Data, float32(d*r.NormFloat64()))
		}
	}
	return f
}

// kurtosis is E[w⁴]/E[w²]²: 3 for a normal distribution.
func kurtosis(w *tensor.Dense) float64 {
	var two, four float64
	for _, v := range w.Data {
		x := float64(v) * float64(v)
		two += x
		four += x * x
	}
	return four * float64(len(w.Data)) / (two * two)
}

// condition is the ratio of the largest to the smallest singular value of a merged side.
func condition(m *tensor.Dense) float64 {
	rows, n := m.Dims[0], m.Dims[1]
	gram := make([]float64, n*n)
	for i := range rows {
		for p := range n {
			for q := range n {
				gram[p*n+q] += float64(m.Data[i*n+p]) * float64(m.Data[i*n+q])
			}
		}
	}
	values := linalg.Eigenvalues(n, gram)
	return math.Sqrt(values[0] / max(values[n-1], 0))
}

// With many cores, products of normal ones have heavy tails and badly conditioned sides; orthogonal slices have neither. For a train the
// kurtosis of normal cores is 3·∏(1 + 2/r_k) over its inner bonds.
func TestFreshHasNoHeavyTails(t *testing.T) {
	train := Shape{"tt", 256, 1024, slices.Repeat([]int{2}, 10), slices.Repeat([]int{2}, 8), slices.Concat([]int{1, 2}, slices.Repeat([]int{4}, 15), []int{2})}
	ring := Shape{"tr", 256, 1024, slices.Repeat([]int{4}, 5), slices.Repeat([]int{4}, 4), slices.Repeat([]int{5}, 9)}
	for name, s := range map[string]Shape{"train": train, "ring": ring} {
		var fresh, normal, freshCondition, normalCondition []float64
		for seed := range uint64(9) {
			f, err := Fresh(s, 1, seed)
			if err != nil {
				t.Fatal(err)
			}
			n := normalCores(s, 1, rand.New(rand.NewPCG(seed, 1)))
			fresh, normal = append(fresh, kurtosis(f.Reconstruct())), append(normal, kurtosis(n.Reconstruct()))
			_, right := f.Sides()
			freshCondition = append(freshCondition, condition(right))
			_, right = n.Sides()
			normalCondition = append(normalCondition, condition(right))
		}
		for _, x := range [][]float64{fresh, normal, freshCondition, normalCondition} {
			slices.Sort(x)
		}
		t.Logf("%s, medians of 9: kurtosis %.2f (normal cores %.1f), condition of R %.1f (normal cores %.1f)", name, fresh[4], normal[4], freshCondition[4], normalCondition[4])
		if fresh[8] > 5 || normal[4] < 2*fresh[4] {
			t.Errorf("%s: kurtosis %v, of normal cores %v", name, fresh, normal)
		}
		if normalCondition[4] < 1.5*freshCondition[4] {
			t.Errorf("%s: condition %v, of normal cores %v", name, freshCondition, normalCondition)
		}
	}
}

func TestFreshRefuses(t *testing.T) {
	good := freshShapes["ring"]
	for want, c := range map[string]struct {
		change   func(*Shape)
		variance float64
	}{
		"variance 0":             {func(*Shape) {}, 0},
		"variance NaN":           {func(*Shape) {}, math.NaN()},
		"variance +Inf":          {func(*Shape) {}, math.Inf(1)},
		`"dense" is unknown`:     {func(s *Shape) { s.Format = "dense" }, 1},
		"3 ranks for 4 cores":    {func(s *Shape) { s.Ranks = s.Ranks[:3] }, 1},
		"core 0 is 0×4×3":        {func(s *Shape) { s.Ranks = []int{0, 3, 3, 3} }, 1},
		"does not cover 25":      {func(s *Shape) { s.In = 25 }, 1},
		"do not multiply":        {func(s *Shape) { s.InModes = []int{4, -6} }, 1},
		"the matrix has 31 rows": {func(s *Shape) { s.Out = 31 }, 1},
	} {
		s := good
		c.change(&s)
		if f, err := Fresh(s, c.variance, 1); f != nil && err == nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

// A shape for a budget of numbers keeps it and uses most of it, and covers the matrix.
func TestShapeFor(t *testing.T) {
	for _, m := range []Matrix{
		{Name: "video", Directions: 1, Gates: 4, Hidden: 256, In: 57600},
		{Name: "key points", Directions: 1, Gates: 4, Hidden: 128, In: 1662},
		{Name: "both ways", Directions: 2, Gates: 3, Hidden: 64, In: 257},
		{Name: "prime", Directions: 1, Gates: 1, Hidden: 61, In: 97},
	} {
		for _, format := range []string{"", "tr", "tt", "svd", "ttm"} {
			for _, ratio := range []float64{4, 25, 100, 400, 10000} {
				s, warnings, err := ShapeFor(m, Budget{Ratio: ratio}, Options{Format: format})
				if err != nil {
					var be *BudgetError
					if !errors.As(err, &be) || !strings.Contains(be.Best, "ratio") {
						t.Errorf("%s, %s, %v: %v", m.Name, format, ratio, err)
					}
					continue
				}
				n := int(float64(m.Size()) / ratio)
				if len(warnings) > 0 || s.Params() > n || s.In != m.In || s.Out != m.Out() {
					t.Errorf("%s, %s, %v: %+v of %d numbers for %d, warnings %q", m.Name, format, ratio, s, s.Params(), n, warnings)
				}
				if f, err := s.empty(); err != nil || f.HasSides() && f.Cut() > 1 && 2*f.Cut()*(m.In+m.Out()) > m.Size() && s.Format != "svd" {
					t.Errorf("%s, %s, %v: the sides take more than half the products of the matrix: %+v, %v", m.Name, format, ratio, s, err)
				}
				if s.Format != "svd" && m.Name != "prime" && s.Params() < n*3/4 {
					t.Errorf("%s, %s, %v: only %d of %d numbers are used: %+v", m.Name, format, ratio, s.Params(), n, s)
				}
				if ratio < 100 && m.In > 10000 { // which takes long and shows nothing more
					continue
				}
				if _, err := Fresh(s, 1, 1); err != nil {
					t.Errorf("%s, %s, %v: %v", m.Name, format, ratio, err)
				}
				if again, _, _ := ShapeFor(m, Budget{MaxParams: n}, Options{Format: format}); !reflect.DeepEqual(again, s) {
					t.Errorf("%s, %s: max-params %d gives %+v, ratio %v gave %+v", m.Name, format, n, again, ratio, s)
				}
			}
		}
	}
}

// The systems of the literature: 1,725 and 3,360 numbers for 57600 inputs and 256 units (Pan et al. 2019), and 25 times smaller on features.
func TestShapesOfTheLiterature(t *testing.T) {
	video := Matrix{Name: "video", Directions: 1, Gates: 4, Hidden: 256, In: 57600}
	features := Matrix{Name: "features", Directions: 1, Gates: 4, Hidden: 2048 / 4, In: 2048}
	for _, c := range []struct {
		m    Matrix
		b    Budget
		o    Options
		want int
	}{
		{video, Budget{Ranks: slices.Concat([]int{10}, slices.Repeat([]int{5}, 12))}, Options{Format: "tr", InModes: []int{4, 2, 5, 8, 6, 5, 3, 2}, OutModes: []int{4, 4, 2, 4, 8}}, 1725},
		{video, Budget{Rank: 4}, Options{Format: "ttm", InModes: []int{8, 20, 20, 18}, OutModes: []int{16, 4, 4, 4}}, 3360},
		{features, Budget{Ranks: []int{40, 60, 48, 48}}, Options{Format: "tr", InModes: []int{64, 32}, OutModes: []int{32, 64}}, 64*40*60 + 32*60*48 + 32*48*48 + 64*48*40},
	} {
		s, _, err := ShapeFor(c.m, c.b, c.o)
		if err != nil || s.Params() != c.want {
			t.Errorf("%+v: %d numbers, want %d (%v)", c.o, s.Params(), c.want, err)
		}
	}
}

func TestShapeForRefuses(t *testing.T) {
	m := Matrix{Name: "w", Directions: 1, Gates: 4, Hidden: 16, In: 48}
	for want, c := range map[string]struct {
		m Matrix
		b Budget
		o Options
	}{
		"no weights whose error":  {m, Budget{MaxError: 0.1}, Options{}},
		"best that can be":        {m, Budget{Ratio: 1000}, Options{}},
		"no sides to share":       {Matrix{Name: "w", Directions: 1, Gates: 4, Hidden: 16, In: 1}, Budget{}, Options{}},
		"more than the 48":        {m, Budget{Rank: 49}, Options{Format: "svd"}},
		"there are 3 and 2":       {m, Budget{Rank: 2}, Options{Format: "ttm", InModes: []int{4, 4, 3}, OutModes: []int{8, 8}}},
		"nothing to carry":        {m, Budget{Rank: 2}, Options{Format: "ttm", InModes: []int{16, 1, 3}, OutModes: []int{8, 1, 8}}},
		"mode 1 (2 or more)":      {m, Budget{Rank: 2}, Options{Format: "tr", InModes: []int{48, 1}}},
		"4 ranks for 2 cores":     {m, Budget{Ranks: []int{1, 2, 2, 2}}, Options{Format: "ttm", InModes: []int{6, 8}, OutModes: []int{8, 8}}},
		"has r_0 = 1, not 2":      {m, Budget{Ranks: []int{2, 2}}, Options{Format: "ttm"}},
		"do not make 3 pairs":     {m, Budget{Ranks: []int{1, 2}}, Options{Format: "ttm", InModes: []int{4, 4, 3}}},
		`"cp" is unknown (auto, `: {m, Budget{}, Options{Format: "cp"}},
	} {
		if s, _, err := ShapeFor(c.m, c.b, c.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, error %v does not say %q", s, err, want)
		}
	}
}
