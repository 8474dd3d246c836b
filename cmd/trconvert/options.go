package main

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/urfave/cli/v2"
)

const ortVariable = "TRCONVERT_ORT_LIBRARY"

// reader reads flag values and keeps the first mistake.
type reader struct {
	c   *cli.Context
	err error
}

func (r *reader) fail(name, value, what string) {
	if r.err == nil {
		r.err = &usageError{what: dash(name) + " " + strconv.Quote(value) + ": " + what}
	}
}

func dash(name string) string { return (&flag{name: name}).dashed() }

// text reads a value that may not be empty.
func (r *reader) text(name string) string {
	v := r.c.String(name)
	if v == "" && r.c.IsSet(name) {
		r.fail(name, v, "is empty")
	}
	return v
}

// word reads one of several words, "" where the flag is not given.
func (r *reader) word(name string, valid []string) string {
	v := r.text(name)
	if v != "" && !slices.Contains(valid, v) && r.err == nil {
		r.err = &usageError{what: dash(name) + " " + strconv.Quote(v) + ": unknown value", near: oneEdit(v, valid), valid: valid}
	}
	return v
}

// integer reads a whole number of at least least, 0 where the flag is not given.
func (r *reader) integer(name string, least int) int {
	v := r.text(name)
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	switch {
	case err != nil:
		r.fail(name, v, "not a whole number")
	case n < least:
		r.fail(name, v, "must be at least "+strconv.Itoa(least))
	}
	return n
}

// number reads a finite number above least, 0 where the flag is not given.
func (r *reader) number(name string, least float64) float64 {
	v := r.text(name)
	if v == "" {
		return 0
	}
	x, err := strconv.ParseFloat(v, 64)
	switch {
	case err != nil || math.IsNaN(x) || math.IsInf(x, 0):
		r.fail(name, v, "not a number")
	case x <= least:
		r.fail(name, v, "must be above "+strconv.FormatFloat(least, 'g', -1, 64))
	}
	return x
}

func (r *reader) seed(name string) uint64 {
	v := r.text(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		r.fail(name, v, "not a whole number from 0 to 18446744073709551615")
	}
	return n
}

// list reads whole numbers of at least least, parted by sep.
func (r *reader) list(name, sep string, least int) []int {
	v := r.text(name)
	if v == "" {
		return nil
	}
	var out []int
	for _, word := range strings.Split(v, sep) {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		switch {
		case err != nil:
			r.fail(name, v, strconv.Quote(word)+" is not a whole number (numbers are parted by \""+sep+"\")")
			return nil
		case n < least:
			r.fail(name, v, strconv.Itoa(n)+" is below "+strconv.Itoa(least))
		}
		out = append(out, n)
	}
	return out
}

// modes reads a list of modes. In a TT-matrix a mode of 1 lets a core carry one mode only.
func (r *reader) modes(name string) []int {
	least := 2
	if r.text("format") == "ttm" {
		least = 1
	}
	return r.list(name, "x", least)
}

// pairs reads repeated values of a form such as NAME=FILE; a left side given twice is a mistake.
func (r *reader) pairs(name, form string) map[string]string {
	values := r.c.StringSlice(name)
	if len(values) == 0 {
		return nil
	}
	m := make(map[string]string, len(values))
	for _, v := range values {
		left, right, ok := strings.Cut(v, "=")
		if !ok || left == "" || right == "" {
			r.fail(name, v, "must have the form "+form)
			continue
		}
		if _, twice := m[left]; twice {
			r.fail(name, v, strconv.Quote(left)+" is given twice")
		}
		m[left] = right
	}
	return m
}

// axes reads repeated NAME=K, which say along which axis the samples of an input lie.
func (r *reader) axes(name string) map[string]int { return r.wholes(name, "NAME=K", "axis", 0) }

// sizes reads repeated NAME=N with N of at least 1.
func (r *reader) sizes(name string) map[string]int { return r.wholes(name, "NAME=N", "size", 1) }

// wholes reads repeated pairs whose right side, called what, is a whole number from least.
func (r *reader) wholes(name, form, what string, least int) map[string]int {
	pairs := r.pairs(name, form)
	if pairs == nil {
		return nil
	}
	m := make(map[string]int, len(pairs))
	for left, right := range pairs {
		n, err := strconv.Atoi(right)
		if err != nil || n < least {
			r.fail(name, left+"="+right, "the "+what+" must be a whole number from "+strconv.Itoa(least))
		}
		m[left] = n
	}
	return m
}

func (r *reader) files() convert.Files {
	return convert.Files{Force: r.c.Bool("force"), FollowLinks: r.c.Bool("follow-links")}
}

