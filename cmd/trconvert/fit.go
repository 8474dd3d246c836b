package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
)

// runFit is what decompose and plan share: the call with a bar, then its result.
func runFit[R any](ctx context.Context, c *console, o common, options convert.Options, call func(context.Context, convert.Options) (R, error), text func(R) string) error {
	o.apply()
	bar := o.bar(c)
	options.Progress = (&drawer{bar: bar}).show
	defer limitMemory(options.Model)()
	r, err := call(ctx, options)
	bar.Clear()
	if err != nil {
		return err
	}
	return show(c, o, r, text)
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

// sitesText is the table of the factored sites, with the verb's own last columns (own gives those of the k-th site), and a line for each other site.
func sitesText(sites []convert.SiteReport, columns []term.Column, own func(k int) []string) string {
	var (
		b    strings.Builder
		rows [][]string
		kept []string
	)
	for k, s := range sites {
		switch {
		case s.KeptDense:
			kept = append(kept, fmt.Sprintf("%s (%s parameters) stays %s: %s", s.Name, term.Count(s.WBefore), formatText(s), s.Reason))
			continue
		case s.SharedWith != "":
			kept = append(kept, fmt.Sprintf("%s shares the factor of %s", s.Name, s.SharedWith))
			continue
		}
		rows = append(rows, append([]string{
			s.Name, formatText(s), modes(s.InModes, s.OutModes), numbers(s.Ranks, " "),
			term.Count(s.WBefore), term.Count(s.WAfter), term.Times(s.WBefore, s.WAfter),
			term.Error(float64(s.RelativeError)), onData(s.DataError),
		}, own(k)...))
	}
	b.WriteString(term.Table(append([]term.Column{
		{Title: "site", Wrap: 48}, {Title: "format"}, {Title: "modes in | out"}, {Title: "ranks"},
		{Title: "W before", Figure: true}, {Title: "after", Figure: true}, {Title: "smaller", Figure: true},
		{Title: "error", Figure: true}, {Title: "on data", Figure: true},
	}, columns...), rows))
	for _, k := range kept {
		fmt.Fprintf(&b, "\n%s\n", term.Escape(k))
	}
	return b.String()
}

// formatText is the format of a matrix and its storage.
func formatText(s convert.SiteReport) string {
	if s.Weights == "" || string(s.Weights) == convert.Storages[0] {
		return s.Format
	}
	return s.Format + " " + string(s.Weights)
}

// totalsText is the table of file, parameters and W, before and after.
func totalsText(in, out convert.FileStat, before, after int64) string {
	return "\n" + term.Table([]term.Column{{Title: "in all"}, {Title: "before", Figure: true}, {Title: "after", Figure: true}, {Title: "smaller", Figure: true}}, [][]string{
		{"file, bytes", term.Count(in.Bytes), term.Count(out.Bytes), term.Times(in.Bytes, out.Bytes)},
		{"parameters", term.Count(in.Parameters), term.Count(out.Parameters), term.Times(in.Parameters, out.Parameters)},
		{"of W", term.Count(before), term.Count(after), term.Times(before, after)},
	})
}

// onData is an error on calibration data, a dash without any.
func onData(v convert.Number) string { return dashed(float64(v), term.Error) }
