package trals

import (
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/tensor"
)

// split cuts a ring's modes and ranks at the n-th bond.
type split struct {
	in, out         []int
	ranks           []int // r_0 … r_{d−1}
	inRank, outRank []int // bonds of each side, both ends included
}

func newSplit(in, out, ranks []int) split {
	n := len(in)
	return split{in, out, ranks, ranks[:n+1], append(slices.Clone(ranks[n:]), ranks[0])}
}

// cutStart splits the truncated SVD across the sides.
func (m *Matrix) cutStart(s split, rootSeed uint64) ring {
	n := len(s.in)
	a, b := s.ranks[0], s.ranks[n]
	k := min(a*b, m.known())
	left, right := m.truncate(k)
	r := seed.Stream(rootSeed, "trals", "jitter")
	// A bond pair beyond the matrix's rank would begin, and under least squares stay, zero on both sides.
	widen := func(side []float64, padded int) []float64 {
		rows := len(side) / k
		wide := make([]float64, padded*a*b)
		var size float64
		for _, v := range side {
			size += v * v
		}
		size = 1e-3 * math.Sqrt(size/float64(len(side)))
		for i := range rows {
			copy(wide[i*a*b:], side[i*k:(i+1)*k])
			for j := k; j < a*b; j++ {
				wide[i*a*b+j] = size * r.NormFloat64()
			}
		}
		return wide
	}
	padded := product(s.in)
	right = permute4(widen(right, padded), [4]int{1, padded, a, b}, [4]int{0, 2, 1, 3})
	left = permute4(widen(left, m.rows), [4]int{1, m.rows, a, b}, [4]int{0, 3, 1, 2})
	return ring{splitChain(right, s.in, s.inRank), splitChain(left, s.out, s.outRank)}
}

const (
	// A start from the cut is improved by at most so many sweeps on the truncated SVD, until one lowers the error by less than cutTol.
	cutSweeps = 16
	cutTol    = 0.02
)

// improved sweeps on the truncated SVD across the sides. Its singular vectors span the right spaces, but which bases of them have short
// chains is left open; a few sweeps on the factors, each a small part of one on W, settle that.
func (m *Matrix) improved(ctx context.Context, s split, r ring) ring {
	if m.w == nil || m.metric != nil {
		return r
	}
	a, b := r.cut()
	stand := m.Compressed(min(a*b, m.known()))
	if stand == m {
		return r
	}
	return stand.fit(ctx, s, r, 0, Options{Sweeps: cutSweeps, Tol: cutTol}).ring
}

func randomStart(s split, rootSeed uint64, restart int) ring {
	r := seed.Stream(rootSeed, "trals", "start", strconv.Itoa(restart))
	return ring{randomChain(r, s.in, s.inRank), randomChain(r, s.out, s.outRank)}
}

// givenStart takes cores as they are; ranks are the cores' own.
func givenStart(s split, cores []tensor.Core) (ring, error) {
	modes := append(slices.Clone(s.in), s.out...)
	if len(cores) != len(modes) {
		return ring{}, optionError("start has %d cores for %d modes", len(cores), len(modes))
	}
	all := make(chain, len(cores))
	for k, c := range cores {
		p, q := s.ranks[k], s.ranks[(k+1)%len(modes)]
		if c.Left != p || c.Mode != modes[k] || c.Right != q || len(c.Data) != p*modes[k]*q {
			return ring{}, optionError("start's core %d is %d×%d×%d with %d numbers, but ranks and modes want %d×%d×%d",
				k, c.Left, c.Mode, c.Right, len(c.Data), p, modes[k], q)
		}
		g := core{p, modes[k], q, make([]float64, len(c.Data))}
		for i, v := range c.Data {
			if v-v != 0 {
				return ring{}, optionError("start's core %d is %v at index %d", k, v, i)
			}
			g.v[i] = float64(v)
		}
		all[k] = g
	}
	return ring{all[:len(s.in)], all[len(s.in):]}, nil
}

func product(modes []int) int {
	n := 1
	for _, m := range modes {
		n *= m
	}
	return n
}
