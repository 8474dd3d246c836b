package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
)

type runCommand struct {
	common
	options convert.RunOptions
}

func (r runCommand) run(ctx context.Context, c *console) error {
	r.apply()
	res, err := convert.Run(ctx, r.options)
	if err != nil || r.quiet {
		return err
	}
	var rows [][]string
	for _, v := range res.Values {
		rows = append(rows, []string{v.Name, v.Type, "[" + numbers(v.Dims, ", ") + "]"})
	}
	var b strings.Builder
	b.WriteString(term.Table([]term.Column{{Title: "output"}, {Title: "type"}, {Title: "dims"}}, rows))
	fmt.Fprintf(&b, "\nwritten to %s\n", term.Escape(res.Output))
	_, err = io.WriteString(c.out, b.String())
	return err
}

type versionCommand struct{}

func (versionCommand) run(_ context.Context, c *console) error {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	_, err := fmt.Fprintf(c.out, "trconvert %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
