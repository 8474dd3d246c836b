package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/trconvert/trconvert/internal/engine/onnxgo"
	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// engine is a column of the matrix.
type engine struct {
	name    string
	version string
	kinds   map[kind]bool
	find    func(context.Context) (version, absent string)
	run     func(context.Context, []*artifact) []outcome
}

// outcome is what an engine made of a file: a difference from this project's runtime, or why it does not run it.
type outcome struct {
	difference float64
	bound      float64 // of the difference
	failed     string
}

func refused(err error) outcome { return outcome{failed: plain(err.Error())} }

// Bounds of the largest difference of an element, relative to the largest element of its tensor. All engines compute in float32 from the same stored weights, whatever their type; float16
// outputs are rounded to a unit of 2^-10.
const (
	bound32 = 1e-4
	bound16 = 2e-3
	// boundInt8 is for source code with int8 weights beside source code with float32 weights. (ONNX models with int8 weights are the same model for every engine.)
	boundInt8 = 0.1
)

// all are the engines, in the order of the table.
func (o *options) all(dir string) []*engine {
	graphs := map[kind]bool{graph: true}
	list := []*engine{
		{name: "trconvert", kinds: graphs, find: present, run: each(runGo)},
	}
	for _, version := range []string{"1.14.0", "1.17.3", "1.20.1", "1.30.0"} {
		list = append(list, o.nodeEngine(dir, version))
	}
	return append(list,
		&engine{name: "ONNX Runtime, C interface", kinds: graphs, find: o.findLibrary, run: each(runLibrary)},
		o.webEngine(dir, "1.30.0"),
		&engine{name: "onnx-go", kinds: graphs, find: func(context.Context) (string, string) { return "0.5.0", "" }, run: each(onnxGo)},
		&engine{name: "PyTorch", kinds: map[kind]bool{pytorch: true}, find: findTorch, run: each(runTorch)},
		&engine{name: "C", kinds: map[kind]bool{sourceC: true}, find: findCompiler, run: each(runC)},
		&engine{name: "Go", kinds: map[kind]bool{sourceGo: true}, find: findGo, run: each(runGoSource)},
	)
}

func present(context.Context) (version, absent string) { return "", "" }

// each runs files one by one.
func each(run func(context.Context, *artifact) outcome) func(context.Context, []*artifact) []outcome {
	return func(ctx context.Context, files []*artifact) []outcome {
		results := make([]outcome, len(files))
		for k, f := range files {
			if ctx.Err() != nil {
				break
			}
			results[k] = run(ctx, f)
		}
		return results
	}
}

// compared turns a run's outputs into an outcome.
func compared(a *artifact, out map[string]*onnx.Array, err error) outcome {
	if err != nil {
		return refused(err)
	}
	return difference(out, a.want)
}

// runGo runs a file in this project's runtime once more, on two threads: the first time it had one.
func runGo(ctx context.Context, a *artifact) outcome {
	m, err := onnx.OpenFile(ctx, a.path, onnx.OpenOptions{})
	if err != nil {
		return refused(err)
	}
	defer m.Close()
	p, err := runtime.Compile(ctx, m, runtime.Options{Threads: 2})
	if err != nil {
		return refused(err)
	}
	out, err := p.Run(ctx, a.feeds)
	return compared(a, out, err)
}

// findLibrary is there where the environment names a library: what npm has is run through node.
func (o *options) findLibrary(context.Context) (version, absent string) {
	if os.Getenv(ort.LibraryVariable) == "" {
		return "", ort.LibraryVariable + " is not set"
	}
	e, err := ort.Open(ort.Options{Threads: 1})
	if err != nil {
		return "", err.Error()
	}
	return e.Version(), ""
}

func runLibrary(ctx context.Context, a *artifact) outcome {
	e, err := ort.Open(ort.Options{Threads: 1})
	if err != nil {
		return refused(err)
	}
	out, err := e.Run(ctx, a.path, a.feeds)
	var me *ort.ModelError
	if errors.As(err, &me) {
		err = errors.New(me.What)
	}
	return compared(a, out, err)
}

