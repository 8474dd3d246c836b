package trals

import (
	"math"
	"runtime"
	"testing"
)

// A sweep holds what [Matrix.Decompose] says, counted by hand here, and not the subchain of any core: rows·cols/n_k·r_k·r_{k+1} numbers.
// Once its memory is there, further sweeps allocate next to nothing.
func TestMemoryOfSweeps(t *testing.T) {
	for _, c := range []struct {
		name     string
		in, out  []int
		rank, r0 int
	}{
		{"equal ranks", []int{8, 8, 8, 16}, []int{4, 4, 8, 4}, 8, 8},
		{"small modes", []int{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, []int{2, 2, 2, 2, 2, 2, 2, 2, 2}, 6, 3},
		{"wide ends", []int{16, 8, 64}, []int{16, 32}, 4, 12},
		{"train", []int{8, 8, 8, 16}, []int{4, 4, 8, 4}, 8, 1},
	} {
		d := len(c.in) + len(c.out)
		ranks := uniform(d, c.rank)
		ranks[0] = c.r0
		ranks = CapRanks(append(append([]int{}, c.in...), c.out...), ranks)
		w := ringMatrix(c.in, c.out, ranks, 0.01)
		m := &Matrix{rows: product(c.out), cols: product(c.in), w: w, energy: w.SquaredNorm()}
		s := newSplit(c.in, c.out, ranks)
		sweeps := newSweeper(m, s, randomStart(s, 1, 0))
		for range 2 {
			sweeps.sweep(t.Context(), math.NaN())
		}

		ab := ranks[0] * ranks[len(c.in)]
		states, bonds, largest := 0, 0, ab*ab
		side := func(modes, ranks []int) {
			first, last, before := ranks[0], ranks[len(modes)], 1
			if last*last > reversePays*first*first { // read from its end
				modes, ranks = reversed(modes), reversed(ranks)
				first, last = last, first
				states += product(modes) * ab
			}
			for k := 1; k < len(modes); k++ {
				before *= modes[k-1]
				states += 2 * first * before * ranks[k]
				bonds += 2 * ranks[k] * ranks[k] * last * last
			}
			for k := range modes {
				p, q := ranks[k], ranks[k+1]
				largest = max(largest, p*q*p*q, first*p*first*p, p*last*p*last)
			}
		}
		side(s.in, s.inRank)
		side(s.out, s.outRank)
		numbers := (2*m.cols+3*m.rows)*ab + states
		for k, n := range append(append([]int{}, c.in...), c.out...) {
			numbers += 3 * (ranks[k]*n*ranks[(k+1)%d] + lineElements) // what is as large as a core
		}
		if got := len(sweeps.fast.big.data) + len(sweeps.fast.left); got > numbers {
			t.Errorf("%s: %d numbers of sides, at most %d are documented", c.name, got, numbers)
		}
		if got, want := len(sweeps.fast.small.data), 8*largest+bonds; got > want {
			t.Errorf("%s: %d numbers of Grams, at most %d are documented", c.name, got, want)
		}
		if subchain := len(w.Data) / 16 * c.rank * c.rank; numbers > subchain/4 {
			t.Fatalf("%s: %d numbers are no proof against a subchain of %d", c.name, numbers, subchain)
		}

		least := uint64(math.MaxUint64) // garbage collection may take packing space away, which then is allocated again
		for range 5 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			sweeps.sweep(t.Context(), math.NaN())
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		if !racing && least > uint64(numbers)/2 {
			t.Errorf("%s: a sweep allocated %d bytes, its memory being %d numbers", c.name, least, numbers)
		}
		t.Logf("%s: sides %d of %d, Grams %d of %d numbers, %d bytes more", c.name, len(sweeps.fast.big.data)+len(sweeps.fast.left), numbers,
			len(sweeps.fast.small.data), 8*largest+bonds, least)
	}
}

func reversed(x []int) []int {
	y := make([]int, len(x))
	for i, v := range x {
		y[len(x)-1-i] = v
	}
	return y
}
