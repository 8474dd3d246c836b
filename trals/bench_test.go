package trals

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/tensor"
)

// sizes are the shapes of a sweep's benchmark: the video model of Pan et al. 2019 (57600 inputs, four gates of 256 units) and smaller ones.
var sizes = []struct {
	in, out []int
	rank    int
	r0      int
}{
	{[]int{8, 8, 8}, []int{4, 4, 8, 8}, 8, 8},
	{[]int{8, 8, 8, 8}, []int{4, 4, 8, 8}, 8, 8},
	{[]int{8, 8, 8, 8}, []int{4, 4, 8, 8}, 16, 16},
	{[]int{4, 2, 5, 8, 6, 5, 3, 2}, []int{4, 4, 2, 4, 8}, 5, 5},
	{[]int{4, 2, 5, 8, 6, 5, 3, 2}, []int{4, 4, 2, 4, 8}, 5, 10},
}

// ringMatrix is the matrix of a random ring plus relative noise.
func ringMatrix(in, out []int, ranks []int, noise float64) *tensor.Dense {
	cores := randomCores(3, append(slices.Clone(in), out...), ranks)
	f := factor(product(out), product(in), in, out, cores)
	w := f.Reconstruct()
	r := rand.New(rand.NewPCG(4, 4))
	scale := noise * w.Norm() / float64(len(w.Data))
	scale *= float64(len(w.Data)) / sqrtInt(len(w.Data))
	for i := range w.Data {
		w.Data[i] += float32(scale * r.NormFloat64())
	}
	return w
}

func BenchmarkSweep(b *testing.B) {
	for _, s := range sizes {
		shape := strings.Trim(strings.ReplaceAll(fmt.Sprint(product(s.in), product(s.out)), " ", "x"), "[]")
		b.Run(fmt.Sprintf("shape=%s/modes=%d/rank=%d/r0=%d", shape, len(s.in)+len(s.out), s.rank, s.r0), func(b *testing.B) {
			ranks := uniform(len(s.in)+len(s.out), s.rank)
			ranks[0] = s.r0
			w := ringMatrix(s.in, s.out, ranks, 0.01)
			m := &Matrix{rows: product(s.out), cols: product(s.in), w: w, energy: w.SquaredNorm()}
			sp := newSplit(s.in, s.out, ranks)
			r := randomStart(sp, 1, 0)
			sw := newSweeper(m, sp, r)
			sw.sweep(1)
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				sw.sweep(1)
			}
			b.ReportMetric(float64((cpuTime()-start).Microseconds())/1e3/float64(b.N), "cpu-ms/op")
		})
	}
}

// BenchmarkDecompose is the whole fit with its analysis, start and certificate.
func BenchmarkDecompose(b *testing.B) {
	for _, s := range sizes {
		shape := fmt.Sprintf("%dx%d", product(s.out), product(s.in))
		b.Run(fmt.Sprintf("shape=%s/modes=%d/rank=%d/r0=%d", shape, len(s.in)+len(s.out), s.rank, s.r0), func(b *testing.B) {
			ranks := uniform(len(s.in)+len(s.out), s.rank)
			ranks[0] = s.r0
			w := ringMatrix(s.in, s.out, ranks, 0.01)
			for b.Loop() {
				m, err := NewMatrix(context.Background(), w, s.r0*s.rank)
				if err != nil {
					b.Fatal(err)
				}
				var errs []float64
				res, err := m.Decompose(context.Background(), s.in, s.out, Options{Ranks: ranks, OnSweep: func(s Sweep) { errs = append(errs, s.RelativeError) }})
				if err != nil {
					b.Fatal(err)
				}
				b.Logf("error %.5f, bound %.5f, %v after %d sweeps: %.4f", res.RelativeError, res.LowerBound, res.Status, res.Sweeps, errs)
				b.ReportMetric(res.RelativeError, "error")
			}
		})
	}
}

func sqrtInt(n int) float64 { return math.Sqrt(float64(n)) }
