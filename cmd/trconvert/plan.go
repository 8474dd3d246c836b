package main

import (
	"context"
	"fmt"
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
simple model and serves to compare sizes; trconvert bench measures.

With -o the choices are written as a recipe. It holds for this model alone.`,
		examples: []string{"plan model.onnx", "plan model.onnx --ratio 25 --json", "plan model.onnx --max-error 0.2 --format tr --form cores", "plan model.onnx --model-bytes 60000 --calibration train.npz -o recipe.yaml"},
		parse:    parsePlan,
	}
	for _, f := range v.flags {
		if f.name == "o" {
			f = &flag{name: "o", value: "RECIPE", group: groupForm, kind: anyFile, usage: "write the choices as a recipe (YAML), which decompose --recipe follows and which can be edited"}
		}
		p.flags = append(p.flags, f)
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
	p := planCommand(d.(decomposeCommand))
	p.options.Output, p.options.RecipeOutput = "", p.options.Output
	return p, nil
}

func (p planCommand) run(ctx context.Context, c *console) error {
	return runFit(ctx, c, p.common, p.options, convert.MakePlan, planText)
}

func planText(p *convert.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (form: %s%s); nothing is written\n\n", term.Escape(p.Input.File), p.Form, storedText(p.Weights))
	sites := make([]convert.SiteReport, len(p.Sites))
	for k, s := range p.Sites {
		sites[k] = s.SiteReport
	}
	own := []term.Column{{Title: "FLOPs a frame", Figure: true}, {Title: "predicted µs", Figure: true}}
	b.WriteString(sitesText(sites, own, func(k int) []string {
		s := p.Sites[k]
		return []string{flops(s.FLOPsBefore) + " → " + flops(s.FLOPsAfter), micros(s.PredictedBefore) + " → " + micros(s.PredictedAfter)}
	}))
	b.WriteString(totalsText(p.Input, p.Output, p.WBefore, p.WAfter))
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

func flops(v float64) string { return term.Count(int64(v)) }

func micros(v float64) string { return fmt.Sprintf("%.3g", v) }
