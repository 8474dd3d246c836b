package main

import (
	goflag "flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/runtime/finetune"
)

var update = goflag.Bool("update", false, "write the documents' outputs anew")

// figure is what differs from machine to machine, or from kernel to kernel, in an output: numbers, how many of them and of lines of them there are, the
// width of columns, which line is marked, and why a fit ended.
var figure = regexp.MustCompile(`(?:[0-9][0-9.,e+-]*|[ ─×|*%–\n]+|converged|stalled|sweep limit)+`)

// TestDocs runs every "$ trconvert" line of the documents, in order and in one folder per document, and wants the shape of the output that stands below it.
func TestDocs(t *testing.T) {
	for _, doc := range []string{"docs/cli.md"} {
		t.Run(filepath.Base(doc), func(t *testing.T) {
			path := filepath.Join("..", "..", filepath.FromSlash(doc))
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			copyModels(t, dir)
			fresh := runBlocks(t, dir, string(text), func(command, want, got string) {
				if figure.ReplaceAllString(want, "#") != figure.ReplaceAllString(got, "#") {
					t.Errorf("%s: %s\ngot\n%s\nwant\n%s", doc, command, got, want)
				}
			})
			if *update {
				if err := os.WriteFile(path, []byte(fresh), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// runBlocks runs the commands of a document and returns it with their outputs.
func runBlocks(t *testing.T, dir, text string, compare func(command, want, got string)) string {
	t.Helper()
	var out strings.Builder
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		out.WriteString(lines[i])
		if !strings.HasPrefix(lines[i], "$ trconvert ") {
			continue
		}
		command := strings.TrimSpace(strings.TrimPrefix(lines[i], "$ "))
		var want string
		for i+1 < len(lines) && !strings.HasPrefix(lines[i+1], "```") && !strings.HasPrefix(lines[i+1], "$ ") {
			i++
			want += lines[i]
		}
		words := strings.Fields(command)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir = dir
		got, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", command, err, got)
		}
		if !*update {
			compare(command, want, string(got))
		}
		out.Write(got)
	}
	return out.String()
}

// copyModels copies the project's models to testdata/models in a folder of the test, without what an earlier conversion left beside them.
func copyModels(t *testing.T, dir string) {
	t.Helper()
	from, err := filepath.Abs(filepath.Join("..", "..", "testdata", "models"))
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "testdata", "models")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	converted, err := filepath.Glob(filepath.Join(to, "*.tr.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range converted {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadmeCommands runs the README's trconvert commands; they must all end well.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyModels(t, dir)
	commands := regexp.MustCompile(`(?m)^\s*\$ (?:go run \./cmd/)?(trconvert .*)$`).FindAllStringSubmatch(string(text), -1)
	if len(commands) == 0 {
		t.Fatal("the README shows no command")
	}
	for _, c := range commands {
		words := strings.Fields(c[1])
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", c[1], err, out)
		}
	}
}

// TestDocsNameEveryFlag holds docs/cli.md to the command table.
func TestDocsNameEveryFlag(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range verbs() {
		if !strings.Contains(string(text), fmt.Sprintf("\n## %s\n", v.name)) {
			t.Errorf("there is no section on %s", v.name)
		}
		for _, f := range v.flags {
			if !strings.Contains(string(text), f.dashed()) {
				t.Errorf("%s: there is nothing on %s", v.name, f.dashed())
			}
			for _, w := range f.words {
				if !strings.Contains(string(text), w) {
					t.Errorf("%s: %s: there is nothing on %s", v.name, f.dashed(), w)
				}
			}
		}
	}
}

// TestDefaultsInTexts holds the defaults of training in the help and in docs/cli.md to those that are used.
func TestDefaultsInTexts(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	// Of an unknown number of samples an epoch is one step.
	samples := finetune.Defaults(finetune.Setting{Labels: true, Teacher: true})
	streams := finetune.Defaults(finetune.Setting{Labels: true, Teacher: true, Streams: true})
	line := func(flag string) string {
		_, after, _ := strings.Cut(string(doc)[strings.Index(string(doc), "\n## finetune\n"):], "| `--"+flag+" ")
		text, _, _ := strings.Cut(after, "\n")
		return text
	}
	v := finetuneVerb()
	for _, c := range []struct {
		flag string
		want []string
	}{
		{"epochs", []string{fmt.Sprintf("%d steps", samples.Options.Epochs), fmt.Sprintf("streams %d steps", streams.Options.Epochs)}},
		{"lr", []string{fmt.Sprintf("default %v", samples.Options.Optimizer.Rate), fmt.Sprintf("streams %v", streams.Options.Optimizer.Rate)}},
		{"batch", []string{fmt.Sprintf("default %d", samples.Options.Batch), fmt.Sprintf("streams %d", streams.Options.Batch)}},
	} {
		for place, text := range map[string]string{"the help": v.flag(c.flag).usage, "docs/cli.md": line(c.flag)} {
			for _, part := range c.want {
				if !strings.Contains(text, part) {
					t.Errorf("%s: --%s: %q lacks %q", place, c.flag, text, part)
				}
			}
		}
	}
	mix := fmt.Sprintf("%.1f · (loss on labels) + %.1f · (loss against the teacher)", 1-samples.Alpha, samples.Alpha)
	for place, text := range map[string]string{"the help": v.text, "docs/cli.md": string(doc)} {
		if !strings.Contains(text, mix) {
			t.Errorf("%s lacks %q", place, mix)
		}
	}
	for _, part := range []string{
		fmt.Sprintf("temperature %v", samples.Temperature), fmt.Sprintf("windows of %d steps", streams.Options.Streams.Window), "cosine after a tenth of the epochs of warm-up", "up to five times",
	} {
		if !strings.Contains(string(doc), part) {
			t.Errorf("docs/cli.md lacks %q", part)
		}
	}
	if o := samples.Options; finetune.DefaultBackOffs != 5 || samples.ValFraction != 0 || o.Schedule.Shape != finetune.Cosine || o.Schedule.WarmUp != 0.1*float64(o.Epochs) {
		t.Errorf("%d back-offs, %v held back, %+v: not what docs/cli.md says", finetune.DefaultBackOffs, samples.ValFraction, o.Schedule)
	}
}
