package vec

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/trconvert/trconvert/internal/gemm"
)

// forKernels runs a test on every set of kernels that the processor supports.
func forKernels(t *testing.T, test func(t *testing.T)) {
	for _, name := range gemm.Kernels() {
		t.Run(name, func(t *testing.T) {
			old := current
			defer func() { current = old }()
			current = named(name)
			test(t)
		})
	}
}

var functions = []struct {
	name  string
	apply func(dst, src []float32)
	exact func(float64) float64
	bound float64
}{
	{"exp", Exp, math.Exp, ExpULP},
	{"sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, SigmoidULP},
	{"tanh", Tanh, math.Tanh, TanhULP},
}

// ulps is the distance of got from want in units of the last place of a float32 near want.
func ulps(got float32, want float64) float64 {
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

// TestError compares every 509th float32 with the float64 functions of package math, whose own error is below 1e-8 units.
func TestError(t *testing.T) {
	const step = 509
	forKernels(t, func(t *testing.T) {
		for _, f := range functions {
			src, dst := make([]float32, 0, 1<<16), make([]float32, 1<<16)
			worst, at := 0.0, float32(0)
			flush := func() {
				f.apply(dst[:len(src)], src)
				for i, x := range src {
					want := f.exact(float64(x))
					if want > math.MaxFloat32 {
						if !math.IsInf(float64(dst[i]), 1) && want >= 0x1p128*(1-0x1p-25) {
							t.Fatalf("%s(%v) = %v, want overflow", f.name, x, dst[i])
						}
						continue
					}
					if u := ulps(dst[i], want); !(u <= worst) {
						worst, at = u, x
					}
				}
				src = src[:0]
			}
			for bits := uint64(0); bits < 1<<32; bits += step {
				x := math.Float32frombits(uint32(bits))
				if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
					continue
				}
				if src = append(src, x); len(src) == cap(src) {
					flush()
				}
			}
			flush()
			t.Logf("%s: largest error %.3f ulp at %v", f.name, worst, at)
			if !(worst <= f.bound) {
				t.Errorf("%s: error %v ulp at %v, bound %v", f.name, worst, at, f.bound)
			}
		}
	})
}

func TestSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	negZero := float32(math.Copysign(0, -1))
	src := []float32{nan, inf, -inf, 0, negZero, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, 88.72284, 88.72283, -103.97}
	want := map[string][]float32{
		"exp":     {nan, inf, 0, 1, 1, inf, 0, 1, inf, 3.4027985e38, math.SmallestNonzeroFloat32},
		"sigmoid": {nan, 1, 0, 0.5, 0.5, 1, 0, 0.5, 1, 1, math.SmallestNonzeroFloat32},
		"tanh":    {nan, 1, -1, 0, negZero, 1, -1, math.SmallestNonzeroFloat32, 1, 1, -1},
	}
	forKernels(t, func(t *testing.T) {
		for _, f := range functions {
			dst := make([]float32, len(src))
			f.apply(dst, src)
			for i, x := range src {
				w := want[f.name][i]
				same := dst[i] == w && math.Signbit(float64(dst[i])) == math.Signbit(float64(w)) || w != w && dst[i] != dst[i] ||
					f.name == "exp" && ulps(dst[i], math.Exp(float64(x))) <= f.bound
				if !same {
					t.Errorf("%s(%v) = %v, want %v", f.name, x, dst[i], w)
				}
			}
		}
	})
}

// Elements around a slice that nothing may write.
const (
	margin = 20
	canary = 12345.678
)

// TestLengths runs every length around the vector widths at every offset from alignment, in place and not: the neighbours stay untouched and
// the bits are those of the element alone.
func TestLengths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	forKernels(t, func(t *testing.T) {
		for _, f := range functions {
			for n := range 50 {
				for offset := range 4 {
					src, dst := make([]float32, n), make([]float32, n+offset+20)
					for i := range src {
						src[i] = float32(r.NormFloat64() * 4)
					}
					for i := range dst {
						dst[i] = canary
					}
					f.apply(dst[offset:offset+n], src)
					inPlace := append([]float32(nil), src...)
					f.apply(inPlace, inPlace)
					for i, v := range dst {
						if i < offset || i >= offset+n {
							if v != canary {
								t.Fatalf("%s of %d elements wrote at %d", f.name, n, i-offset)
							}
							continue
						}
						alone := []float32{src[i-offset]}
						f.apply(alone, alone)
						if v != alone[0] || v != inPlace[i-offset] {
							t.Fatalf("%s: element %d of %d: %v, in place %v, alone %v", f.name, i-offset, n, v, inPlace[i-offset], alone[0])
						}
					}
				}
			}
		}
	})
}

func sigmoid64(x float32) float64 { return 1 / (1 + math.Exp(-float64(x))) }

