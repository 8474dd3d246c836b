package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trconvert/trconvert/onnx"
)

func normal(seed uint64, n int, sigma func(i int) float64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(sigma(i) * rng.NormFloat64())
	}
	return x
}

func uniform(seed uint64, n int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = 2*rng.Float32() - 1
	}
	return x
}

func distance(x, y []float32) float64 {
	var sum float64
	for i := range x {
		d := float64(x[i]) - float64(y[i])
		sum += d * d
	}
	return math.Sqrt(sum)
}

// TestInt8Bound holds every number to the bound of the documentation, whatever dims, channels and magnitudes are.
func TestInt8Bound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := rapid.SliceOfN(rapid.IntRange(1, 6), 1, 4).Draw(t, "dims")
		n := 1
		for _, d := range dims {
			n *= d
		}
		from := rapid.IntRange(0, len(dims)).Draw(t, "from")
		run := Run{from, rapid.IntRange(from, len(dims)).Draw(t, "to")}
		scale := math.Pow(10, float64(rapid.IntRange(-44, 37).Draw(t, "magnitude")))
		x := normal(rapid.Uint64().Draw(t, "seed"), n, func(int) float64 { return scale })
		c := run.Channels(dims)
		q := c.Quantize(x)
		if c.Count*c.Inner > n || n%(c.Count*c.Inner) != 0 || len(q.Scales) != c.Count {
			t.Fatalf("%v of %v: %+v, %d scales", run, dims, c, len(q.Scales))
		}
		back := q.Floats()
		for i, v := range x {
			s := float64(q.Scales[i/c.Inner%c.Count])
			if s < smallestScale {
				t.Fatalf("the scale %g is no normal number", s)
			}
			bound := max(s/2, math.Abs(float64(v))-127*s) + 0x1p-24*math.Abs(float64(v))
			if d := math.Abs(float64(v) - float64(back[i])); !(d <= bound*(1+1e-12)) {
				t.Fatalf("number %d: %g became %g: off by %g, the bound is %g", i, v, back[i], d, bound)
			}
			if q.Values[i] == -128 {
				t.Fatal("-128 is used")
			}
		}
		c.Round(x)
		if !slices.EqualFunc(x, back, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			t.Fatal("Round gives other values than Quantize and Floats")
		}
	})
}

// TestClippingPays compares with the scale max|x|/127, in float64, on so many normal numbers that the largest is beyond five standard deviations.
func TestClippingPays(t *testing.T) {
	x := normal(3, 1<<20, func(int) float64 { return 0.1 })
	var most float64
	for _, v := range x {
		most = max(most, math.Abs(float64(v)))
	}
	plain := make([]float32, len(x))
	for i, v := range x {
		plain[i] = float32(math.Round(float64(v)/most*127) * most / 127)
	}
	clipped := slices.Clone(x)
	Channels{1, len(x)}.Round(clipped)
	if a, b := distance(x, clipped), distance(x, plain); !(a < 0.9*b) {
		t.Errorf("error %g with clipping, %g without", a, b)
	}
}

// TestChoose puts channels of different magnitudes along one axis, which is then the one that has to get the scales; where all are alike no
// scale beyond the first pays.
func TestChoose(t *testing.T) {
	dims := []int{12, 40, 16}
	loud := func(axis int) []float32 {
		inner := []int{40 * 16, 16, 1}[axis]
		return normal(7, 12*40*16, func(i int) float64 { return math.Pow(2, float64(i/inner%dims[axis]%5)) })
	}
	for _, c := range []struct {
		name string
		x    []float32
		dims []int
		want Run
	}{
		{"first axis", loud(0), dims, Run{0, 1}},
		{"middle axis", loud(1), dims, Run{1, 2}},
		{"last axis", loud(2), dims, Run{2, 3}},
		{"all alike", uniform(5, 12*40*16), dims, Run{}},
		{"rows of two directions", normal(9, 2*64*256, func(i int) float64 { return math.Pow(2, float64(i/256*7%11)) }), []int{2, 64, 256}, Run{0, 2}},
		{"a vector has no axis that pays", normal(9, 64, func(i int) float64 { return float64(i) }), []int{64}, Run{}},
		{"too few numbers for scales", normal(9, 6, func(i int) float64 { return float64(i) }), []int{2, 3}, Run{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, q, ok := Choose(c.x, c.dims)
			if !ok || got != c.want {
				t.Errorf("%v, %v, want %v", got, ok, c.want)
			}
			if r := distance(c.x, q.Floats()) / distance(c.x, make([]float32, len(c.x))); !(r < 0.02) {
				t.Errorf("relative error %g", r)
			}
		})
	}
}

func TestChooseRefuses(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 2e38} {
		if _, _, ok := Choose([]float32{1, float32(v), 2}, []int{3}); ok {
			t.Errorf("%g is quantised", v)
		}
	}
}

func TestScaleDims(t *testing.T) {
	for _, c := range []struct {
		run        Run
		dims, want []int
	}{
		{Run{}, []int{2, 3, 4}, nil},
		{Run{0, 1}, []int{2, 3, 4}, []int{2, 1, 1}},
		{Run{1, 2}, []int{2, 3, 4}, []int{3, 1}},
		{Run{2, 3}, []int{2, 3, 4}, []int{4}},
		{Run{0, 2}, []int{2, 3, 4}, []int{2, 3, 1}},
	} {
		if got := c.run.ScaleDims(c.dims); !slices.Equal(got, c.want) {
			t.Errorf("%v of %v: %v, want %v", c.run, c.dims, got, c.want)
		}
	}
}

// TestFloat16 holds the rounding to the spacing of binary16 (IEEE 754-2019, table 3.5): 11 bits of precision, exponents from −14, largest 65504.
func TestFloat16(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float32Range(-65504, 65504).Draw(t, "v")
		x := []float32{v}
		Float16{}.Round(x)
		if d := math.Abs(float64(v) - float64(x[0])); !(d <= max(0x1p-11*math.Abs(float64(v)), 0x1p-25)) {
			t.Fatalf("%g became %g", v, x[0])
		}
		if back := onnx.Float16ToFloat32(Float16{}.Bits([]float32{v})[0]); back != x[0] {
			t.Fatalf("bits stand for %g, Round gives %g", back, x[0])
		}
	})
	x := []float32{1e6, -1e6, 65519, 65520}
	Float16{}.Round(x)
	if !slices.Equal(x, []float32{65504, -65504, 65504, 65504}) {
		t.Errorf("beyond the range: %v", x)
	}
	for _, c := range []struct {
		name string
		x    []float32
		want bool
	}{
		{"weights", normal(1, 100, func(int) float64 { return 0.1 }), true},
		{"some below the range", []float32{1, 1e-9, 0}, true},
		{"all below the range", []float32{1e-7, 3e-7}, false},
		{"beyond the range", []float32{1, 65505}, false},
		{"not a number", []float32{1, float32(math.NaN())}, false},
		{"zeros", []float32{0, 0}, true},
	} {
		if got := (Float16{}).Fits(c.x); got != c.want {
			t.Errorf("%s: fits %v, want %v", c.name, got, c.want)
		}
	}
}
