package gemm

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// shapes cover the edges of micro-panels, tiles, depth blocks, the split along k and the direct path.
var shapes = [][3]int{
	{1, 1, 1}, {1, 7, 5}, {2, 3, 4}, {3, 66, 9}, {4, 2, 2}, {5, 3, 1}, {4, 4, 257}, {7, 1, 300}, {129, 5, 17}, {3, 513, 6},
	{127, 257, 31}, {130, 259, 258}, {8, 8, 0}, {25, 25, 8193}, {3, 3, 8200}, {300, 10, 513}, {64, 1, 64}, {1, 600, 1000},
}

func random[T float](r *rand.Rand, n int) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = T(r.NormFloat64())
	}
	return x
}

// reference computes the product by its definition in float64, and for each element the sum of magnitudes that bounds its rounding.
func reference[A, B, C float](ta, tb bool, m, n, k int, alpha C, a []A, lda int, b []B, ldb int, beta C, c []C, ldc int) (want, size []float64) {
	want, size = make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			var s, t float64
			for x := range k {
				ai, bi := i*lda+x, x*ldb+j
				if ta {
					ai = x*lda + i
				}
				if tb {
					bi = j*ldb + x
				}
				v := float64(a[ai]) * float64(b[bi])
				s += v
				t += math.Abs(v)
			}
			old := 0.0
			if beta != 0 {
				old = float64(beta) * float64(c[i*ldc+j])
			}
			want[i*n+j] = float64(alpha)*s + old
			size[i*n+j] = math.Abs(float64(alpha))*t + math.Abs(old)
		}
	}
	return want, size
}

type call[A, B, C float] func(ta, tb bool, m, n, k int, alpha C, a []A, lda int, b []B, ldb int, beta C, c []C, ldc int)

func testProduct[A, B, C float](t *testing.T, f call[A, B, C], eps float64) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		for mode := range 8 {
			ta, tb := mode&1 != 0, mode&2 != 0
			alpha, beta, pad := C(1), C(0), 0
			if mode&4 != 0 {
				alpha, beta, pad = -0.5, 2, 3
			}
			ar, ac, br, bc := m, k, k, n
			if ta {
				ar, ac = k, m
			}
			if tb {
				br, bc = n, k
			}
			lda, ldb, ldc := ac+pad, bc+pad, n+pad
			a, b, c := random[A](r, ar*lda), random[B](r, br*ldb), random[C](r, m*ldc)
			want, size := reference(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
			if beta == 0 {
				for i := range m {
					for j := range n {
						c[i*ldc+j] = C(math.NaN()) // must be overwritten, not multiplied
					}
				}
			}
			guard := append([]C(nil), c...)
			f(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
			for i := range m {
				for j := range ldc {
					got := float64(c[i*ldc+j])
					if j >= n {
						if c[i*ldc+j] != guard[i*ldc+j] {
							t.Fatalf("%v mode %d: wrote outside C at row %d, column %d", s, mode, i, j)
						}
						continue
					}
					// Rounding of a sum of k products in any order is at most about k·ε·Σ|products|.
					if d := math.Abs(got - want[i*n+j]); !(d <= eps*float64(k+4)*size[i*n+j]) {
						t.Fatalf("%v ta=%v tb=%v: C[%d,%d] = %v, want %v", s, ta, tb, i, j, got, want[i*n+j])
					}
				}
			}
		}
	}
}

func TestProducts(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		t.Run("F32", func(t *testing.T) { testProduct[float32, float32, float32](t, F32, 0x1p-24) })
		t.Run("F64", func(t *testing.T) { testProduct[float64, float64, float64](t, F64, 0x1p-53) })
		t.Run("Mixed", func(t *testing.T) { testProduct[float32, float32, float64](t, Mixed, 0x1p-53) })
		t.Run("Wide", func(t *testing.T) { testProduct[float32, float64, float64](t, Wide, 0x1p-53) })
	})
}

// TestWidths multiplies rows and columns of A far enough apart to be fetched, with every number of columns up to three of the widest panels.
func TestWidths(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		t.Run("F32", func(t *testing.T) { testWidths(t, F32, 0x1p-24) })
		t.Run("F64", func(t *testing.T) { testWidths(t, F64, 0x1p-53) })
	})
}

func testWidths[C float](t *testing.T, f call[C, C, C], eps float64) {
	r := rand.New(rand.NewPCG(9, 10))
	const k = 290
	for _, m := range []int{13, 200} {
		for n := 1; n <= 200; n += 1 + n/35*3 {
			for mode := range 4 {
				ta, tb := mode&1 != 0, mode&2 != 0
				lda, ldb := k+7, n
				if ta {
					lda = m + 150
				}
				if tb {
					ldb = k
				}
				a, b, c := random[C](r, max(m, k)*lda), random[C](r, k*n), make([]C, m*n)
				f(ta, tb, m, n, k, 1, a, lda, b, ldb, 0, c, n)
				want, size := reference(ta, tb, m, n, k, 1, a, lda, b, ldb, 0, c, n)
				for i := range want {
					if d := math.Abs(float64(c[i]) - want[i]); !(d <= eps*(k+4)*size[i]) {
						t.Fatalf("%d × %d × %d, ta=%v tb=%v: element %d = %v, want %v", m, n, k, ta, tb, i, c[i], want[i])
					}
				}
			}
		}
	}
}

