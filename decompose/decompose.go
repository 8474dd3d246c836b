// Package decompose turns a weight matrix into a tensor.Factor: tensorisation, ranks, budgets, formats.
package decompose

import (
	"context"
	"errors"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

var errNotYet = errors.New("decompose: not written yet")

// Matrix is one weight matrix to decompose: W [Directions·Gates·Hidden, In], rows in C order (direction, gate, unit).
type Matrix struct {
	Name                      string
	Directions, Gates, Hidden int
	In                        int
	Load                      func(ctx context.Context) (*tensor.Dense, error) // called when the matrix is needed
}

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
	Format            string // "tr" (default), "tt", "svd"
	InModes, OutModes []int  // nil: balanced modes chosen here
	Method            string // "als" (default), "svd": the start alone
	Init              string // "svd" (default), "random"
	Sweeps            int    // most ALS sweeps; 0 means 30
	Tol               float64
	Restarts          int
	Seed              uint64

	OnSweep func(matrix string, s trals.Sweep) // may be nil
}

// Result is one matrix's outcome.
type Result struct {
	Matrix        string
	Factor        *tensor.Factor // nil where KeptDense
	KeptDense     bool
	Reason        string  // why it was kept dense
	RelativeError float64 // ‖W−Ŵ‖_F/‖W‖_F of the float32 cores, float64 sums
	LowerBound    float64 // no ring with these ranks and modes can do better (Eckart–Young over the cheap bonds)
	// SVDSameSize is the error of the truncated SVD with at most as many numbers, NaN where not even rank 1 fits.
	SVDSameSize float64
	Sweeps      int
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

// Run decomposes all matrices under one budget, in order. What cannot shrink is kept dense with its reason.
func Run(ctx context.Context, ms []Matrix, b Budget, o Options) ([]Result, error) {
	return nil, errNotYet
}
