package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
	"github.com/urfave/cli/v2"
)

func newVerb() *verb {
	return &verb{
		name:  "new",
		short: "write an untrained classifier whose layers are factored from the start",
		flags: []*flag{
			flagOut,
			{name: "form", value: "FORM", group: groupForm, words: convert.NewForms, usage: "bottleneck (default): cores merged in the graph, one multiplication, standard layer; cores: two merged groups, least memory"},
			flagMerge,

			{name: "cell", value: "CELL", group: groupNet, words: convert.Cells, usage: "lstm (default), gru or rnn"},
			{name: "input", value: "I", group: groupNet, usage: "numbers in a frame; with --embed, in a row of the table"},
			{name: "hidden", value: "H", group: groupNet, usage: "units of a layer (and direction)"},
			{name: "classes", value: "C", group: groupNet, usage: "classes to tell apart"},
			{name: "layers", value: "N", group: groupNet, usage: "recurrent layers (default 1)"},
			{name: "bidirectional", group: groupNet, usage: "layers run in both directions; the classes are told from the last state of the one and the first of the other"},
			{name: "embed", value: "V", group: groupNet, usage: "read tokens below V, and look them up in a table of V rows that is trained too"},
			{name: "input-name", value: "NAME", group: groupNet, usage: "name of the input, as arrays of data have it (default x; tokens with --embed)"},
			{name: "scale", value: "X", group: groupNet, usage: "multiply frames by X first, such as 0.004 for grey values to 255 (default 1)"},

			{name: "format", value: "FORMAT", group: groupCores, words: convert.NewFormats, usage: "tr (default): tensor ring; tt: tensor train; ttm: TT-matrix, a row and a column mode on each core; svd: two factors; dense: no factors, to compare with"},
			{name: "in-modes", value: "4x2x5", group: groupCores, usage: "modes of the input size of the first layer; their product may exceed it a little (default: balanced modes)"},
			{name: "out-modes", value: "4x4x16", group: groupCores, usage: "modes of directions × gates × hidden size, whose product is exact (default: balanced modes)"},
			{name: "ratio", value: "X", group: groupCores, usage: "numbers of a dense W / numbers of its cores (default 10)"},
			{name: "rank", value: "R", group: groupCores, usage: "every rank is R"},
			{name: "ranks", value: "R0,R1,…", group: groupCores, usage: "the ranks one by one, as a report lists them"},
			{name: "max-params", value: "N", group: groupCores, usage: "most numbers of W, over all factored layers together"},
			{name: "recurrent-rank", value: "N", group: groupCores, usage: "R of every layer is the product of two matrices of rank N (default: dense)"},
			{name: "seed", value: "S", group: groupCores, usage: "of all weights (default 0); same seed, same bytes"},

			flagJSON, flagQuiet, flagForce, flagThreads,
		},
		text: `
Writes a classifier of sequences for fine-tuning to train from scratch: x [batch, steps, I], or tokens [batch, steps], through recurrent layers to logits [batch, C]. It is a model as decompose
writes it, of standard operators (opset 17) that any runtime runs; nothing as large as a dense W is formed on the way. The dense model to compare with comes from --format dense.

Modes and ranks are those of the first layer, and the others are dense then; without them every layer is factored that gets smaller.

The start is random: cores such that W has the variance 2/(I+H), R uniform in ±1/√H or of the same variance, biases zero but those of the forget gates, which are 1.`,
		examples: []string{
			"new -o m.onnx --input 57600 --hidden 256 --classes 11 --in-modes 160x120x3 --rank 5",
			"new -o gru.onnx --cell gru --input 1032 --hidden 128 --classes 10 --format ttm",
			"new -o text.onnx --embed 20000 --input 256 --hidden 128 --classes 2 --bidirectional",
		},
		parse: parseNew,
	}
}

type newCommand struct {
	common
	options convert.NewOptions
}

func parseNew(c *cli.Context) (command, error) {
	r := &reader{c: c}
	n := newCommand{common: r.common()}
	n.options = convert.NewOptions{
		Output: r.text("o"),
		Cell:   r.word("cell", convert.Cells),
		Input:  r.integer("input", 1), Hidden: r.integer("hidden", 1), Classes: r.integer("classes", 2),
		Layers:        r.integer("layers", 1),
		Bidirectional: c.Bool("bidirectional"),
		Embed:         r.integer("embed", 1),
		Name:          r.text("input-name"),
		Scale:         r.number("scale", 0),
		RecurrentRank: r.integer("recurrent-rank", 1),
		Budget:        r.budget(),
		Fit: convert.FitOptions{
			Format:   r.word("format", convert.NewFormats),
			InModes:  r.modes("in-modes"),
			OutModes: r.modes("out-modes"),
			Seed:     r.seed("seed"),
		},
		Export:  convert.ExportOptions{Form: convert.Form(r.word("form", convert.NewForms)), MergeOutput: c.Bool("merge-output")},
		Files:   r.files(),
		Threads: n.threads,
	}
	return n, r.err
}

func (n newCommand) run(ctx context.Context, c *console) error {
	n.apply()
	r, err := convert.New(ctx, n.options)
	if err != nil {
		return err
	}
	return show(c, n.common, r, creationText)
}

func creationText(r *convert.Creation) string {
	var b strings.Builder
	input := fmt.Sprintf("x [batch, steps, %d]", r.Input)
	if r.Embed > 0 {
		input = fmt.Sprintf("tokens [batch, steps] below %d", r.Embed)
	}
	fmt.Fprintf(&b, "%s: %s → logits [batch, %d], %s\n\n", term.Escape(r.Output.File), input, r.Classes, term.Bytes(r.Output.Bytes))
	var rows [][]string
	var notes []string
	for _, s := range r.Sites {
		shape := "–"
		if len(s.InModes) > 0 {
			shape = modes(s.InModes, s.OutModes)
		}
		rows = append(rows, []string{s.Name, s.Format, shape, numbers(s.Ranks, " "), term.Count(s.WDense), term.Count(s.W), term.Times(s.WDense, s.W)})
		if s.Reason != "" {
			notes = append(notes, fmt.Sprintf("%s is dense: %s", s.Name, s.Reason))
		}
	}
	b.WriteString(term.Table([]term.Column{
		{Title: "layer"}, {Title: "format"}, {Title: "modes in | out"}, {Title: "ranks"}, {Title: "W dense", Figure: true}, {Title: "W", Figure: true}, {Title: "smaller", Figure: true},
	}, rows))
	for _, n := range notes {
		fmt.Fprintf(&b, "\n%s\n", term.Escape(n))
	}
	rows = nil
	total := int64(0)
	for _, p := range r.Parameters {
		rows = append(rows, []string{p.What, term.Count(p.Number)})
		total += p.Number
	}
	rows = append(rows, []string{"in all", term.Count(total)}, []string{"all dense", term.Count(r.Dense)})
	b.WriteString("\n" + term.Table([]term.Column{{Title: "parameters"}, {Title: "number", Figure: true}}, rows))
	b.WriteString(warnings(r.Warnings))
	fmt.Fprintf(&b, "\nIt is untrained: trconvert finetune %s -o OUT --data DATA --labels NAME\n", term.Escape(r.Output.File))
	return b.String()
}
