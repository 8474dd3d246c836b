package decompose

import "slices"

// longAxis is the largest given mode that a search takes as it is. A larger one is an axis of the data, such as the 160 and the 120 of 160×120×3
// frames, and is split into modes of its own; the order of the axes stays, so that every mode has a meaning.
const longAxis = 32

// axisChoices lists what a search tries for given modes: the modes as given and, where some are longer than longAxis, these
// split into the fewest balanced factors of at most 32, 16 and 8, a prime above that staying whole.
func axisChoices(given []int) [][]int {
	choices := [][]int{given}
	for _, most := range []int{longAxis, 16, 8} {
		var modes []int
		for _, n := range given {
			if n <= longAxis {
				modes = append(modes, n)
			} else {
				modes = append(modes, splitAxis(n, most)...)
			}
		}
		if !slices.ContainsFunc(choices, func(c []int) bool { return slices.Equal(c, modes) }) {
			choices = append(choices, modes)
		}
	}
	return choices
}

// splitAxis is the split of n into the fewest balanced modes of which none is above most but for primes, largest first.
func splitAxis(n, most int) []int {
	limit := max(most, slices.Max(primeFactors(n)))
	for count := 1; ; count++ {
		modes := balanced(1, n, count)
		if slices.Max(modes) <= limit { // at the latest where all modes are primes
			slices.SortStableFunc(modes, func(a, b int) int { return b - a })
			return modes
		}
	}
}
