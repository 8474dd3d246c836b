package onnx

import (
	"math"
	"testing"
)

// reference rounds to a small format by searching its table of values: the nearest wins, ties go to the even pattern.
type reference struct {
	bits   []uint32
	values []float64 // ascending, non-negative, finite
}

func newReference(largest uint32, decode func(bits uint32) float64) reference {
	var r reference
	for b := uint32(0); b <= largest; b++ {
		r.bits = append(r.bits, b)
		r.values = append(r.values, decode(b))
	}
	return r
}

// nearest returns the pattern for |f|, and whether f is beyond the largest value by half a step or more.
func (r reference) nearest(f float64) (bits uint32, beyond bool) {
	last := len(r.values) - 1
	step := r.values[last] - r.values[last-1]
	if limit := r.values[last] + step/2; f > limit || f == limit && r.bits[last]%2 == 1 {
		return r.bits[last], true
	}
	lo, hi := 0, last
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; r.values[mid] <= f {
			lo = mid
		} else {
			hi = mid
		}
	}
	below, above := f-r.values[lo], r.values[hi]-f
	if above < below || above == below && r.bits[hi]%2 == 0 {
		return r.bits[hi], false
	}
	return r.bits[lo], false
}

// ieee is the definition of IEEE 754 binary formats: (−1)^s · 2^(e−bias) · 1.f, subnormals without the leading one.
func ieee(bits uint32, fracBits, bias int) float64 {
	e, frac := int(bits>>fracBits), float64(bits&(1<<fracBits-1))/float64(int(1)<<fracBits)
	if e == 0 {
		return frac * math.Pow(2, float64(1-bias))
	}
	return (1 + frac) * math.Pow(2, float64(e-bias))
}

// probes are values on, between and just beside those of a table, and special ones.
func probes(values []float64) []float64 {
	out := []float64{0, math.SmallestNonzeroFloat64, math.MaxFloat64, 1e-30, 1e30}
	for i, v := range values {
		out = append(out, v, math.Nextafter(v, 1e300), math.Nextafter(v, 0))
		if i > 0 {
			tie := (v + values[i-1]) / 2
			out = append(out, tie, math.Nextafter(tie, 1e300), math.Nextafter(tie, -1))
		}
	}
	last := values[len(values)-1]
	tie := last + (last-values[len(values)-2])/2
	return append(out, tie, math.Nextafter(tie, 1e300), math.Nextafter(tie, -1), 2*last)
}

func TestFloat16(t *testing.T) {
	ref := newReference(0x7bff, func(b uint32) float64 { return ieee(b, 10, 15) })
	for i, v := range ref.values {
		for _, sign := range []uint16{0, 0x8000} {
			want := math.Copysign(v, 1-2*float64(sign>>15))
			got := Float16ToFloat32(uint16(i) | sign)
			if float64(got) != want || math.Signbit(float64(got)) != math.Signbit(want) {
				t.Fatalf("0x%04x is %v, want %v", i, got, want)
			}
			if back := Float32ToFloat16(got); back != uint16(i)|sign {
				t.Fatalf("%v becomes 0x%04x, want 0x%04x", got, back, uint16(i)|sign)
			}
		}
	}
	for _, f := range probes(ref.values) {
		want, beyond := ref.nearest(f)
		if beyond {
			want = 0x7c00
		}
		if got := Float64ToFloat16(f); uint32(got) != want {
			t.Fatalf("float64 %v becomes 0x%04x, want 0x%04x", f, got, want)
		}
		if got := Float64ToFloat16(-f); uint32(got) != want|0x8000 {
			t.Fatalf("float64 %v becomes 0x%04x, want 0x%04x", -f, got, want|0x8000)
		}
		single := float32(f)
		want, beyond = ref.nearest(float64(single))
		if beyond {
			want = 0x7c00
		}
		if got := Float32ToFloat16(single); uint32(got) != want {
			t.Fatalf("float32 %v becomes 0x%04x, want 0x%04x", single, got, want)
		}
	}
	inf := float32(math.Inf(1))
	if Float32ToFloat16(inf) != 0x7c00 || Float32ToFloat16(-inf) != 0xfc00 || Float16ToFloat32(0xfc00) != -inf || Float64ToFloat16(math.Inf(-1)) != 0xfc00 {
		t.Error("infinities")
	}
	for _, nan := range []uint16{Float32ToFloat16(float32(math.NaN())), Float32ToFloat16(math.Float32frombits(0x7f800001)), Float64ToFloat16(math.NaN())} {
		if f := Float16ToFloat32(nan); f == f {
			t.Errorf("NaN becomes %v", f)
		}
	}
}

