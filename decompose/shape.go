package decompose

import (
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// Shape is a factor without its numbers: a matrix [Out, In] in a format with modes and ranks.
type Shape struct {
	Format                   string
	Out, In                  int
	InModes, OutModes, Ranks []int // r_0 … r_{d−1}
}

// ShapeOf is the shape of a factor.
func ShapeOf(f *tensor.Factor) Shape {
	return Shape{f.Format, f.Out, f.In, slices.Clone(f.InModes), slices.Clone(f.OutModes), f.Ranks()}
}

// empty is the factor with cores of the right shape and no numbers.
func (s Shape) empty() (*tensor.Factor, error) {
	modes, _, err := s.cores()
	if err != nil {
		return nil, fmt.Errorf("decompose: shape: %w", err)
	}
	if len(s.Ranks) != len(modes) {
		return nil, fmt.Errorf("decompose: shape: %d ranks for %d cores", len(s.Ranks), len(modes))
	}
	f := s.bare()
	for k, mode := range modes {
		f.Cores = append(f.Cores, tensor.Core{Left: s.Ranks[k], Mode: mode, Right: s.Ranks[(k+1)%len(modes)]})
	}
	return f, nil
}

// bare is the factor without cores.
func (s Shape) bare() *tensor.Factor {
	return &tensor.Factor{Format: s.Format, Out: s.Out, In: s.In, InModes: s.InModes, OutModes: s.OutModes}
}

// cores are the modes of the cores, and whether they form a ring.
func (s Shape) cores() (modes []int, closed bool, err error) {
	format, err := tensor.FormatOf(s.Format)
	if err != nil {
		return nil, false, err
	}
	slots, err := format.Deal(s.InModes, s.OutModes)
	for _, slot := range slots {
		modes = append(modes, slot.Size())
	}
	return modes, format.Closed, err
}

// Params is the number of numbers that a factor of the shape stores; 0 where there is no such factor.
func (s Shape) Params() int {
	modes, _, err := s.cores()
	if err != nil || len(s.Ranks) != len(modes) {
		return 0
	}
	return paramsOf(modes, s.Ranks)
}

// ShapeFor chooses modes and ranks for a matrix that does not exist yet: m needs no Load, of o Format, InModes and OutModes count, and
// "auto" is a ring. A budget of ranks is taken as [Run] takes it, with modes near 8 where none are given.
//
// A budget of numbers (Ratio, MaxParams) buys bonds that are as equal as can be, since nothing is known that would favour one, but across
// the cut no more than leaves the merged sides half the products of the matrix; what an equal rank leaves over raises single bonds, the
// lowest first. Of all numbers of modes for which this uses at least 0.9 of what can be
// used, the one with modes nearest to 8 is taken. MaxError says nothing about a matrix that does not exist and is refused.
//
// Errors are those of Run; the warnings name ranks that were lowered to what their cores can use.
func ShapeFor(m Matrix, b Budget, o Options) (s Shape, warnings []string, err error) {
	if o.Format == "" || o.Format == auto {
		o.Format = tensor.Ring
	}
	if b, o, err = checkOptions([]Matrix{m}, b, o); err != nil {
		return s, nil, err
	}
	j := &job{Matrix: m, o: o}
	switch {
	case b.MaxError > 0:
		return s, nil, &OptionError{Option: "max-error", Matrix: m.Name, Problem: "there are no weights whose error it could bound (use rank, ranks, ratio or max-params)"}
	case j.single():
		return s, nil, &OptionError{Option: "shape", Matrix: m.Name, Problem: j.tooSmall()}
	case b.Rank > 0 || len(b.Ranks) > 0:
		c, err := j.method().given(b)
		if err != nil {
			return s, nil, err
		}
		return j.shape(c.shape, c.ranks), j.warnings, nil
	}
	n, asked := b.numbers(m.Size())
	s, least := j.even(n)
	if s.Ranks == nil {
		return s, nil, &BudgetError{Asked: asked, Best: ratioText(least, m.Size())}
	}
	return s, nil, nil
}

func (j *job) shape(s shape, ranks []int) Shape {
	return Shape{j.o.Format, j.Out(), j.In, s.in, s.out, ranks}
}

// even is the shape of at most n numbers with even ranks; its ranks are nil where the fewest numbers there can be, least, are more.
func (j *job) even(n int) (best Shape, least int) {
	least = math.MaxInt
	type choice struct {
		Shape
		params, off int
	}
	var all []choice
	most := 0
	for _, s := range j.method().layouts() {
		c := choice{Shape: j.shape(s, nil), off: s.off(j.Matrix)}
		modes, closed, err := c.cores()
		if err != nil {
			continue
		}
		smallest := sum(modes)
		least = min(least, smallest)
		if smallest > n {
			continue
		}
		c.Ranks = evenRanks(modes, c.mostRanks(modes, closed), n)
		c.params = paramsOf(modes, c.Ranks)
		most = max(most, c.params)
		all = append(all, c)
	}
	off := math.MaxInt
	for _, c := range all {
		if float64(c.params) >= 0.9*float64(most) && c.off < off {
			best, off = c.Shape, c.off
		}
	}
	return best, least
}

// evenRanks is the largest equal rank that n numbers buy, with single bonds raised by one for what is left. Bonds hold no more states than
// their cores can use, and no more than most allows.
func evenRanks(modes, most []int, n int) []int {
	equal := func(r int) []int {
		ranks := make([]int, len(modes))
		for k := range ranks {
			ranks[k] = min(r, most[k])
		}
		return trals.CapRanks(modes, ranks)
	}
	low, high := 1, maxRank+1 // low fits, high does not or is not meant
	for high-low > 1 {
		if mid := (low + high) / 2; paramsOf(modes, equal(mid)) <= n {
			low = mid
		} else {
			high = mid
		}
	}
	ranks := equal(low)
	for {
		raised := -1
		for k := range ranks {
			if ranks[k] == most[k] || ranks[k] > low || raised >= 0 && ranks[k] >= ranks[raised] {
				continue
			}
			more := slices.Clone(ranks)
			more[k]++
			if slices.Equal(trals.CapRanks(modes, more), more) && paramsOf(modes, more) <= n {
				raised = k
			}
		}
		if raised < 0 {
			return ranks
		}
		ranks[raised]++
	}
}

// mostRanks bounds the bonds of even ranks between cores of such modes: 1 at an open end, and across the cut of a factor with sides so many that the merged sides take
// at most half the products of the matrix, (I + O)·r_0·r_n ≤ I·O/2.
func (s Shape) mostRanks(modes []int, closed bool) []int {
	most := slices.Repeat([]int{maxRank}, len(modes))
	if !closed {
		most[0] = 1
	}
	if s.bare().HasSides() {
		cut := max(1, s.In*s.Out/(2*(s.In+s.Out)))
		if closed {
			cut = int(math.Sqrt(float64(cut)))
			most[0] = cut
		}
		most[len(s.InModes)] = min(cut, maxRank)
	}
	return most
}
