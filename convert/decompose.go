package convert

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/trconvert/trconvert/convert/recipe"
	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// Decompose converts a model: it finds the recurrent layers, fits a factor to W of each under the budget, writes the compact model and
// checks the written file before it appears under its name. A model that is compact already is expanded first and compared with
// what it was given as.
//
// It costs the fit (two passes over every W a sweep) and a few runs of both models.
func Decompose(ctx context.Context, o Options) (*Report, error) {
	start := time.Now()
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := guardOutput(o.Output, o.Files.Force, o.inputs()...); err != nil {
		return nil, err
	}
	c := newConversion(o)
	defer c.close()
	if err := c.run(ctx, c.write); err != nil {
		return nil, err
	}
	c.report.Seconds = time.Since(start).Seconds()
	c.report.PeakBytes = peakBytes()
	return c.report, nil
}

// inputs are all files that a conversion reads: the model, data and what tells their labels, and a recipe; "" for one that is not given.
func (o *Options) inputs() []string {
	return []string{o.Model, o.Calibration.Data, o.Whole.Val.Data, o.Whole.Val.Reading.Labels, o.Recipe}
}

// conversion is one call of Decompose or MakePlan at work.
type conversion struct {
	o       Options
	planned bool // fronts are wanted
	report  *Report

	original *onnx.Model // as opened
	dense    *onnx.Model // original without rings, all weights in full
	// narrowed, where weights are stored narrow, is dense with the stored values of what is no core.
	narrowed *onnx.Model
	dropped  []*recurrent.Site
	groups   []*group
	results  []decompose.Result  // of groups
	fronts   [][]decompose.Point // of groups, where planned
	kept     []keptFactor        // what stays a factor as it is

	places [][]place      // of groups, once they were wanted
	recipe *recipe.Recipe // that is followed, nil without
	mix    mix            // how everything is stored
	ridge  *float64       // of the fit on calibration data, where one was chosen for all

	random  []sample // once sampled
	sampled bool
}

func newConversion(o Options) *conversion {
	return &conversion{o: o, report: &Report{Schema: ReportSchema, Form: o.Export.Form, Weights: o.Weights, Sites: []SiteReport{}, Warnings: []Warning{}}}
}

// complete checks the options and fills in the output's name and the choice of matrices.
func (o *Options) complete() error {
	if err := o.validate(); err != nil {
		return err
	}
	if o.Output == "" {
		o.Output = DefaultOutput(o.Model)
	}
	if o.Matrices == "" {
		o.Matrices = matricesW
		if o.Whole.set() || o.Recipe != "" {
			o.Matrices = matricesAll
		}
	}
	return nil
}

// run opens the model, chooses the sites and fits them, and then does what is wanted of the factors.
func (c *conversion) run(ctx context.Context, last func(context.Context) error) error {
	for _, step := range []func(context.Context) error{c.open, c.choose, c.fit, last} {
		if err := step(ctx); err != nil {
			return ended(ctx, c.o.Model, err)
		}
	}
	return nil
}

func (c *conversion) close() {
	if c.narrowed != nil {
		c.narrowed.Close()
	}
	if c.dense != nil && c.dense != c.original {
		c.dense.Close()
	}
	if c.original != nil {
		c.original.Close()
	}
}

func (c *conversion) progress(p Progress) {
	if c.o.Progress != nil {
		c.o.Progress(p)
	}
}

func (c *conversion) warn(code, path, format string, args ...any) {
	c.report.Warnings = append(c.report.Warnings, Warning{Code: code, Path: path, Text: fmt.Sprintf(format, args...)})
}

func (c *conversion) open(ctx context.Context) error {
	c.progress(Progress{Stage: StageRead})
	var err error
	if c.original, err = openModel(ctx, c.o.Model, c.o.Files); err != nil {
		return err
	}
	c.report.Warnings = noticed(c.original)
	if !c.planned {
		if err := guardOutput(c.o.Output, true, c.original.DataFiles()...); err != nil {
			return err
		}
	}
	c.report.Input = FileStat{File: c.o.Model, Bytes: c.original.FileBytes(), Parameters: c.original.Parameters()}
	if err := c.readRecipe(); err != nil {
		return err
	}
	c.dense, err = export.Expand(ctx, c.original)
	return inFile(c.o.Model, err)
}

