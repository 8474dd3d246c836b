// Package trals holds the tensor ring and its algorithms on dense tensors: TR-SVD, TT-SVD, and exact alternating least squares (TR-ALS).
// It knows no ONNX.
//
// A ring of d cores G_k [r_k, n_k, r_{k+1}], r_d = r_0, stands for the tensor
//
//	X[i_0, …, i_{d−1}] = Tr( G_0[i_0] · G_1[i_1] ⋯ G_{d−1}[i_{d−1}] ),   G_k[i] = G_k[:, i, :]  (Zhao et al. 2016, eq. 1).
//
// [Decompose] takes any dense tensor. [Matrix] takes a matrix W [out, in] whose two sides are split into modes, input cores first;
// its columns may be padded to a product of modes, and padded columns then do not count in the error and are not constrained.
// Memory stays near the size of the data plus (rows + columns)·r_0·r_n numbers: the subchain of a core is never formed, and neither
// the data nor a permuted copy of them are kept. The formulas are in docs/algorithms.md.
package trals

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/tensor"
)

// Status says why an algorithm ended.
type Status int

// Statuses.
const (
	Converged  Status = iota // the error's relative decrease fell below Tol
	SweepLimit               // Sweeps were used up
	Stalled                  // the error cannot fall further (at the lower bound or at rounding level)
	Diverged                 // the error rose or became NaN; the best ring so far is returned
	Cancelled                // the context ended
)

func (s Status) String() string {
	names := [...]string{"converged", "sweep limit", "stalled", "diverged", "cancelled"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("status %d", int(s))
	}
	return names[s]
}

// Sweep is what an observer is told after each ALS sweep.
type Sweep struct {
	Restart, Number int
	RelativeError   float64
}

// Init is where alternating least squares start.
type Init int

// Starts.
const (
	// InitCut takes the truncated SVD of rank r_0·r_n across the two sides, reshapes its bond to r_0 × r_n, and splits each side by
	// TT-SVD with open ends; a few sweeps on the truncated SVD, each a small part of one on the matrix, then choose the basis of the bond in
	// which the sides have short chains. It can start at any ranks.
	InitCut Init = iota
	InitRandom
	// InitTRSVD takes [TRSVD] at the given ranks. It needs r_0·r_1 ≤ n_0 and no padding.
	InitTRSVD
	// InitGiven continues from Options.Start.
	InitGiven
)

// Options steer [Decompose] and [Matrix.Decompose].
type Options struct {
	// Ranks are r_0 … r_{d−1}. Ranks above what the neighbouring cores can use are lowered (see [CapRanks]).
	Ranks []int
	Init  Init
	Start []tensor.Core // for InitGiven
	// Sweeps is the most ALS sweeps of a start; 0 means 30, negative none: the start alone.
	Sweeps int
	// Tol ends a start when (e_{s−1} − e_s) ≤ Tol·e_{s−1} for two sweeps in a row, e_s being the relative error after sweep s.
	// 0 means 1e-4, negative 0.
	Tol float64
	// Restarts is the number of further, random starts. The best ring of all is kept.
	Restarts int
	Seed     uint64
	OnSweep  func(Sweep) // may be nil
}

const (
	// DefaultSweeps and DefaultTol are what 0 means in [Options].
	DefaultSweeps = 30
	DefaultTol    = 1e-4
	// roundingLevel is the relative error below which float32 data and cores hold no more information.
	roundingLevel = 1e-7
)

func (o Options) sweeps() int {
	switch {
	case o.Sweeps == 0:
		return DefaultSweeps
	default:
		return max(0, o.Sweeps)
	}
}

func (o Options) tol() float64 {
	if o.Tol == 0 {
		return DefaultTol
	}
	return max(0, o.Tol)
}

// Result is a ring and how good it is.
type Result struct {
	Cores []tensor.Core // core k belongs to mode k
	// RelativeError is ‖X−X̂‖_F/‖X‖_F of the float32 cores, differences taken in float64. 0 if both are zero.
	RelativeError float64
	// WeightedError is the error in the matrix's metric (see [NewWeightedMatrix]), RelativeError where it has none.
	WeightedError float64
	// LowerBound is an error that no ring with these modes and ranks stays below: the largest Eckart–Young tail over the arcs of the
	// ring that are cheap to check, always the two sides. NaN where it was not asked for.
	LowerBound float64
	Sweeps     int // of the start that won
	Status     Status
}

// ErrOptions is wrapped by every error that an option causes.
var ErrOptions = errors.New("trals: options")

func optionError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, args...))
}

// CapRanks returns the ranks with every bond lowered to what its cores can use: r_k ≤ r_{k−1}·n_{k−1} and r_k ≤ n_k·r_{k+1}, until
// nothing changes. A bond above that stands for the same rings with more numbers, and makes the normal equations singular.
func CapRanks(modes, ranks []int) []int {
	r := slices.Clone(ranks)
	d := len(r)
	for changed := true; changed; {
		changed = false
		for k := range r {
			before, after := (k+d-1)%d, (k+1)%d
			if most := min(satMul(r[before], modes[before]), satMul(modes[k], r[after])); r[k] > most {
				r[k], changed = most, true
			}
		}
	}
	return r
}

func satMul(a, b int) int {
	if a > math.MaxInt/b {
		return math.MaxInt
	}
	return a * b
}

// maxRank bounds a rank: normal equations have r_k²·r_{k+1}² numbers.
const maxRank = 4096

func checkRanks(modes, ranks []int) error {
	if len(ranks) != len(modes) {
		return optionError("%d ranks for %d modes", len(ranks), len(modes))
	}
	for k, r := range ranks {
		if r < 1 || r > maxRank {
			return optionError("rank r_%d is %d (1 to %d are possible)", k, r, maxRank)
		}
	}
	return nil
}
