package runtime

import (
	"sync"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// packElements bounds the weights of which a second copy is laid out for the kernels, in elements; larger ones are laid out piece by
// piece in every product.
const packElements = 1 << 24

// weight is a matrix M [rows, cols] that inputs are multiplied with as A·Mᵀ.
type weight[T floating] struct {
	rows, cols int
	data       []T
	packed     *gemm.Packed // nil where that does not pay
}

func newWeight[T floating](rows, cols int, data []T, pack packing) weight[T] {
	w := weight[T]{rows: rows, cols: cols, data: data}
	if single, ok := any(data).([]float32); ok && pack.pays && len(data) <= packElements {
		w.packed = gemm.PackBIn(pack.loan.floats(gemm.PackedSize(rows, cols)), true, rows, cols, single, cols)
	}
	return w
}

// packing says whether to lay weights out for the kernels, and where: in a pass's loan, or in memory that stays if that is nil.
type packing struct {
	pays bool
	loan *loan
}

// multiply computes C = A·Mᵀ + beta·C; A is [m, cols] and C [m, rows] with rows ldc apart.
func (w *weight[T]) multiply(m int, a []T, beta T, c []T, ldc int) {
	if w.packed != nil {
		gemm.F32Packed(false, m, 1, any(a).([]float32), w.cols, w.packed, float32(beta), any(c).([]float32), ldc)
		return
	}
	product(false, true, m, w.rows, w.cols, a, w.cols, w.data, w.cols, beta, c, ldc)
}

// backWeight is a matrix M [rows, cols] that gradients are multiplied with as A·M.
type backWeight[T floating] struct {
	rows, cols int
	data       []T
	packed     *gemm.Packed // nil where that does not pay
}

func newBackWeight[T floating](w weight[T], l *loan) backWeight[T] {
	b := backWeight[T]{rows: w.rows, cols: w.cols, data: w.data}
	if w.packed != nil {
		b.packed = gemm.PackBIn(l.floats(gemm.PackedSize(w.cols, w.rows)), false, w.cols, w.rows, any(w.data).([]float32), w.cols)
	}
	return b
}

// multiply computes C = A·M + beta·C; A is [m, rows], lda apart, and C [m, cols] contiguous.
func (w *backWeight[T]) multiply(m int, a []T, lda int, beta T, c []T) {
	if w.packed != nil {
		gemm.F32Packed(false, m, 1, any(a).([]float32), lda, w.packed, float32(beta), any(c).([]float32), w.cols)
		return
	}
	product(false, false, m, w.cols, w.rows, a, lda, w.data, w.cols, beta, c, w.cols)
}

// product computes C = op(A)·op(B) + beta·C, see gemm.F32.
func product[T floating](ta, tb bool, m, n, k int, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	switch a := any(a).(type) {
	case []float32:
		gemm.F32(ta, tb, m, n, k, 1, a, lda, any(b).([]float32), ldb, float32(beta), any(c).([]float32), ldc)
	case []float64:
		gemm.F64(ta, tb, m, n, k, 1, a, lda, any(b).([]float64), ldb, float64(beta), any(c).([]float64), ldc)
	}
}

// direction is what one direction of a layer makes of its weights. It is read-only.
type direction[T floating] struct {
	reverse bool
	w       weight[T] // [G·H, I]
	bias    []T       // [G·H], nil where the layer has none
	cell    cell[T]
}

// newDirection reads direction d of the checked operands W, R, B and P.
func newDirection[T floating](cfg *recurrent.Config, d int, w, r, b, p []T, pack packing) *direction[T] {
	h, gh := cfg.Hidden, cfg.Op.Gates()*cfg.Hidden
	n := len(w) / cfg.Direction.Count()
	dir := &direction[T]{reverse: cfg.Direction == recurrent.Reverse || d == 1, w: newWeight(gh, n/gh, w[d*n:(d+1)*n], pack)}
	r = r[d*gh*h : (d+1)*gh*h]
	acts := cfg.Activations[d*len(cfg.Activations)/cfg.Direction.Count():]
	switch cfg.Op {
	case recurrent.LSTM:
		if p != nil {
			p = p[d*3*h : (d+1)*3*h]
		}
		dir.cell = newLSTMCell(cfg, acts, r, p, pack)
	case recurrent.GRU:
		dir.cell = newGRUCell(cfg, acts, r, pack)
	default:
		dir.cell = newRNNCell(cfg, acts, r, pack)
	}
	if b != nil {
		b = b[d*2*gh : (d+1)*2*gh]
		dir.bias = dir.cell.inputBias(b[:gh], b[gh:])
	}
	return dir
}

// layerMemory is what a node keeps from run to run.
type layerMemory[T floating] struct {
	mu     sync.Mutex
	kept   []*direction[T] // of constant weights; nil before the first run
	spaces sync.Pool       // of *[]T
	traces sync.Pool       // of *[]T, which are much larger
}

// directions reads the weights: once, where they are constants of the program. Weights that are not are packed if they are used often
// enough, in the pass's loan.
func (m *layerMemory[T]) directions(o *recurrentOp, in []*Tensor, often bool, l *loan) []*direction[T] {
	if o.fixed {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.kept != nil {
			return m.kept
		}
	}
	w, r := wideData[T](in[recurrent.SlotW]), wideData[T](in[recurrent.SlotR])
	b, p := wideData[T](optional(in, recurrent.SlotB)), wideData[T](optional(in, recurrent.SlotP))
	pack := packing{often, l}
	if o.fixed {
		pack = packing{pays: true}
	}
	list := make([]*direction[T], o.cfg.Direction.Count())
	for d := range list {
		list[d] = newDirection(&o.cfg, d, w, r, b, p, pack)
	}
	if o.fixed {
		m.kept = list
	}
	return list
}

// borrow returns n elements of no particular content, to be given back with release.
func (m *layerMemory[T]) borrow(n int) *[]T { return borrow[T](&m.spaces, n) }

func (m *layerMemory[T]) release(s *[]T) { m.spaces.Put(s) }

func borrow[T floating](pool *sync.Pool, n int) *[]T {
	s, _ := pool.Get().(*[]T)
	if s == nil {
		s = new([]T)
	}
	if cap(*s) < n {
		*s = make([]T, n)
	}
	*s = (*s)[:n]
	return s
}
