package gemm

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchShapes are those that decomposing and running recurrent layers is made of.
var benchShapes = []struct {
	name    string
	ta, tb  bool
	m, n, k int
}{
	{"512x512x512", false, false, 512, 512, 512},
	{"1024x1024x1024", false, false, 1024, 1024, 1024},
	{"57600x1024x50", false, false, 57600, 50, 1024},
	{"57600x1024x50-At", true, false, 57600, 50, 1024},
	{"1024x57600x50", false, false, 1024, 50, 57600},
	{"64x256x1024", false, false, 64, 1024, 256},
	{"64x256x1024-Bt", false, true, 64, 1024, 256},
	{"16x256x1024-Bt", false, true, 16, 1024, 256},
	{"4x256x1024-Bt", false, true, 4, 1024, 256},
	{"1x256x1024-Bt", false, true, 1, 1024, 256},
	{"1x1024x1024", false, false, 1, 1024, 1024},
}

func BenchmarkF32(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, s := range benchShapes {
		x, y, c := random[float32](r, s.m*s.k), random[float32](r, s.k*s.n), make([]float32, s.m*s.n)
		lda, ldb := s.k, s.n
		if s.ta {
			lda = s.m
		}
		if s.tb {
			ldb = s.k
		}
		for _, k := range kernels() {
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("shape=%s/kernel=%s/threads=%d", s.name, k.name, threads), func(b *testing.B) {
					useKernel(b, k)
					SetThreads(threads)
					defer SetThreads(0)
					for b.Loop() {
						F32(s.ta, s.tb, s.m, s.n, s.k, 1, x, lda, y, ldb, 0, c, s.n)
					}
					b.ReportMetric(2*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}
