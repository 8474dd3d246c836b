package trals

import (
	"context"
	"slices"

	"github.com/trconvert/trconvert/internal/gemm"
)

// update makes one exact Gauss–Seidel pass over the cores of a chain, first to last. With S [N, a·b] the merged chain, it lowers
//
//	f(S) = ⟨S·M, S⟩ − 2⟨T, S⟩,   T [N, a·b],   M [a·b, a·b] positive semidefinite,
//
// which is ‖W − S·Oᵀ‖² less a constant when T = W·O and M = OᵀO for the other side O. Every core update is a linear least-squares
// problem whose Gram is the same for all slices of the core; it comes from transfer matrices:
//
//	F_k[p,p',b,b'] = the cores before k and M,   E_k[q,q',b,b'] = the cores after k,   Gram_k = Σ_{b,b'} F_k·E_k.
//
// f does not rise, but for the rounding of T's type. The cores end left-orthonormal except for the last.
func (c chain) update(ctx context.Context, t, m []float64) {
	a, b := c.ends()
	updateChain(ctx, c, permute4(t, [4]int{1, len(t) / (a * b), a, b}, [4]int{0, 2, 1, 3}), m, nil, nil, new(memory[float64]))
}

// reversePays is the ratio of b² to a² from which a chain is better read from its end: the bond b stays open in F and E.
const reversePays = 8

// memory is what passes over chains work in: big holds what is as large as a side, small what is as large as a Gram.
type memory[T float] struct {
	big   scratch[T]
	small algebra
}

