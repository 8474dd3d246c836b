//go:build unix

package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guarded returns n elements that end (or, with front set, start) right at a page that may not be touched: an access outside them on that
// side is a fault.
func guarded[T float](t *testing.T, n int, front bool) []T {
	t.Helper()
	page := unix.Getpagesize()
	size := n * int(unsafe.Sizeof(T(0)))
	span := ceil(size+1, page) * page
	m, err := unix.Mmap(-1, 0, span+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(m) })
	for _, edge := range [][]byte{m[:page], m[page+span:]} {
		if err := unix.Mprotect(edge, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		return nil
	}
	at := page + span - size
	if front {
		at = page
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&m[at])), n)
}

// testEdges runs small products of every shape with operands that end and start at forbidden pages.
func testEdges[A, B, C float](t *testing.T, f call[A, B, C], eps float64, front bool) {
	r := rand.New(rand.NewPCG(11, 12))
	const most = 70 * 70
	as, bs, cs := guarded[A](t, most, front), guarded[B](t, most, front), guarded[C](t, most, front)
	cut := func(n int) (int, int) {
		if front {
			return 0, n
		}
		return most - n, most
	}
	ms := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 23, 24, 25, 26}
	ns := []int{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 47, 48, 50, 63, 64, 65}
	ks := []int{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33}
	for _, m := range ms {
		for _, n := range ns {
			for _, k := range ks {
				mode := r.IntN(16)
				ta, tb := mode&1 != 0, mode&2 != 0
				alpha, beta := C(1), C(0)
				if mode&4 != 0 {
					alpha, beta = 1.5, C(mode>>3)-0.5
				}
				ar, ac, br, bc := m, k, k, n
				if ta {
					ar, ac = k, m
				}
				if tb {
					br, bc = n, k
				}
				lda, ldb, ldc := ac+r.IntN(3), bc+r.IntN(3), n+r.IntN(3)
				na, nb, nc := (ar-1)*lda+ac, (br-1)*ldb+bc, (m-1)*ldc+n // the last row ends where the memory does
				a0, a1 := cut(na)
				b0, b1 := cut(nb)
				c0, c1 := cut(nc)
				a, b, c := as[a0:a1], bs[b0:b1], cs[c0:c1]
				for i := range a {
					a[i] = A(r.NormFloat64())
				}
				for i := range b {
					b[i] = B(r.NormFloat64())
				}
				for i := range c {
					c[i] = C(r.NormFloat64())
				}
				want, size := reference(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
				if beta == 0 {
					for i := range m {
						for j := range n {
							c[i*ldc+j] = C(math.NaN())
						}
					}
				}
				before := append([]C(nil), c...)
				f(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
				for at, got := range c {
					i, j := at/ldc, at%ldc
					if j >= n {
						if got != before[at] {
							t.Fatalf("%d×%d×%d: wrote between rows at %d, %d", m, n, k, i, j)
						}
						continue
					}
					if d := math.Abs(float64(got) - want[i*n+j]); !(d <= eps*float64(k+4)*size[i*n+j]) {
						t.Fatalf("m=%d n=%d k=%d ta=%v tb=%v: C[%d,%d] = %v, want %v", m, n, k, ta, tb, i, j, got, want[i*n+j])
					}
				}
			}
		}
	}
}

func TestEdges(t *testing.T) {
	packed := func(ta, tb bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
		F32Packed(ta, m, alpha, a, lda, PackB(tb, n, k, b, ldb), beta, c, ldc)
	}
	forKernels(t, func(t *testing.T) {
		for _, front := range []bool{false, true} {
			t.Run(fmt.Sprintf("front=%v", front), func(t *testing.T) {
				t.Run("F32", func(t *testing.T) { testEdges[float32, float32, float32](t, F32, 0x1p-24, front) })
				t.Run("F64", func(t *testing.T) { testEdges[float64, float64, float64](t, F64, 0x1p-53, front) })
				t.Run("Mixed", func(t *testing.T) { testEdges[float32, float32, float64](t, Mixed, 0x1p-53, front) })
				t.Run("Wide", func(t *testing.T) { testEdges[float32, float64, float64](t, Wide, 0x1p-53, front) })
				t.Run("Packed", func(t *testing.T) { testEdges[float32, float32, float32](t, packed, 0x1p-24, front) })
			})
		}
	})
}

// TestEveryKernel calls each kernel of each tier alone, on blocks that end at forbidden pages, whatever shapes the public functions choose it
// for.
func TestEveryKernel(t *testing.T) {
	t.Run("float32", func(t *testing.T) {
		forKernels(t, func(t *testing.T) { everyKernel(t, tierOf[float32](), 0x1p-24) })
	})
	t.Run("float64", func(t *testing.T) {
		forKernels(t, func(t *testing.T) { everyKernel(t, tierOf[float64](), 0x1p-53) })
	})
}

func everyKernel[C float](t *testing.T, tr *tier[C], eps float64) {
	if tr == nil {
		t.Skip("portable Go has no kernels in assembly")
	}
	r := rand.New(rand.NewPCG(13, 14))
	fill := func(n int) []C {
		x := guarded[C](t, n, false)
		for i := range x {
			x[i] = C(r.NormFloat64())
		}
		return x
	}
	check := func(what string, m, n, k int, alpha C, a []C, rs, ks int, b []C, bs, bc int, add int, run func(c []C, ldc int)) {
		t.Helper()
		ldc := n + 1
		c := fill((m-1)*ldc + n)
		before := append([]C(nil), c...)
		run(c, ldc)
		for at, got := range c {
			i, j := at/ldc, at%ldc
			if j >= n {
				if got != before[at] {
					t.Fatalf("%s: wrote between rows", what)
				}
				continue
			}
			want, size := 0.0, 0.0
			for x := range k {
				p := float64(a[i*rs+x*ks]) * float64(b[x*bs+j*bc])
				want += p
				size += math.Abs(p)
			}
			want, size = want*float64(alpha), size*math.Abs(float64(alpha))
			if add != 0 {
				want += float64(before[at])
				size += math.Abs(float64(before[at]))
			}
			if d := math.Abs(float64(got) - want); !(d <= eps*float64(k+4)*size) {
				t.Fatalf("%s k=%d add=%d: C[%d,%d] = %v, want %v", what, k, add, i, j, got, want)
			}
		}
	}
	for _, k := range []int{1, 2, 3, 5, 8, 9, 16, 17, 35} {
		for add := range 2 {
			for v, blocks := range append(slices.Clone(tr.blocks), tr.ahead, tr.below) {
				v = min(v, len(tr.blocks)-1)
				for _, bl := range blocks {
					for _, tail := range []int{1, tr.lanes - 1, tr.lanes} {
						n := v*tr.lanes + tail
						for _, byRows := range []bool{true, false} {
							rs, ks := k, 1
							if byRows {
								rs, ks = 1, bl.rows
							}
							a, b := fill(bl.rows*k), fill(k*n)
							check(fmt.Sprintf("block of %d×%d", bl.rows, n), bl.rows, n, k, 1.25, a, rs, ks, b, n, 1, add, func(c []C, ldc int) {
								bl.run(k, &a[0], rs, ks, &b[0], n, &c[0], ldc, 1.25, tail, add)
							})
						}
					}
				}
			}
			for _, d := range tr.dots {
				a, b := fill(d.rows*k), fill(4*k)
				check(fmt.Sprintf("inner products %d×4", d.rows), d.rows, 4, k, -0.75, a, k, 1, b, 1, k, add, func(c []C, ldc int) {
					d.four(k, &a[0], k, &b[0], k, &c[0], ldc, -0.75, add)
				})
				check(fmt.Sprintf("inner products %d×1", d.rows), d.rows, 1, k, -0.75, a, k, 1, b[3*k:], 1, k, add, func(c []C, ldc int) {
					d.one(k, &a[0], k, &b[3*k], k, &c[0], ldc, -0.75, add)
				})
			}
			for rows, run := range map[int]axpy[C]{8: tr.axpy8, 1: tr.axpy1} {
				n := k + 1
				x, b := fill(rows), fill(rows*n)
				check(fmt.Sprintf("sum of %d rows", rows), 1, n, rows, 2, x, 0, 1, b, n, 1, add, func(c []C, _ int) {
					run(n, &x[0], 1, &b[0], n, &c[0], 2, add)
				})
			}
		}
	}
}

func TestTransposeAndWiden(t *testing.T) {
	t.Run("float32", func(t *testing.T) {
		forKernels(t, func(t *testing.T) { testPack[float32, float32](t, tierOf[float32]()) })
	})
	t.Run("float64", func(t *testing.T) {
		forKernels(t, func(t *testing.T) { testPack[float64, float64](t, tierOf[float64]()) })
	})
	t.Run("widened", func(t *testing.T) {
		forKernels(t, func(t *testing.T) { testPack[float32, float64](t, tierOf[float64]()) })
	})
}

func testPack[F, C float](t *testing.T, tr *tier[C]) {
	if tr == nil {
		t.Skip("portable Go packs by itself")
	}
	for rows := 1; rows < 20; rows++ {
		for cols := 1; cols < 20; cols++ {
			for _, byRows := range []bool{true, false} {
				src := guarded[F](t, rows*cols, false)
				for i := range src {
					src[i] = F(i) + 0.5
				}
				v := view[F]{src, 1, rows}
				if byRows {
					v = view[F]{src, cols, 1}
				}
				dst := guarded[C](t, rows*cols, false)
				pack(tr, dst, cols, v, 0, rows, 0, cols)
				for i := range rows {
					for j := range cols {
						if got, want := dst[i*cols+j], C(src[i*v.row+j*v.col]); got != want {
							t.Fatalf("%d×%d, by rows %v: element (%d, %d) = %v, want %v", rows, cols, byRows, i, j, got, want)
						}
					}
				}
			}
		}
	}
}

func TestInner(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 16))
		for _, n := range []int{0, 1, 3, 31, 32, 33, 100, 1000, innerBlock + 1, 3*innerBlock + 77} {
			a, b := guarded[float32](t, n, false), guarded[float32](t, n, false)
			a64, b64 := guarded[float64](t, n, false), guarded[float64](t, n, false)
			want, size, square := 0.0, 0.0, 0.0
			for i := range a {
				a[i], b[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
				a64[i], b64[i] = float64(a[i]), float64(b[i])
				p := a64[i] * b64[i]
				want, size, square = want+p, size+math.Abs(p), square+a64[i]*a64[i]
			}
			tol := 0x1p-53 * float64(n)
			if got := Dot64(a, b); !(math.Abs(got-want) <= tol*size) {
				t.Errorf("Dot64 of %d elements: %v, want %v", n, got, want)
			}
			if got := Dot(a64, b64); !(math.Abs(got-want) <= tol*size) {
				t.Errorf("Dot of %d elements: %v, want %v", n, got, want)
			}
			if got := SumSquares64(a); !(math.Abs(got-square) <= tol*square) {
				t.Errorf("SumSquares64 of %d elements: %v, want %v", n, got, square)
			}
		}
	})
}

