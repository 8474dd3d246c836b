package trals

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
)

// Matrix is W [rows, cols] prepared for decompositions: its singular values across the two sides are found once and serve every
// choice of modes and ranks.
type Matrix struct {
	rows, cols int
	energy     float64
	w          *tensor.Dense    // nil for a compressed stand-in
	spectrum   *linalg.Spectrum // of W
	u, v       []float64        // a stand-in's factors: W ≈ u·vᵀ, u [rows, k], v [cols, k]
	k          int
	metric     *Metric   // nil for the Frobenius norm
	root       []float32 // W·Fᵀ under a metric C = FᵀF, whose spectrum is known

	momentModes []int // the modes whose moments under the metric are modeMoments
	modeMoments [][]float64
}

// NewMatrix analyses w [rows, cols]. leading is the largest r_0·r_n that will be asked for; it matters only for matrices whose Gram
// is too large to afford (the smaller side above 2048, or above 2e10 products), whose spectrum is then known so far and no further.
// An infinite or NaN element is an error that names its place.
func NewMatrix(ctx context.Context, w *tensor.Dense, leading int) (*Matrix, error) {
	if len(w.Dims) != 2 {
		return nil, fmt.Errorf("trals: a matrix has 2 dimensions, not %d", len(w.Dims))
	}
	if err := checkData(w); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m := &Matrix{rows: w.Dims[0], cols: w.Dims[1], w: w, energy: w.SquaredNorm()}
	var err error
	if m.spectrum, err = linalg.Analyze(ctx, w.Data, m.rows, m.cols, m.energy, min(max(leading, 1), m.rows, m.cols)); err != nil {
		return nil, err
	}
	return m, ctx.Err()
}

func checkData(x *tensor.Dense) error {
	if err := x.Validate(); err != nil {
		return fmt.Errorf("trals: %w", err)
	}
	if len(x.Data) == 0 {
		return fmt.Errorf("trals: dims %v: no elements", x.Dims)
	}
	if i := x.FirstNonFinite(); i >= 0 {
		return fmt.Errorf("trals: element %v is %v (only finite numbers can be decomposed)", x.Index(i), x.Data[i])
	}
	return nil
}

// Energy is ‖W‖_F².
func (m *Matrix) Energy() float64 { return m.energy }

// Known is the number of leading singular values that are known.
func (m *Matrix) Known() int { return len(m.spectrum.Squares) }

// SVDError is the relative error of the truncated SVD of rank k ≤ [Matrix.Known].
func (m *Matrix) SVDError(k int) float64 { return m.relative(m.spectrum.Tail(k)) }

// CutBound is a relative error that no matrix of rank k or less stays below (Eckart and Young 1936).
func (m *Matrix) CutBound(k int) float64 { return m.relative(m.spectrum.TailBelow(k)) }

func (m *Matrix) relative(square float64) float64 {
	if !(square > 0) {
		return 0
	}
	return math.Sqrt(square / m.energy)
}

// Prepare finds the truncated SVD of rank k ≤ [Matrix.Known] once, of which starts and predictions at smaller ranks are parts.
func (m *Matrix) Prepare(k int) { m.truncate(min(k, m.known())) }

// Compressed is a stand-in for W by its truncated SVD of rank k, for trying modes and ranks: sweeps cost 4·(rows + cols)·k·r_0·r_n
// FLOPs instead of 4·rows·cols·r_0·r_n, and the errors it reports are those of W but for what W's tail has in common with the ring.
// W itself is returned where that would save little.
func (m *Matrix) Compressed(k int) *Matrix {
	k = min(k, m.Known())
	if m.w == nil || k < 1 || 2*k*(m.rows+m.cols) > m.rows*m.cols {
		return m
	}
	c := *m
	c.u, c.v = m.truncate(k)
	c.w, c.k = nil, k
	return &c
}

// times is W·x for x [cols, n].
func (m *Matrix) times(x []float64, n int) []float64 {
	y := make([]float64, m.rows*n)
	m.timesInto(x, n, y)
	return y
}

func (m *Matrix) timesInto(x []float64, n int, y []float64) {
	if m.w != nil {
		gemm.Wide(false, false, m.rows, n, m.cols, 1, m.w.Data, m.cols, x, n, 0, y, n)
		return
	}
	z := make([]float64, m.k*n)
	gemm.F64(true, false, m.k, n, m.cols, 1, m.v, m.k, x, n, 0, z, n)
	gemm.F64(false, false, m.rows, n, m.k, 1, m.u, m.k, z, n, 0, y, n)
}

// timesT is Wᵀ·x for x [rows, n].
func (m *Matrix) timesT(x []float64, n int) []float64 {
	y := make([]float64, m.cols*n)
	m.timesTInto(x, n, y)
	return y
}

func (m *Matrix) timesTInto(x []float64, n int, y []float64) {
	if m.w != nil {
		gemm.Wide(true, false, m.cols, n, m.rows, 1, m.w.Data, m.cols, x, n, 0, y, n)
		return
	}
	z := make([]float64, m.k*n)
	gemm.F64(true, false, m.k, n, m.rows, 1, m.u, m.k, x, n, 0, z, n)
	gemm.F64(false, false, m.cols, n, m.k, 1, m.v, m.k, z, n, 0, y, n)
}

// truncate is the truncated SVD of rank k ≤ known, left [rows, k], right [cols, k], σ shared evenly. The largest found so far is kept,
// since smaller ones are its first columns.
func (m *Matrix) truncate(k int) (left, right []float64) {
	if k > m.k {
		if m.metric != nil {
			m.u, m.v = m.weightedTruncate(k)
		} else {
			m.u, m.v = m.spectrum.Truncate(m.w.Data, k)
		}
		m.k = k
	}
	pick := func(x []float64, rows int) []float64 {
		y := make([]float64, rows*k)
		for i := range rows {
			copy(y[i*k:(i+1)*k], x[i*m.k:])
		}
		return y
	}
	return pick(m.u, m.rows), pick(m.v, m.cols)
}

// known is the largest rank truncate can give.
func (m *Matrix) known() int {
	if m.w == nil {
		return m.k
	}
	return m.Known()
}

// ring is the two sides during fitting: in runs from bond r_0 to r_n, out from r_n back to r_0.
type ring struct{ in, out chain }

func (r ring) clone() ring { return ring{r.in.clone(), r.out.clone()} }

// cut are the bonds between the sides.
func (r ring) cut() (r0, rn int) { return r.in.ends() }

// cores rounds to float32, with the norm shared evenly by all cores.
func (r ring) cores() []tensor.Core {
	all := append(slices.Clone(r.in), r.out...)
	var logs float64
	norms := make([]float64, len(all))
	for k, g := range all {
		var s float64
		for _, v := range g.v {
			s += v * v
		}
		norms[k] = math.Sqrt(s)
		logs += math.Log(norms[k])
	}
	mean := math.Exp(logs / float64(len(all))) // 0 if a core is zero
	cores := make([]tensor.Core, len(all))
	for k, g := range all {
		c := tensor.Core{Left: g.p, Mode: g.n, Right: g.q, Data: make([]float32, len(g.v))}
		for i, v := range g.v {
			if norms[k] > 0 {
				c.Data[i] = float32(v / norms[k] * mean)
			}
		}
		cores[k] = c
	}
	return cores
}

// factor is the ring as a factor of a matrix.
func factor(rows, cols int, inModes, outModes []int, cores []tensor.Core) *tensor.Factor {
	return &tensor.Factor{Format: "tr", Out: rows, In: cols, InModes: inModes, OutModes: outModes, Cores: cores}
}