// choose finds the sites, keeps those that were asked for, and groups them by shared W.
func (c *conversion) choose(ctx context.Context) error {
	all, err := recurrent.Find(ctx, c.dense)
	if err != nil {
		return err
	}
	if len(all) == 0 && c.o.Matrices != matricesAll {
		reason := "it has no LSTM, GRU or RNN node"
		if d := recurrent.Diagnose(c.dense); d != "" {
			reason = d
		}
		return &UnsupportedError{File: c.o.Model, Reasons: []string{reason}}
	}
	sites, err := selectSites(all, c.o.Sites)
	if err != nil {
		return err
	}
	c.groups, c.dropped = groupSites(sites)
	if len(c.groups) == 0 && c.o.Matrices == matricesW {
		e := &UnsupportedError{File: c.o.Model}
		for _, s := range c.dropped {
			e.Reasons = append(e.Reasons, fmt.Sprintf("site %q cannot be decomposed: %s", s.Name, s.Reason))
		}
		return e
	}
	if err := c.chooseMatrices(ctx); err != nil {
		return err
	}
	if err := c.chooseFromRecipe(); err != nil {
		return err
	}
	if err := c.keepFactors(ctx, all); err != nil {
		return err
	}
	if err := c.settle(); err != nil {
		return err
	}
	for _, text := range sharers(c.groups, c.kept) {
		c.warn("shared-weight", "", "%s", text)
	}
	c.mix = uniformMix(len(c.groups), cmp.Or(c.o.Weights, export.Float32))
	return nil
}

// fit decomposes every group's W under the budget.
func (c *conversion) fit(ctx context.Context) error {
	o := c.o.Fit
	if o.Sweeps == 0 {
		o.Sweeps = defaultSweeps
	}
	place := make(map[string]int)
	var ms []decompose.Matrix
	for i, g := range c.groups {
		place[g.name()] = i
		ms = append(ms, g.decomposed())
	}
	observer := o.OnSweep
	o.OnSweep = func(matrix string, s trals.Sweep) {
		c.progress(Progress{Stage: StageDecompose, Site: matrix, Matrix: place[matrix], Matrices: len(ms), Sweep: s.Number, Sweeps: o.Sweeps, RelativeError: s.RelativeError})
		if observer != nil {
			observer(matrix, s)
		}
	}
	o.OnTrial = func(t decompose.Trial) {
		c.progress(Progress{Stage: StageSearch, Site: t.Matrix, Format: t.Format, Matrix: place[t.Matrix], Matrices: len(ms), Sweep: t.Done, Sweeps: t.Most, RelativeError: t.Error})
	}
	c.progress(Progress{Stage: StageDecompose, Site: ms[0].Name, Matrices: len(ms), Sweeps: o.Sweeps})
	if c.recipe != nil {
		return c.fitRecipe(ctx, ms, o)
	}
	if c.o.Whole.set() {
		return c.fitWhole(ctx, ms, o)
	}
	budget := c.o.fitBudget()
	fit := func(ms []decompose.Matrix) (f outcome, err error) {
		if c.planned {
			f.results, f.fronts, err = decompose.Plan(ctx, ms, budget, o)
		} else {
			f.results, err = decompose.Run(ctx, ms, budget, o)
		}
		return f, err
	}
	var (
		f   outcome
		err error
	)
	if c.o.Calibration.Data != "" {
		f, err = c.fitOnData(ctx, ms, fit)
	} else {
		f, err = fit(ms)
	}
	if err != nil {
		return err
	}
	return c.conclude(f, len(ms))
}

// conclude takes the results of n matrices.
func (c *conversion) conclude(f outcome, n int) error {
	c.results, c.fronts = f.results, f.fronts
	c.report.Weights = c.narrowest(c.mix)
	if len(c.results) != n {
		return fmt.Errorf("convert: %d matrices gave %d results", n, len(c.results))
	}
	c.record()
	if byStorage := c.mix.narrow() && (c.o.Whole.set() || c.recipe != nil); !byStorage && !slices.ContainsFunc(c.results, func(r decompose.Result) bool { return !r.KeptDense }) {
		e := &GateError{Gate: "nothing gets smaller", Got: "every site would stay dense"}
		for i, r := range c.results {
			e.Got += fmt.Sprintf("; %q: %s", c.groups[i].name(), r.Reason)
		}
		return e
	}
	return nil
}

// record enters sites and warnings into the report.
func (c *conversion) record() {
	for i, r := range c.results {
		g := c.groups[i]
		if g.matrix != nil {
			sr := outcomeReport(SiteReport{Name: g.name(), Op: g.matrix.Node.OpType, Role: g.role(), Weights: c.mix.shares[i].storage, WBefore: g.size()}, r)
			c.report.Sites = append(c.report.Sites, sr)
			c.report.WBefore += sr.WBefore
			c.report.WAfter += sr.WAfter
		}
		for k, s := range g.sites {
			sr := outcomeReport(SiteReport{Name: s.Name, Op: string(s.Op), Role: roleW, Weights: c.mix.shares[i].storage, WBefore: s.WParameters()}, r)
			if k > 0 {
				sr.SharedWith = g.lead().Name
			} else {
				c.report.WBefore += sr.WBefore
				c.report.WAfter += sr.WAfter
			}
			c.report.Sites = append(c.report.Sites, sr)
			for _, w := range s.Warnings {
				c.warn("weight", s.Name, "%s", w)
			}
			if s.UsedElsewhere && !r.KeptDense && k == 0 {
				c.warn("dense-copy-kept", s.Name, "its W has other readers too, so that the dense copy stays in the file")
			}
		}
		for _, w := range r.Warnings {
			c.warn("fit", g.name(), "%s", w)
		}
	}
	c.recordKept()
	for _, s := range c.dropped {
		n := s.WParameters()
		c.report.Sites = append(c.report.Sites, SiteReport{
			Name: s.Name, Op: string(s.Op), Role: roleW, Format: "dense", Weights: c.mix.rest, InModes: []int{}, OutModes: []int{}, Ranks: []int{},
			WBefore: n, WAfter: n, KeptDense: true, Reason: s.Reason, DataError: Number(math.NaN()),
		})
	}
}

