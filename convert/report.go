package convert

import (
	"encoding/json"
	"math"
)

// Schemas of the JSON documents.
const (
	InspectSchema = "trconvert.inspect/v1"
	ReportSchema  = "trconvert.report/v1"
	VerifySchema  = "trconvert.verify/v1"
)

// Number is a float64 whose NaN and infinities are null in JSON.
type Number float64

// MarshalJSON writes null for what JSON has no number for.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads null as NaN.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// Warning is something the user should know and that is no error.
type Warning struct {
	Code string `json:"code"` // stable, such as "operator-missing"
	Path string `json:"path"` // the site, node or file it is about; "" for the model as a whole
	Text string `json:"text"`
}

// FileStat is a model file in a report.
type FileStat struct {
	File       string `json:"file"`
	Bytes      int64  `json:"bytes"` // external data included
	Parameters int64  `json:"parameters"`
}

// Report is what [Decompose] did and what it cost.
type Report struct {
	Schema string   `json:"schema"`
	Input  FileStat `json:"input"`
	Output FileStat `json:"output"`
	Form   Form     `json:"form"`
	// Weights is the type in which cores and other large weights are stored.
	Weights Storage `json:"weights"`
	// WBefore and WAfter sum the sites' w_parameters, a W shared by several sites counted once.
	WBefore int64        `json:"w_parameters_before"`
	WAfter  int64        `json:"w_parameters_after"`
	Sites   []SiteReport `json:"sites"`
	// Drop is what a budget of a largest drop came to, nil without one.
	Drop    *DropReport  `json:"drop"`
	Verify  VerifyReport `json:"verify"`
	Seconds float64      `json:"seconds"`
	// PeakBytes is the largest resident size the process has had, 0 where the platform does not tell.
	PeakBytes int64     `json:"peak_bytes"`
	Warnings  []Warning `json:"warnings"`
}

// SiteReport is one recurrent layer's outcome.
type SiteReport struct {
	Name          string   `json:"name"`
	Op            string   `json:"op"`
	Role          string   `json:"role"`      // of the matrix: w, or r, matmul-right, matmul-left, gemm, conv, gather
	Format        string   `json:"format"`    // "dense" where kept dense
	InModes       []int    `json:"in_modes"`  // empty where kept dense
	OutModes      []int    `json:"out_modes"` // empty where kept dense
	Ranks         []int    `json:"ranks"`     // r_0 … r_{d−1}
	WBefore       int64    `json:"w_parameters_before"`
	WAfter        int64    `json:"w_parameters_after"`
	RelativeError Number   `json:"relative_error"` // ‖W−Ŵ‖_F/‖W‖_F, of the cores as they are stored
	DataError     Number   `json:"data_error"`     // ‖(W−Ŵ)·X‖_F/‖W·X‖_F on the calibration frames X, null without; of the fit, before cores are rounded to the type in which they are stored
	LowerBound    Number   `json:"lower_bound"`    // no factor with these modes and ranks does better
	SVDSameSize   *float64 `json:"svd_same_size_error"`
	Sweeps        int      `json:"sweeps"`
	Status        string   `json:"status"`
	KeptDense     bool     `json:"kept_dense"`
	Reason        string   `json:"reason"`
	SharedWith    string   `json:"shared_with"` // the earlier site whose W this is, "" where W is its own
}

// VerifyReport holds the two comparisons that every conversion makes.
type VerifyReport struct {
	// Form compares the written file, read back, with the original whose W is replaced in memory by the reconstructed Ŵ.
	Form Comparison `json:"form"`
	// Model compares the written file with the original: the loss of quality. Nil where the model cannot be run.
	Model *Comparison `json:"model"`
}

// Comparison is the difference of two models' outputs over a number of inputs.
type Comparison struct {
	Engine   string `json:"engine"`
	Inputs   int    `json:"inputs"`   // sets of feeds that were run
	MaxAbs   Number `json:"max_abs"`  // largest difference of two elements
	Relative Number `json:"relative"` // ‖a−b‖_F/‖b‖_F, the worst over the outputs
}
