package decompose

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// job is one matrix on its way.
type job struct {
	Matrix
	o        Options
	w        *tensor.Dense
	m        *trals.Matrix // weighted by Metric if there is one
	plain    *trals.Matrix // without weights
	warnings []string
	tails    map[tailKey][][]float64 // predictions of the search, by side, modes and bonds
	fixed    []shape                 // what a search tries, nil: searchShapes
	result   Result
}

// newJob loads and analyses a matrix. all is the number of elements of all matrices.
func newJob(ctx context.Context, m Matrix, b Budget, o Options, all int) (*job, error) {
	fail := func(err error) error { return fmt.Errorf("decompose: %q: %w", m.Name, err) }
	w, err := m.Load(ctx)
	if err != nil {
		return nil, fail(err)
	}
	if !slices.Equal(w.Dims, []int{m.Out(), m.In}) {
		return nil, fail(fmt.Errorf("loaded as %v, declared as [%d %d]", w.Dims, m.Out(), m.In))
	}
	j := &job{Matrix: m, o: o, w: w, tails: map[tailKey][][]float64{}}
	if j.m, err = trals.NewMatrix(ctx, w, j.leading(b, all)); err != nil {
		return nil, m.failed(ctx, err)
	}
	j.warnings = numericWarnings(w)
	if err := j.weigh(ctx, j.leading(b, all)); err != nil {
		return nil, fail(err)
	}
	j.m.Prepare(j.leading(b, all))
	return j, nil
}

// failed is an error of the matrix, or that of ctx if it ended.
func (m Matrix) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("decompose: %q: %w", m.Name, err)
}

// leading is how many singular values a budget may ask for.
func (j *job) leading(b Budget, all int) int {
	both := j.Out() + j.In
	most := min(j.Out(), j.In)
	switch {
	case b.Rank > 0:
		if j.o.Format == "tr" {
			return min(most, b.Rank*b.Rank)
		}
		return min(most, b.Rank)
	case len(b.Ranks) > 0:
		return min(most, 4*slices.Max(b.Ranks)*slices.Max(b.Ranks))
	case b.MaxError > 0:
		return most / 4
	case b.MaxParams > 0:
		return min(most, 2*b.MaxParams/both+8)
	}
	return min(most, int(2*float64(all)/b.Ratio/float64(both))+8)
}

func numericWarnings(w *tensor.Dense) []string {
	const smallestNormal = 0x1p-126
	denormal, zero := 0, true
	for _, v := range w.Data {
		if v != 0 {
			zero = false
			if v > -smallestNormal && v < smallestNormal {
				denormal++
			}
		}
	}
	switch {
	case zero:
		return []string{"all elements are zero"}
	case denormal > 0:
		return []string{fmt.Sprintf("%d of %d elements are denormal (below 1.2e-38); many runtimes take them for zero", denormal, len(w.Data))}
	}
	return nil
}

// keepDense ends the job without a factor.
func (j *job) keepDense(reason string) {
	j.result = Result{Matrix: j.Name, KeptDense: true, Reason: reason, Status: trals.Converged, Warnings: j.warnings}
}

// shapes are the modes that a search tries.
func (j *job) shapes() []shape {
	if j.fixed != nil {
		return j.fixed
	}
	return searchShapes(j.Matrix, j.o)
}

// single reports whether the matrix has one row or column only. Nothing lies between its sides then: it is kept dense.
func (j *job) single() bool { return min(j.Out(), j.In) == 1 }

// smallest is the fewest numbers that a factor of the job's format can have.
func (j *job) smallest() int {
	if j.single() {
		return j.Size()
	}
	return j.method().smallest()
}

// best is the candidate of at most n numbers that many trials find; its ranks are nil where there is none.
func (j *job) best(ctx context.Context, n int) (candidate, error) { return j.method().best(ctx, n) }

// finish fits a candidate to the end and records the result.
func (j *job) finish(ctx context.Context, c candidate) error { return j.method().finish(ctx, c) }

// params is what the job's result stores.
func (j *job) params() int {
	if j.result.KeptDense {
		return j.Size()
	}
	return j.result.Factor.Params()
}

// candidate is a shape with ranks, and how good it promises or proved to be.
type candidate struct {
	shape
	ranks  []int
	params int
	square float64 // predicted squared relative error
	cores  []tensor.Core
	err    float64
	sweeps int  // behind cores
	ended  bool // further sweeps would not help
}

// sum is what cores of such modes store with ranks of 1.
func sum(modes []int) int {
	n := 0
	for _, m := range modes {
		n += m
	}
	return n
}

func paramsOf(modes, ranks []int) int {
	n := 0
	for k, m := range modes {
		n += ranks[k] * m * ranks[(k+1)%len(ranks)]
	}
	return n
}

// factor is a factor of the job's matrix and format.
func (j *job) factor(s shape, cores []tensor.Core) *tensor.Factor {
	return &tensor.Factor{Format: j.o.Format, Out: j.Out(), In: j.In, InModes: s.in, OutModes: s.out, Cores: cores}
}

// fit runs trals on m, which is the job's matrix or a stand-in for it.
func (j *job) fit(ctx context.Context, m *trals.Matrix, c candidate, sweeps, restarts int, report bool) (*trals.Result, error) {
	o := trals.Options{Ranks: c.ranks, Sweeps: sweeps, Tol: j.o.Tol, Restarts: restarts, Seed: j.o.Seed}
	if j.o.Init == "random" {
		o.Init = trals.InitRandom
	}
	if c.cores != nil {
		o.Init, o.Start = trals.InitGiven, c.cores
	}
	if j.o.Method == "svd" {
		o.Sweeps = -1
	}
	if report && j.o.OnSweep != nil {
		o.OnSweep = func(s trals.Sweep) { j.o.OnSweep(j.Name, s) }
	}
	res, err := m.Decompose(ctx, c.in, c.out, o)
	if err != nil {
		return nil, fmt.Errorf("decompose: %q: %w", j.Name, err)
	}
	if res.Status == trals.Cancelled {
		return nil, ctx.Err()
	}
	return res, nil
}

func (j *job) record(f *tensor.Factor, res *trals.Result) {
	j.result = Result{
		Matrix: j.Name, Factor: f, RelativeError: res.RelativeError, DataError: j.dataError(f), LowerBound: res.LowerBound, SVDSameSize: math.NaN(),
		Sweeps: res.Sweeps, Status: res.Status, Warnings: j.warnings,
	}
	if j.aware() && f.HasSides() {
		j.result.LowerBound = min(j.plain.CutBound(f.Cut()), res.RelativeError)
	}
	if k := f.Params() / (j.Out() + j.In); k >= 1 && min(k, j.Out(), j.In) <= j.plain.Known() {
		j.result.SVDSameSize = j.plain.SVDError(min(k, j.Out(), j.In))
	}
	if cut := f.Cut(); cut >= min(j.Out(), j.In) {
		j.result.Warnings = append(slices.Clip(j.warnings), fmt.Sprintf("r_0·r_n = %d is not below min(%d columns, %d rows): no multiplications are saved", cut, j.In, j.Out()))
	}
}
