package tensor

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
)

// Core is one tensor of a ring: Data is [Left, Mode, Right] in C order.
type Core struct {
	Left, Mode, Right int
	Data              []float32
}

// Factor is a matrix W [Out, In] held as a ring of cores: the input cores first, then the output cores (Pan et al., AAAI 2019).
//
//	W[o, i] = Tr( G_1[i_1] … G_n[i_n] · G_{n+1}[o_1] … G_d[o_m] )
//
// with o = (o_1 … o_m) and i = (i_1 … i_n) in C order. The ring's ranks are r_0 … r_{d−1} with r_d = r_0; core k is
// [r_k, n_k, r_{k+1}]. A tensor train has r_0 = 1; a truncated SVD is a train of two cores. ∏ InModes may exceed In: columns beyond
// In are padding and never leave this package.
type Factor struct {
	Format            string // "tr", "tt", "svd"
	Out, In           int
	InModes, OutModes []int
	Cores             []Core // len(InModes) + len(OutModes)
}

// Ranks lists r_0 … r_{d−1}.
func (f *Factor) Ranks() []int {
	r := make([]int, len(f.Cores))
	for k, c := range f.Cores {
		r[k] = c.Left
	}
	return r
}

// Params is the number of stored numbers.
func (f *Factor) Params() int {
	n := 0
	for _, c := range f.Cores {
		n += len(c.Data)
	}
	return n
}

// Cut is r_0·r_n, the number of features per frame between the input and the output side; rank(Ŵ) ≤ Cut.
func (f *Factor) Cut() int { return f.Cores[0].Left * f.Cores[len(f.InModes)].Left }

// Validate checks shapes: cores chain into a ring, modes multiply to at least In and exactly to Out, no NaN and no infinity.
func (f *Factor) Validate() error {
	n, d := len(f.InModes), len(f.InModes)+len(f.OutModes)
	if n == 0 || d == n {
		return fmt.Errorf("tensor: factor: %d input and %d output modes (each side needs one)", n, d-n)
	}
	if len(f.Cores) != d {
		return fmt.Errorf("tensor: factor: %d cores for %d modes", len(f.Cores), d)
	}
	in, err := modeProduct("input", f.InModes)
	if err != nil {
		return err
	}
	out, err := modeProduct("output", f.OutModes)
	if err != nil {
		return err
	}
	if f.In < 1 || in < f.In {
		return fmt.Errorf("tensor: factor: input modes %v multiply to %d, which does not cover %d columns", f.InModes, in, f.In)
	}
	if out != f.Out {
		return fmt.Errorf("tensor: factor: output modes %v multiply to %d, but the matrix has %d rows", f.OutModes, out, f.Out)
	}
	for k, c := range f.Cores {
		mode := 0
		if k < n {
			mode = f.InModes[k]
		} else {
			mode = f.OutModes[k-n]
		}
		next := f.Cores[(k+1)%d].Left
		switch {
		case c.Left < 1 || c.Right < 1:
			return fmt.Errorf("tensor: factor: core %d has ranks %d and %d (a rank is at least 1)", k, c.Left, c.Right)
		case c.Mode != mode:
			return fmt.Errorf("tensor: factor: core %d has mode %d, but the mode is %d", k, c.Mode, mode)
		case c.Right != next:
			return fmt.Errorf("tensor: factor: core %d ends with rank %d, core %d begins with %d", k, c.Right, (k+1)%d, next)
		case c.Left > math.MaxInt/c.Mode/c.Right || len(c.Data) != c.Left*c.Mode*c.Right:
			return fmt.Errorf("tensor: factor: core %d is %d×%d×%d, but holds %d numbers", k, c.Left, c.Mode, c.Right, len(c.Data))
		}
		if i := firstNonFinite(c.Data); i >= 0 {
			return fmt.Errorf("tensor: factor: core %d holds %v at index %d", k, c.Data[i], i)
		}
	}
	return nil
}

func modeProduct(side string, modes []int) (int, error) {
	n := 1
	for _, m := range modes {
		if m < 1 || n > math.MaxInt/m {
			return 0, fmt.Errorf("tensor: factor: %s modes %v do not multiply to a size", side, modes)
		}
		n *= m
	}
	return n, nil
}

