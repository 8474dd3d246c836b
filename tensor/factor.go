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

// Factor is a matrix W [Out, In] held as a chain of cores, closed to a ring by the bond r_0. Which modes a core carries is the matter
// of its [Format]: rings and trains keep the sides apart, the input cores first, then the output cores (Pan et al., AAAI 2019),
//
//	W[o, i] = Tr( G_1[i_1] … G_n[i_n] · G_{n+1}[o_1] … G_d[o_m] )
//
// and a TT-matrix has a row and a column mode on every core (Novikov et al., NIPS 2015),
//
//	W[o, i] = G_1[o_1, i_1] · G_2[o_2, i_2] … G_d[o_d, i_d]
//
// with o = (o_1 … o_m) and i = (i_1 … i_n) in C order. The ranks are r_0 … r_{d−1} with r_d = r_0; core k is [r_k, n_k, r_{k+1}], n_k
// being the product of its modes, rows before columns. A tensor train has r_0 = 1; a truncated SVD is a train of two cores. ∏ InModes
// may exceed In: columns beyond In are padding and never leave this package.
type Factor struct {
	Format            string // the name of a [Format]
	Out, In           int
	InModes, OutModes []int
	Cores             []Core // for rings and trains len(InModes) + len(OutModes), for a TT-matrix the number of pairs
}

// Slots says which modes each core carries. The factor's format and modes must be valid.
func (f *Factor) Slots() []Slot {
	format, err := FormatOf(f.Format)
	if err != nil {
		return nil
	}
	slots, _ := format.Deal(f.InModes, f.OutModes)
	return slots
}

// HasSides reports whether every core belongs to one side, the input cores being the first len(InModes): such a factor has a cut.
func (f *Factor) HasSides() bool {
	n := len(f.InModes)
	for k, s := range f.Slots() {
		if (s.Row == 0) != (k < n) || (s.Col == 0) != (k >= n) {
			return false
		}
	}
	return true
}

// Ranks lists r_0 … r_{d−1}.
func (f *Factor) Ranks() []int {
	r := make([]int, len(f.Cores))
	for k, c := range f.Cores {
		r[k] = c.Left
	}
	return r
}

// Params is the number of stored numbers. Only shapes count: the cores may have no data.
func (f *Factor) Params() int {
	n := 0
	for _, c := range f.Cores {
		n += c.Left * c.Mode * c.Right
	}
	return n
}

// Cut is r_0·r_n, the number of features per frame between the input and the output side; rank(Ŵ) ≤ Cut. It is 0 where the factor
// has no sides: nothing then bounds the rank of Ŵ.
func (f *Factor) Cut() int {
	if !f.HasSides() {
		return 0
	}
	return f.Cores[0].Left * f.Cores[len(f.InModes)].Left
}

// Validate checks shapes: modes make a factor of the format and multiply to at least In and exactly to Out, cores chain into a ring,
// no NaN and no infinity.
func (f *Factor) Validate() error {
	format, err := FormatOf(f.Format)
	if err != nil {
		return err
	}
	slots, err := format.Deal(f.InModes, f.OutModes)
	if err != nil {
		return fmt.Errorf("tensor: factor: %w", err)
	}
	d := len(slots)
	if len(f.Cores) != d {
		return fmt.Errorf("tensor: factor: %d cores for input modes %v and output modes %v, which need %d", len(f.Cores), f.InModes, f.OutModes, d)
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
	if r := f.Cores[0].Left; r != 1 && !format.Closed {
		return fmt.Errorf("tensor: factor: format %s is open, r_0 = 1, but the first core begins with rank %d", f.Format, r)
	}
	for k, c := range f.Cores {
		mode, next := slots[k].Size(), f.Cores[(k+1)%d].Left
		switch {
		case slots[k].Row > 0 && slots[k].Col > math.MaxInt/slots[k].Row:
			return fmt.Errorf("tensor: factor: core %d has modes %d and %d, whose product overflows", k, slots[k].Row, slots[k].Col)
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

// Sides merges each side of a factor that has sides: Ŵ = L·Rᵀ with right [In, Cut] from the input cores and left [Out, Cut] from the
// output cores. The column index is a·r_n + b for bond values a of r_0 and b of r_n. Cost: about 2·Cut·r·(In + Out) FLOPs, r being the
// last rank merged. It panics if there are no sides.
func (f *Factor) Sides() (left, right *Dense) {
	if !f.HasSides() {
		panic(fmt.Sprintf("tensor: factor: format %s has no sides", f.Format))
	}
	n := len(f.InModes)
	r := f.merge(0, n)[:f.In*f.Cut()]
	return &Dense{[]int{f.Out, f.Cut()}, narrow(f.merge(n, len(f.Cores)))}, &Dense{[]int{f.In, f.Cut()}, narrow(r)}
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
