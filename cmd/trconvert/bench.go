package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
			{name: "plot", value: "FILE.svg", group: groupMore, kind: anyFile, usage: "draw times, memory and sizes as bars into this image"},
			{name: "ort-library", value: "PATH", group: groupMore, kind: anyFile, env: ortVariable, usage: "measure in ONNX Runtime too: its shared library (default: the environment variable " + ortVariable + ")"},
			flagJSON, flagQuiet, flagForce, flagFollow, flagThreads,
		},
		text: `
Runs the models on the same random inputs, in turns, in this program's own runtime and in ONNX Runtime where its library is given, and prints
medians. All models must take MODEL's inputs, as its compact versions do. A model that an engine does not run has no figures there.

Memory is measured in processes of their own: what the model adds to what the engine takes.

Which of MODEL's free dimensions is the batch and which the time is found by running it. A model that fixes them is measured as it is.`,
		examples: []string{
			"bench model.onnx model.tr.onnx",
			"bench model.onnx --batch 16 --steps 100 --threads 1 --json",
			"bench model.onnx small.onnx --ort-library libonnxruntime.so.1 --plot times.svg",
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
		Plot:    r.text("plot"),
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
	v.options.Child = residentChild
	r, err := convert.Bench(ctx, v.options)
	bar.Clear()
	if err != nil {
		return err
	}
	return show(c, v.common, r, benchText)
}

// residentWord is the only argument of a process that this program starts of itself to measure memory in. It is no verb: people have no use for it.
const residentWord = "bench-resident"

// residentVariable is set in such a process, so that it never starts another.
const residentVariable = "TRCONVERT_BENCH_RESIDENT"

// residentChild is such a process, nil where the program does not know its own file.
func residentChild(ctx context.Context) *exec.Cmd {
	self, err := os.Executable()
	if err != nil || os.Getenv(residentVariable) != "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, self, residentWord)
	cmd.Args[0] = os.Args[0] // the name under which it was started, where that is a link to a program of many names
	cmd.Env = append(os.Environ(), residentVariable+"=1")
	return cmd
}

type residentCommand struct{}

func (residentCommand) run(ctx context.Context, c *console) error {
	return convert.ServeResident(ctx, c.in, c.out)
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
	b.WriteString(benchTimes(r))
	if len(r.Results) > 1 {
		b.WriteString("\nHow many times better than the first model, on the same engine:\n\n")
		b.WriteString(benchRatios(r))
	}
	if r.Plot != "" {
		fmt.Fprintf(&b, "\ndrawn in %s\n", term.Escape(r.Plot))
	}
	return b.String() + warnings(r.Warnings)
}

func benchTimes(r *convert.Benchmark) string {
	var rows [][]string
	for _, t := range r.Results {
		between := "–"
		if t.Error == "" {
			between = milliseconds(t.Low) + "–" + milliseconds(t.High)
		}
		rows = append(rows, []string{
			t.File, engineName(r, t), term.Count(t.Bytes), milliseconds(t.Load), milliseconds(t.First), milliseconds(t.Median), between,
			milliseconds(t.RunCPU), milliseconds(t.Step * 1000), memory(t.Resident.Used), memory(t.Resident.Peak),
		})
	}
	return term.Table([]term.Column{
		{Title: "model", Wrap: 60}, {Title: "engine"}, {Title: "bytes", Figure: true}, {Title: "load, ms", Figure: true}, {Title: "first run", Figure: true},
		{Title: "a run", Figure: true}, {Title: "most runs", Figure: true}, {Title: "processor", Figure: true}, {Title: "a step, µs", Figure: true},
		{Title: "memory, MB", Figure: true}, {Title: "peak", Figure: true},
	}, rows)
}

func benchRatios(r *convert.Benchmark) string {
	var rows [][]string
	for _, t := range r.Results {
		row := []string{t.File, engineName(r, t)}
		for _, ratio := range []convert.Number{t.BytesRatio, t.LoadRatio, t.ReadyRatio, t.Speedup, t.MemoryRatio} {
			row = append(row, term.Factor(float64(ratio)))
		}
		rows = append(rows, row)
	}
	return term.Table([]term.Column{
		{Title: "model", Wrap: 60}, {Title: "engine"}, {Title: "bytes", Figure: true}, {Title: "load", Figure: true}, {Title: "load and first run", Figure: true},
		{Title: "a run", Figure: true}, {Title: "memory", Figure: true},
	}, rows)
}

func engineName(r *convert.Benchmark, t convert.BenchResult) string {
	if t.Engine == "onnxruntime" {
		return t.Engine + " " + r.ONNXRuntime
	}
	return t.Engine
}

func milliseconds(v convert.Number) string {
	return dashed(float64(v), func(v float64) string { return fmt.Sprintf("%.3g", v) })
}

// memory writes bytes as megabytes.
func memory(v convert.Number) string {
	return dashed(float64(v)/1e6, func(v float64) string { return fmt.Sprintf("%.1f", v) })
}
