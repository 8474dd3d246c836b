package trals

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/tensor"
)

// Metric weighs the columns of a matrix by the inputs x ∈ ℝⁿ that it is multiplied with:
//
//	‖D‖_C² = tr(D·C·Dᵀ),   C = M + λ·1,   M = Σ x·xᵀ / frames,   λ = ridge·tr(M)/n,
//
// so that ‖W − Ŵ‖_C² is the mean squared error of (W−Ŵ)·x plus a small multiple of ‖W − Ŵ‖_F², which says what to do in directions
// that the frames do not show. M is not centred: a layer's bias is not refitted.
//
// Where few directions hold nearly all of M, fits use M ≈ FᵀF of low rank, and λ grows by the trace that is left: all directions beyond
// the leading ones then weigh the same. [Metric.Error] always uses M itself.
type Metric struct {
	n      int
	moment []float64 // M [n, n], or nil
	frames []float32 // frames/√count [count, n] where moment is nil
	count  int
	trace  float64 // of M

	low    []float32 // F [rank, n], or nil: fits use the moment
	rank   int
	narrow []float32 // the moment in float32, where fits use it
	lambda float64
}

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
	return c, c.prepare(ridge)
}

// NewFrameMetric takes the frames themselves, x [frames, n]: the form for many columns. x is not kept.
func NewFrameMetric(x *tensor.Dense, ridge float64) (*Metric, error) {
	if len(x.Dims) != 2 || x.Dims[0] < 1 || x.Dims[1] < 1 || x.Validate() != nil {
		return nil, fmt.Errorf("trals: frames %v: need [frames, columns]", x.Dims)
	}
	q, n := x.Dims[0], x.Dims[1]
	if n <= momentColumns {
		sum := make([]float64, n*n)
		gemm.Gram(true, n, q, x.Data, n, sum, n)
		return NewMomentMetric(n, sum, q, ridge)
	}
	c := &Metric{n: n, frames: make([]float32, len(x.Data)), count: q}
	scale := 1 / math.Sqrt(float64(q))
	for i, v := range x.Data {
		c.frames[i] = float32(float64(v) * scale)
		c.trace += float64(v) * float64(v) / float64(q)
	}
	return c, c.prepare(ridge)
}

const (
	// momentColumns is the largest n whose moment is formed from frames.
	momentColumns = 2048
	// firstRank and lastRank bound the rank of F: it doubles until the trace that is left is below ridge·tr(M).
	firstRank, lastRank = 48, 384
)

// WithRidge is c with another ridge; they share what they hold of the frames. With an infinite one the metric is flat: fits minimise
// the error of the matrix itself, and only errors are measured on the frames.
func (c *Metric) WithRidge(ridge float64) (*Metric, error) {
	d := &Metric{n: c.n, moment: c.moment, frames: c.frames, count: c.count, trace: c.trace}
	return d, d.prepare(ridge)
}

// Flat reports that the ridge is infinite.
func (c *Metric) Flat() bool { return math.IsInf(c.lambda, 1) }

func (c *Metric) prepare(ridge float64) error {
	if c.trace-c.trace != 0 || c.trace < 0 {
		return fmt.Errorf("trals: frames are not finite (their mean square is %v)", c.trace)
	}
	if c.Zero() {
		return nil
	}
	if c.lambda = ridge * c.trace / float64(c.n); c.Flat() {
		return nil
	}
	most := c.n / 4 // above it a product with the moment costs less
	if c.moment == nil {
		most = min(lastRank, c.count)
	}
	for rank := firstRank; rank <= most; rank *= 2 {
		left, ok := c.nystrom(rank)
		if !ok {
			break
		}
		if left <= max(ridge, 1e-6)*c.trace || c.moment == nil && 2*rank > most {
			c.lambda += left / float64(c.n)
			return nil
		}
	}
	c.low, c.rank = nil, 0
	if c.moment == nil { // few frames: they are F themselves
		c.low, c.rank = c.frames, c.count
		return nil
	}
	c.narrow = make([]float32, len(c.moment))
	for i, v := range c.moment {
		c.narrow[i] = float32(v)
	}
	return nil
}

// nystrom sets F to a randomised Nyström approximation of M, F = L⁻¹·(M·Ω)ᵀ with Ωᵀ·M·Ω = L·Lᵀ and Ω [n, rank] normal (Tropp,
// Yurtsever, Udell and Cevher 2017, algorithm 3, without their truncation): M − FᵀF is positive semidefinite. It returns its trace.
func (c *Metric) nystrom(rank int) (left float64, ok bool) {
	n := c.n
	omega := make([]float32, n*rank)
	for i, v := range seed.Normal(seed.Stream(0, "trals", "nystrom"), n*rank) {
		omega[i] = float32(v)
	}
	wide := make([]float64, n*rank)
	for i, v := range omega {
		wide[i] = float64(v)
	}
	y := c.exact(wide, rank) // M·Ω
	inner := symmetric(wide, y, n, rank)
	var shift float64
	for i := range rank {
		shift += 1e-10 * inner[i*rank+i] / float64(rank)
	}
	for i := range rank {
		inner[i*rank+i] += shift
	}
	chol, ok := linalg.NewCholesky(rank, inner)
	if !ok {
		return 0, false
	}
	f := linalg.Transpose(n, rank, y)
	chol.SolveLower(n, f)
	c.low, c.rank = make([]float32, len(f)), rank
	left = c.trace
	for i, v := range f {
		c.low[i] = float32(v)
		left -= v * v
	}
	return max(0, left), true
}

// Zero reports that no frame differs from zero, so that nothing can be weighed.
func (c *Metric) Zero() bool { return !(c.trace > 0) }

