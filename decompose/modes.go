package decompose

import (
	"math"
	"slices"
)

// inputModes splits n columns into count modes. Sizes from n to 5 % above it are tried, each split into modes as equal as its prime
// factors allow; the split with the smallest log(Σ modes) + 3·padding wins, ties going to less padding. One mode is never padded.
// It returns nil if no size splits into so many modes of 2 or more.
func inputModes(n, count int) []int {
	if count == 1 {
		return []int{n}
	}
	var best []int
	score := math.Inf(1)
	for size := n; size <= min(padLimit(n), n+4096); size++ {
		modes := balanced(1, size, count)
		if modes == nil {
			continue
		}
		sum := 0
		for _, m := range modes {
			sum += m
		}
		if s := math.Log(float64(sum)) + 3*float64(size-n)/float64(n); s < score {
			best, score = modes, s
		}
	}
	if best != nil {
		slices.SortStableFunc(best, func(a, b int) int { return b - a })
	}
	return best
}

// outputModes splits rows = groups·hidden (groups: directions × gates) into count modes in C order. The groups stay whole in the
// first mode; hidden's factors are spread so that the modes are as equal as can be.
func outputModes(groups, hidden, count int) []int {
	if count == 1 {
		return []int{groups * hidden}
	}
	return balanced(groups, hidden, count)
}

// balanced spreads the prime factors of n, largest first, over count modes, each to the smallest so far, and then evens out pairs of modes
// until their sum falls no more; the first mode is a multiple of first. It returns nil if a mode would be 1.
func balanced(first, n, count int) []int {
	modes := make([]int, count)
	for k := range modes {
		modes[k] = 1
	}
	modes[0] = first
	primes := primeFactors(n)
	for i := len(primes) - 1; i >= 0; i-- {
		smallest := 0
		for k, m := range modes {
			if m < modes[smallest] {
				smallest = k
			}
		}
		modes[smallest] *= primes[i]
	}
	if slices.Min(modes) < 2 {
		return nil
	}
	for changed := true; changed; {
		changed = false
		for a := range modes {
			for b := a + 1; b < count; b++ {
				fixed := 1 // a's part that stays
				if a == 0 {
					fixed = first
				}
				free := modes[a] / fixed * modes[b]
				for _, d := range divisors(free) {
					if fixed*d > 1 && free/d > 1 && fixed*d+free/d < modes[a]+modes[b] {
						modes[a], modes[b], changed = fixed*d, free/d, true
					}
				}
			}
		}
	}
	return modes
}

// divisors lists the divisors of n, ascending.
func divisors(n int) []int {
	var small, large []int
	for d := 1; d*d <= n; d++ {
		if n%d == 0 {
			small = append(small, d)
			if d*d < n {
				large = append(large, n/d)
			}
		}
	}
	slices.Reverse(large)
	return append(small, large...)
}

// primeFactors lists the prime factors of n, ascending.
func primeFactors(n int) []int {
	var fs []int
	for p := 2; p*p <= n; p++ {
		for n%p == 0 {
			fs = append(fs, p)
			n /= p
		}
	}
	if n > 1 {
		fs = append(fs, n)
	}
	return fs
}

// shape is the modes of both sides.
type shape struct{ in, out []int }

func (s shape) modes() []int { return append(slices.Clone(s.in), s.out...) }

// combined lists every pair of a choice for each side.
func combined(in, out [][]int) []shape {
	var all []shape
	for _, i := range in {
		for _, o := range out {
			all = append(all, shape{i, o})
		}
	}
	return all
}

// splitIn is [inputModes] of the matrix.
func (m Matrix) splitIn(count int) []int { return inputModes(m.In, count) }

// splitOut is [outputModes] of the matrix.
func (m Matrix) splitOut(count int) []int {
	return outputModes(m.Directions*m.Gates, m.Hidden, count)
}

// defaultCount is the number of modes of a side whose modes are near 8.
func defaultCount(n int) int { return max(1, int(math.Round(math.Log(float64(n))/math.Log(8)))) }

// off is how far the numbers of modes are from the default.
func (s shape) off(m Matrix) int {
	return abs(len(s.in)-defaultCount(m.In)) + abs(len(s.out)-defaultCount(m.Out()))
}

func abs(x int) int { return max(x, -x) }

// defaultShape is the shape for given ranks: modes near 8 where the sides split so, in all exactly count of them if count > 0. ok is
// false if no split has that many.
func defaultShape(m Matrix, o Options, count int) (s shape, ok bool) {
	best := math.MaxInt
	for _, c := range combined(sideChoices(o.InModes, 24, m.splitIn), sideChoices(o.OutModes, 24, m.splitOut)) {
		if count > 0 && len(c.in)+len(c.out) != count {
			continue
		}
		if off := c.off(m); off < best {
			best, s, ok = off, c, true
		}
	}
	return s, ok
}

// searchShapes lists the shapes that a search over ranks tries: every number of modes up to one more than the default on each side,
// except a single mode on both for a ring: whatever its ranks, that is a truncated SVD.
func searchShapes(m Matrix, o Options) []shape {
	shapes := combined(searchChoices(o.InModes, defaultCount(m.In)+1, m.splitIn), searchChoices(o.OutModes, defaultCount(m.Out())+1, m.splitOut))
	shapes = slices.DeleteFunc(shapes, func(s shape) bool { return len(s.in)+len(s.out) <= 2 && o.Format == "tr" })
	if len(shapes) == 0 {
		in, out := o.InModes, o.OutModes
		if in == nil {
			in = []int{m.In}
		}
		if out == nil {
			out = []int{m.Out()}
		}
		shapes = []shape{{in, out}}
	}
	return shapes
}

// searchChoices is sideChoices with long given modes split, too.
func searchChoices(given []int, most int, split func(count int) []int) [][]int {
	if given != nil {
		return axisChoices(given)
	}
	return sideChoices(nil, most, split)
}

// sideChoices is the user's choice, or one choice for each number of modes up to most that splits.
func sideChoices(given []int, most int, split func(count int) []int) [][]int {
	if given != nil {
		return [][]int{given}
	}
	var choices [][]int
	for c := 1; c <= most; c++ {
		if modes := split(c); modes != nil {
			choices = append(choices, modes)
		}
	}
	return choices
}
