package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
	"github.com/urfave/cli/v2"
)

func exportVerb() *verb {
	return &verb{
		name:  "export",
		short: "write a model for another use: other opsets, one time step, PyTorch, C, Go",
		args:  []argument{modelArgument("MODEL")},
		flags: []*flag{
			{name: "target", value: "T", group: groupForm, words: convert.Targets, usage: "what is written; see below"},
			{name: "o", value: "OUT", group: groupForm, kind: anyFile, usage: "the file, or for pytorch, c and go the folder, to write"},
			{name: "weights", value: "TYPE", group: groupForm, words: convert.Storages, usage: "how large weights are stored: float32, float16, or int8 with a scale for each channel (default: as the model has them)"},
			{name: "form", value: "FORM", group: groupForm, words: convert.Forms, usage: "onnx: another form of a compact model, as decompose writes them"},
			flagMerge,
			{name: "opset", value: "N", group: groupForm, usage: "onnx: another version of the standard operators, from 13 to 21; the IR version follows"},
			{name: "name", value: "NAME", group: groupForm, usage: "c, go: name of the package, and what names in C begin with (default model)"},
			{name: "batch", value: "N", group: groupForm, usage: "c, go, onnx-gates: size of a symbolic batch (default 1)"},
			{name: "steps", value: "N", group: groupForm, usage: "c, go: size of other symbolic dims, such as the number of time steps (default 16)"},
			{name: "dim", value: "NAME=N", group: groupForm, many: true, usage: "c, go, onnx-gates: size of the symbolic dim NAME; may be repeated"},
			{name: "merge-at-start", group: groupForm, usage: "c, go: hold the cores and multiply them when the program starts: fewer constants, more memory"},
			{name: "state", value: "OUT=IN", group: groupForm, many: true, usage: "c, go, onnx-step, onnx-gates: MODEL is one step of a stream, and its input IN takes output OUT of the step before; may be repeated"},
			flagJSON, flagQuiet, flagForce, flagFollow, flagThreads,
		},
		text: `
onnx: the model itself in any form, opset and storage. onnx-step: one time step with its states as inputs and outputs, for models that run forward in time. onnx-gates: the same with a
product for each gate and no operator that the smallest runtimes lack. safetensors, npz: the weights alone, under stable names. pytorch: a module with its weights and a program that trains
it. c: C99 source without allocation. go: a Go package without dependencies. C and Go come with a test; with --weights int8 they hold their matrices so.

A model that a target cannot express is refused with what it lacks, and nothing is written. With --force a file is replaced, and a folder where every file in it is
listed in its trconvert.json, that is, where export wrote it and nothing else lies there.`,
		examples: []string{
			"export model.tr.onnx --target onnx --opset 17 -o model.17.onnx",
			"export model.tr.onnx --target onnx-step -o step.onnx",
			"export model.tr.onnx --target c -o model_c --weights int8",
		},
		parse: parseExport,
	}
}

type exportCommand struct {
	common
	options convert.TargetOptions
}

func parseExport(c *cli.Context) (command, error) {
	r := &reader{c: c}
	e := exportCommand{common: r.common()}
	e.options = convert.TargetOptions{
		Model:  c.Args().First(),
		Target: r.word("target", convert.Targets),
		Output: r.text("o"),
		ONNX: convert.ONNXOptions{
			Form:        convert.Form(r.word("form", convert.Forms)),
			MergeOutput: c.Bool("merge-output"),
			Opset:       r.integer("opset", 1),
		},
		Source: convert.SourceOptions{
			Name:         r.text("name"),
			Batch:        r.integer("batch", 1),
			Steps:        r.integer("steps", 1),
			MergeAtStart: c.Bool("merge-at-start"),
		},
		Weights: convert.Storage(r.word("weights", convert.Storages)),
		Dims:    r.sizes("dim"),
		States:  r.pairs("state", "OUT=IN"),
		Files:   r.files(),
		Threads: e.threads,
	}
	return e, r.err
}

func (e exportCommand) run(ctx context.Context, c *console) error {
	e.apply()
	r, err := convert.Export(ctx, e.options)
	if err != nil {
		return err
	}
	return show(c, e.common, r, exportText)
}

func exportText(r *convert.Exported) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s → %s: %s, %s\n", term.Escape(r.Input.File), term.Escape(r.Output.File), r.Target, term.Bytes(r.Output.Bytes))
	if len(r.Files) > 0 {
		var rows [][]string
		for _, f := range r.Files {
			rows = append(rows, []string{f.Name, term.Bytes(f.Bytes)})
		}
		b.WriteString("\n" + term.Table([]term.Column{{Title: "file"}, {Title: "size", Figure: true}}, rows))
	}
	for _, list := range []struct {
		title  string
		values []string
	}{{"input", r.Inputs}, {"output", r.Outputs}} {
		for _, v := range list.values {
			fmt.Fprintf(&b, "\n%-8s%s", list.title, term.Escape(v))
		}
	}
	if len(r.Inputs)+len(r.Outputs) > 0 {
		b.WriteString("\n")
	}
	for _, s := range r.States {
		fmt.Fprintf(&b, "state   %s takes %s of the step before; it starts at zero\n", term.Escape(s.Input), term.Escape(s.Output))
	}
	if r.Opset > 0 {
		fmt.Fprintf(&b, "\nopset %d, IR %d, weights %s\n", r.Opset, r.IR, r.Weights)
	}
	if v := r.Verify; v != nil {
		fmt.Fprintf(&b, "checked with %d inputs: relative error %s\n", v.Inputs, term.Error(float64(v.Relative)))
	}
	b.WriteString(warnings(r.Warnings))
	return b.String()
}
