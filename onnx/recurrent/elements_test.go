package recurrent

import (
	"math"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

// Oracle: IEEE 754-2019 binary16 (1 sign, 5 exponent, 10 fraction bits, bias 15), computed in float64 from the definition.
func TestHalfWidensByDefinition(t *testing.T) {
	for h := 0; h < 1<<16; h++ {
		sign, exp, frac := 1.0, h>>10&31, float64(h&1023)
		if h>>15 == 1 {
			sign = -1
		}
		var want float64
		switch exp {
		case 0:
			want = sign * frac * math.Pow(2, -24)
		case 31:
			want = sign * math.Inf(1)
			if frac != 0 {
				want = math.NaN()
			}
		default:
			want = sign * (1 + frac/1024) * math.Pow(2, float64(exp-15))
		}
		got := float64(fromHalf(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("fromHalf(%#04x) = %g, want %g", h, got, want)
		}
	}
}

// Every half is its own rounding; points between two neighbours go to the nearer one, midpoints to the even one.
func TestNarrowRoundsToNearestEven(t *testing.T) {
	for _, f := range []struct {
		name   string
		narrow func(float32) uint16
		widen  func(uint16) float32
		inf    int
	}{{"float16", toHalf, fromHalf, 0x7c00}, {"bfloat16", toBrain, fromBrain, 0x7f80}} {
		for h := 0; h+1 < f.inf; h++ {
			lo, hi := f.widen(uint16(h)), f.widen(uint16(h+1))
			mid := float32((float64(lo) + float64(hi)) / 2) // exact: one bit more than either
			even := uint16(h + h&1)
			for _, c := range []struct {
				x    float32
				want uint16
			}{
				{lo, uint16(h)}, {mid, even},
				{math.Nextafter32(mid, lo), uint16(h)}, {math.Nextafter32(mid, hi), uint16(h + 1)},
				{-lo, uint16(h) | 0x8000}, {-mid, even | 0x8000},
			} {
				if got := f.narrow(c.x); got != c.want {
					t.Fatalf("%s: narrow(%g) = %#04x, want %#04x", f.name, c.x, got, c.want)
				}
			}
		}
		if x := f.widen(f.narrow(float32(math.NaN()))); x == x {
			t.Errorf("%s: NaN became %g", f.name, x)
		}
	}
}

func TestArrayRoundTrips(t *testing.T) {
	data := []float32{0, 1, -2.5, 0.125}
	for _, elem := range []onnx.DataType{onnx.Float, onnx.Double, onnx.Float16, onnx.BFloat16} {
		a, err := Array(elem, []int{2, 2}, data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Floats(a)
		if err != nil {
			t.Fatal(err)
		}
		for k := range data {
			if got[k] != data[k] {
				t.Errorf("%s: element %d is %g, want %g", typeName(elem), k, got[k], data[k])
			}
		}
	}
	if _, err := Array(onnx.Float16, []int{1}, []float32{70000}); err == nil {
		t.Error("70000 fits float16")
	}
	if _, err := Array(onnx.Int8, []int{1}, []float32{1}); err == nil {
		t.Error("int8 is a floating type")
	}
	if _, err := Floats(&onnx.Array{Type: onnx.Uint16, Data: []uint16{1}}); err == nil {
		t.Error("uint16 is a floating type")
	}
}
