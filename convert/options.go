package convert

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/tensor"
)

// Budget, FitOptions, ExportOptions and Form are the options of the packages that do the work.
type (
	Budget        = decompose.Budget
	FitOptions    = decompose.Options
	ExportOptions = export.Options
	Form          = export.Form
)

// The values that options take; the first of each list is the default.
var (
	Formats = []string{"auto", "tr", "tt", "svd", "ttm"}
	Methods = []string{"als", "svd"}
	Inits   = []string{"svd", "random"}
	Forms   = []string{string(export.Bottleneck), string(export.Cores), string(export.Dense)}
	Engines = []string{"go", "onnxruntime", "onnx-go"}

	// MatrixChoices: the input matrices W alone, with the recurrent matrices R, with all constant matrices of the model.
	MatrixChoices = []string{matricesW, matricesR, matricesAll}
)

const (
	matricesW   = "w"
	matricesR   = "r"
	matricesAll = "all"
)

// Files says how files are opened and written by every verb.
type Files struct {
	Force       bool // replace an existing output (never an input)
	FollowLinks bool // external data may lie behind symbolic links
}

// Options of [Decompose]. Only Model is needed.
type Options struct {
	Model  string
	Output string   // "": DefaultOutput(Model)
	Sites  []string // names or globs (*, ?, […]) of the sites to decompose; none: all
	Budget Budget   // the zero value asks for Ratio 10
	// Matrices is one of MatrixChoices: which matrices join the W of the chosen sites; "" is the first, and the last where Whole is set.
	Matrices string
	Whole    WholeBudget // in place of Budget
	// Recipe is a recipe file to follow, in place of Budget, Whole, Sites, Matrices and the choices of Fit and Export that it makes.
	Recipe string
	// RecipeOutput is where MakePlan writes its choices as a recipe; "": nowhere.
	RecipeOutput string
	Fit          FitOptions
	// Calibration, where it names data, makes the fit minimise the error on the frames that reach each layer.
	Calibration Calibration
	Export      ExportOptions
	Weights     Storage // in which cores and everything else that is large enough is stored; "" means float32
	Files       Files
	Threads     int // of the verification; 0: GOMAXPROCS

	Progress func(Progress) // may be nil; called from the calling goroutine's work, one call at a time
}

// Stage is a part of a long job.
type Stage string

// The stages of [Decompose], in order.
const (
	StageRead      Stage = "read"
	StageCalibrate Stage = "calibrate" // with Options.Calibration
	StageSearch    Stage = "search"    // of modes and ranks, before and between fits
	StageDecompose Stage = "decompose"
	StageWrite     Stage = "write"
	StageVerify    Stage = "verify"
)

// Progress tells an observer how far a job is.
type Progress struct {
	Stage         Stage
	Site          string  // search, decompose: the matrix at work
	Format        string  // search: the format that is tried
	Matrix        int     // search, decompose: its place among Matrices, from 0
	Matrices      int     // search, decompose
	Sweep         int     // decompose: sweeps done on it; search: trials made
	Sweeps        int     // decompose, search: the most there can be
	RelativeError float64 // decompose: after the sweep; on the calibration frames if there are any
	Sample        int     // calibrate: samples run
	Samples       int     // calibrate
}

// DefaultOutput is where a compact model goes if nothing else is said: model.onnx becomes model.tr.onnx beside it.
func DefaultOutput(model string) string {
	base := filepath.Base(model)
	if ext := filepath.Ext(base); strings.EqualFold(ext, ".onnx") {
		base = strings.TrimSuffix(base, ext)
	}
	return filepath.Join(filepath.Dir(model), base+".tr.onnx")
}

// oneOf refuses a value that is none of the valid ones.
func oneOf(option, value string, valid []string) error {
	if slices.Contains(valid, value) {
		return nil
	}
	return &OptionError{Option: option, Value: value, What: "unknown value", Near: nearest(value, valid, 1), Valid: valid}
}

// validate checks what can be checked without the model.
func (o *Options) validate() error {
	for _, c := range []struct {
		option, value string
		valid         []string
	}{
		{"--format", o.Fit.Format, Formats},
		{"--method", o.Fit.Method, Methods},
		{"--init", o.Fit.Init, Inits},
		{"--form", string(o.Export.Form), Forms},
		{"--matrices", o.Matrices, MatrixChoices},
		{"--weights", string(o.Weights), Storages},
	} {
		if c.value == "" {
			continue
		}
		if err := oneOf(c.option, c.value, c.valid); err != nil {
			return err
		}
	}
	if o.Model == "" {
		return &OptionError{Option: "MODEL", What: "no model is named"}
	}
	if o.Calibration.Data == "" && o.Whole.Val.Data == "" && (len(o.Calibration.Reading.States) > 0 || len(o.Calibration.Reading.BatchAxis) > 0) {
		return &OptionError{Option: "--calibration", What: "--state and --batch-axis say how data is read, but neither --calibration nor --val is given"}
	}
	if o.Export.MergeOutput && o.Export.Form == export.Dense {
		return &OptionError{Option: "--merge-output", What: "the dense form has no output cores to merge; use --form bottleneck or cores"}
	}
	if o.Export.MergeOutput && o.Fit.Format == tensor.TTMatrix {
		return &OptionError{Option: "--merge-output", What: "the cores of a TT-matrix carry modes of both sides; it has no output cores to merge"}
	}
	if err := o.checkStorage(); err != nil {
		return err
	}
	set := 0
	for _, on := range []bool{o.Budget.Rank != 0, len(o.Budget.Ranks) > 0, o.Budget.Ratio != 0, o.Budget.MaxError != 0, o.Budget.MaxParams != 0} {
		if on {
			set++
		}
	}
	if err := o.Whole.check(*o, set > 0); err != nil {
		return err
	}
	if err := o.checkRecipe(set > 0); err != nil {
		return err
	}
	if set > 1 {
		return &OptionError{Option: "budget", What: "more than one is given; choose one of --rank, --ranks, --ratio, --max-error, --max-params"}
	}
	return nil
}

// defaultSweeps is what decompose.Options.Sweeps means when it is 0.
const defaultSweeps = 30