func TestBFloat16(t *testing.T) {
	ref := newReference(0x7f7f, func(b uint32) float64 { return ieee(b, 7, 127) })
	for i, v := range ref.values {
		if got := BFloat16ToFloat32(uint16(i)); float64(got) != v {
			t.Fatalf("0x%04x is %v, want %v", i, got, v)
		}
	}
	for _, f := range probes(ref.values) {
		want, beyond := ref.nearest(f)
		if beyond {
			want = 0x7f80
		}
		if got := Float64ToBFloat16(f); uint32(got) != want {
			t.Fatalf("float64 %v becomes 0x%04x, want 0x%04x", f, got, want)
		}
		single := float32(f)
		if math.IsInf(float64(single), 0) {
			continue
		}
		want, beyond = ref.nearest(float64(single))
		if beyond {
			want = 0x7f80
		}
		if got := Float32ToBFloat16(-single); uint32(got) != want|0x8000 {
			t.Fatalf("float32 %v becomes 0x%04x, want 0x%04x", -single, got, want|0x8000)
		}
	}
	for _, nan := range []uint16{Float32ToBFloat16(float32(math.NaN())), Float32ToBFloat16(math.Float32frombits(0x7f800001)), Float64ToBFloat16(math.NaN())} {
		if f := BFloat16ToFloat32(nan); f == f {
			t.Errorf("NaN becomes %v", f)
		}
	}
}

// TestSmallFloats checks the float8 and float4 formats against their definitions, and what does not fit against the
// tables of ONNX's Cast.
func TestSmallFloats(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		typ               DataType
		frac, bias        int
		largest           uint32
		top               float64
		nan               uint8
		negZero           uint8
		satInf            float64 // +∞ with saturate
		plainInf, plainUp float64 // +∞ and 2·largest without
	}{
		{Float8E4M3FN, 3, 7, 0x7e, 448, 0x7f, 0x80, 448, nan, nan},
		{Float8E4M3FNUZ, 3, 8, 0x7f, 240, 0x80, 0x00, nan, nan, nan},
		{Float8E5M2, 2, 15, 0x7b, 57344, 0x7f, 0x80, 57344, inf, inf},
		{Float8E5M2FNUZ, 2, 16, 0x7f, 57344, 0x80, 0x00, nan, nan, nan},
		{Float4E2M1, 1, 1, 0x07, 6, 0, 0x08, 6, 6, 6},
	} {
		encode := func(f float64, saturate bool) uint8 {
			b, err := EncodeSmallFloat(c.typ, f, saturate)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		same := func(what string, got uint8, want float64) {
			t.Helper()
			if v := DecodeSmallFloat(c.typ, got); v != want && !(math.IsNaN(v) && math.IsNaN(want)) {
				t.Errorf("%s: %s becomes 0x%02x = %v, want %v", c.typ, what, got, v, want)
			}
		}
		ref := newReference(c.largest, func(b uint32) float64 { return ieee(b, c.frac, c.bias) })
		if top := ref.values[len(ref.values)-1]; top != c.top {
			t.Errorf("%s: the largest value is %v, want %v", c.typ, top, c.top)
		}
		sign := uint8(0x80)
		if c.typ == Float4E2M1 {
			sign = 0x08
		}
		for i, v := range ref.values {
			if got := DecodeSmallFloat(c.typ, uint8(i)); got != v {
				t.Errorf("%s: 0x%02x is %v, want %v", c.typ, i, got, v)
			}
			if got := DecodeSmallFloat(c.typ, uint8(i)|sign); i > 0 && got != -v {
				t.Errorf("%s: 0x%02x is %v, want %v", c.typ, uint8(i)|sign, got, -v)
			}
		}
		for _, f := range probes(ref.values) {
			want, beyond := ref.nearest(f)
			if got := encode(f, true); uint32(got) != want {
				t.Errorf("%s: %v becomes 0x%02x, want 0x%02x", c.typ, f, got, want)
			}
			if got := encode(-f, true); want != 0 && uint32(got) != want|uint32(sign) {
				t.Errorf("%s: %v becomes 0x%02x, want 0x%02x", c.typ, -f, got, want|uint32(sign))
			}
			if got := encode(f, false); !beyond && uint32(got) != want {
				t.Errorf("%s without saturate: %v becomes 0x%02x, want 0x%02x", c.typ, f, got, want)
			}
		}
		if got := encode(math.Copysign(0, -1), true); got != c.negZero {
			t.Errorf("%s: −0 becomes 0x%02x, want 0x%02x", c.typ, got, c.negZero)
		}
		if c.nan != 0 && encode(nan, true) != c.nan {
			t.Errorf("%s: NaN becomes 0x%02x", c.typ, encode(nan, true))
		}
		same("+∞, saturate,", encode(inf, true), c.satInf)
		same("+∞", encode(inf, false), c.plainInf)
		same("−∞", encode(-inf, false), -c.plainInf)
		same("2·largest, saturate,", encode(2*c.top, true), c.top)
		same("2·largest", encode(2*c.top, false), c.plainUp)
	}
	for _, c := range []struct {
		f    float64
		want uint8
	}{{1, 127}, {2, 128}, {1.4, 127}, {1.5, 128}, {0, 0}, {-3, 0}, {math.Ldexp(1, -127), 0}, {math.Ldexp(1, 127), 254}, {inf, 254}, {nan, 255}} {
		if got, _ := EncodeSmallFloat(Float8E8M0, c.f, true); got != c.want {
			t.Errorf("float8e8m0: %v becomes %d, want %d", c.f, got, c.want)
		}
	}
	if DecodeSmallFloat(Float8E8M0, 130) != 8 || !math.IsNaN(DecodeSmallFloat(Float8E8M0, 255)) {
		t.Error("float8e8m0")
	}
	if _, err := EncodeSmallFloat(Float, 1, true); err == nil {
		t.Error("float is no small format")
	}
}
