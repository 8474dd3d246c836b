// Package trals holds the tensor ring and its algorithms on dense tensors: TR-SVD, TR-ALS, rounding. It knows no ONNX.
package trals

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
	return [...]string{"converged", "sweep limit", "stalled", "diverged", "cancelled"}[s]
}

// Sweep is what an observer is told after each ALS sweep.
type Sweep struct {
	Restart, Number int
	RelativeError   float64
}
