package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
)

type verifyCommand struct {
	common
	options convert.VerifyOptions
}

func (v verifyCommand) run(ctx context.Context, c *console) error {
	v.apply()
	bar := v.bar(c)
	v.options.Progress = func(done, samples int) { bar.Show(done, samples, "comparing") }
	r, gate := convert.Verify(ctx, v.options)
	bar.Clear()
	if r == nil {
		return gate
	}
	err := show(c, v.common, r, verificationText)
	if gate != nil {
		return gate
	}
	return err
}

func verificationText(v *convert.Verification) string {
	var b strings.Builder
	engines := "engine: " + v.Engine
	if v.OtherEngine != v.Engine {
		engines = fmt.Sprintf("engines: %s against %s", v.OtherEngine, v.Engine)
	}
	fmt.Fprintf(&b, "%s against %s (%s, %d inputs)\n\n", term.Escape(v.Other.File), term.Escape(v.Model.File), engines, v.Inputs)
	if v.Inputs == 0 {
		return b.String() + strings.TrimLeft(warnings(v.Warnings), "\n")
	}
	var rows [][]string
	for _, o := range v.Outputs {
		rows = append(rows, []string{o.Name, term.Error(float64(o.Relative)), term.Error(float64(o.MaxAbs))})
	}
	b.WriteString(term.Table([]term.Column{{Title: "output", Wrap: 60}, {Title: "relative error", Figure: true}, {Title: "largest difference", Figure: true}}, rows))
	if v.MaxError != nil {
		verdict := "passed"
		if !v.Pass {
			verdict = "missed"
		}
		fmt.Fprintf(&b, "\nThe bound of %g is %s: the worst output's relative error is %s.\n", *v.MaxError, verdict, term.Error(float64(v.Relative)))
	}
	b.WriteString(warnings(v.Warnings))
	return b.String()
}
