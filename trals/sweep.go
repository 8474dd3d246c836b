package trals

import (
	"context"
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
)

const (
	// fastAbove is the relative error above which a sweep's products with W are made in float32.
	fastAbove = 5e-3
	// fastNoise bounds what their rounding, and that of the merged cores, does to the square of the relative error.
	fastNoise = 3e-7
	// magnification bounds how much stronger than the matrix what a core adds up to in the ring may be (see strength): float32 cores, and
	// products of them, then keep the matrix to a few 1e-6.
	magnification = 30
)

// sweeper makes the sweeps of one start. What it keeps from sweep to sweep is memory, and the output side as the last sweep left it.
type sweeper struct {
	m    *Matrix
	s    split
	r    ring
	fast *side[float32]
	full *side[float64]
	slow bool // fast sweeps have come to their end
}

func newSweeper(m *Matrix, s split, r ring) *sweeper { return &sweeper{m: m, s: s, r: r} }

// sweep updates every core once and returns the relative error of the ring that results, or NaN if ctx ended first. before is the error so far,
// or NaN.
func (w *sweeper) sweep(ctx context.Context, before float64) float64 {
	m := w.m
	switch {
	case m.metric != nil:
		return m.weightedSweep(ctx, w.s, w.r)
	case m.w != nil && !w.slow && !(before < fastAbove) && m.inRange():
		if w.fast == nil {
			w.fast = &side[float32]{}
		}
		if e := sweepIn(ctx, m, w.s, w.r, w.fast); !(e < fastAbove) {
			return e
		}
		return m.measure(w.r)
	}
	if w.full == nil {
		w.fast, w.full = nil, &side[float64]{}
	}
	return sweepIn(ctx, m, w.s, w.r, w.full)
}

// measure is the relative error of a ring, computed in float64.
func (m *Matrix) measure(r ring) float64 {
	a, b := r.cut()
	ab := a * b
	left, right := r.out.merge(true), r.in.merge(false)[:m.cols*ab]
	outer, inner := make([]float64, ab*ab), make([]float64, ab*ab)
	gemm.Gram64(true, ab, m.rows, left, ab, outer, ab)
	gemm.Gram64(true, ab, m.cols, right, ab, inner, ab)
	return m.relative(m.energy - 2*gemm.Dot(m.times(right, ab), left) + gemm.Dot(outer, inner))
}

// inRange reports that products of W's elements with those of a side keep far from the ends of float32's range.
func (m *Matrix) inRange() bool {
	mean := m.energy / float64(m.rows) / float64(m.cols)
	return mean > 1e-24 && mean < 1e24
}

// side is the memory of sweeps with products in type T.
type side[T float] struct {
	memory[T]
	left  []T       // the output side merged, [rows, a·b]; nil before the first sweep
	outer []float64 // leftᵀ·left
	inner []float64 // rightᵀ·right
}

