package trals

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/tensor"
)

// leastSquares minimises ‖A·x − y‖ for A [rows, n], y [rows, k] by Householder reflections on the whole matrix, the textbook way.
func leastSquares(rows, n, k int, a, y []float64) []float64 {
	for j := range n {
		var norm float64
		for i := j; i < rows; i++ {
			norm += a[i*n+j] * a[i*n+j]
		}
		norm = math.Copysign(math.Sqrt(norm), a[j*n+j])
		v := make([]float64, rows)
		var vv float64
		for i := j; i < rows; i++ {
			v[i] = a[i*n+j]
			if i == j {
				v[i] += norm
			}
			vv += v[i] * v[i]
		}
		reflect := func(x []float64, width, col int) {
			var s float64
			for i := j; i < rows; i++ {
				s += v[i] * x[i*width+col]
			}
			for i := j; i < rows; i++ {
				x[i*width+col] -= 2 * s / vv * v[i]
			}
		}
		for c := j; c < n; c++ {
			reflect(a, n, c)
		}
		for c := range k {
			reflect(y, k, c)
		}
	}
	x := make([]float64, n*k)
	for c := range k {
		for i := n - 1; i >= 0; i-- {
			s := y[i*k+c]
			for j := i + 1; j < n; j++ {
				s -= a[i*n+j] * x[j*k+c]
			}
			x[i*k+c] = s / a[i*n+i]
		}
	}
	return x
}

// plainSweep is a sweep of TR-ALS by its definition (Zhao et al. 2016, algorithm 2): for each core in turn the subchain of all others, element
// by element, and the least-squares problem that has the core's elements as unknowns. x has the modes of the cores in order.
func plainSweep(x *tensor.Dense, cores []chainCore) {
	d := len(cores)
	for k := range d {
		g := &cores[k]
		rows, unknown := len(x.Data)/g.n, g.p*g.q
		a, y := make([]float64, rows*unknown), make([]float64, rows*g.n)
		row := make(map[string]int)
		for flat, v := range x.Data {
			index := x.Index(flat)
			at := index[k]
			index[k] = 0
			key := fmt.Sprint(index)
			i, known := row[key]
			if !known {
				i = len(row)
				row[key] = i
				// The others' product, from the core after k round to the one before: [q, p].
				m := make([]float64, g.q*g.q)
				for j := range g.q {
					m[j*g.q+j] = 1
				}
				width := g.q
				for s := 1; s < d; s++ {
					h := cores[(k+s)%d]
					next := make([]float64, g.q*h.q)
					for j := range g.q {
						for p := range width {
							for q := range h.q {
								next[j*h.q+q] += m[j*width+p] * h.v[(p*h.n+index[(k+s)%d])*h.q+q]
							}
						}
					}
					m, width = next, h.q
				}
				for p := range g.p {
					for q := range g.q {
						a[i*unknown+p*g.q+q] = m[q*g.p+p]
					}
				}
			}
			y[i*g.n+at] = float64(v)
		}
		sol := leastSquares(rows, unknown, g.n, a, y)
		for p := range g.p {
			for n := range g.n {
				for q := range g.q {
					g.v[(p*g.n+n)*g.q+q] = sol[(p*g.q+q)*g.n+n]
				}
			}
		}
	}
}

type chainCore struct {
	p, n, q int
	v       []float64
}

