package gemm

import (
	"fmt"
	"testing"
)

// benchShapes are those that decomposing and running recurrent layers is made of; bench/gemm.py measures OpenBLAS on the same.
var benchShapes = []struct {
	name    string
	ta, tb  bool
	m, k, n int
	packed  bool
}{
	{"512x512x512", false, false, 512, 512, 512, false},
	{"1024x1024x1024", false, false, 1024, 1024, 1024, false},
	{"57600x1024x50", false, false, 57600, 1024, 50, false},
	{"57600x1024x50-At", true, false, 57600, 1024, 50, false},
	{"1024x57600x50", false, false, 1024, 57600, 50, false},
	{"57600x1024x25", false, false, 57600, 1024, 25, false},
	{"64x256x1024", false, false, 64, 256, 1024, false},
	{"64x256x1024-Bt", false, true, 64, 256, 1024, false},
	{"64x256x1024-packed", false, true, 64, 256, 1024, true},
	{"16x256x1024-packed", false, true, 16, 256, 1024, true},
	{"4x256x1024-packed", false, true, 4, 256, 1024, true},
	{"2x256x1024-packed", false, true, 2, 256, 1024, true},
	{"1x256x1024-packed", false, true, 1, 256, 1024, true},
	{"16x256x1024-Bt", false, true, 16, 256, 1024, false},
	{"4x256x1024-Bt", false, true, 4, 256, 1024, false},
	{"1x256x1024-Bt", false, true, 1, 256, 1024, false},
	{"1x1024x1024", false, false, 1, 1024, 1024, false},
}

func BenchmarkF32(b *testing.B) {
	for _, s := range benchShapes {
		b.Run("shape="+s.name, func(b *testing.B) {
			x, y, c := benchData(s.m*s.k), benchData(s.k*s.n), make([]float32, s.m*s.n)
			lda, ldb := s.k, s.n
			if s.ta {
				lda = s.m
			}
			if s.tb {
				ldb = s.k
			}
			for _, k := range kernels() {
				for _, threads := range []int{1, 2} {
					b.Run(fmt.Sprintf("kernel=%s/threads=%d", k.name, threads), func(b *testing.B) {
						useKernel(b, k)
						SetThreads(threads)
						defer SetThreads(0)
						run := func() { F32(s.ta, s.tb, s.m, s.n, s.k, 1, x, lda, y, ldb, 0, c, s.n) }
						if s.packed {
							p := PackB(s.tb, s.n, s.k, y, ldb)
							run = func() { F32Packed(s.ta, s.m, 1, x, lda, p, 0, c, s.n) }
						}
						run()
						reportRate(b, 2*float64(s.m)*float64(s.n)*float64(s.k), threads, run)
					})
				}
			}
		})
	}
}

// BenchmarkF64 has the products in float64 that fitting is made of.
func BenchmarkF64(b *testing.B) {
	const m, k, n = 57600, 1024, 25
	w, r, y := benchData(m*k), make([]float64, k*n), make([]float64, m*n)
	square, out := make([]float64, k*k), make([]float64, k*k)
	for i := range r {
		r[i] = float64(w[i])
	}
	for i := range square {
		square[i] = float64(w[i])
	}
	for _, f := range []struct {
		name  string
		flops float64
		run   func()
	}{
		{"F64/shape=512x512x512", 2 * 512 * 512 * 512, func() { F64(false, false, 512, 512, 512, 1, square, 512, square, 512, 0, out, 512) }},
		{"Wide/shape=57600x1024x25", 2 * m * k * n, func() { Wide(false, false, m, n, k, 1, w, k, r, n, 0, y, n) }},
		{"Wide/shape=57600x1024x25-At", 2 * m * k * n, func() { Wide(true, false, m, n, k, 1, w, m, r, n, 0, y, n) }},
		{"Gram/shape=1024x57600", m * k * (k + 1), func() { Gram(true, k, m, w, k, out, k) }},
		{"SumSquares64/shape=58982400", 2 * m * k, func() { SumSquares64(w) }},
	} {
		for _, k := range kernels() {
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/kernel=%s/threads=%d", f.name, k.name, threads), func(b *testing.B) {
					useKernel(b, k)
					SetThreads(threads)
					defer SetThreads(0)
					reportRate(b, f.flops, threads, f.run)
				})
			}
		}
	}
}

// reportRate runs the benchmark and reports its rate, and what it would be on processors that do nothing else.
func reportRate(b *testing.B, flops float64, threads int, run func()) {
	start := cpuTime()
	for b.Loop() {
		run()
	}
	used := cpuTime() - start
	flops *= float64(b.N) / 1e9
	b.ReportMetric(flops/b.Elapsed().Seconds(), "GFLOP/s")
	if used > 0 {
		b.ReportMetric(flops*float64(threads)/used.Seconds(), "GFLOP/cpu-s")
	}
}

// benchData is quick to make and free of denormals.
func benchData(n int) []float32 {
	x := make([]float32, n)
	s := uint32(1)
	for i := range x {
		s = s*1664525 + 1013904223
		x[i] = float32(int32(s)) / (1 << 31)
	}
	return x
}
