package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
)

type decomposeCommand struct {
	common
	options convert.Options
}

func (d decomposeCommand) run(ctx context.Context, c *console) error {
	d.apply()
	var bar *term.Bar
	if !d.quiet {
		bar = term.NewBar(c.err)
		d.options.Progress = (&drawer{bar: bar}).show
	}
	defer limitMemory(d.options.Model)()
	r, err := convert.Decompose(ctx, d.options)
	bar.Clear()
	if err != nil {
		return err
	}
	switch {
	case d.json:
		return writeJSON(c.out, r)
	case d.quiet:
		return nil
	}
	_, err = io.WriteString(c.out, reportText(r))
	return err
}

// drawer moves a bar along a conversion: a unit is a sweep of a matrix; writing and verifying are one each.
type drawer struct {
	bar    *term.Bar
	sweeps int // of all matrices
}

func (d *drawer) show(p convert.Progress) {
	switch p.Stage {
	case convert.StageRead:
		d.bar.Show(0, 1, "reading")
	case convert.StageCalibrate:
		d.bar.Show(p.Sample, p.Samples, "collecting inputs")
	case convert.StageSearch:
		d.bar.Show(min(p.Sweep, p.Sweeps), p.Sweeps+1, fmt.Sprintf("searching %s, %s, error %s", p.Site, p.Format, term.Error(p.RelativeError)))
	case convert.StageDecompose:
		d.sweeps = p.Matrices * p.Sweeps
		text := "fitting " + p.Site
		if p.Sweep > 0 {
			text += fmt.Sprintf(", sweep %d, error %s", p.Sweep, term.Error(p.RelativeError))
		}
		d.bar.Show(p.Matrix*p.Sweeps+min(p.Sweep, p.Sweeps), d.sweeps+2, text)
	case convert.StageWrite:
		d.bar.Show(d.sweeps, d.sweeps+2, "writing")
	case convert.StageVerify:
		d.bar.Show(d.sweeps+1, d.sweeps+2, "verifying")
	}
}

func reportText(r *convert.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s → %s (form: %s)\n\n", term.Escape(r.Input.File), term.Escape(r.Output.File), r.Form)

	var (
		rows [][]string
		kept []string
	)
	for _, s := range r.Sites {
		switch {
		case s.KeptDense:
			kept = append(kept, fmt.Sprintf("%s (%s parameters) stays dense: %s", s.Name, term.Count(s.WBefore), s.Reason))
			continue
		case s.SharedWith != "":
			kept = append(kept, fmt.Sprintf("%s shares the factor of %s", s.Name, s.SharedWith))
			continue
		}
		svd := "–"
		if s.SVDSameSize != nil {
			svd = term.Error(*s.SVDSameSize)
		}
		rows = append(rows, []string{
			s.Name, s.Format, modes(s.InModes, s.OutModes), numbers(s.Ranks, " "),
			term.Count(s.WBefore), term.Count(s.WAfter), term.Times(s.WBefore, s.WAfter),
			term.Error(float64(s.RelativeError)), dataError(s), term.Error(float64(s.LowerBound)), svd, status(s),
		})
	}
	b.WriteString(term.Table([]term.Column{
		{Title: "site", Wrap: 48}, {Title: "format"}, {Title: "modes in | out"}, {Title: "ranks"},
		{Title: "W before", Figure: true}, {Title: "after", Figure: true}, {Title: "smaller", Figure: true},
		{Title: "error", Figure: true}, {Title: "on data", Figure: true}, {Title: "bound", Figure: true}, {Title: "SVD of same size", Figure: true}, {Title: "status"},
	}, rows))
	for _, k := range kept {
		fmt.Fprintf(&b, "\n%s\n", term.Escape(k))
	}

	b.WriteString("\n")
	b.WriteString(term.Table([]term.Column{{Title: "in all"}, {Title: "before", Figure: true}, {Title: "after", Figure: true}, {Title: "smaller", Figure: true}}, [][]string{
		{"file, bytes", term.Count(r.Input.Bytes), term.Count(r.Output.Bytes), term.Times(r.Input.Bytes, r.Output.Bytes)},
		{"parameters", term.Count(r.Input.Parameters), term.Count(r.Output.Parameters), term.Times(r.Input.Parameters, r.Output.Parameters)},
		{"of W", term.Count(r.WBefore), term.Count(r.WAfter), term.Times(r.WBefore, r.WAfter)},
	}))

	b.WriteString("\nVerified by running the written file\n\n")
	checks := [][]string{checkRow("against the factored model (rounding)", r.Verify.Form)}
	if r.Verify.Model != nil {
		checks = append(checks, checkRow("against the original (loss of quality)", *r.Verify.Model))
	}
	b.WriteString(term.Table([]term.Column{{Title: "outputs"}, {Title: "relative error", Figure: true}, {Title: "largest difference", Figure: true}, {Title: "inputs", Figure: true}, {Title: "engine"}}, checks))
	if r.Verify.Model == nil {
		b.WriteString("\nThe loss of quality is not known: the model as a whole could not be run here.\n")
	} else if q := float64(r.Verify.Model.Relative); q >= largeLoss {
		fmt.Fprintf(&b, "\nOn random inputs the outputs change by %s. A fit at this ratio loses quality: measure it on real data with\ntrconvert verify --data, ask for less (--ratio, --max-error), or fine-tune the model before use.\n", term.Percent(q))
	}
	b.WriteString(warnings(r.Warnings))
	fmt.Fprintf(&b, "\n%.1f s, %s of memory at most\n", r.Seconds, term.Bytes(r.PeakBytes))
	return b.String()
}

// largeLoss is the relative error of the outputs from which a report says that it is large.
const largeLoss = 0.05

func checkRow(what string, c convert.Comparison) []string {
	return []string{what, term.Error(float64(c.Relative)), term.Error(float64(c.MaxAbs)), fmt.Sprint(c.Inputs), c.Engine}
}

// dataError is the error on the calibration frames, a dash without any.
func dataError(s convert.SiteReport) string {
	if math.IsNaN(float64(s.DataError)) {
		return "–"
	}
	return term.Error(float64(s.DataError))
}

func status(s convert.SiteReport) string {
	if s.Sweeps == 0 {
		return s.Status
	}
	plural := "s"
	if s.Sweeps == 1 {
		plural = ""
	}
	return fmt.Sprintf("%s, %d sweep%s", s.Status, s.Sweeps, plural)
}
