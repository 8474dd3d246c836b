package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
)

type inspectCommand struct {
	common
	model   string
	options convert.InspectOptions
}

func (i inspectCommand) run(ctx context.Context, c *console) error {
	i.apply()
	in, err := convert.Inspect(ctx, i.model, i.options)
	if err != nil {
		return err
	}
	return show(c, i.common, in, inspectText)
}

// mostShares is how many lines of the bytes table are printed one by one.
const mostShares = 8

func inspectText(in *convert.Inspection) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s parameters, opset %d, IR %d", term.Escape(in.File), term.Bytes(in.FileBytes), term.Count(in.Parameters), in.Opset, in.IRVersion)
	if in.Weights != convert.Storage(convert.Storages[0]) {
		fmt.Fprintf(&b, ", weights stored as %s", in.Weights)
	}
	if in.Producer != "" {
		fmt.Fprintf(&b, ", made by %s", term.Escape(in.Producer))
	}
	b.WriteString("\n\nWhere the bytes are\n\n")
	b.WriteString(term.Table([]term.Column{{Title: "what"}, {Title: "tensors", Figure: true}, {Title: "bytes", Figure: true}, {Title: "share", Figure: true}}, shareRows(in)))

	if len(in.Rings) > 0 {
		b.WriteString("\nFactors (this model is compact already)\n\n")
		var rows [][]string
		for _, r := range in.Rings {
			rows = append(rows, []string{strings.Join(r.Sites, ", "), r.Format, string(r.Form), modes(r.InModes, r.OutModes), numbers(r.Ranks, " "), term.Count(r.Parameters)})
		}
		b.WriteString(term.Table([]term.Column{{Title: "sites", Wrap: 40}, {Title: "format"}, {Title: "form"}, {Title: "modes"}, {Title: "ranks"}, {Title: "parameters", Figure: true}}, rows))
	}
	if len(in.Sites) == 0 {
		b.WriteString("\nNo LSTM, GRU or RNN node: there is nothing to decompose.\n")
		return b.String() + warnings(in.Warnings)
	}
	b.WriteString("\nRecurrent layers\n\n")
	var (
		rows  [][]string
		notes []string
	)
	factored := make(map[string]bool)
	for _, r := range in.Rings {
		for _, s := range r.Sites {
			factored[s] = true
		}
	}
	for _, s := range in.Sites {
		state := "no"
		switch {
		case factored[s.Name]:
			state = "factored"
		case s.Decomposable:
			state = "yes"
		}
		rows = append(rows, []string{
			s.Name, s.Op + " " + s.Direction, term.Count(int64(s.Input)), term.Count(int64(s.Hidden)), term.Count(s.W),
			term.Percent(s.Share), term.Factor(s.Ceiling), state,
		})
		if state == "no" {
			notes = append(notes, fmt.Sprintf("%s: %s", s.Name, s.Reason))
		}
		if len(s.SharedWith) > 0 && s.Name < s.SharedWith[0] {
			notes = append(notes, fmt.Sprintf("%s shares its W with %s", s.Name, strings.Join(s.SharedWith, ", ")))
		}
	}
	b.WriteString(term.Table([]term.Column{
		{Title: "site", Wrap: 60}, {Title: "layer"}, {Title: "I", Figure: true}, {Title: "H", Figure: true}, {Title: "W params", Figure: true},
		{Title: "of file", Figure: true}, {Title: "ceiling", Figure: true}, {Title: "decomposable"},
	}, rows))
	for _, n := range notes {
		fmt.Fprintf(&b, "\n%s\n", term.Escape(n))
	}
	return b.String() + warnings(in.Warnings)
}

func shareRows(in *convert.Inspection) [][]string {
	shares := in.Bytes
	if len(shares) > mostShares {
		rest := convert.ByteShare{What: fmt.Sprintf("%d further kinds", len(shares)-mostShares)}
		for _, s := range shares[mostShares:] {
			rest.Tensors += s.Tensors
			rest.Bytes += s.Bytes
		}
		shares = append(shares[:mostShares:mostShares], rest)
	}
	var rows [][]string
	for _, s := range shares {
		tensors := ""
		if s.Tensors > 0 {
			tensors = term.Count(int64(s.Tensors))
		}
		rows = append(rows, []string{s.What, tensors, term.Count(s.Bytes), term.Percent(float64(s.Bytes) / float64(max(1, in.FileBytes)))})
	}
	return rows
}

// modes writes 4×2×5 | 4×4×16: input modes, then output modes.
func modes(in, out []int) string { return numbers(in, "×") + " | " + numbers(out, "×") }

func numbers(v []int, sep string) string {
	words := make([]string, len(v))
	for i, n := range v {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, sep)
}

func warnings(ws []convert.Warning) string {
	var b strings.Builder
	for i, w := range ws {
		if i == 0 {
			b.WriteString("\n")
		}
		b.WriteString("warning: ")
		if w.Path != "" {
			b.WriteString(term.Escape(w.Path) + ": ")
		}
		b.WriteString(term.Escape(w.Text) + "\n")
	}
	return b.String()
}

// writeJSON writes one indented document. HTML characters stay as they are.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
