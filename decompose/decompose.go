// Package decompose turns weight matrices into tensor.Factors: tensorisation, ranks, budgets, formats.
//
// A matrix W [D·G·H, I] is given modes on both sides (chosen here or by the user), ranks that spend a budget where it lowers the error
// most, and is then fitted by package trals. One budget may span several matrices. Every budget is met, or refused by a *[BudgetError]
// that names the best that can be reached. The rules are in docs/algorithms.md.
package decompose

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// Matrix is one weight matrix to decompose: W [Directions·Gates·Hidden, In], rows in C order (direction, gate, unit).
type Matrix struct {
	Name                      string
	Directions, Gates, Hidden int
	In                        int
	Load                      func(ctx context.Context) (*tensor.Dense, error) // called once, when Run starts
	// Metric, where there is one, says what inputs the matrix meets: the fit then minimises the error on them instead of that of W.
	Metric *trals.Metric
}

// Out is the number of rows.
func (m Matrix) Out() int { return m.Directions * m.Gates * m.Hidden }

// Size is the number of elements.
func (m Matrix) Size() int { return m.Out() * m.In }

// Budget is what the result may cost. Exactly one field is set; the zero value means Ratio 10.
type Budget struct {
	Rank      int     // every rank
	Ranks     []int   // r_0 … r_{d−1}
	Ratio     float64 // Σ before / Σ after over all matrices; those kept dense count on both sides
	MaxError  float64 // relative error of each matrix
	MaxParams int     // Σ after over all matrices
}

// Options choose how a budget is spent.
type Options struct {
	// Format is "tr", "tt", "svd", "ttm", or "auto" (default): the best of the first three for each matrix, and a ring where ranks are given.
	Format            string
	InModes, OutModes []int   // nil: balanced modes chosen here
	Method            string  // "als" (default), "svd": the start alone
	Init              string  // "svd" (default), "random"
	Sweeps            int     // most ALS sweeps; 0 means 30
	Tol               float64 // as trals.Options.Tol; 0 means 1e-4
	Restarts          int
	Seed              uint64

	OnSweep func(matrix string, s trals.Sweep) // may be nil; sweeps of the search are not reported
	OnTrial func(Trial)                        // may be nil; trials of the search
}

// Trial tells an observer how far the search for one matrix's modes and ranks is.
type Trial struct {
	Matrix, Format string
	Done, Most     int     // trials made, and the most there can be, at one size
	Error          float64 // of this trial, on data where there are some
}

// Result is one matrix's outcome.
type Result struct {
	Matrix        string
	Factor        *tensor.Factor // nil where KeptDense
	KeptDense     bool
	Reason        string  // why it was kept dense
	Balanced      bool    // a ring of even ranks was preferred to one that errs up to 1 % less, since no fit of its size keeps much of W
	RelativeError float64 // ‖W−Ŵ‖_F/‖W‖_F of the float32 cores, float64 sums
	DataError     float64 // ‖(W−Ŵ)·X‖_F/‖W·X‖_F on the frames of Matrix.Metric, NaN without
	LowerBound    float64 // no ring with these ranks and modes can do better (Eckart–Young over the cheap bonds)
	// SVDSameSize is the error of the truncated SVD with at most as many numbers, NaN where not even rank 1 fits.
	SVDSameSize float64
	Sweeps      int // all that the result went through, in the search and after it
	Status      trals.Status
	Warnings    []string
}

// BudgetError says that a budget cannot be met and the best that can be reached.
type BudgetError struct {
	Asked, Best string
}

func (e *BudgetError) Error() string {
	return "decompose: budget: asked for " + e.Asked + ", the best that can be reached is " + e.Best
}

// OptionError says that an option, or a budget, does not make sense by itself or for a matrix.
type OptionError struct {
	Option  string // "in-modes", "rank", …
	Matrix  string // "" where no matrix is involved
	Problem string // both values, and what to do
}

func (e *OptionError) Error() string {
	if e.Matrix != "" {
		return fmt.Sprintf("decompose: %s: %q: %s", e.Option, e.Matrix, e.Problem)
	}
	return fmt.Sprintf("decompose: %s: %s", e.Option, e.Problem)
}

// Run decomposes all matrices under one budget, in order. What cannot shrink is kept dense with its reason.
//
// Broken options give a *[OptionError], an unreachable budget a *[BudgetError], a matrix with a NaN or an infinity an error that names
// it and the first index. A cancelled ctx gives its error. All matrices are held in memory at once, each with at most its own size of
// working memory.
func Run(ctx context.Context, ms []Matrix, b Budget, o Options) ([]Result, error) {
	jobs, err := run(ctx, ms, b, o)
	if err != nil {
		return nil, err
	}
	return resultsOf(jobs), nil
}

func resultsOf(jobs []*job) []Result {
	results := make([]Result, len(jobs))
	for i, j := range jobs {
		results[i] = j.result
	}
	return results
}

func run(ctx context.Context, ms []Matrix, b Budget, o Options) ([]*job, error) {
	b, o, err := checkOptions(ms, b, o)
	if err != nil {
		return nil, err
	}
	jobs := make([]*job, len(ms))
	for i, m := range ms {
		if jobs[i], err = newJob(ctx, m, b, o, total(ms)); err != nil {
			return nil, err
		}
	}
	spend := runParams
	if o.Format == auto {
		spend = runAutoParams
	}
	switch {
	case b.Rank > 0 || len(b.Ranks) > 0:
		err = runRanks(ctx, jobs, b)
	case b.MaxError > 0 && o.Format == auto:
		err = runAutoMaxError(ctx, jobs, b.MaxError)
	case b.MaxError > 0:
		err = runMaxError(ctx, jobs, b.MaxError)
	default:
		all := total(ms)
		n, asked := b.numbers(all)
		err = spend(ctx, jobs, n, asked, func(n int) string {
			if b.MaxParams > 0 {
				return fmt.Sprintf("%d numbers", n)
			}
			return ratioText(n, all)
		})
	}
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return jobs, nil
}

// numbers is how many numbers MaxParams or Ratio allows where there are all, and the budget in words.
func (b Budget) numbers(all int) (n int, asked string) {
	if b.MaxParams > 0 {
		return b.MaxParams, fmt.Sprintf("at most %d numbers", b.MaxParams)
	}
	return int(math.Floor(float64(all) / b.Ratio)), fmt.Sprintf("ratio %.4g", b.Ratio)
}

// ratioText says what n numbers of all are as a ratio, rounded down, so that asking for it succeeds.
func ratioText(n, all int) string {
	reached := math.Floor(100*float64(all)/float64(n)) / 100
	return fmt.Sprintf("ratio %s (%d numbers of %d)", strconv.FormatFloat(reached, 'f', -1, 64), n, all)
}

func total(ms []Matrix) int {
	n := 0
	for _, m := range ms {
		n += m.Size()
	}
	return n
}
