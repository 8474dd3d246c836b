package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
)

type decomposeCommand struct {
	common
	options convert.Options
}

func (d decomposeCommand) run(ctx context.Context, c *console) error {
	return runFit(ctx, c, d.common, d.options, convert.Decompose, reportText)
}

func reportText(r *convert.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s → %s (form: %s%s)\n\n", term.Escape(r.Input.File), term.Escape(r.Output.File), r.Form, storedText(r.Weights))

	own := []term.Column{{Title: "bound", Figure: true}, {Title: "SVD of same size", Figure: true}, {Title: "status"}}
	b.WriteString(sitesText(r.Sites, own, func(k int) []string {
		s, svd := r.Sites[k], "–"
		if s.SVDSameSize != nil {
			svd = term.Error(*s.SVDSameSize)
		}
		return []string{term.Error(float64(s.LowerBound)), svd, status(s)}
	}))
	b.WriteString(totalsText(r.Input, r.Output, r.WBefore, r.WAfter))

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

// storedText names the storage of weights where it is not float32.
func storedText(s convert.Storage) string {
	if s == convert.Storage(convert.Storages[0]) {
		return ""
	}
	return ", weights: " + string(s)
}

// largeLoss is the relative error of the outputs from which a report says that it is large.
const largeLoss = 0.05

func checkRow(what string, c convert.Comparison) []string {
	return []string{what, term.Error(float64(c.Relative)), term.Error(float64(c.MaxAbs)), fmt.Sprint(c.Inputs), c.Engine}
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