// Sides merges each side: Ŵ = L·Rᵀ with right [In, Cut] from the input cores and left [Out, Cut] from the output cores. The column
// index is a·r_n + b for bond values a of r_0 and b of r_n. Cost: about 2·Cut·r·(In + Out) FLOPs, r being the last rank merged.
func (f *Factor) Sides() (left, right *Dense) {
	l, r := f.sides()
	return &Dense{[]int{f.Out, f.Cut()}, narrow(l)}, &Dense{[]int{f.In, f.Cut()}, narrow(r)}
}

// sides is Sides in float64.
func (f *Factor) sides() (left, right []float64) {
	n := len(f.InModes)
	shape := func(cores []Core) ([][3]int, [][]float64) {
		s, d := make([][3]int, len(cores)), make([][]float64, len(cores))
		for k, c := range cores {
			s[k], d[k] = [3]int{c.Left, c.Mode, c.Right}, widen(c.Data)
		}
		return s, d
	}
	s, d := shape(f.Cores[:n])
	right = MergeChain(s, d, false)[:f.In*f.Cut()]
	s, d = shape(f.Cores[n:])
	return MergeChain(s, d, true), right
}

// MergeChain contracts an open chain of cores, core k of the given shape [p_k, n_k, p_{k+1}], to a matrix [∏ n_k, p_0·p_d]. A row is
// a mode index in C order; the column index of first bond value a and last bond value b is a·p_d + b, or b·p_0 + a if lastFirst.
func MergeChain(shapes [][3]int, cores [][]float64, lastFirst bool) []float64 {
	acc, first, rows, last := cores[0], shapes[0][0], shapes[0][1], shapes[0][2]
	for k := 1; k < len(cores); k++ {
		m, q := shapes[k][1], shapes[k][2]
		next := make([]float64, first*rows*m*q)
		gemm.F64(false, false, first*rows, m*q, last, 1, acc, last, cores[k], m*q, 0, next, m*q)
		acc, rows, last = next, rows*m, q
	}
	perm := []int{1, 0, 2}
	if lastFirst {
		perm = []int{1, 2, 0}
	}
	return permute(acc, []int{first, rows, last}, perm)
}

// Reconstruct multiplies the network out to Ŵ [Out, In]: float64 sums, rounded once. Cost: 2·Out·In·Cut FLOPs.
func (f *Factor) Reconstruct() *Dense {
	w := NewDense(f.Out, f.In)
	f.blocks(func(_, row, col, rows, cols int, y []float64) {
		for i := range rows {
			for j, v := range y[i*cols : (i+1)*cols] {
				w.Data[(row+i)*f.In+col+j] = float32(v)
			}
		}
	})
	return w
}

// Error is the relative error ‖W−Ŵ‖_F / ‖W‖_F of the cores as they are stored, the difference taken element by element in float64.
// It is 0 for W = Ŵ = 0 and +Inf for W = 0 ≠ Ŵ. Memory is bounded by a few blocks, not by W's size. It panics if w is not [Out, In].
func (f *Factor) Error(w *Dense) float64 {
	if len(w.Data) != f.Out*f.In {
		panic(fmt.Sprintf("tensor: error of a %d×%d factor against %v elements", f.Out, f.In, w.Dims))
	}
	diff := make([]float64, ceil(f.Out, blockRows)*ceil(f.In, blockCols))
	f.blocks(func(block, row, col, rows, cols int, y []float64) {
		var sum float64
		for i := range rows {
			x := w.Data[(row+i)*f.In+col:]
			for j, v := range y[i*cols : (i+1)*cols] {
				e := float64(x[j]) - v
				sum += e * e
			}
		}
		diff[block] = sum
	})
	var total float64
	for _, s := range diff {
		total += s
	}
	if total == 0 {
		return 0
	}
	return math.Sqrt(total / w.SquaredNorm())
}

const blockRows, blockCols = 64, 2048

// blocks computes Ŵ in float64 block by block. Calls of visit run on several goroutines and must only write what belongs to their block.
func (f *Factor) blocks(visit func(block, row, col, rows, cols int, y []float64)) {
	left, right := f.sides()
	cut := f.Cut()
	across := ceil(f.In, blockCols)
	gemm.Parallel(ceil(f.Out, blockRows)*across, func(t int) {
		row, col := t/across*blockRows, t%across*blockCols
		rows, cols := min(blockRows, f.Out-row), min(blockCols, f.In-col)
		y := make([]float64, rows*cols)
		gemm.F64(false, true, rows, cols, cut, 1, left[row*cut:], cut, right[col*cut:], cut, 0, y, cols)
		visit(t, row, col, rows, cols, y)
	})
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func narrow(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

func ceil(n, by int) int { return (n + by - 1) / by }