func TestCopyRowsAndTranspose(t *testing.T) {
	t.Run("float32", func(t *testing.T) { forKernels(t, testMove[float32]) })
	t.Run("float64", func(t *testing.T) { forKernels(t, testMove[float64]) })
}

// testMove compares copies and transposes, with gaps between their rows that must stay as they are, with their definitions.
func testMove[T float](t *testing.T) {
	const gap = 3
	for _, rows := range []int{1, 2, 3, 4, 7, 8, 9, 16, 21} {
		for cols := 1; cols < 40; cols++ {
			src := guarded[T](t, (rows-1)*(cols+gap)+cols, rows%2 == 0)
			for i := range src {
				src[i] = T(i) + 0.5
			}
			for _, transposed := range []bool{false, true} {
				down, across := rows, cols
				if transposed {
					down, across = cols, rows
				}
				ld := across + gap
				dst := guarded[T](t, (down-1)*ld+across, cols%2 == 0)
				if transposed {
					Transpose(rows, cols, src, cols+gap, dst, ld)
				} else {
					CopyRows(rows, cols, src, cols+gap, dst, ld)
				}
				for at, got := range dst {
					want := T(0)
					if i, j := at/ld, at%ld; j < across {
						if transposed {
							i, j = j, i
						}
						want = src[i*(cols+gap)+j]
					}
					if got != want {
						t.Fatalf("%d×%d, transposed %v: element %d is %v, want %v", rows, cols, transposed, at, got, want)
					}
				}
			}
		}
	}
}