func (r *reader) common() common {
	return common{json: r.c.Bool("json"), quiet: r.c.Bool("quiet"), threads: r.integer("threads", 1)}
}

func (r *reader) budget() convert.Budget {
	var given []string
	for _, name := range []string{"ratio", "rank", "ranks", "max-error", "max-params", "model-ratio", "model-bytes", "max-drop", "recipe"} {
		if r.c.IsSet(name) {
			given = append(given, dash(name))
		}
	}
	if len(given) > 1 && r.err == nil {
		r.err = &usageError{what: strings.Join(given, " and ") + " contradict each other: one budget at a time"}
	}
	return convert.Budget{
		Ratio:     r.number("ratio", 1),
		Rank:      r.integer("rank", 1),
		Ranks:     r.list("ranks", ",", 1),
		MaxError:  r.number("max-error", 0),
		MaxParams: r.integer("max-params", 1),
	}
}

// whole reads the budgets of the whole file.
func (r *reader) whole() convert.WholeBudget {
	w := convert.WholeBudget{Ratio: r.number("model-ratio", 1), Bytes: int64(r.integer("model-bytes", 1)), Drop: r.c.IsSet("max-drop")}
	if w.Drop {
		w.MaxDrop = r.number("max-drop", math.Nextafter(0, -1))
	}
	w.Val = convert.Validation{
		Data: r.text("val"), Output: r.text("output"), Loss: r.word("loss", convert.Losses),
		Reading: r.reading(),
	}
	return w
}

func parseInspect(c *cli.Context) (command, error) {
	r := &reader{c: c}
	return inspectCommand{common: r.common(), model: c.Args().First(), options: convert.InspectOptions{Files: r.files()}}, r.err
}

func parseDecompose(c *cli.Context) (command, error) {
	r := &reader{c: c}
	d := decomposeCommand{common: r.common()}
	d.options = convert.Options{
		Model:    c.Args().First(),
		Output:   r.text("o"),
		Sites:    c.StringSlice("site"),
		Budget:   r.budget(),
		Recipe:   r.text("recipe"),
		Matrices: r.word("matrices", convert.MatrixChoices),
		Whole:    r.whole(),
		Fit: convert.FitOptions{
			Format:   r.word("format", convert.Formats),
			InModes:  r.modes("in-modes"),
			OutModes: r.modes("out-modes"),
			Method:   r.word("method", convert.Methods),
			Init:     r.word("init", convert.Inits),
			Sweeps:   r.integer("sweeps", 1),
			Tol:      r.number("tol", 0),
			Restarts: r.integer("restarts", 0),
			Seed:     r.seed("seed"),
		},
		Calibration: convert.Calibration{
			Data:    r.text("calibration"),
			Reading: r.reading(),
		},
		Export: convert.ExportOptions{
			Form:        convert.Form(r.word("form", convert.Forms)),
			MergeOutput: c.Bool("merge-output"),
		},
		Weights: convert.Storage(r.word("weights", convert.Storages)),
		Files:   r.files(),
		Threads: d.threads,
	}
	return d, r.err
}

func parseVerify(c *cli.Context) (command, error) {
	r := &reader{c: c}
	v := verifyCommand{common: r.common()}
	v.options = convert.VerifyOptions{
		Model: c.Args().Get(0), Other: c.Args().Get(1),
		Data:        r.text("data"),
		Reading:     r.reading(),
		MaxError:    r.number("max-error", 0),
		Engine:      r.word("engine", convert.Engines),
		OtherEngine: r.word("other-engine", convert.Engines),
		Library:     c.String("ort-library"),
		Files:       r.files(),
		Threads:     v.threads,
	}
	return v, r.err
}

func parseRun(c *cli.Context) (command, error) {
	r := &reader{c: c}
	v := runCommand{common: r.common()}
	v.options = convert.RunOptions{
		Model:   c.Args().First(),
		Inputs:  r.pairs("input", "NAME=FILE"),
		Output:  r.text("o"),
		Files:   r.files(),
		Threads: v.threads,
	}
	if r.err == nil && v.options.Output == "" {
		r.err = &usageError{what: "-o is missing: -o OUT.npz"}
	}
	return v, r.err
}

func parseCompletion(c *cli.Context) (command, error) {
	shell := c.Args().First()
	if !slices.Contains(shells, shell) {
		return nil, &usageError{what: "unknown shell " + strconv.Quote(shell), near: oneEdit(shell, shells), valid: shells}
	}
	return completionCommand{shell}, nil
}

func parseVersion(*cli.Context) (command, error) { return versionCommand{}, nil }
