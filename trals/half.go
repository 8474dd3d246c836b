package trals

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
func (c chain) update(t, m []float64) {
	updateChain(c, t, m, nil, nil, new(memory[float64]))
}

// reversePays is the ratio of b² to a² from which a chain is better read from its end: the bond b stays open in F and E.
const reversePays = 8

// memory is what passes over chains work in: big holds what is as large as a side, small what is as large as a Gram.
type memory[T float] struct {
	big   scratch[T]
	small scratch[float64]
}

// updateChain is update with what is as large as T in T's type. If merged and gram are not nil they are set to the merged chain S [N, a·b]
// and to SᵀS.
func updateChain[T float](c chain, t []T, m []float64, merged []T, gram []float64, mem *memory[T]) {
	w, small := &mem.big, &mem.small
	a, b := c.ends()
	if b*b > reversePays*a*a {
		r := c.reversed()
		updateChain(r, reverseModes(t, c.modes(), a, b), permute4(m, [4]int{a, b, a, b}, [4]int{1, 0, 3, 2}), nil, nil, mem)
		copy(c, r.reversed())
		if merged != nil {
			mergeChain(c, false, merged, w)
			gramOfColumns(len(merged)/(a*b), a*b, merged, gram)
		}
		return
	}
	defer w.release(w.mark())
	defer small.release(small.mark())
	c.rightCanonical()
	for _, g := range c {
		round[T](g.v)
	}
	last := len(c) - 1

	// After[k] is E_k; partial[k] is T contracted with the cores after k, [N before k, a, n_k, q_k].
	after, partial := make([][]float64, len(c)), make([][]T, len(c))
	n := c[last].n
	partial[last] = w.permuted(t, [4]int{len(t) / (n * a * b), n, a, b}, [4]int{0, 2, 1, 3})
	for k := last; k > 0; k-- {
		g := c[k]
		if k == last {
			after[k-1] = lastTransfer(g, small)
		} else {
			after[k-1] = transferLeft(g, after[k], b, small)
		}
		rows := len(partial[k]) / (g.n * g.q)
		x := w.take(rows * g.p)
		multiply(false, true, rows, g.p, g.n*g.q, partial[k], g.n*g.q, w.narrowed(g.v), g.n*g.q, x, g.p)
		n := c[k-1].n
		partial[k-1] = w.permuted(x, [4]int{rows / (n * a), n, a, g.p}, [4]int{0, 2, 1, 3})
	}

	before := small.permuted(m, [4]int{a, b, a, b}, [4]int{0, 2, 1, 3}) // F_0[a,a',b,b']
	var left []T                                                        // cores before k, [N before k, a, p]
	for k := range c {
		g := &c[k]
		// Right is Σ over the modes before and a of left·partial, [p, n, q]; for the first core a and p are the same bond.
		right := small.take(g.p * g.n * g.q)
		if k == 0 {
			widenInto(right, partial[0])
		} else {
			x := w.take(len(right))
			multiply(true, false, g.p, g.n*g.q, len(left)/g.p, left, g.p, partial[k], g.n*g.q, x, g.n*g.q)
			widenInto(right, x)
		}
		solveCore(g, gramOf(*g, before, after[k], b, small), right, dampingOf[T](), small)
		if k < last {
			c.pushRight(k)
		}
		round[T](g.v) // so that what is merged in T and what in float64 belong to the same ring
		if k == last && merged == nil {
			return
		}
		if k == last && k > 0 {
			mergedGram(left, a, *g, gram, small)
		}
		x := w.narrowed(g.v)
		rows := a
		if k > 0 {
			rows = len(left) / g.p
			y := w.take(rows * g.n * g.q)
			multiply(false, false, rows, g.n*g.q, g.p, left, g.p, x, g.n*g.q, y, g.n*g.q)
			x = y
		}
		if k == last {
			permuteInto(merged, x, [4]int{rows / a, a, g.n, g.q}, [4]int{0, 2, 1, 3})
			if k == 0 {
				gramOfColumns(g.n, a*b, merged, gram)
			}
			return
		}
		left = w.permuted(x, [4]int{rows / a, a, g.n, g.q}, [4]int{0, 2, 1, 3})
		before = transferRight(*g, before, b, small)
	}
}

// reverseModes turns T [n_1…n_d, a, b] into [n_d…n_1, b, a].
func reverseModes[T float](t []T, modes []int, a, b int) []T {
	n := len(t) / (a * b)
	out := make([]T, len(t))
	for i := range n {
		j, x := 0, i
		for k := len(modes) - 1; k >= 0; k-- { // digits of i, last first, are the digits of j, first first
			j, x = j*modes[k]+x%modes[k], x/modes[k]
		}
		from, to := t[i*a*b:(i+1)*a*b], out[j*a*b:(j+1)*a*b]
		for y := range a {
			for z := range b {
				to[z*a+y] = from[y*b+z]
			}
		}
	}
	return out
}