// TestCells compares the pointwise parts of the cells with their formulas in float64.
func TestCells(t *testing.T) {
	const tol = 1e-6 // a few roundings of values below 4
	r := rand.New(rand.NewPCG(2, 2))
	near := func(t *testing.T, what string, n, i int, got float32, want float64) {
		t.Helper()
		if !(math.Abs(float64(got)-want) <= tol) {
			t.Fatalf("n=%d: %s[%d] = %v, want %v", n, what, i, got, want)
		}
	}
	forKernels(t, func(t *testing.T) {
		for n := range 40 {
			var x, around [7][]float32
			for k := range x {
				around[k] = make([]float32, n+2*margin)
				for i := range around[k] {
					around[k][i] = canary
				}
				x[k] = around[k][margin : margin+n : margin+n]
				for i := range x[k] {
					x[k][i] = float32(r.NormFloat64())
				}
			}
			var in [7][]float32
			for k := range x {
				in[k] = append([]float32(nil), x[k]...)
			}
			LSTM(x[0], x[1], x[2], x[3], x[4], x[4], x[6]) // the state in place
			for i := range n {
				g, o, f, c := sigmoid64(in[0][i]), sigmoid64(in[1][i]), sigmoid64(in[2][i]), math.Tanh(float64(in[3][i]))
				near(t, "i", n, i, x[0][i], g)
				near(t, "o", n, i, x[1][i], o)
				near(t, "f", n, i, x[2][i], f)
				near(t, "c̃", n, i, x[3][i], c)
				next := f*float64(in[4][i]) + g*c
				near(t, "c", n, i, x[4][i], next)
				near(t, "h", n, i, x[6][i], o*math.Tanh(next))
			}
			for k := range x {
				copy(x[k], in[k])
			}
			GRU(x[0], x[1], x[2], x[3])
			for i := range n {
				z, g := float64(in[0][i]), math.Tanh(float64(in[1][i]))
				near(t, "h̃", n, i, x[1][i], g)
				near(t, "h", n, i, x[3][i], (1-z)*g+z*float64(in[2][i]))
			}
			for k := range x {
				copy(x[k], in[k])
			}
			GRUReset(x[0], x[1], x[2], x[3], x[4], x[4])
			for i := range n {
				z, g := float64(in[0][i]), math.Tanh(float64(in[3][i])+float64(in[1][i])*float64(in[2][i]))
				near(t, "h̃", n, i, x[3][i], g)
				near(t, "h", n, i, x[4][i], (1-z)*g+z*float64(in[4][i]))
			}
			for k := range x {
				copy(x[k], in[k])
			}
			LSTM(x[0], x[1], x[2], x[3], x[4], x[5], x[6])
			var gate [4][]float32
			for k := range gate {
				gate[k] = append([]float32(nil), x[k]...)
			}
			next, dc := append([]float32(nil), x[5]...), append([]float32(nil), in[5]...)
			copy(x[6], in[6])
			LSTMBack(x[0], x[1], x[2], x[3], x[4], x[5], x[6], dc)
			for i := range n {
				g, o, f, c := float64(gate[0][i]), float64(gate[1][i]), float64(gate[2][i]), float64(gate[3][i])
				old, t64, dh := float64(in[4][i]), math.Tanh(float64(next[i])), float64(in[6][i])
				d := float64(in[5][i]) + dh*o*(1-t64*t64)
				want := []float64{d * c * g * (1 - g), dh * t64 * o * (1 - o), d * old * f * (1 - f), d * g * (1 - c*c), old, float64(next[i]), dh}
				for k, w := range want {
					near(t, "gradient "+strconv.Itoa(k), n, i, x[k][i], w)
				}
				near(t, "dc", n, i, dc[i], d*f)
			}
			copy(x[0], in[0])
			Add(x[0], in[1])
			for i := range n {
				near(t, "sum", n, i, x[0][i], float64(in[0][i])+float64(in[1][i]))
			}
			for k := range around {
				for i, v := range around[k] {
					if (i < margin || i >= margin+n) && v != canary {
						t.Fatalf("n=%d: array %d was written at %d", n, k, i-margin)
					}
				}
			}
		}
	})
}

func TestUnequalLengthsPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("slices of unequal lengths were accepted")
		}
	}()
	Exp(make([]float32, 3), make([]float32, 4))
}

func BenchmarkActivations(b *testing.B) {
	x, y := make([]float32, 1024), make([]float32, 1024)
	for i := range x {
		x[i] = float32(i%64)/8 - 4
	}
	for _, name := range gemm.Kernels() {
		for _, f := range functions {
			b.Run("function="+f.name+"/kernel="+name, func(b *testing.B) {
				old := current
				defer func() { current = old }()
				current = named(name)
				for b.Loop() {
					f.apply(y, x)
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N*len(x)), "ns/element")
			})
		}
	}
}
