package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
	"github.com/urfave/cli/v2"
)

func planVerb() *verb {
	v := decomposeVerb()
	p := &verb{
		name:  "plan",
		short: "show what decompose would choose, and what else it could",
		args:  v.args,
		text: `
The dry run of decompose: with the same flags it makes the same choices, to the byte, and writes nothing. For every recurrent layer it shows the
format, modes and ranks with their error and cost, and a table of the alternatives: of all ways to store W that were tried, those of which none has both
more numbers and no smaller error than another one.

FLOPs are those of the layer's input projection for one frame, a multiplication and an addition being two. The time is predicted from FLOPs and bytes by a
simple model and serves to compare sizes; trconvert bench measures.`,
		examples: []string{"plan model.onnx", "plan model.onnx --ratio 25 --json", "plan model.onnx --max-error 0.2 --format tr --form cores"},
		parse:    parsePlan,
	}
	for _, f := range v.flags {
		if f.name != "o" && f != flagForce {
			p.flags = append(p.flags, f)
		}
	}
	return p
}

type planCommand struct {
	common
	options convert.Options
}

// parsePlan reads the flags of decompose.
func parsePlan(c *cli.Context) (command, error) {
	d, err := parseDecompose(c)
	if err != nil {
		return nil, err
	}
	return planCommand(d.(decomposeCommand)), nil
}

func (p planCommand) run(ctx context.Context, c *console) error {
	p.apply()
	var bar *term.Bar
	if !p.quiet {
		bar = term.NewBar(c.err)
		p.options.Progress = (&drawer{bar: bar}).show
	}
	plan, err := convert.MakePlan(ctx, p.options)
	bar.Clear()
	if err != nil {
		return err
	}
	switch {
	case p.json:
		return writeJSON(c.out, plan)
	case p.quiet:
		return nil
	}
	_, err = io.WriteString(c.out, planText(plan))
	return err
}

func planText(p *convert.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (form: %s); nothing is written\n\n", term.Escape(p.Input.File), p.Form)
	var (
		rows [][]string
		kept []string
	)
	for _, s := range p.Sites {
		switch {
		case s.KeptDense:
			kept = append(kept, fmt.Sprintf("%s (%s parameters) stays dense: %s", s.Name, term.Count(s.WBefore), s.Reason))
			continue
		case s.SharedWith != "":
			kept = append(kept, fmt.Sprintf("%s shares the factor of %s", s.Name, s.SharedWith))
			continue
		}
		rows = append(rows, []string{
			s.Name, s.Format, modes(s.InModes, s.OutModes), numbers(s.Ranks, " "),
			term.Count(s.WBefore), term.Count(s.WAfter), term.Times(s.WBefore, s.WAfter),
			term.Error(float64(s.RelativeError)), onData(s.DataError),
			flops(s.FLOPsBefore) + " → " + flops(s.FLOPsAfter), micros(s.PredictedBefore) + " → " + micros(s.PredictedAfter),
		})
	}
	b.WriteString(term.Table([]term.Column{
		{Title: "site", Wrap: 48}, {Title: "format"}, {Title: "modes in | out"}, {Title: "ranks"},
		{Title: "W before", Figure: true}, {Title: "after", Figure: true}, {Title: "smaller", Figure: true},
		{Title: "error", Figure: true}, {Title: "on data", Figure: true}, {Title: "FLOPs a frame", Figure: true}, {Title: "predicted µs", Figure: true},
	}, rows))
	for _, k := range kept {
		fmt.Fprintf(&b, "\n%s\n", term.Escape(k))
	}
	b.WriteString("\n")
	b.WriteString(term.Table([]term.Column{{Title: "in all"}, {Title: "before", Figure: true}, {Title: "after", Figure: true}, {Title: "smaller", Figure: true}}, [][]string{
		{"file, bytes", term.Count(p.Input.Bytes), term.Count(p.Output.Bytes), term.Times(p.Input.Bytes, p.Output.Bytes)},
		{"parameters", term.Count(p.Input.Parameters), term.Count(p.Output.Parameters), term.Times(p.Input.Parameters, p.Output.Parameters)},
		{"of W", term.Count(p.WBefore), term.Count(p.WAfter), term.Times(p.WBefore, p.WAfter)},
	}))
	for _, s := range p.Sites {
		if len(s.Front) > 0 {
			fmt.Fprintf(&b, "\nSizes and errors of %s (* chosen)\n\n%s", term.Escape(s.Name), frontTable(s))
		}
	}
	b.WriteString(warnings(p.Warnings))
	fmt.Fprintf(&b, "\n%.1f s, %s of memory at most\n", p.Seconds, term.Bytes(p.PeakBytes))
	return b.String()
}

func frontTable(s convert.SitePlan) string {
	var rows [][]string
	for _, f := range s.Front {
		mark := ""
		if f.Chosen {
			mark = "*"
		}
		shape := "–"
		if len(f.InModes) > 0 {
			shape = modes(f.InModes, f.OutModes)
		}
		rows = append(rows, []string{
			mark, f.Format, shape, numbers(f.Ranks, " "), term.Count(int64(f.Parameters)), term.Times(s.WBefore, int64(f.Parameters)), term.Count(f.Bytes),
			term.Error(float64(f.RelativeError)), onData(f.DataError), flops(f.Bottleneck), flops(f.Cores), micros(f.PredictedMicros),
		})
	}
	return term.Table([]term.Column{
		{Title: ""}, {Title: "format"}, {Title: "modes in | out"}, {Title: "ranks"}, {Title: "numbers", Figure: true}, {Title: "smaller", Figure: true}, {Title: "bytes", Figure: true},
		{Title: "error", Figure: true}, {Title: "on data", Figure: true}, {Title: "FLOPs", Figure: true}, {Title: "form cores", Figure: true}, {Title: "predicted µs", Figure: true},
	}, rows)
}

// onData is an error on calibration data, a dash without any.
func onData(v convert.Number) string {
	if math.IsNaN(float64(v)) {
		return "–"
	}
	return term.Error(float64(v))
}

func flops(v float64) string { return term.Count(int64(v)) }

func micros(v float64) string { return fmt.Sprintf("%.3g", v) }
