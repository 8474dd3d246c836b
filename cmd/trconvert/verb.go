package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// verb is one line of the command table: help, parsing and shell completion all come from it.
type verb struct {
	name     string
	short    string // one line for the list of verbs
	args     []argument
	flags    []*flag
	text     string   // what it does, paragraphs
	examples []string // each a command line, without the program's name
	parse    func(*cli.Context) (command, error)
}

// argument is a positional argument.
type argument struct {
	name  string
	kind  fileKind
	words []string // all valid values, where they can be listed
	many  bool     // may be left out or repeated; only the last argument
}

// flag is one option.
type flag struct {
	name, short string
	value       string // placeholder; "" for a switch
	usage       string
	group       string
	many        bool     // may be repeated
	words       []string // all valid values, where they can be listed
	kind        fileKind
	env         string // environment variable that stands in
}

// fileKind says which files complete a value.
type fileKind int

const (
	noFile fileKind = iota
	modelFile
	anyFile
)

func (f *flag) dashed() string {
	if len(f.name) == 1 {
		return "-" + f.name
	}
	return "--" + f.name
}

func (v *verb) usage() string {
	words := []string{v.name}
	for _, a := range v.args {
		if a.many {
			words = append(words, "["+a.name+" …]")
			continue
		}
		words = append(words, a.name)
	}
	if len(v.flags) > 0 {
		words = append(words, "[flags]")
	}
	return strings.Join(words, " ")
}

// Groups of flags, in the order of the help.
const (
	groupBudget = "Budget (one of)"
	groupFit    = "The fit"
	groupNet    = "The network"
	groupCores  = "Its input matrices"
	groupTrain  = "Training"
	groupForm   = "The written model"
	groupGate   = "The comparison"
	groupData   = "Data"
	groupMore   = "More"
)

// cliFlag is the flag as the parser wants it. All values are strings there; the functions that read them say what is wrong with a value.
func (f *flag) cliFlag() cli.Flag {
	var aliases []string
	if f.short != "" {
		aliases = []string{f.short}
	}
	usage := f.usage
	if f.value != "" {
		usage = "`" + f.value + "` " + usage
	}
	var env []string
	if f.env != "" {
		env = []string{f.env}
	}
	switch {
	case f.value == "":
		return &cli.BoolFlag{Name: f.name, Aliases: aliases, Usage: usage, Category: f.group}
	case f.many:
		return &cli.StringSliceFlag{Name: f.name, Aliases: aliases, Usage: usage, Category: f.group}
	}
	return &cli.StringFlag{Name: f.name, Aliases: aliases, Usage: usage, Category: f.group, EnvVars: env}
}

// help is the text of trconvert help VERB.
func (v *verb) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "trconvert %s – %s\n\nUsage:\n  trconvert %s\n", v.name, v.short, v.usage())
	for _, paragraph := range strings.Split(v.text, "\n\n") {
		fmt.Fprintf(&b, "\n%s\n", strings.Join(wrap(paragraph, 100), "\n"))
	}
	var group string
	for _, f := range v.flags {
		if f.group != group {
			group = f.group
			fmt.Fprintf(&b, "\n%s:\n", group)
		}
		left := f.dashed()
		if f.short != "" {
			left = "-" + f.short + ", " + left
		}
		if f.value != "" {
			left += " " + f.value
		}
		const column = 26
		lines := wrap(f.usage, 100-column)
		if len(left) > column-4 {
			fmt.Fprintf(&b, "  %s\n", left)
		} else {
			fmt.Fprintf(&b, "  %-*s%s\n", column-2, left, lines[0])
			lines = lines[1:]
		}
		for _, l := range lines {
			fmt.Fprintf(&b, "%*s%s\n", column, "", l)
		}
	}
	if len(v.examples) > 0 {
		b.WriteString("\nExamples:\n")
		for _, e := range v.examples {
			fmt.Fprintf(&b, "  trconvert %s\n", e)
		}
	}
	return b.String()
}

// wrap breaks a text into lines of at most width bytes where its words allow.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(s) {
		if line != "" && len(line)+1+len(w) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}