// outcomeReport completes the report of a matrix whose name, size and role are given.
func outcomeReport(sr SiteReport, r decompose.Result) SiteReport {
	sr.Format, sr.InModes, sr.OutModes, sr.Ranks = "dense", []int{}, []int{}, []int{}
	sr.WAfter, sr.KeptDense, sr.Reason, sr.DataError = sr.WBefore, r.KeptDense, r.Reason, Number(math.NaN())
	if r.KeptDense {
		return sr
	}
	f := r.Factor
	sr.Format, sr.InModes, sr.OutModes, sr.Ranks = f.Format, f.InModes, f.OutModes, f.Ranks()
	sr.WAfter = int64(f.Params())
	sr.DataError = Number(r.DataError)
	sr.RelativeError, sr.LowerBound = Number(r.RelativeError), Number(r.LowerBound)
	if !math.IsNaN(r.SVDSameSize) {
		v := r.SVDSameSize
		sr.SVDSameSize = &v
	}
	sr.Sweeps, sr.Status = r.Sweeps, r.Status.String()
	return sr
}

// lower puts the factors into the model in memory. The caller closes the compact model.
func (c *conversion) lower(ctx context.Context) (compact *onnx.Model, fs factors, err error) {
	fs = c.factors(c.results)
	for _, note := range fs.notes(c.o.Export) {
		c.warn("form", "", "%s", note)
	}
	if compact, err = c.lowered(ctx, fs, c.mix); err != nil {
		return nil, fs, err
	}
	if fs, err = c.takeStored(ctx, compact, fs); err != nil {
		compact.Close()
		return nil, fs, err
	}
	if before, after := c.report.Input.Bytes, compact.Size(); after >= before && c.o.Export.Form != export.Dense {
		compact.Close()
		return nil, fs, &GateError{Gate: "nothing gets smaller", Got: fmt.Sprintf("the file would have %d bytes, the input has %d (%s)", after, before, c.whyNotSmaller())}
	}
	if c.o.Export.MergeOutput {
		c.countMerged()
	}
	return compact, fs, nil
}

// lowered is the model with factors in place of matrices, stored as a mix says. The caller closes it.
func (c *conversion) lowered(ctx context.Context, fs factors, x mix) (*onnx.Model, error) {
	o := c.o.Export
	o.Arranged = x.narrow() || c.o.Whole.set() || c.recipe != nil
	patch, err := fs.patch(ctx, c.dense, o)
	if err != nil {
		return nil, err
	}
	compact, err := patch.Apply(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := c.stored(ctx, compact, x)
	if stored != compact {
		compact.Close()
	}
	return stored, err
}

// write writes the file and has it checked before it gets its name.
func (c *conversion) write(ctx context.Context) error {
	c.progress(Progress{Stage: StageWrite})
	compact, fs, err := c.lower(ctx)
	if err != nil {
		return err
	}
	defer compact.Close()
	return compact.WriteFile(ctx, c.o.Output, onnx.WriteOptions{
		Force: c.o.Files.Force,
		Check: func(path string) error { return c.check(ctx, path, fs) },
	})
}

// countMerged counts what is stored where the output cores are stored multiplied out: input cores and L.
func (c *conversion) countMerged() {
	stored := make(map[string]int64)
	c.report.WAfter = 0
	for i, r := range c.results {
		g := c.groups[i]
		n := g.size()
		switch {
		case r.KeptDense:
		case g.matrix != nil:
			n = int64(r.Factor.Params())
		default:
			n = mergedParams(r.Factor)
		}
		stored[g.name()] = n
		c.report.WAfter += n
	}
	for i := range c.report.Sites {
		sr := &c.report.Sites[i]
		lead := sr.Name
		if sr.SharedWith != "" {
			lead = sr.SharedWith
		}
		if n, ok := stored[lead]; ok && !sr.KeptDense {
			sr.WAfter = n
		}
	}
}

func mergedParams(f *tensor.Factor) int64 {
	n := int64(f.Out) * int64(f.Cut())
	for _, core := range f.Cores[:len(f.InModes)] {
		n += int64(len(core.Data))
	}
	return n
}

func (c *conversion) whyNotSmaller() string {
	for i, r := range c.results {
		if s := c.groups[i].lead(); s != nil && s.UsedElsewhere && !r.KeptDense {
			return fmt.Sprintf("W of site %s has other readers and stays beside its cores", strconv.Quote(s.Name))
		}
	}
	return "the cores, their nodes and metadata outweigh what W loses; ask for a smaller budget"
}
