package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBashCompletes lets bash itself complete command lines.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"model.onnx", "my model.onnx", "data.npz"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := bashCompletion(verbs())
	for _, c := range []struct {
		words []string
		want  []string
	}{
		{[]string{"de"}, []string{"decompose"}},
		{[]string{"help", "ins"}, []string{"inspect"}},
		{[]string{"decompose", "--form"}, []string{"--form", "--format"}},
		{[]string{"decompose", "--form", ""}, []string{"bottleneck", "cores", "dense"}},
		{[]string{"decompose", "m.onnx", "--format", "t"}, []string{"tr", "tt", "ttm"}},
		{[]string{"decompose", "m"}, []string{"model.onnx", "models", "my model.onnx"}},
		{[]string{"decompose", "--rank", "m"}, nil},
		{[]string{"verify", "a.onnx", "b.onnx", "--engine", "onnx"}, []string{"onnx-go", "onnxruntime"}},
		{[]string{"verify", "a.onnx", "b.onnx", "--data", "d"}, []string{"data.npz"}},
		{[]string{"finetune", "m.onnx", "--train", ""}, []string{"all", "cores", "head", "site"}},
		{[]string{"finetune", "m.onnx", "--teacher", "m"}, []string{"model.onnx", "models", "my model.onnx"}},
		{[]string{"eval", "m.onnx", "--data", "d"}, []string{"data.npz"}},
		{[]string{"new", "--cell", ""}, []string{"gru", "lstm", "rnn"}},
		{[]string{"completion", ""}, []string{"bash", "fish", "zsh"}},
	} {
		cmd := exec.Command(bash, "--norc", "-c", script+`
COMP_WORDS=(trconvert "$@"); COMP_CWORD=$#
_trconvert
printf '%s\n' "${COMPREPLY[@]}"`, "bash")
		cmd.Args = append(cmd.Args, c.words...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", c.words, err, out)
		}
		var got []string
		for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			if l != "" && !strings.Contains(l, "compopt") {
				got = append(got, l)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("trconvert %s<Tab>: got %q, want %q", strings.Join(c.words, " "), got, c.want)
		}
	}
}

// TestFishCompletes lets fish itself complete command lines.
func TestFishCompletes(t *testing.T) {
	fish, err := exec.LookPath("fish")
	if err != nil {
		t.Skip("fish is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"model.onnx", "data.npz"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string][]string{
		"trconvert de":                        {"decompose"},
		"trconvert decompose --form ":         {"bottleneck", "cores", "dense"},
		"trconvert decompose --rank ":         nil,
		"trconvert decompose m":               {"model.onnx"},
		"trconvert verify a b --data d":       {"data.npz"},
		"trconvert completion ":               {"bash", "fish", "zsh"},
		"trconvert decompose m.onnx --merge-": {"--merge-output"},
	} {
		cmd := exec.Command(fish, "--no-config", "-c", fishCompletion(verbs())+"\ncomplete -C '"+line+"'")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		var got []string
		for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			if word, _, _ := strings.Cut(l, "\t"); word != "" {
				got = append(got, word)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s<Tab>: got %q, want %q", line, got, want)
		}
	}
}

// TestShellsAcceptTheirScripts has each installed shell check its script's syntax.
func TestShellsAcceptTheirScripts(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			var script strings.Builder
			if code := run(t.Context(), []string{"completion", shell}, nil, &script, io.Discard); code != exitOK {
				t.Fatalf("exit code %d", code)
			}
			for _, v := range verbs() {
				if !strings.Contains(script.String(), v.name) {
					t.Errorf("the script does not know the verb %s", v.name)
				}
			}
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed", shell)
			}
			file := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(file, []byte(script.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(path, "-n", file).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
