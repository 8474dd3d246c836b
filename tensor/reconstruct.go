package tensor

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
)

// Reconstruct multiplies the network out to Ŵ [Out, In]: float64 sums, rounded once. Cost: 2·Out·In·r FLOPs, r being the [Factor.Cut],
// or the bond at which a factor without sides is cut into two halves.
func (f *Factor) Reconstruct() *Dense {
	w := NewDense(f.Out, f.In)
	f.split().blocks(func(_ int, b block) {
		b.runs(func(at int, y []float64) {
			for j, v := range y {
				w.Data[at+j] = float32(v)
			}
		})
	})
	return w
}

// Error is the relative error ‖W−Ŵ‖_F / ‖W‖_F of the cores as they are stored, the difference taken element by element in float64.
// It is 0 for W = Ŵ = 0 and +Inf for W = 0 ≠ Ŵ. Memory is bounded by a few blocks, not by W's size. It panics if w is not [Out, In].
func (f *Factor) Error(w *Dense) float64 {
	if len(w.Data) != f.Out*f.In {
		panic(fmt.Sprintf("tensor: error of a %d×%d factor against %v elements", f.Out, f.In, w.Dims))
	}
	h := f.split()
	diff := make([]float64, h.count())
	h.blocks(func(t int, b block) {
		var sum float64
		b.runs(func(at int, y []float64) {
			for j, x := range w.Data[at : at+len(y)] {
				e := float64(x) - y[j]
				sum += e * e
			}
		})
		diff[t] = sum
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

// halves is Ŵ as a product of two merged parts of the chain: element (x, y) of outer·innerᵀ is the element of Ŵ at the sum of their
// places, or padding.
type halves struct {
	outer, inner     []float64 // [len(outerAt), bond] and [len(innerAt), bond]
	bond             int
	outerAt, innerAt []place
	in               int
}

// place is a part of an index into Ŵ: the number of the column, and the flat index row·In + column.
type place struct{ col, flat int }

// split merges the chain to two parts. With sides these are the sides, the output side outside; otherwise the chain is cut where the
// larger part is smallest.
func (f *Factor) split() halves {
	slots := f.Slots()
	n := len(f.InModes)
	sided := f.HasSides()
	if !sided {
		n = f.BalancedCut()
	}
	h := halves{bond: f.Cores[0].Left * f.Cores[n].Left, in: f.In}
	h.outer, h.inner = f.merge(0, n), f.merge(n, len(f.Cores))
	h.outerAt, h.innerAt = f.places(slots, 0, n), f.places(slots, n, len(slots))
	if sided {
		h.outer, h.inner, h.outerAt, h.innerAt = h.inner, h.outer, h.innerAt, h.outerAt
	}
	return h
}

// BalancedCut is the number of cores before the cut that keeps the larger of two merged groups smallest.
func (f *Factor) BalancedCut() int {
	before := make([]float64, len(f.Cores)+1)
	for k, c := range f.Cores {
		before[k+1] = before[k] + math.Log(float64(c.Mode))
	}
	best, largest := 1, math.Inf(1)
	for k := 1; k < len(f.Cores); k++ {
		if l := max(before[k], before[len(f.Cores)]-before[k]); l < largest {
			best, largest = k, l
		}
	}
	return best
}

// places lists where the joint mode index of cores from … to−1 lies in Ŵ.
func (f *Factor) places(slots []Slot, from, to int) []place {
	rowStep, colStep := 1, 1
	for _, s := range slots[to:] {
		rowStep, colStep = rowStep*max(s.Row, 1), colStep*max(s.Col, 1)
	}
	at := []place{{}}
	for k := to - 1; k >= from; k-- {
		rows, cols := max(slots[k].Row, 1), max(slots[k].Col, 1)
		next := make([]place, 0, len(at)*rows*cols)
		for i := range rows {
			for j := range cols {
				for _, p := range at {
					next = append(next, place{p.col + j*colStep, p.flat + i*rowStep*f.In + j*colStep})
				}
			}
		}
		at, rowStep, colStep = next, rowStep*rows, colStep*cols
	}
	return at
}

// block is a part of outer·innerᵀ.
type block struct {
	rows, cols []place
	y          []float64
	limit      int // columns from here on are padding
}

// runs visits the block's elements of Ŵ in a fixed order, those that are neighbours in a row of Ŵ together.
func (b block) runs(visit func(at int, y []float64)) {
	for i, p := range b.rows {
		y := b.y[i*len(b.cols):]
		for from := 0; from < len(b.cols); {
			q := b.cols[from]
			to := from + 1
			for to < len(b.cols) && b.cols[to] == (place{q.col + to - from, q.flat + to - from}) {
				to++
			}
			if n := min(to-from, b.limit-p.col-q.col); n > 0 {
				visit(p.flat+q.flat, y[from:from+n])
			}
			from = to
		}
	}
}

func (h halves) count() int { return ceil(len(h.outerAt), blockRows) * h.across() }

func (h halves) across() int { return ceil(len(h.innerAt), blockCols) }

// blocks computes Ŵ in float64 block by block. Calls of visit run on several goroutines and must only write what belongs to their block.
func (h halves) blocks(visit func(t int, b block)) {
	gemm.Parallel(h.count(), func(t int) {
		row, col := t/h.across()*blockRows, t%h.across()*blockCols
		b := block{rows: h.outerAt[row:min(row+blockRows, len(h.outerAt))], cols: h.innerAt[col:min(col+blockCols, len(h.innerAt))], limit: h.in}
		b.y = make([]float64, len(b.rows)*len(b.cols))
		gemm.F64(false, true, len(b.rows), len(b.cols), h.bond, 1, h.outer[row*h.bond:], h.bond, h.inner[col*h.bond:], h.bond, 0, b.y, len(b.cols))
		visit(t, b)
	})
}

// merge contracts cores from … to−1 to [∏ modes, r_0·r_m], the columns being the chain's bond r_0 and the cut's r_m in that order.
func (f *Factor) merge(from, to int) []float64 {
	shapes, cores := make([][3]int, to-from), make([][]float64, to-from)
	for k, c := range f.Cores[from:to] {
		shapes[k], cores[k] = [3]int{c.Left, c.Mode, c.Right}, widen(c.Data)
	}
	return MergeChain(shapes, cores, from > 0)
}