// Columns is n.
func (c *Metric) Columns() int { return c.n }

// exact is M·x for x [n, cols].
func (c *Metric) exact(x []float64, cols int) []float64 {
	y := make([]float64, len(x))
	if c.moment != nil {
		gemm.F64(false, false, c.n, cols, c.n, 1, c.moment, c.n, x, cols, 0, y, cols)
		return y
	}
	c.factored(c.frames, c.count, x, cols, y)
	return y
}

// factored is FᵀF·x.
func (c *Metric) factored(f []float32, rank int, x []float64, cols int, y []float64) {
	z := make([]float64, rank*cols)
	gemm.Wide(false, false, rank, cols, c.n, 1, f, c.n, x, cols, 0, z, cols)
	gemm.Wide(true, false, c.n, cols, rank, 1, f, c.n, z, cols, 0, y, cols)
}

// Times is C·x for x [Columns, cols], C as fits use it: the gradient of ½‖D‖_C² is D·C, found here from Dᵀ.
func (c *Metric) Times(x []float64, cols int) []float64 {
	y := make([]float64, len(x))
	if c.low != nil {
		c.factored(c.low, c.rank, x, cols, y)
	} else {
		gemm.F64(false, false, c.n, cols, c.n, 1, c.moment, c.n, x, cols, 0, y, cols)
	}
	for i, v := range x {
		y[i] += c.lambda * v
	}
	return y
}

// roughTimes is [Metric.Times] in float32, for directions of descent.
func (c *Metric) roughTimes(x []float64, cols int) []float64 {
	x32, y32 := make([]float32, len(x)), make([]float32, len(x))
	for i, v := range x {
		x32[i] = float32(v)
	}
	if c.low != nil {
		z := make([]float32, c.rank*cols)
		gemm.F32(false, false, c.rank, cols, c.n, 1, c.low, c.n, x32, cols, 0, z, cols)
		gemm.F32(true, false, c.n, cols, c.rank, 1, c.low, c.n, z, cols, 0, y32, cols)
	} else {
		gemm.F32(false, false, c.n, cols, c.n, 1, c.narrow, c.n, x32, cols, 0, y32, cols)
	}
	y := make([]float64, len(x))
	for i, v := range y32 {
		y[i] = float64(v) + c.lambda*x[i]
	}
	return y
}

// root returns W·Fᵀ [rows, k] for w [rows, n], where C = FᵀF: its singular values are those of W in the metric, and its left singular
// vectors span the best subspaces of outputs.
func (c *Metric) root(w *tensor.Dense) (f []float32, k int) {
	rows := w.Dims[0]
	if c.low != nil {
		k = c.rank + c.n
		f = make([]float32, rows*k)
		gemm.F32(false, true, rows, c.rank, c.n, 1, w.Data, c.n, c.low, c.n, 0, f, k)
		s := math.Sqrt(c.lambda)
		for i := range rows {
			for j, v := range w.Data[i*c.n : (i+1)*c.n] {
				f[i*k+c.rank+j] = float32(s * float64(v))
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

// norm is ‖D‖_C² for D [rows, n] with C as fits use it, or ‖D‖_M².
func (c *Metric) norm(d *tensor.Dense, bare bool) float64 {
	rows := d.Dims[0]
	var sum float64
	f, rank := c.low, c.rank
	if bare {
		f, rank = c.frames, c.count
	}
	if f != nil {
		z := make([]float64, rows*rank)
		gemm.Mixed(false, true, rows, rank, c.n, 1, d.Data, c.n, f, c.n, 0, z, rank)
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

// wideMode is the size from which the moments on a mode are taken for diagonal.
const wideMode = 256

// modeMoments are what C comes to on each mode of the columns: C_k[j, j'] = Σ C[(i, j, l), (i, j', l)] over the other indices, [n_k,
// n_k], or its diagonal [n_k] for a mode of wideMode and more. Columns beyond n, which are padding, weigh nothing.
func (c *Metric) modeMoments(modes []int) [][]float64 {
	out := make([][]float64, len(modes))
	inner := product(modes)
	for k, n := range modes {
		inner /= n
		switch {
		case n >= wideMode:
			out[k] = c.modeDiagonal(n, inner)
			continue
		case c.low != nil:
			out[k] = c.lowModeMoment(n, inner)
		default:
			g := make([]float64, n*n)
			for i := range c.n { // i = (before, j, after)
				j := i / inner % n
				for other := range n {
					if at := i + (other-j)*inner; at < c.n {
						g[j*n+other] += c.moment[i*c.n+at]
					}
				}
			}
			out[k] = g
		}
		for i := range c.n {
			j := i / inner % n
			out[k][j*n+j] += c.lambda
		}
	}
	return out
}

func (c *Metric) modeDiagonal(n, inner int) []float64 {
	d := make([]float64, n)
	for i := range c.n {
		d[i/inner%n] += c.lambda
		if c.low == nil {
			d[i/inner%n] += c.moment[i*c.n+i]
		}
	}
	for at, v := range c.low {
		d[at%c.n/inner%n] += float64(v) * float64(v)
	}
	return d
}

// lowModeMoment is the Gram of F with mode k in the rows.
func (c *Metric) lowModeMoment(n, inner int) []float64 {
	before := (c.n + n*inner - 1) / (n * inner)
	rest := before * inner
	x := make([]float32, n*c.rank*rest)
	for s := range c.rank {
		for i, v := range c.low[s*c.n : (s+1)*c.n] {
			x[(i/inner%n*c.rank+s)*rest+i/(n*inner)*inner+i%inner] = v
		}
	}
	g := make([]float64, n*n)
	gemm.Gram(false, n, c.rank*rest, x, c.rank*rest, g, n)
	return g
}
