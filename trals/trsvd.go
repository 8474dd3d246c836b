package trals

import (
	"context"
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
)

// SVDOptions steer [TRSVD] and [TTSVD]. One of the two fields is set.
type SVDOptions struct {
	// Ranks are r_0 … r_{d−1}.
	Ranks []int
	// Accuracy ε picks the smallest ranks for which the truncations together keep the relative error below ε (above about 1e-7).
	Accuracy float64
}

// TRSVD is the sequential decomposition of Zhao et al. 2016, algorithm 1: the first unfolding [n_0, n_1⋯n_{d−1}] is truncated at rank
// r_0·r_1, that bond is split in two, and the rest follows by one truncated SVD for each mode.
//
// With Ranks it needs r_0·r_1 ≤ n_0 and each later r_k·n_k ≥ r_{k+1}; an error names both numbers. With Accuracy the truncation
// thresholds are ε·‖X‖·√2/√d for the first and ε·‖X‖/√d for the others, and r_0 is the divisor of the first rank that brings r_0 and
// r_1 closest. Cost: for each mode a Gram and a product of the rest. The result's Sweeps are 0 and its LowerBound is NaN.
func TRSVD(ctx context.Context, x *tensor.Dense, o SVDOptions) (*Result, error) {
	return sequentialSVD(ctx, x, o, true)
}

// TTSVD is the tensor train of Oseledets 2011, algorithm 1: a ring with r_0 = 1. With Accuracy every truncation threshold is
// ε·‖X‖/√(d−1).
func TTSVD(ctx context.Context, x *tensor.Dense, o SVDOptions) (*Result, error) {
	if len(o.Ranks) > 0 && o.Ranks[0] != 1 {
		return nil, optionError("a tensor train begins with rank 1, not %d", o.Ranks[0])
	}
	return sequentialSVD(ctx, x, o, false)
}

func sequentialSVD(ctx context.Context, x *tensor.Dense, o SVDOptions, ringed bool) (*Result, error) {
	if err := checkData(x); err != nil {
		return nil, err
	}
	d := len(x.Dims)
	if d < 2 {
		return nil, optionError("a ring needs two modes or more, not %d", d)
	}
	given := len(o.Ranks) > 0
	if given == (o.Accuracy > 0) {
		return nil, optionError("set either ranks or a positive accuracy")
	}
	energy := x.SquaredNorm()
	limit := o.Accuracy * o.Accuracy * energy / float64(d)
	if !ringed {
		limit = o.Accuracy * o.Accuracy * energy / float64(d-1)
	}
	if given {
		if err := checkRanks(x.Dims, o.Ranks); err != nil {
			return nil, err
		}
	}

	rest := make([]float64, len(x.Data))
	for i, v := range x.Data {
		rest[i] = float64(v)
	}
	all := make(chain, d)
	r0, p := 1, 1
	for k := range d - 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := x.Dims[k]
		rows, cols := p*n, len(rest)/(p*n)
		most := min(rows, cols)
		keep, first := 0, 1
		if given {
			keep = o.Ranks[k+1]
			if k == 0 {
				first = o.Ranks[0]
				keep *= first
			}
			if keep > most {
				return nil, optionError("TR-SVD cannot start: ranks %v want %d singular vectors of unfolding %d, which is %d×%d (lower r_0·r_1, or start from the cut)",
					o.Ranks, keep, k, rows, cols)
			}
		} else {
			threshold := limit
			if k == 0 && ringed {
				threshold *= 2
			}
			_, _, squares := linalg.TruncateDense(rows, cols, rest, 1)
			keep = keepAbove(squares, threshold)
			if k == 0 && ringed {
				first = nearSquare(keep)
			}
		}
		u, vt, _ := linalg.TruncateDense(rows, cols, rest, keep)
		if k == 0 {
			// u [n, r_0·r_1] becomes core 0 [r_0, n, r_1]; r_0 moves to the end of the rest.
			r0, p = first, keep/first
			all[0] = core{r0, n, p, permute4(u, [4]int{1, n, r0, p}, [4]int{0, 2, 1, 3})}
			rest = permute4(vt, [4]int{1, r0, p, cols}, [4]int{0, 2, 3, 1})
			continue
		}
		all[k] = core{p, n, keep, u}
		rest, p = vt, keep
	}
	all[d-1] = core{p, x.Dims[d-1], r0, rest}
	h := balancedCut(x.Dims)
	res := &Result{LowerBound: math.NaN(), Status: Converged}
	cores := ring{all[h:], all[:h]}.cores()
	f := factor(product(x.Dims[:h]), product(x.Dims[h:]), x.Dims[h:], x.Dims[:h], cores)
	res.RelativeError = f.Error(x)
	res.Cores = append(slices.Clone(cores[d-h:]), cores[:d-h]...)
	return res, nil
}

// keepAbove is the smallest count, at least 1, whose tail of squares is at most the threshold.
func keepAbove(squares []float64, threshold float64) int {
	var tail float64
	n := len(squares)
	for n > 1 && tail+squares[n-1] <= threshold {
		tail += squares[n-1]
		n--
	}
	return n
}

// nearSquare is the divisor of n nearest to, and at most, its square root.
func nearSquare(n int) int {
	best := 1
	for f := 1; f*f <= n; f++ {
		if n%f == 0 {
			best = f
		}
	}
	return best
}

// sequential is TR-SVD of W seen as the tensor whose modes are the ring's own, input modes first.
func (m *Matrix) sequential(ctx context.Context, s split) ([]tensor.Core, error) {
	transposed := m.w.Transpose(1, 0)
	transposed.Dims = append(slices.Clone(s.in), s.out...)
	res, err := TRSVD(ctx, transposed, SVDOptions{Ranks: s.ranks})
	if err != nil {
		return nil, err
	}
	return res.Cores, nil
}
