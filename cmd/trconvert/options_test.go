package main

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trconvert/trconvert/convert"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, argv string
		want       command
	}{
		{"model alone", "decompose m.onnx", decomposeCommand{options: convert.Options{Model: "m.onnx"}}},
		{
			"flags before the model", "decompose --rank 5 --json m.onnx",
			decomposeCommand{common: common{json: true}, options: convert.Options{Model: "m.onnx", Budget: convert.Budget{Rank: 5}}},
		},
		{
			"flags after the model", "decompose m.onnx --rank 5 --json",
			decomposeCommand{common: common{json: true}, options: convert.Options{Model: "m.onnx", Budget: convert.Budget{Rank: 5}}},
		},
		{
			"flags on both sides, with and without =", "decompose --ratio=2.5 m.onnx -o out.onnx --force --quiet=true --follow-links=false",
			decomposeCommand{common: common{quiet: true}, options: convert.Options{
				Model: "m.onnx", Output: "out.onnx", Budget: convert.Budget{Ratio: 2.5}, Files: convert.Files{Force: true},
			}},
		},
		{
			"repeated flags keep commas", "decompose m.onnx --site a,b --site enc/*",
			decomposeCommand{options: convert.Options{Model: "m.onnx", Sites: []string{"a,b", "enc/*"}}},
		},
		{
			"a double dash ends the flags", "decompose --rank 2 -- --rank",
			decomposeCommand{options: convert.Options{Model: "--rank", Budget: convert.Budget{Rank: 2}}},
		},
		{
			"the whole choice",
			"decompose m.onnx --ranks 2,3,4 --format tt --in-modes 4x2x5 --out-modes 4x16 --method svd --init random --sweeps 7 --tol 1e-4 --restarts 2 --seed 9 --form cores --merge-output --threads 3",
			decomposeCommand{common: common{threads: 3}, options: convert.Options{
				Model: "m.onnx", Budget: convert.Budget{Ranks: []int{2, 3, 4}}, Threads: 3,
				Fit: convert.FitOptions{
					Format: "tt", InModes: []int{4, 2, 5}, OutModes: []int{4, 16}, Method: "svd", Init: "random",
					Sweeps: 7, Tol: 1e-4, Restarts: 2, Seed: 9,
				},
				Export: convert.ExportOptions{Form: "cores", MergeOutput: true},
			}},
		},
		{"error budget", "decompose m.onnx --max-error 0.2", decomposeCommand{options: convert.Options{Model: "m.onnx", Budget: convert.Budget{MaxError: 0.2}}}},
		{"parameter budget", "decompose m.onnx --max-params 900", decomposeCommand{options: convert.Options{Model: "m.onnx", Budget: convert.Budget{MaxParams: 900}}}},
		{"inspect", "inspect --json m.onnx", inspectCommand{common: common{json: true}, model: "m.onnx"}},
		{
			"verify", "verify a.onnx b.onnx --data d.npz --max-error 0.1 --engine onnxruntime --ort-library /l.so --state s2=s --batch-axis x=1",
			verifyCommand{options: convert.VerifyOptions{
				Model: "a.onnx", Other: "b.onnx", Data: "d.npz", MaxError: 0.1, Engine: "onnxruntime", Library: "/l.so",
				Reading: convert.DataOptions{States: map[string]string{"s2": "s"}, BatchAxis: map[string]int{"x": 1}},
			}},
		},
		{
			"run", "run m.onnx --input x=a.npy --input y=b=c.npy -o out.npz",
			runCommand{options: convert.RunOptions{Model: "m.onnx", Inputs: map[string]string{"x": "a.npy", "y": "b=c.npy"}, Output: "out.npz"}},
		},
		{
			"plan takes decompose's flags", "plan m.onnx --ratio 25 --format auto --in-modes 160x120x3 --form cores",
			planCommand{options: convert.Options{
				Model: "m.onnx", Budget: convert.Budget{Ratio: 25}, Fit: convert.FitOptions{Format: "auto", InModes: []int{160, 120, 3}},
				Export: convert.ExportOptions{Form: "cores"},
			}},
		},
		{
			"bench", "bench a.onnx --steps 9 b.onnx c.onnx --batch 4 --ort-library /l.so --threads 1",
			benchCommand{common: common{threads: 1}, options: convert.BenchOptions{
				Models: []string{"a.onnx", "b.onnx", "c.onnx"}, Batch: 4, Steps: 9, Library: "/l.so", Threads: 1,
			}},
		},
		{
			"finetune",
			"finetune s.onnx -o t.onnx --data d.npz --labels y --teacher m.onnx --loss bce --output p --val 0.25 --lengths n --state h2=h --train site --start try --epochs 7 --lr 1e-3 --batch 9 --seed 4 --checkpoint ck --resume --plot l.svg --force --threads 2",
			finetuneCommand{common: common{threads: 2}, options: convert.FinetuneOptions{
				Model: "s.onnx", Output: "t.onnx", Teacher: "m.onnx", Loss: "bce", Train: "site", Start: "try", Plot: "l.svg", Threads: 2, Files: convert.Files{Force: true},
				Data: convert.TrainingData{
					Path: "d.npz", Output: "p", HeldPart: 0.25, Reading: convert.DataOptions{Labels: "y", Lengths: "n", States: map[string]string{"h2": "h"}},
				},
				Settings:   convert.TrainingSettings{Epochs: 7, Rate: 1e-3, Batch: 9, Seed: 4},
				Checkpoint: convert.CheckpointOptions{Folder: "ck", Resume: true},
			}},
		},
		{
			"finetune with data for validation", "finetune s.onnx -o t.onnx --data d.npz --labels y --val v.npz",
			finetuneCommand{options: convert.FinetuneOptions{Model: "s.onnx", Output: "t.onnx", Data: convert.TrainingData{Path: "d.npz", Held: "v.npz", Reading: convert.DataOptions{Labels: "y"}}}},
		},
		{
			"finetune without validation", "finetune s.onnx -o t.onnx --data d.npz --labels y --val 0",
			finetuneCommand{options: convert.FinetuneOptions{Model: "s.onnx", Output: "t.onnx", Data: convert.TrainingData{Path: "d.npz", HeldPart: -1, Reading: convert.DataOptions{Labels: "y"}}}},
		},
		{
			"eval", "eval m.onnx --data d.csv --labels -1 --loss mse --batch-axis x=1",
			evalCommand{options: convert.EvalOptions{Model: "m.onnx", Data: "d.csv", Loss: "mse", Reading: convert.DataOptions{Labels: "-1", BatchAxis: map[string]int{"x": 1}}}},
		},
		{
			"new", "new -o m.onnx --cell gru --input 60 --hidden 16 --classes 3 --layers 2 --bidirectional --embed 9 --format ttm --in-modes 60x1 --out-modes 4x24 --ranks 1,3 --seed 2 --form cores --input-name ids",
			newCommand{options: convert.NewOptions{
				Output: "m.onnx", Cell: "gru", Input: 60, Hidden: 16, Classes: 3, Layers: 2, Bidirectional: true, Embed: 9, Name: "ids",
				Budget: convert.Budget{Ranks: []int{1, 3}}, Fit: convert.FitOptions{Format: "ttm", InModes: []int{60, 1}, OutModes: []int{4, 24}, Seed: 2},
				Export: convert.ExportOptions{Form: "cores"},
			}},
		},
		{"completion", "completion fish", completionCommand{"fish"}},
		{"version", "version", versionCommand{}},
		{"version as a flag", "--version", versionCommand{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(ortVariable, "")
			got, err := parse(strings.Fields(c.argv))
			if err != nil {
				t.Fatal(err)
			}
			exported := cmp.AllowUnexported(common{}, decomposeCommand{}, inspectCommand{}, verifyCommand{}, runCommand{}, completionCommand{}, planCommand{}, benchCommand{},
				finetuneCommand{}, evalCommand{}, newCommand{})
			if d := cmp.Diff(c.want, got, exported, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("%s: (-want +got)\n%s", c.argv, d)
			}
		})
	}
}

