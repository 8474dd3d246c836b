package decompose

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/tensor"
)

// GlorotVariance is the variance 2/(I + H) of Glorot and Bengio 2010, eq. 12, for the rows of one gate: with inputs of unit variance the
// pre-activations then have a variance of 2·I/(I + H), below 2 however many inputs there are.
func GlorotVariance(in, hidden int) float64 { return 2 / float64(in+hidden) }

// Fresh is an untrained factor: random cores for which every element of Ŵ has mean 0 and the given variance.
//
// Each slice G_k[i] is a random matrix with orthonormal rows or columns, whichever are fewer (Haar), times a scale; a slice of one number is
// normal. Elements of such slices have equal variance s_k² and are uncorrelated, the paths through the bonds number ∏ r_k, and so
//
//	Var(Ŵ[o, i]) = ∏ s_k² · ∏ r_k,    s_k² = variance^{1/d} / √(r_k·r_{k+1})
//
// Products of orthogonal slices stay orthogonal: Ŵ has no heavy tails and the merged sides are well conditioned, however many cores there
// are (docs/algorithms.md, section 10). The same shape, variance and seed give the same factor. An error says what is wrong with the
// shape or the variance.
func Fresh(s Shape, variance float64, root uint64) (*tensor.Factor, error) {
	if !(variance > 0) || math.IsInf(variance, 0) {
		return nil, fmt.Errorf("decompose: fresh: variance %v (a positive number)", variance)
	}
	f, err := s.empty()
	if err != nil {
		return nil, err
	}
	for k := range f.Cores {
		c := &f.Cores[k]
		if c.Left < 1 || c.Right < 1 || c.Left > maxRank || c.Right > maxRank || c.Mode < 1 || c.Mode > maxSide/(c.Left*c.Right) {
			return nil, fmt.Errorf("decompose: fresh: core %d is %d×%d×%d", k, c.Left, c.Mode, c.Right)
		}
		square := math.Pow(variance, 1/float64(len(f.Cores))) / math.Sqrt(float64(c.Left)*float64(c.Right))
		c.Data = freshCore(seed.Stream(root, "fresh", strconv.Itoa(k)), c.Left, c.Mode, c.Right, math.Sqrt(square))
	}
	return f, f.Validate()
}

// freshCore is a core [left, mode, right] whose elements have the given deviation.
func freshCore(r *rand.Rand, left, mode, right int, deviation float64) []float32 {
	core := make([]float32, left*mode*right)
	more, less := max(left, right), min(left, right)
	scale := deviation * math.Sqrt(float64(more)) // an orthonormal matrix's elements have variance 1/more
	for i := range mode {
		slice := seed.Normal(r, more*less)
		switch {
		case more == 1: // an orthonormal slice of one number would be a sign, and many slices alike
		case less == 1:
			normalise(slice)
		default:
			slice, _ = linalg.QR(more, less, slice)
		}
		for p := range left {
			for q := range right {
				at := p*less + q
				if left < right {
					at = q*less + p
				}
				core[(p*mode+i)*right+q] = float32(scale * slice[at])
			}
		}
	}
	return core
}

// normalise scales a vector to length 1.
func normalise(x []float64) {
	var square float64
	for _, v := range x {
		square += v * v
	}
	for i := range x {
		x[i] /= math.Sqrt(square)
	}
}