// Blocks and their rows go where the distances say, what lies between stays as it is.
func TestCopyBlocks(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		for _, s := range []struct{ n, rows, cols, sb, ss, db, ds int }{{1, 1, 1, 0, 1, 0, 1}, {3, 4, 8, 32, 8, 8, 24}, {3, 4, 5, 5, 15, 20, 5}, {2, 1, 7, 9, 0, 11, 0}} {
			src := guarded[float64](t, (s.n-1)*s.sb+(s.rows-1)*s.ss+s.cols, false)
			for i := range src {
				src[i] = float64(i) + 0.5
			}
			dst := guarded[float64](t, (s.n-1)*s.db+(s.rows-1)*s.ds+s.cols, false)
			want := make([]float64, len(dst))
			for b := range s.n {
				for r := range s.rows {
					for j := range s.cols {
						want[b*s.db+r*s.ds+j] = src[b*s.sb+r*s.ss+j]
					}
				}
			}
			CopyBlocks(s.n, s.rows, s.cols, src, s.sb, s.ss, dst, s.db, s.ds)
			if !slices.Equal(dst, want) {
				t.Errorf("%+v: %v, want %v", s, dst, want)
			}
		}
	})
}

func TestWiden(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		for n := range 40 {
			x, y := guarded[float32](t, n, false), guarded[float64](t, n, false)
			for i := range x {
				x[i] = float32(i) + 0.1
			}
			Widen(y, x)
			for i, v := range x {
				if y[i] != float64(v) {
					t.Fatalf("n=%d: element %d is %v, want %v", n, i, y[i], float64(v))
				}
			}
		}
	})
}