func onnxGo(ctx context.Context, a *artifact) outcome {
	out, err := onnxgo.Run(ctx, a.path, a.feeds)
	return compared(a, out, err)
}

// version runs a program for its version; what names the package that has it.
func version(ctx context.Context, what string, name string, args ...string) (string, string) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", "there is no " + name + " (" + what + ")"
	}
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return "", name + ": " + err.Error()
	}
	v, _, _ := strings.Cut(firstLine(string(out), nil), " built on ")
	return v, ""
}

func findCompiler(ctx context.Context) (string, string) {
	if v, absent := version(ctx, "Debian's package gcc", "gcc", "-dumpfullversion"); absent != "" {
		return v, absent
	} else if _, absent = version(ctx, "Debian's package make", "make", "--version"); absent != "" {
		return v, absent
	} else {
		return "gcc " + v, ""
	}
}

func findGo(ctx context.Context) (string, string) {
	v, absent := version(ctx, "go.dev", "go", "env", "GOVERSION")
	return strings.TrimPrefix(v, "go"), absent
}

const python = "/usr/bin/python3"

func findTorch(ctx context.Context) (string, string) {
	v, absent := version(ctx, "Debian's package python3", python, "-c", "import torch; print(torch.__version__)")
	if absent != "" {
		absent += " (Debian's package python3-torch)"
	}
	return v, absent
}

// runC compiles the folder with its own Makefile, whose test compares with the outputs that trconvert computed. With int8 weights it is compared with float32 source of the same model, too.
func runC(ctx context.Context, a *artifact) outcome {
	out, err := command(ctx, a.path, "make", "test")
	return a.ownTest(ctx, out, err, func(float string) (string, error) {
		return command(ctx, a.path, "./model_test", "sample_input.bin", filepath.Join(float, "sample_output.bin"))
	})
}

// runGoSource runs the test of the package.
func runGoSource(ctx context.Context, a *artifact) outcome {
	out, err := command(ctx, a.path, "go", "test", "-v", "-count=1", ".")
	return a.ownTest(ctx, out, err, func(float string) (string, error) {
		if err := copyFile(filepath.Join(float, "sample_output.bin"), filepath.Join(a.path, "sample_output.bin")); err != nil {
			return "", err
		}
		return command(ctx, a.path, "go", "test", "-v", "-count=1", ".")
	})
}

// ownTest reads the difference that a test of generated code prints, and, where weights are int8, that from the same code with float32 weights.
func (a *artifact) ownTest(ctx context.Context, out string, err error, beside func(float string) (string, error)) outcome {
	if err != nil {
		return outcome{failed: plain(firstLine(out, err))}
	}
	d, err := printedDifference(out)
	if err != nil {
		return refused(err)
	}
	bound := boundOf(a.want)
	if a.row.item != "int8" || !(d <= bound) {
		return outcome{difference: d, bound: bound}
	}
	if a.float == "" { // the row with float32 weights is left out
		return outcome{difference: d, bound: bound}
	}
	out, _ = beside(a.float) // exits with 1: the difference is above that test's own bound
	if d, err = printedDifference(out); err != nil {
		return refused(err)
	}
	return outcome{difference: d, bound: boundInt8}
}

// printedDifference is the largest number behind "largest relative difference".
func printedDifference(out string) (float64, error) {
	worst, found := 0.0, false
	for line := range strings.Lines(out) {
		_, number, ok := strings.Cut(line, "largest relative difference ")
		if !ok {
			continue
		}
		var d float64
		if _, err := fmt.Sscan(number, &d); err != nil {
			return 0, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
		}
		worst, found = max(worst, d), true
	}
	if !found {
		return 0, fmt.Errorf("the test prints no difference: %.200q", out)
	}
	return worst, nil
}

func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
