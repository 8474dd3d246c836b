package tensor

import (
	"math"
	"math/bits"
)

// searchSubsets finds the best binary tree over all tensors. The tensor of a subset has the labels that stand on exactly one member's
// side, so its size does not depend on how it was made; a contraction of A and B into C costs √(|A|·|B|·|C|) multiplications, since
// each label involved stands on exactly two of the three.
func searchSubsets(net Network, objective Objective) *tree {
	n := len(net.Tensors)
	size := make([]float64, 1<<n)
	for s := 1; s < 1<<n; s++ {
		size[s] = net.elements(net.outer(func(t int) bool { return s>>t&1 != 0 }))
	}
	cost, split := make([]Cost, 1<<n), make([]int, 1<<n)
	for s := 1; s < 1<<n; s++ {
		if s&(s-1) == 0 {
			continue
		}
		best, low := Cost{math.Inf(1), math.Inf(1)}, s&-s
		for a := (s - 1) & s; a > 0; a = (a - 1) & s {
			if a&low == 0 {
				continue
			}
			if c := join(cost[a], cost[s&^a], size[a], size[s&^a], size[s]); objective.less(c, best) {
				best, split[s] = c, a
			}
		}
		cost[s] = best
	}
	var build func(s int) *tree
	build = func(s int) *tree {
		if s&(s-1) == 0 {
			return &tree{tensor: bits.TrailingZeros(uint(s))}
		}
		return &tree{left: build(split[s]), right: build(s &^ split[s])}
	}
	return build(1<<n - 1)
}

// searchIntervals finds the best tree whose every part is a run of neighbours on the ring of tensors.
func searchIntervals(net Network, objective Objective) *tree {
	n := len(net.Tensors)
	at := func(start, length int) int { return (length-1)*n + start%n }
	size, cost, split := make([]float64, n*n), make([]Cost, n*n), make([]int, n*n)
	for length := 1; length <= n; length++ {
		for start := range n {
			i := at(start, length)
			size[i] = net.elements(net.outer(func(t int) bool { return (t-start+n)%n < length }))
			if length == 1 {
				continue
			}
			cost[i] = Cost{math.Inf(1), math.Inf(1)}
			for cut := 1; cut < length; cut++ {
				a, b := at(start, cut), at(start+cut, length-cut)
				if c := join(cost[a], cost[b], size[a], size[b], size[i]); objective.less(c, cost[i]) {
					cost[i], split[i] = c, cut
				}
			}
		}
	}
	first := 0
	for start := range n {
		if objective.less(cost[at(start, n)], cost[at(first, n)]) {
			first = start
		}
	}
	var build func(start, length int) *tree
	build = func(start, length int) *tree {
		if length == 1 {
			return &tree{tensor: start % n}
		}
		cut := split[at(start, length)]
		return &tree{left: build(start, cut), right: build(start+cut, length-cut)}
	}
	return build(first, n)
}

func join(a, b Cost, sizeA, sizeB, sizeC float64) Cost {
	return Cost{
		FLOPs:   a.FLOPs + b.FLOPs + 2*math.Sqrt(sizeA)*math.Sqrt(sizeB)*math.Sqrt(sizeC),
		Largest: max(a.Largest, b.Largest, sizeC),
	}
}

// outer lists the labels that stand on exactly one tensor of the chosen set: those its contraction leaves.
func (n Network) outer(chosen func(t int) bool) []int {
	count := make([]int, len(n.Dims))
	for t, labels := range n.Tensors {
		if chosen(t) {
			for _, l := range labels {
				count[l]++
			}
		}
	}
	var out []int
	for l, c := range count {
		if c == 1 {
			out = append(out, l)
		}
	}
	return out
}
