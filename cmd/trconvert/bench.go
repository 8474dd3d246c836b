package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
	"github.com/urfave/cli/v2"
)

func benchVerb() *verb {
	return &verb{
		name:  "bench",
		short: "measure how long models take",
		args:  []argument{modelArgument("MODEL"), {name: "OTHER", kind: modelFile, many: true}},
		flags: []*flag{
			{name: "batch", value: "N", group: groupData, usage: "sequences in a run (default 1)"},
			{name: "steps", value: "T", group: groupData, usage: "steps of a sequence (default 32)"},
			{name: "ort-library", value: "PATH", group: groupMore, kind: anyFile, env: ortVariable, usage: "measure in ONNX Runtime too: its shared library (default: the environment variable " + ortVariable + ")"},
			flagJSON, flagQuiet, flagFollow, flagThreads,
		},
		text: `
Runs the models on the same random inputs, in turns, in this program's own runtime and in ONNX Runtime where its library is given, and prints
medians. All models must take MODEL's inputs, as its compact versions do.

Which of MODEL's free dimensions is the batch and which the time is found by running it. A model that fixes them is measured as it is.`,
		examples: []string{
			"bench model.onnx model.tr.onnx",
			"bench model.onnx --batch 16 --steps 100 --threads 1 --json",
			"bench model.onnx small.onnx --ort-library libonnxruntime.so.1",
		},
		parse: parseBench,
	}
}

func parseBench(c *cli.Context) (command, error) {
	r := &reader{c: c}
	b := benchCommand{common: r.common()}
	b.options = convert.BenchOptions{
		Models:  c.Args().Slice(),
		Batch:   r.integer("batch", 1),
		Steps:   r.integer("steps", 1),
		Library: c.String("ort-library"),
		Files:   r.files(),
		Threads: b.threads,
	}
	return b, r.err
}

type benchCommand struct {
	common
	options convert.BenchOptions
}

func (v benchCommand) run(ctx context.Context, c *console) error {
	v.apply()
	bar := v.bar(c)
	v.options.Progress = func(done, most int) { bar.Show(done, most, "measuring") }
	r, err := convert.Bench(ctx, v.options)
	bar.Clear()
	if err != nil {
		return err
	}
	return show(c, v.common, r, benchText)
}

func benchText(r *convert.Benchmark) string {
	var b strings.Builder
	if r.Steps > 0 {
		fmt.Fprintf(&b, "Batch %d, %d steps; ", r.Batch, r.Steps)
	}
	var inputs []string
	for _, in := range r.Inputs {
		inputs = append(inputs, fmt.Sprintf("%s %s [%s]", term.Escape(in.Name), in.Type, numbers(in.Dims, ", ")))
	}
	fmt.Fprintf(&b, "inputs: %s\n\n", strings.Join(inputs, "; "))
	var rows [][]string
	for _, t := range r.Results {
		engine := t.Engine
		if engine == "onnxruntime" {
			engine += " " + r.ONNXRuntime
		}
		rows = append(rows, []string{
			t.File, engine, term.Count(t.Bytes), milliseconds(t.Load), milliseconds(t.First), milliseconds(t.Median), milliseconds(t.Fastest),
			term.Factor(t.Speedup), fmt.Sprint(t.Runs),
		})
	}
	b.WriteString(term.Table([]term.Column{
		{Title: "model", Wrap: 60}, {Title: "engine"}, {Title: "bytes", Figure: true}, {Title: "load, ms", Figure: true}, {Title: "first run", Figure: true},
		{Title: "median", Figure: true}, {Title: "fastest", Figure: true}, {Title: "faster", Figure: true}, {Title: "runs", Figure: true},
	}, rows))
	return b.String() + warnings(r.Warnings)
}

func milliseconds(v float64) string { return fmt.Sprintf("%.3g", v) }
