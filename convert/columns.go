package convert

import (
	"context"
	"slices"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/tensor"
)

const (
	// mostColumns is the most columns that are given up for a whole number of vectors.
	mostColumns = 4
	// sameError is how many times as large the error of the outputs, as the split models it, may be and still count as the same.
	sameError = 1.05
)

// quicker looks for factors of input matrices that run or load faster than those of f, in a file that has at most so many bytes, at about the same error:
// with columns r_0·r_n of R that fill vectors, and with input modes whose product is the number of inputs, so that no padding is cut off.
func (s *split) quicker(ctx context.Context, f *fitted, most int64) (*fitted, error) {
	for i, r := range f.results {
		if s.c.groups[i].matrix != nil || r.Factor == nil || !r.Factor.HasSides() {
			continue
		}
		bound := square(sameError) * f.loss
		for _, shape := range quickerShapes(r.Factor) {
			other, err := decompose.Run(ctx, []decompose.Matrix{s.ms[i]}, decompose.Budget{Ranks: shape.Ranks}, withModes(s.quick(), shape.Format, shape.InModes, shape.OutModes))
			if err != nil {
				return nil, err
			}
			g := *f
			g.results = slices.Clone(f.results)
			g.results[i] = other[0]
			g.loss += s.weights[i] * (square(s.loss(i, other[0])) - square(s.loss(i, r)))
			if other[0].KeptDense || g.loss > bound {
				continue
			}
			if g.bytes, err = s.written(ctx, g.results, g.mix); err != nil {
				return nil, err
			}
			if g.bytes <= most {
				f = &g
				break
			}
		}
	}
	return f, nil
}

// withModes are options for a factor of a format and modes.
func withModes(o decompose.Options, format string, in, out []int) decompose.Options {
	o.Format, o.InModes, o.OutModes = format, in, out
	if format == "svd" { // whose modes are the sides of the matrix
		o.InModes, o.OutModes = nil, nil
	}
	return o
}

// quickerShapes are shapes of at most as many numbers as the factor has, the quickest first.
func quickerShapes(f *tensor.Factor) []decompose.Shape {
	own := decompose.ShapeOf(f)
	var modes [][]int
	if exact := exactModes(own.InModes, own.In); exact != nil {
		modes = append(modes, exact)
	}
	modes = append(modes, own.InModes)
	var all []decompose.Shape
	for _, ends := range append(fullVectors(own.Ranks[0], own.Ranks[len(own.InModes)]), [2]int{own.Ranks[0], own.Ranks[len(own.InModes)]}) {
		for _, in := range modes {
			s := own
			s.InModes, s.Ranks = in, slices.Clone(own.Ranks)
			s.Ranks[0], s.Ranks[len(in)] = ends[0], ends[1]
			if slices.Equal(s.Ranks, own.Ranks) && slices.Equal(in, own.InModes) {
				continue
			}
			if spend(&s, own.Params()) {
				all = append(all, s)
			}
		}
	}
	return all
}

// fullVectors are ranks at the ends of the input cores, one of them as it is, with a few columns less, which fill vectors.
func fullVectors(r0, rn int) (all [][2]int) {
	columns := r0 * rn
	over := columns % export.ProductColumns
	if over == 0 || over > mostColumns || columns < export.ProductColumns {
		return nil
	}
	columns -= over
	if columns%r0 == 0 {
		all = append(all, [2]int{r0, columns / r0})
	}
	if columns%rn == 0 && r0 > 1 {
		all = append(all, [2]int{columns / rn, rn})
	}
	return all
}

// exactModes are two modes near those given whose product is n; nil where the product is n already, or there are no such modes.
func exactModes(modes []int, n int) []int {
	if len(modes) != 2 || modes[0]*modes[1] == n {
		return nil
	}
	best := 0
	for a := 2; a <= n/2; a++ {
		if n%a == 0 && (best == 0 || apart(a, modes[0]) < apart(best, modes[0])) {
			best = a
		}
	}
	if best == 0 || apart(best, modes[0]) > 1.5 {
		return nil
	}
	return []int{best, n / best}
}

// apart is how many times the larger one of two numbers is the smaller one.
func apart(a, b int) float64 { return float64(max(a, b)) / float64(min(a, b)) }

// spend sets the bonds that do not end a side to what is left of a number of numbers, in turns; false where the ranks are too many as they are.
func spend(s *decompose.Shape, numbers int) bool {
	n, modes := len(s.InModes), append(slices.Clone(s.InModes), s.OutModes...)
	rank := func(k int) int { return s.Ranks[k%len(s.Ranks)] }
	var inner []int
	for k := range s.Ranks {
		if k != 0 && k != n {
			inner = append(inner, k)
		}
	}
	most := func(k int) int { return min(rank(k-1)*modes[k-1], modes[k]*rank(k+1)) }
	for _, k := range inner { // a smaller end leaves less to use
		s.Ranks[k] = min(s.Ranks[k], most(k))
	}
	for lowered := true; s.Params() > numbers && lowered; {
		lowered = false
		for _, k := range inner {
			if s.Ranks[k] > 1 && s.Params() > numbers {
				s.Ranks[k]--
				lowered = true
			}
		}
	}
	if s.Params() > numbers {
		return false
	}
	for raised := true; raised; {
		raised = false
		for _, k := range inner {
			if s.Ranks[k] >= most(k) {
				continue
			}
			s.Ranks[k]++
			if s.Params() > numbers {
				s.Ranks[k]--
				continue
			}
			raised = true
		}
	}
	return true
}
