package trals

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
)

// Metric weighs the columns of a matrix by the inputs x ∈ ℝⁿ that it is multiplied with:
//
//	‖D‖_C² = tr(D·C·Dᵀ),   C = M + λ·1,   M = Σ x·xᵀ / frames,   λ = ridge·tr(M)/n,
//
// so that ‖W − Ŵ‖_C² is the mean squared error of (W−Ŵ)·x plus a small multiple of ‖W − Ŵ‖_F², which says what to do in directions
// that the frames do not show. M is not centred: a layer's bias is not refitted.
type Metric struct {
	n      int
	moment []float64 // M [n, n], or nil
	rows   []float32 // frames/√count [count, n] where moment is nil
	count  int
	lambda float64
	trace  float64 // of M
}

// DefaultRidge is the ridge that package decompose uses.
const DefaultRidge = 1e-3

// NewMomentMetric takes Σ x·xᵀ [n, n] over a number of frames. sum is kept and must not change any more.
func NewMomentMetric(n int, sum []float64, frames int, ridge float64) (*Metric, error) {
	if n < 1 || len(sum) != n*n || frames < 1 {
		return nil, fmt.Errorf("trals: a second moment of %d numbers for %d columns and %d frames", len(sum), n, frames)
	}
	c := &Metric{n: n, moment: sum}
	for i := range sum {
		sum[i] /= float64(frames)
	}
	for i := range n {
		c.trace += sum[i*n+i]
	}
	return c, c.regularise(ridge)
}

// NewFrameMetric takes the frames themselves, x [frames, n]: the form for many columns. x is not kept. Cost of a product with a vector:
// 4·frames·n FLOPs, against 2·n² for a moment, which is formed instead where it is smaller.
func NewFrameMetric(x *tensor.Dense, ridge float64) (*Metric, error) {
	if len(x.Dims) != 2 || x.Dims[0] < 1 || x.Dims[1] < 1 || x.Validate() != nil {
		return nil, fmt.Errorf("trals: frames %v: need [frames, columns]", x.Dims)
	}
	q, n := x.Dims[0], x.Dims[1]
	if 2*q >= n {
		sum := make([]float64, n*n)
		gemm.Gram(true, n, q, x.Data, n, sum, n)
		return NewMomentMetric(n, sum, q, ridge)
	}
	c := &Metric{n: n, rows: make([]float32, len(x.Data)), count: q}
	scale := 1 / math.Sqrt(float64(q))
	for i, v := range x.Data {
		c.rows[i] = float32(float64(v) * scale)
		c.trace += float64(v) * float64(v) / float64(q)
	}
	return c, c.regularise(ridge)
}

func (c *Metric) regularise(ridge float64) error {
	if c.trace-c.trace != 0 || c.trace < 0 {
		return fmt.Errorf("trals: frames are not finite (their mean square is %v)", c.trace)
	}
	c.lambda = ridge * c.trace / float64(c.n)
	return nil
}

// Zero reports that no frame differs from zero, so that nothing can be weighed.
func (c *Metric) Zero() bool { return !(c.trace > 0) }

// Columns is n.
func (c *Metric) Columns() int { return c.n }

// times is C·x for x [n, cols]; without the ridge if bare.
func (c *Metric) times(x []float64, cols int, bare bool) []float64 {
	y := make([]float64, len(x))
	if c.moment != nil {
		gemm.F64(false, false, c.n, cols, c.n, 1, c.moment, c.n, x, cols, 0, y, cols)
	} else {
		z := make([]float64, c.count*cols)
		gemm.Wide(false, false, c.count, cols, c.n, 1, c.rows, c.n, x, cols, 0, z, cols)
		gemm.Wide(true, false, c.n, cols, c.count, 1, c.rows, c.n, z, cols, 0, y, cols)
	}
	if !bare {
		for i, v := range x {
			y[i] += c.lambda * v
		}
	}
	return y
}

