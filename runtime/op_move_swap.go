package runtime

// swap is a transposition that exchanges a long and a short axis and leaves runs of few neighbours together: [short, long, run] to [long, short, run], or back. It is how the cores of
// a ring, once merged, become a matrix.
type swap struct {
	long, short, run int
	from, to         [2]int // the distances along the long and the short axis
}

// swapRun is the number of elements that are copied at once; runs are shorter.
const swapRun = 8

// newSwap recognises the permutation perm of an array; other transpositions are not ok.
func newSwap(dims, perm []int) (s swap, ok bool) {
	if len(dims) != 3 || perm[0] != 1 || perm[1] != 0 || perm[2] != 2 {
		return s, false
	}
	a, b, run := dims[0], dims[1], dims[2]
	s = swap{long: b, short: a, run: run, from: [2]int{run, b * run}, to: [2]int{a * run, run}}
	if a > b {
		s = swap{long: a, short: b, run: run, from: [2]int{b * run, run}, to: [2]int{run, a * run}}
	}
	return s, run <= swapRun
}

// part moves indices first to last of the long axis. Runs are written with what stands behind them, which the next run along either axis then covers; the last few are not.
func (s *swap) part(dst, src []float32, first, last int) {
	i := first
	for ; i < last-swapRun; i++ {
		to, from := i*s.to[0], i*s.from[0]
		for range s.short {
			d, x := dst[to:to+swapRun], src[from:from+swapRun]
			*(*[4]float32)(d), *(*[4]float32)(d[4:]) = [4]float32(x), [4]float32(x[4:])
			to += s.to[1]
			from += s.from[1]
		}
	}
	for ; i < last; i++ {
		to, from := i*s.to[0], i*s.from[0]
		for range s.short {
			copy(dst[to:to+s.run], src[from:from+s.run])
			to += s.to[1]
			from += s.from[1]
		}
	}
}