func TestParseReadsTheLibraryFromTheEnvironment(t *testing.T) {
	t.Setenv(ortVariable, "/env.so")
	for argv, want := range map[string]string{
		"verify a b":                          "/env.so",
		"verify a b --ort-library /option.so": "/option.so",
	} {
		got, err := parse(strings.Fields(argv))
		if err != nil {
			t.Fatal(err)
		}
		if l := got.(verifyCommand).options.Library; l != want {
			t.Errorf("%s: library %q, want %q", argv, l, want)
		}
	}
}

// TestFlagsForEveryVerb gives each verb on models the flags that scripts may give to all; the environment's library does not count as given.
func TestFlagsForEveryVerb(t *testing.T) {
	t.Setenv(ortVariable, "/env.so")
	for _, argv := range []string{
		"inspect m", "plan m", "decompose m", "finetune m -o o --data d --labels l", "new -o m --input 3 --hidden 2 --classes 2",
		"eval m --data d --labels l", "verify a b", "run m --input x=a -o o.npz", "bench m",
	} {
		line := argv + " --quiet --force --follow-links --threads 2 --ort-library /l.so"
		if _, err := parse(strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if _, err := parse(strings.Fields(argv + " --threads 0")); err == nil {
			t.Errorf("%s --threads 0 is taken", argv)
		}
	}
	for _, argv := range []string{"inspect", "plan"} {
		var out strings.Builder
		model := filepath.Join("..", "..", "testdata", "models", "lstm_bidi.onnx")
		if code := run(t.Context(), []string{argv, model, "--quiet", "--threads", "1"}, nil, &out, io.Discard); code != exitOK && code != exitGate || out.Len() > 0 {
			t.Errorf("%s --quiet: exit code %d, printed %q", argv, code, out.String())
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		argv string
		want []string // parts of the message
	}{
		{"decmpose m", []string{`unknown verb "decmpose"`, "did you mean decompose?", "valid: inspect, plan, decompose"}},
		{"convert m", []string{`unknown verb "convert"`, "valid: inspect"}},
		{"help decompse", []string{`unknown verb "decompse"`, "did you mean decompose?"}},
		{"--json inspect m", []string{`"--json" stands where a verb is expected`}},
		{"decompose", []string{"MODEL is missing"}},
		{"verify a", []string{"OTHER is missing"}},
		{"inspect a b", []string{`unexpected argument "b"`}},
		{"decompose m --rnk 4", []string{`unknown flag "--rnk"`, "did you mean --rank?", "--ratio"}},
		{"plan m --model-bytes 9 --ratio 4", []string{"contradict"}},
		{"decompose m --rank", []string{"--rank needs a value"}},
		{"decompose m --rank --json", []string{"--rank needs a value"}},
		{"decompose m --rank=", []string{`--rank "": is empty`}},
		{"decompose m --rank 4 --rank 5", []string{"--rank is given twice"}},
		{"decompose m --rank x", []string{`--rank "x": not a whole number`}},
		{"decompose m --rank 0", []string{`--rank "0": must be at least 1`}},
		{"decompose m --rank -3", []string{`--rank "-3": must be at least 1`}},
		{"decompose m --rank 99999999999999999999", []string{"not a whole number"}},
		{"decompose m --ranks 4,0,2", []string{"0 is below 1"}},
		{"decompose m --ranks 4;2", []string{`"4;2" is not a whole number`}},
		{"decompose m --ratio 1", []string{"must be above 1"}},
		{"decompose m --ratio nan", []string{"not a number"}},
		{"decompose m --ratio inf", []string{"not a number"}},
		{"decompose m --max-error 0", []string{"must be above 0"}},
		{"decompose m --max-params 0", []string{"must be at least 1"}},
		{"decompose m --rank 4 --ratio 2", []string{"--ratio and --rank", "one budget"}},
		{"decompose m --in-modes 4x1", []string{"1 is below 2"}},
		{"decompose m --format ttm --in-modes 4x0", []string{"0 is below 1"}},
		{"decompose m --out-modes 4,4", []string{`"4,4" is not a whole number`}},
		{"decompose m --format xx", []string{`--format "xx"`, "valid: auto, tr, tt, svd, ttm"}},
		{"decompose m --format tx", []string{"did you mean tr?"}},
		{"decompose m --form bottlenek", []string{"did you mean bottleneck?"}},
		{"decompose m --method rsvd", []string{"did you mean svd?", "valid: als, svd"}},
		{"decompose m --seed -1", []string{`--seed "-1"`}},
		{"decompose m --threads 0", []string{"must be at least 1"}},
		{"decompose m --json=no", []string{"--json takes no value"}},
		{"finetune m -o o --data d --labels l --lr 0", []string{"must be above 0"}},
		{"finetune m -o o --data d --labels l --val 1.5", []string{`--val "1.5"`, "below 1"}},
		{"finetune m -o o --data d --labels l --train core", []string{"did you mean cores?"}},
		{"finetune m -o o --data d --labels l --loss ce", []string{"valid: auto, cross-entropy, mse, bce"}},
		{"new -o m --input 3 --hidden 2 --classes 2 --rank 2 --ratio 3", []string{"one budget"}},
		{"new -o m --input 3 --hidden 2 --classes 2 m.onnx", []string{`unexpected argument "m.onnx"`}},
		{"verify a b --engine ort", []string{"valid: go, onnxruntime, onnx-go"}},
		{"verify a b --state s", []string{`--state "s": must have the form OUT=IN`}},
		{"verify a b --batch-axis x=-1", []string{"whole number from 0"}},
		{"run m --input x -o o.npz", []string{"must have the form NAME=FILE"}},
		{"run m --input x=a --input x=b -o o.npz", []string{`"x" is given twice`}},
		{"run m --input x=a", []string{"-o is missing"}},
		{"completion tcsh", []string{"valid: bash, zsh, fish"}},
		{"version now", []string{`unexpected argument "now"`}},
	} {
		t.Run(c.argv, func(t *testing.T) {
			_, err := parse(strings.Fields(c.argv))
			var usage *usageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want a usage error", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, which lacks %q", err, part)
				}
			}
			if code := run(t.Context(), strings.Fields(c.argv), nil, io.Discard, io.Discard); code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
		})
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	for _, v := range verbs() {
		for _, argv := range [][]string{{"help", v.name}, {v.name, "--help"}, {v.name, "m", "-h"}} {
			var out strings.Builder
			if code := run(t.Context(), argv, nil, &out, io.Discard); code != exitOK {
				t.Fatalf("%v: exit code %d", argv, code)
			}
			for _, f := range v.flags {
				if !strings.Contains(out.String(), f.dashed()) {
					t.Errorf("%v does not tell of %s", argv, f.dashed())
				}
			}
			for _, line := range strings.Split(out.String(), "\n") {
				if n := len([]rune(line)); n > 100 {
					t.Errorf("%v: a line of %d characters: %q", argv, n, line)
				}
			}
		}
	}
}

func TestExamplesParse(t *testing.T) {
	for _, v := range verbs() {
		for _, e := range v.examples {
			line, _, _ := strings.Cut(strings.ReplaceAll(e, "'", ""), " > ")
			if _, err := parse(strings.Fields(line)); err != nil {
				t.Errorf("%s: %v", e, err)
			}
		}
	}
}

func TestIsOneEdit(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"rank", "rnk", true}, {"rnk", "rank", true}, {"rank", "rink", true}, {"rnak", "rank", true},
		{"rank", "ranks", true}, {"rank", "rank", false}, {"rank", "ratio", false}, {"", "o", true}, {"ab", "ba", true}, {"abc", "cba", false},
	} {
		if got := isOneEdit(c.a, c.b); got != c.want {
			t.Errorf("isOneEdit(%q, %q) = %v", c.a, c.b, got)
		}
	}
}