func TestGramIsProductWithOwnTranspose(t *testing.T) {
	forKernels(t, testGram)
}

func testGram(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range [][2]int{{1, 1}, {5, 9}, {130, 300}, {260, 7}, {25, 9000}} {
		m, k := s[0], s[1]
		for _, ta := range []bool{false, true} {
			rows, lda := m, k
			if ta {
				rows, lda = k, m
			}
			a := random[float32](r, rows*lda)
			c := make([]float64, m*m)
			Gram(ta, m, k, a, lda, c, m)
			want, size := reference(ta, !ta, m, m, k, 1, a, lda, a, lda, 0, c, m)
			for i := range want {
				if d := math.Abs(c[i] - want[i]); d > 0x1p-53*float64(k+4)*size[i] {
					t.Fatalf("%v ta=%v: element %d = %v, want %v", s, ta, i, c[i], want[i])
				}
			}
		}
	}
}

func TestBitsDependOnNothingElse(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		for _, s := range append(shapes, [3]int{700, 600, 70}, [3]int{96, 50, 9000}) {
			testBits(t, s[0], s[1], s[2])
		}
	})
}

// testBits runs products on one and on four processors, with operands at different offsets from alignment, and wants the same bits.
func testBits(t *testing.T, m, n, k int) {
	r := rand.New(rand.NewPCG(5, 6))
	a, b := random[float32](r, m*k), random[float32](r, k*n)
	b64 := random[float64](r, k*n)
	run := func(procs, offset int) []float64 {
		old := runtime.GOMAXPROCS(procs)
		defer runtime.GOMAXPROCS(old)
		a, b, b64 := shifted(a, offset), shifted(b, offset), shifted(b64, offset)
		c, c64, g := shifted(make([]float32, m*n), offset), shifted(make([]float64, m*n), offset), shifted(make([]float64, n*n), offset)
		var all []float64
		for _, f := range []func(){
			func() { F32(false, false, m, n, k, 1, a, max(k, 1), b, n, 0, c, n) },
			func() { F32(true, true, m, n, k, 1, a, m, b, max(k, 1), 0, c, n) },
			func() { F32Packed(false, m, 1, a, max(k, 1), PackB(false, n, k, b, n), 0, c, n) },
		} {
			f()
			for _, v := range c {
				all = append(all, float64(v))
			}
		}
		Wide(false, false, m, n, k, 1, a, max(k, 1), b64, n, 0, c64, n)
		Gram64(true, n, k, b64, n, g, n)
		return append(slices.Concat(all, c64, g), Dot64(a, a), Dot(b64, b64))
	}
	one := run(1, 0)
	for offset := range 4 {
		for i, v := range run(4, offset) {
			if math.Float64bits(v) != math.Float64bits(one[i]) {
				t.Fatalf("%d×%d×%d: result %d differs: %v on one core, %v on four at offset %d", m, n, k, i, one[i], v, offset)
			}
		}
	}
}

// shifted is a copy of x that starts offset elements into its memory.
func shifted[T any](x []T, offset int) []T {
	return append(make([]T, offset, offset+len(x)), x...)[offset:]
}

func TestShortSlicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a slice too short for its shape was accepted")
		}
	}()
	F32(false, false, 2, 2, 2, 1, make([]float32, 3), 2, make([]float32, 4), 2, 0, make([]float32, 4), 2)
}

func TestPacked(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		packed := func(ta, tb bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
			b = append([]float32(nil), b...)
			p := PackB(tb, n, k, b, ldb)
			clear(b) // a copy was taken
			if gotK, gotN := p.Dims(); gotK != k || gotN != n {
				t.Fatalf("Dims() = %d, %d, want %d, %d", gotK, gotN, k, n)
			}
			F32Packed(ta, m, alpha, a, lda, p, beta, c, ldc)
		}
		testProduct[float32, float32, float32](t, packed, 0x1p-24)
	})
}

// Products with a tall transposed matrix, which is read in place or copied by its width, agree with those in float64.
func TestTallTransposed(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(21, 22))
		const k, lda = 600, 1024
		a := random[float32](r, k*lda)
		for _, m := range []int{65, 71, 96, 201} {
			for _, n := range []int{48, 49, 57, 64, 65} {
				b := random[float32](r, k*n)
				wide := make([]float64, k*n)
				for i, v := range b {
					wide[i] = float64(v)
				}
				got, want := make([]float32, m*n), make([]float64, m*n)
				F32(true, false, m, n, k, 1, a, lda, b, n, 0, got, n)
				Wide(true, false, m, n, k, 1, a, lda, wide, n, 0, want, n)
				for i, v := range got {
					if d := math.Abs(float64(v) - want[i]); d > 1e-3 {
						t.Fatalf("%d×%d: element %d is %v, in float64 %v", m, n, i, v, want[i])
					}
				}
			}
		}
	})
}