// root returns W·Fᵀ [rows, k] for w [rows, n], where C = FᵀF: its singular values are those of W in the metric, and its left singular
// vectors span the best subspaces of outputs.
func (c *Metric) root(w *tensor.Dense) (f []float32, k int) {
	rows := w.Dims[0]
	if c.moment == nil {
		k = c.count + c.n
		f = make([]float32, rows*k)
		gemm.F32(false, true, rows, c.count, c.n, 1, w.Data, c.n, c.rows, c.n, 0, f, k)
		s := math.Sqrt(c.lambda)
		for i := range rows {
			for j, v := range w.Data[i*c.n : (i+1)*c.n] {
				f[i*k+c.count+j] = float32(s * float64(v))
			}
		}
		return f, k
	}
	full := make([]float64, c.n*c.n)
	var ch *linalg.Cholesky
	for shift := c.lambda; ; shift = max(10*shift, 1e-14*c.trace/float64(c.n)) { // a moment of few frames needs more than no ridge
		copy(full, c.moment)
		for i := range c.n {
			full[i*c.n+i] += shift
		}
		var ok bool
		if ch, ok = linalg.NewCholesky(c.n, full); ok {
			break
		}
	}
	return ch.TimesLower(rows, w.Data), c.n
}

// norm is ‖D‖_C² for D [rows, n], without the ridge if bare.
func (c *Metric) norm(d *tensor.Dense, bare bool) float64 {
	rows := d.Dims[0]
	var sum float64
	if c.moment == nil {
		z := make([]float64, rows*c.count)
		gemm.Mixed(false, true, rows, c.count, c.n, 1, d.Data, c.n, c.rows, c.n, 0, z, c.count)
		sum = dot(z, z)
	} else {
		z := make([]float64, rows*c.n)
		gemm.Wide(false, false, rows, c.n, c.n, 1, d.Data, c.n, c.moment, c.n, 0, z, c.n)
		for i := range rows {
			var s float64
			for j, v := range d.Data[i*c.n : (i+1)*c.n] {
				s += float64(v) * z[i*c.n+j]
			}
			sum += s
		}
	}
	if !bare {
		sum += c.lambda * d.SquaredNorm()
	}
	return max(0, sum)
}

// Error is the relative error on the frames, ‖(W−Ŵ)·X‖_F/‖W·X‖_F, without the ridge. It is 0 where both vanish and +Inf where only W·X
// does.
func (c *Metric) Error(w *tensor.Dense, f *tensor.Factor) float64 {
	e, all := c.norm(difference(w, f), true), c.norm(w, true)
	switch {
	case e == 0:
		return 0
	case all == 0:
		return math.Inf(1)
	}
	return math.Sqrt(e / all)
}

// modeMoments are the mean-free shapes of C on each mode of the columns: C_k[j, j'] = Σ C[(i, j, l), (i, j', l)] over the other
// indices, [n_k, n_k]. Columns beyond n, which are padding, weigh nothing.
func (c *Metric) modeMoments(modes []int) [][]float64 {
	out := make([][]float64, len(modes))
	inner := product(modes)
	for k, n := range modes {
		inner /= n
		g := make([]float64, n*n)
		for i := range c.n { // i = (before, j, after)
			j := i / inner % n
			for other := range n {
				at := i + (other-j)*inner
				if at < 0 || at >= c.n {
					continue
				}
				if c.moment != nil {
					g[j*n+other] += c.moment[i*c.n+at]
				}
			}
			g[j*n+j] += c.lambda
		}
		if c.moment == nil {
			for s := range c.count {
				row := c.rows[s*c.n : (s+1)*c.n]
				for i, v := range row {
					if v == 0 {
						continue
					}
					j := i / inner % n
					for other := range n {
						if at := i + (other-j)*inner; at < c.n {
							g[j*n+other] += float64(v) * float64(row[at])
						}
					}
				}
			}
		}
		out[k] = g
	}
	return out
}