// From the same start the errors are, sweep for sweep, those of least squares on the whole unfolding, core by core.
func TestSweepsAreExactLeastSquares(t *testing.T) {
	for i, c := range []struct {
		in, out, ranks []int
		noise          float64
	}{
		{[]int{4, 5}, []int{3, 4}, []int{2, 3, 2, 3}, 0.01},
		{[]int{4, 3, 4}, []int{5, 4}, []int{3, 2, 3, 2, 2}, 0.3},
		{[]int{3, 2, 3}, []int{2, 4, 3}, uniform(6, 2), 0.1},
		{[]int{2, 3, 2, 2}, []int{4, 2, 3}, []int{1, 2, 3, 2, 2, 3, 2}, 1},
		{[]int{6, 4}, []int{4, 6}, []int{4, 4, 4, 4}, 0.05},
	} {
		modes := append(slices.Clone(c.in), c.out...)
		x := noisy(uint64(i), full(randomCores(uint64(i), modes, c.ranks)), c.noise) // [in…, out…]
		w := (&tensor.Dense{Dims: []int{product(c.in), product(c.out)}, Data: x.Data}).Transpose(1, 0)
		m, err := NewMatrix(context.Background(), w, 1)
		if err != nil {
			t.Fatal(err)
		}
		start := randomCores(uint64(i)+100, modes, c.ranks)
		plain := make([]chainCore, len(start))
		for k, g := range start {
			plain[k] = chainCore{g.Left, g.Mode, g.Right, make([]float64, len(g.Data))}
			gemm.Widen(plain[k].v, g.Data)
		}
		var got, want []float64
		_, err = m.Decompose(context.Background(), c.in, c.out, Options{Ranks: c.ranks, Init: InitGiven, Start: start, Sweeps: 8, Tol: -1,
			OnSweep: func(s Sweep) { got = append(got, s.RelativeError) }})
		if err != nil {
			t.Fatal(err)
		}
		for range got {
			plainSweep(x, plain)
			cores := make([]tensor.Core, len(plain))
			for k, g := range plain {
				cores[k] = tensor.Core{Left: g.p, Mode: g.n, Right: g.q}
				for _, v := range g.v {
					cores[k].Data = append(cores[k].Data, float32(v))
				}
			}
			want = append(want, errorByDefinition(x, cores))
		}
		for n := range got {
			if math.Abs(got[n]-want[n]) > 1e-4*want[n] {
				t.Errorf("modes %v | %v, ranks %v: errors %.6f, least squares %.6f", c.in, c.out, c.ranks, got, want)
				break
			}
		}
	}
}

// An exact ring with 1 % noise: from the cut, the noise floor is reached in at most 3 sweeps.
func TestCutStartReachesTheNoiseInThreeSweeps(t *testing.T) {
	for _, c := range []struct {
		in, out  []int
		rank, r0 int
	}{
		{[]int{8, 8, 8, 8}, []int{4, 4, 8, 8}, 8, 8},
		{[]int{4, 2, 5, 8, 6}, []int{4, 4, 2, 4, 8}, 5, 5},
		{[]int{4, 2, 5, 8, 6}, []int{4, 4, 2, 4, 8}, 5, 10},
		{[]int{6, 8, 8}, []int{8, 4, 8}, 4, 4},
	} {
		ranks := uniform(len(c.in)+len(c.out), c.rank)
		ranks[0] = c.r0
		w := ringMatrix(c.in, c.out, ranks, 0.01)
		m, err := NewMatrix(context.Background(), w, c.rank*c.r0)
		if err != nil {
			t.Fatal(err)
		}
		var errs []float64
		if _, err := m.Decompose(context.Background(), c.in, c.out, Options{Ranks: ranks, Sweeps: 3,
			OnSweep: func(s Sweep) { errs = append(errs, s.RelativeError) }}); err != nil {
			t.Fatal(err)
		}
		if last := errs[len(errs)-1]; last > 0.0102 {
			t.Errorf("modes %v | %v, ranks %d and %d: errors %.5f", c.in, c.out, c.rank, c.r0, errs)
		}
	}
}

// A matrix large enough for every path on many goroutines.
func TestLargeMatrixSameBits(t *testing.T) {
	in, out := []int{8, 8, 8}, []int{4, 4, 8, 8}
	w := ringMatrix(in, out, uniform(7, 8), 0.01)
	run := func(procs int) []tensor.Core {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		m, err := NewMatrix(context.Background(), w, 64)
		if err != nil {
			t.Fatal(err)
		}
		res, err := m.Decompose(context.Background(), in, out, Options{Ranks: uniform(7, 8), Sweeps: 6, Restarts: 1})
		if err != nil {
			t.Fatal(err)
		}
		return res.Cores
	}
	want := run(1)
	for _, procs := range []int{2, 1, 2} {
		for k, c := range run(procs) {
			if !slices.Equal(c.Data, want[k].Data) {
				t.Fatalf("GOMAXPROCS %d: core %d differs", procs, k)
			}
		}
	}
}
