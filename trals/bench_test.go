package trals

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/pages"
	"github.com/trconvert/trconvert/tensor"
)

// benchCases are the shapes of a sweep's benchmark: the video model of Pan et al. 2019 (57600 inputs, four gates of 256 units) and smaller ones.
var benchCases = []struct {
	name     string
	in, out  []int
	rank, r0 int
}{
	{"small", []int{8, 8, 8}, []int{4, 4, 8, 8}, 8, 8},
	{"mid8", []int{8, 8, 8, 8}, []int{4, 4, 8, 8}, 8, 8},
	{"mid16", []int{8, 8, 8, 8}, []int{4, 4, 8, 8}, 16, 16},
	{"paper", []int{4, 2, 5, 8, 6, 5, 3, 2}, []int{4, 4, 2, 4, 8}, 5, 5},
	{"paper10", []int{4, 2, 5, 8, 6, 5, 3, 2}, []int{4, 4, 2, 4, 8}, 5, 10},
}

// ringMatrix is the matrix of a random ring plus relative noise.
func ringMatrix(in, out []int, ranks []int, noise float64) *tensor.Dense {
	cores := randomCores(3, append(slices.Clone(in), out...), ranks)
	w := factor(product(out), product(in), in, out, cores).Reconstruct()
	r := rand.New(rand.NewPCG(4, 4))
	scale := noise * w.Norm() / math.Sqrt(float64(len(w.Data)))
	for i := range w.Data {
		w.Data[i] += float32(scale * r.NormFloat64())
	}
	return w
}

// BenchmarkSweep is one sweep. With TRCONVERT_RING_DATA, a folder, matrix and start are read from there (bench/ring.py writes them), float32 in
// the order of bytes of the machine: CASE.w is W, CASE.start all cores of the start in order. The errors after the first five sweeps are reported,
// and of the sweeps after them the medians, which one that was interrupted does not move.
func BenchmarkSweep(b *testing.B) {
	for _, c := range benchCases {
		b.Run("case="+c.name, func(b *testing.B) {
			ranks := uniform(len(c.in)+len(c.out), c.rank)
			ranks[0] = c.r0
			s := newSplit(c.in, c.out, ranks)
			r := randomStart(s, 1, 0)
			var w *tensor.Dense
			if dir := os.Getenv("TRCONVERT_RING_DATA"); dir != "" {
				w = &tensor.Dense{Dims: []int{product(c.out), product(c.in)}, Data: readFloats(b, filepath.Join(dir, c.name+".w"))}
				values := readFloats(b, filepath.Join(dir, c.name+".start"))
				for _, g := range append(slices.Clone(r.in), r.out...) {
					gemm.Widen(g.v, values[:len(g.v)])
					values = values[len(g.v):]
				}
			} else {
				w = ringMatrix(c.in, c.out, ranks, 0.01)
			}
			m := &Matrix{rows: product(c.out), cols: product(c.in), w: w, energy: w.SquaredNorm()}
			sweeps := newSweeper(m, s, r)
			errs := make([]float64, 5)
			for i := range errs {
				errs[i] = sweeps.sweep(b.Context(), math.NaN())
			}
			b.ReportAllocs()
			var wall, cpu []time.Duration
			for b.Loop() {
				at, spent := time.Now(), cpuTime()
				sweeps.sweep(b.Context(), math.NaN())
				wall, cpu = append(wall, time.Since(at)), append(cpu, cpuTime()-spent)
			}
			b.ReportMetric(float64(median(wall).Nanoseconds()), "median-ns")
			b.ReportMetric(float64(median(cpu).Nanoseconds()), "median-cpu-ns")
			for i, e := range errs {
				b.ReportMetric(e, fmt.Sprintf("error%d", i+1))
			}
		})
	}
}

func median(x []time.Duration) time.Duration {
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

func readFloats(b *testing.B, path string) []float32 {
	raw, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	x := make([]float32, len(raw)/4)
	pages.Large(x) // as package onnx does
	for i := range x {
		x[i] = math.Float32frombits(binary.NativeEndian.Uint32(raw[4*i:]))
	}
	return x
}

// BenchmarkDecompose is the whole fit with its analysis, start and certificate.
func BenchmarkDecompose(b *testing.B) {
	for _, c := range benchCases {
		b.Run("case="+c.name, func(b *testing.B) {
			ranks := uniform(len(c.in)+len(c.out), c.rank)
			ranks[0] = c.r0
			w := ringMatrix(c.in, c.out, ranks, 0.01)
			var res *Result
			for b.Loop() {
				m, err := NewMatrix(context.Background(), w, c.r0*c.rank)
				if err != nil {
					b.Fatal(err)
				}
				if res, err = m.Decompose(context.Background(), c.in, c.out, Options{Ranks: ranks}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(res.RelativeError, "error")
			b.ReportMetric(float64(res.Sweeps), "sweeps")
		})
	}
}