// sweepIn is a sweep with products in type T. It looks at ctx after each large product and each core.
func sweepIn[T float](ctx context.Context, m *Matrix, s split, r ring, w *side[T]) float64 {
	a, b := r.cut()
	ab, padded := a*b, product(s.in)
	if w.left == nil {
		w.left, w.outer, w.inner = make([]T, m.rows*ab), make([]float64, ab*ab), make([]float64, ab*ab)
		mergeChain(r.out, true, w.left, &w.big)
		gramOfColumns(m.rows, ab, w.left, w.outer)
	}
	w.small.limit = magnification * magnification * m.energy
	if r.out.orthonormalEnds(r.in, &w.small) {
		mergeChain(r.out, true, w.left, &w.big)
		gramOfColumns(m.rows, ab, w.left, w.outer)
	}
	defer w.big.release(w.big.mark())

	// The sides are [N, a, b] in products with W, and in passes over their chains they start with the bond that the chain starts with:
	// the input side runs from a to b, the output side from b to a.
	right := w.big.take(padded * ab) // before it, Wᵀ·left
	mark := w.big.mark()
	if productT(ctx, m, w.left, ab, right) != nil {
		return math.NaN()
	}
	t := w.big.take(padded * ab)
	if padded > m.cols {
		// The padding takes the ring's present values, right·leftᵀ, whose product with left is right·outer.
		mergeChain(r.in, false, t, &w.big)
		gemm.Mul(false, false, padded-m.cols, ab, ab, 1, t[m.cols*ab:], ab, w.big.narrowed(w.outer), ab, 0, right[m.cols*ab:], ab)
	}
	permuteInto(t, right, [4]int{1, padded, a, b}, [4]int{0, 2, 1, 3})
	updateChain(ctx, r.in, t, w.outer, t, w.inner, &w.memory)
	if permuteInto(right, t, [4]int{1, a, padded, b}, [4]int{0, 2, 1, 3}); r.in.orthonormalEnds(r.out, &w.small) {
		mergeChain(r.in, false, right, &w.big)
		gramOfColumns(padded, ab, right, w.inner)
	}
	if padded > m.cols {
		right = right[:m.cols*ab]
		gramOfColumns(m.cols, ab, right, w.inner)
	}
	w.big.release(mark)

	seen := w.big.take(m.rows * ab) // W·right
	if productW(ctx, m, right, ab, seen) != nil {
		return math.NaN()
	}
	t = w.big.permuted(seen, [4]int{1, m.rows, a, b}, [4]int{0, 3, 1, 2})
	defer w.small.release(w.small.mark())
	swapped := w.small.permuted(w.inner, [4]int{a, b, a, b}, [4]int{1, 0, 3, 2})
	updateChain(ctx, r.out, t, swapped, t, swapped, &w.memory)
	if ctx.Err() != nil {
		return math.NaN()
	}
	permuteInto(w.left, t, [4]int{1, b, m.rows, a}, [4]int{0, 2, 3, 1})
	permuteInto(w.outer, swapped, [4]int{b, a, b, a}, [4]int{1, 0, 3, 2})
	return m.relative(m.energy - 2*innerProduct(seen, w.left) + dot(w.outer, w.inner))
}

// partProducts is the number of multiplications after which a product with W looks at its ctx.
const partProducts int64 = 1 << 33

// parts calls do for ranges of so many results of a product, each result a number of multiplications, until ctx ends.
func parts(ctx context.Context, results, each int, do func(first, last int)) error {
	step := max(int(min(partProducts/int64(max(each, 1)), int64(results))), 1)
	for first := 0; first < results; first += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		do(first, min(first+step, results))
	}
	return ctx.Err()
}

// productT sets y to Wᵀ·x for x [rows, n].
func productT[T float](ctx context.Context, m *Matrix, x []T, n int, y []T) error {
	if m.w == nil {
		m.timesTInto(any(x).([]float64), n, any(y).([]float64))
		return ctx.Err()
	}
	return parts(ctx, m.cols, m.rows*n, func(first, last int) {
		gemm.Wide(true, false, last-first, n, m.rows, 1, m.w.Data[first:], m.cols, x, n, 0, y[first*n:], n)
	})
}

// productW sets y to W·x for x [cols, n].
func productW[T float](ctx context.Context, m *Matrix, x []T, n int, y []T) error {
	if m.w == nil {
		m.timesInto(any(x).([]float64), n, any(y).([]float64))
		return ctx.Err()
	}
	return parts(ctx, m.rows, m.cols*n, func(first, last int) {
		gemm.Wide(false, false, last-first, n, m.cols, 1, m.w.Data[first*m.cols:], m.cols, x, n, 0, y[first*n:], n)
	})
}

// gramOfColumns sets g to xᵀ·x for x [n, k], summed in float64.
func gramOfColumns[T float](n, k int, x []T, g []float64) {
	switch x := any(x).(type) {
	case []float32:
		gemm.Gram(true, k, n, x, k, g, k)
	case []float64:
		gemm.Gram64(true, k, n, x, k, g, k)
	}
}

// innerProduct is Σ x·y in float64.
func innerProduct[T float](x, y []T) float64 {
	switch x := any(x).(type) {
	case []float32:
		return gemm.Dot64(x, any(y).([]float32))
	case []float64:
		return gemm.Dot(x, any(y).([]float64))
	}
	return 0
}