// updateChain is update with what is as large as T in T's type, as [a, N, b], the bond that a chain starts with outermost: then neither T nor
// what it is contracted to, nor the merged cores, are ever permuted. If merged [a, N, b] and gram are not nil they are set to the merged
// chain and to SᵀS; merged may be t itself, and gram may be m. If ctx ends, so does the pass, before the next core.
func updateChain[T float](ctx context.Context, c chain, t []T, m []float64, merged []T, gram []float64, mem *memory[T]) {
	w, small := &mem.big, &mem.small
	a, b := c.ends()
	defer w.release(w.mark())
	defer small.release(small.mark())
	if b*b > reversePays*a*a {
		r := c.reversed()
		back := w.take(len(t))
		reverseModes(back, t, c.modes(), a, b)
		var into []T
		if merged != nil {
			into = back
		}
		updateChain(ctx, r, back, permute4(m, [4]int{a, b, a, b}, [4]int{1, 0, 3, 2}), into, gram, mem)
		copy(c, r.reversed())
		if merged != nil && ctx.Err() == nil {
			modes := c.modes()
			slices.Reverse(modes)
			reverseModes(merged, back, modes, b, a)
			copy(gram, permute4(gram, [4]int{b, a, b, a}, [4]int{1, 0, 3, 2}))
		}
		return
	}
	c.rightCanonical(small)
	values := make([][]T, len(c)) // of the cores as they are now
	for k, g := range c {
		values[k] = w.rounded(g.v)
	}
	last := len(c) - 1

	// After[k] is E_k, transposed [b², q²]; partial[k] is T contracted with the cores after k, [a, N before k, n_k, q_k].
	after, partial := make([][]float64, len(c)), make([][]T, len(c))
	partial[last] = t
	tail, states := c[last].v, c[last].n // cores k and after, [p, states, b], as long as that is the cheaper way to E
	var e []float64                      // E_k [q², b²], once it is not
	for k := last; k > 0; k-- {
		g := c[k]
		rows := len(partial[k]) / (g.n * g.q)
		partial[k-1] = w.take(rows * g.p)
		gemm.Mul(false, true, rows, g.p, g.n*g.q, 1, partial[k], g.n*g.q, values[k], g.n*g.q, 0, partial[k-1], g.p)
		if k < last {
			states *= g.n
			if tail != nil && states*g.p*b*(g.p*b/2+g.q) > transferCost(g.p, g.n, g.q, b) {
				tail = nil
			}
			if tail != nil {
				longer := small.take(g.p * states * b)
				gemm.F64(false, false, g.p*g.n, len(tail)/g.q, g.q, 1, g.v, g.q, tail, len(tail)/g.q, 0, longer, len(tail)/g.q)
				tail = longer
			}
		}
		if tail != nil {
			after[k-1] = tailTransposed(tail, g.p, states, b, small)
			continue
		}
		if e == nil {
			e = small.transposed(b*b, g.q*g.q, after[k])
		}
		e = transferLeft(g, e, b, small)
		after[k-1] = small.transposed(g.p*g.p, b*b, e)
	}

	// Before is H_k [p², a²] if open, else F_k [p², b²]; F_0 is M.
	aa, bb := a*a, b*b
	open, opposite := c.headPays(), small.permuted(m, [4]int{a, b, a, b}, [4]int{0, 2, 1, 3}) // M[a,a',b,b']
	before := opposite
	states = 1
	var left []T // cores before k, [a, N before k, p]
	for k := range c {
		if ctx.Err() != nil {
			return
		}
		g := &c[k]
		mark := small.mark()
		// Right is Σ over a and the modes before of left·partial, [p, n, q]; for the first core a and p are the same bond.
		right := partial[0]
		if k > 0 {
			right = w.take(len(g.v))
			gemm.Mul(true, false, g.p, g.n*g.q, len(left)/g.p, 1, left, g.p, partial[k], g.n*g.q, 0, right, g.n*g.q)
		}
		f := small.upperPairs(before, g.p, len(before)/(g.p*g.p))
		if open && k > 0 {
			heads := f
			f = small.take(pairs(g.p) * bb)
			gemm.F64(false, false, pairs(g.p), bb, aa, 1, heads, aa, opposite, bb, 0, f, bb)
		}
		blocks := f // the last core's bond q is b itself
		if k < last {
			qq := g.q * g.q
			blocks = small.take(pairs(g.p) * qq)
			gemm.F64(false, false, pairs(g.p), qq, bb, 1, f, bb, after[k], qq, 0, blocks, qq)
		}
		solveCore(g, blocks, widened(right, &small.scratch), dampingOf[T](), small)
		small.release(mark)
		if k < last {
			c.pushRight(k, small)
		}
		x := w.rounded(g.v) // so that what is merged in T and what in float64 belong to the same ring
		if k == last && merged == nil {
			return
		}
		if k > 0 {
			rows := len(left) / g.p
			y := merged
			if k < last {
				y = w.take(rows * g.n * g.q)
			}
			gemm.Mul(false, false, rows, g.n*g.q, g.p, 1, left, g.p, x, g.n*g.q, 0, y, g.n*g.q)
			x = y
		}
		switch {
		case k < last:
			states *= g.n
			switch {
			case !open:
				before = transferRight(*g, before, b, small)
			case k == 0 || headCost(states, a, g.q) <= transferCost(g.q, g.n, g.p, a):
				before = headTransfer(x, a, g.q, w, small)
			default:
				before = transferRight(*g, before, a, small)
			}
			left = x
		case k == 0:
			copy(merged, x)
			gemm.Gram64(true, a*b, g.n, small.permuted(g.v, [4]int{1, a, g.n, b}, [4]int{0, 2, 1, 3}), a*b, gram, a*b)
		default:
			heads := before
			if !open {
				heads = headTransfer(left, a, g.p, w, small)
			}
			joined := small.take(aa * bb)
			gemm.F64(true, false, aa, bb, g.p*g.p, 1, heads, aa, tailTransfer(g.v, g.p, g.n, b, small), bb, 0, joined, bb)
			permuteInto(gram, joined, [4]int{a, a, b, b}, [4]int{0, 2, 1, 3})
		}
	}
}

// reverseModes sets out to T [a, n_1…n_d, b] as [b, n_d…n_1, a].
func reverseModes[T float](out, t []T, modes []int, a, b int) {
	n := len(t) / (a * b)
	for i := range n {
		j, x := 0, i
		for k := len(modes) - 1; k >= 0; k-- { // digits of i, last first, are the digits of j, first first
			j, x = j*modes[k]+x%modes[k], x/modes[k]
		}
		for y := range a {
			from := t[(y*n+i)*b:]
			for z := range b {
				out[(z*n+j)*a+y] = from[z]
			}
		}
	}
}
