package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNamesCannotSteerTheTerminal prints a model whose node has an escape sequence for a name: tables, errors and JSON alike.
func TestNamesCannotSteerTheTerminal(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "models", "tied.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	const name, evil = "over_left", "o\x1b[2J\x07eft"
	if !bytes.Contains(b, []byte(name)) || len(name) != len(evil) {
		t.Fatalf("the model has no node %q", name)
	}
	model := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(model, bytes.ReplaceAll(b, []byte(name), []byte(evil)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		argv []string
		code int
	}{
		{[]string{"inspect", model}, exitOK},
		{[]string{"inspect", model, "--json"}, exitOK},
		{[]string{"decompose", model, "--rank", "3"}, exitOK},
		{[]string{"decompose", model, "--rank", "3", "--force", "--json"}, exitOK},
		{[]string{"decompose", model, "--force", "--site", "o*left\x1b"}, exitUsage},
		{[]string{"decompose", model, "--force", "--max-params", "1"}, exitGate},
		{[]string{"decompose\x1b[2J"}, exitUsage},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), c.argv, nil, &out, &errs); code != c.code {
			t.Errorf("%q: exit code %d, want %d: %s", c.argv, code, c.code, errs.String())
		}
		for _, text := range []string{out.String(), errs.String()} {
			if strings.ContainsAny(text, "\x1b\x07") {
				t.Errorf("%q: control characters reach the terminal: %q", c.argv, text)
			}
		}
	}
	var out bytes.Buffer
	run(t.Context(), []string{"inspect", model}, nil, &out, &out)
	if !strings.Contains(out.String(), `o\x1b[2J\aeft`) {
		t.Errorf("the name is not shown in escaped form: %s", out.String())
	}
}
