package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"

	"github.com/trconvert/trconvert/internal/term"
	"github.com/urfave/cli/v2"
)

// console is where a command reads and writes.
type console struct {
	in       io.Reader
	out, err io.Writer
}

// command is what a command line asks for, parsed.
type command interface {
	run(ctx context.Context, c *console) error
}

// keeper is a command that may leave something behind when it is interrupted, and says what.
type keeper interface{ kept() string }

// common is what every verb's flags may say.
type common struct {
	json, quiet bool
	threads     int // 0: all processors
}

func (c common) apply() {
	if c.threads > 0 {
		goruntime.GOMAXPROCS(c.threads)
	}
}

// bar is where progress is drawn, nil (which draws nothing) where it is not wanted.
func (o common) bar(c *console) *term.Bar {
	if o.quiet {
		return nil
	}
	return term.NewBar(c.err)
}

// show prints a verb's result as its flags ask: a JSON document, nothing, or text.
func show[R any](c *console, o common, result R, text func(R) string) error {
	switch {
	case o.json:
		return writeJSON(c.out, result)
	case o.quiet:
		return nil
	}
	_, err := io.WriteString(c.out, text(result))
	return err
}

// run is the program: it returns the exit code.
func run(ctx context.Context, argv []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd, err := parse(argv)
	if err == nil {
		err = cmd.run(ctx, &console{stdin, stdout, stderr})
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) {
		left := "nothing was written"
		if k, ok := cmd.(keeper); ok {
			left = k.kept()
		}
		fmt.Fprintf(stderr, "trconvert: interrupted; %s\n", term.EscapeLines(left))
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "trconvert: %s\n", term.EscapeLines(message(err)))
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(stderr, usage.hint())
	}
	return exitCode(err)
}

// parse turns argv into a command. It looks at nothing else but the environment variables that flags name.
func parse(argv []string) (command, error) {
	if len(argv) == 1 && argv[0] == residentWord {
		return residentCommand{}, nil
	}
	all := verbs()
	ordered, err := arrange(all, argv)
	if err != nil {
		return nil, err
	}
	if ordered[0] == "help" {
		return helpCommand{all, ordered[1:]}, nil
	}
	var cmd command
	app := &cli.App{
		Name:                      "trconvert",
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true, // site names may hold commas
		Writer:                    io.Discard,
		ErrWriter:                 io.Discard,
		ExitErrHandler:            func(*cli.Context, error) {},
	}
	for _, v := range all {
		c := &cli.Command{Name: v.name, HideHelp: true, OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usagef(v.name, "%v", err)
		}}
		for _, f := range v.flags {
			c.Flags = append(c.Flags, f.cliFlag())
		}
		c.Action = func(ctx *cli.Context) error {
			var err error
			if cmd, err = v.parse(ctx); err != nil {
				var usage *usageError
				if errors.As(err, &usage) {
					usage.verb = v.name
				}
			}
			return err
		}
		app.Commands = append(app.Commands, c)
	}
	if err := app.Run(append([]string{"trconvert"}, ordered...)); err != nil {
		return nil, err
	}
	return cmd, nil
}

// helpCommand prints the list of verbs, or one verb's help.
type helpCommand struct {
	verbs []*verb
	of    []string
}

func (h helpCommand) run(_ context.Context, c *console) error {
	text := overview(h.verbs)
	if len(h.of) > 0 {
		text = findVerb(h.verbs, h.of[0]).help()
	}
	_, err := io.WriteString(c.out, text)
	return err
}

func overview(verbs []*verb) string {
	s := `trconvert makes ONNX models with LSTM, GRU or RNN layers smaller: it factors their input matrices W into
tensor rings, tensor trains or truncated SVDs, and writes a model of standard operators that any runtime runs.

Usage:
  trconvert VERB ARGUMENTS [flags]

Verbs:
`
	for _, v := range verbs {
		s += fmt.Sprintf("  %-12s%s\n", v.name, v.short)
	}
	return s + `  help        this list, or the help of one verb: trconvert help decompose

Flags may stand before and after the arguments of a verb.

Exit codes:
  0 ok · 1 error · 2 usage · 3 model not supported
  4 a gate or budget was missed, or nothing gets smaller (no file is written) · 130 interrupted (no file is written)

Examples:
  trconvert inspect model.onnx
  trconvert decompose model.onnx --ratio 8
  trconvert verify model.onnx model.tr.onnx --max-error 0.05
`
}
