package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
	"github.com/urfave/cli/v2"
)

func importVerb() *verb {
	return &verb{
		name:  "import",
		short: "put weights that were trained elsewhere back into their model",
		args:  []argument{modelArgument("MODEL"), {name: "WEIGHTS", kind: anyFile}},
		flags: []*flag{flagOut, flagJSON, flagQuiet, flagForce, flagFollow, flagThreads},
		text: `
Takes MODEL, and WEIGHTS that export --target safetensors, npz or pytorch wrote of it and that another program has trained since (a .safetensors or .npz file), and writes the model with these weights, each in the
type in which MODEL stores it. All else keeps its bytes; weights that nobody changed give the very file again.

Every weight must be there under the name that export gave it, with the same shape; a file of another model, an unknown or missing tensor, a wrong type, and NaN where the model has a number are refused.`,
		examples: []string{
			"import small.onnx weights.safetensors -o trained.onnx",
			"import small.onnx weights.npz -o trained.onnx --json",
		},
		parse: parseImport,
	}
}

type importCommand struct {
	common
	options convert.ImportOptions
}

func parseImport(c *cli.Context) (command, error) {
	r := &reader{c: c}
	i := importCommand{common: r.common()}
	i.options = convert.ImportOptions{Model: c.Args().First(), Weights: c.Args().Get(1), Output: r.text("o"), Files: r.files()}
	return i, r.err
}

func (i importCommand) run(ctx context.Context, c *console) error {
	i.apply()
	r, err := convert.Import(ctx, i.options)
	if err != nil {
		return err
	}
	return show(c, i.common, r, importText)
}

func importText(r *convert.Imported) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s with the %s weights of %s, %s of which are new\n",
		term.Escape(r.Output.File), term.Escape(r.Input.File), term.Count(int64(r.Weights.Tensors)), term.Escape(r.Weights.File), term.Count(int64(r.Changed)))
	b.WriteString(warnings(r.Warnings))
	return b.String()
}
