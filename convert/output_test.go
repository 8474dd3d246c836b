package convert

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDefaultOutput(t *testing.T) {
	for in, want := range map[string]string{
		"model.onnx":                     "model.tr.onnx",
		filepath.Join("a.b", "m.x.ONNX"): filepath.Join("a.b", "m.x.tr.onnx"),
		"model":                          "model.tr.onnx",
		"model.pb":                       "model.pb.tr.onnx",
	} {
		if got := DefaultOutput(in); got != want {
			t.Errorf("DefaultOutput(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestGuardOutput(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"in.onnx", "other.onnx"} {
		if err := os.WriteFile(path(name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(path("folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	links := os.Symlink("in.onnx", path("link")) == nil && os.Symlink("nowhere", path("dangling")) == nil && os.Link(path("in.onnx"), path("hard")) == nil
	for _, c := range []struct {
		out   string
		force bool
		want  string // part of the error, "" for none
		link  bool
	}{
		{"new.onnx", false, "", false},
		{"other.onnx", false, "exists (--force replaces it)", false},
		{"other.onnx", true, "", false},
		{"in.onnx", false, "is the input", false},
		{"in.onnx", true, "is the input", false},
		{"./folder/../in.onnx", true, "is the input", false},
		{"folder", true, "no regular file", false},
		{"missing/new.onnx", false, "its folder cannot be used", false},
		{"in.onnx/new.onnx", false, "", false},
		{"link", true, "is the input", true},
		{"hard", true, "is the input", true},
		{"dangling", true, "is a link", true},
	} {
		if c.link && !links {
			continue
		}
		err := guardOutput(path(c.out), c.force, path("in.onnx"))
		if c.out == "in.onnx/new.onnx" {
			if err == nil {
				t.Errorf("%s: accepted", c.out)
			}
			continue
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, force %v: got %v, want %q", c.out, c.force, err, c.want)
		}
	}
}

func TestWriteAtomicLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx   context.Context
		write func(io.Writer) error
	}{
		"failing writer": {t.Context(), func(w io.Writer) error {
			if _, err := w.Write([]byte("half")); err != nil {
				return err
			}
			return errors.New("no more")
		}},
		"cancelled": {cancelled, func(w io.Writer) error { _, err := w.Write([]byte("new")); return err }},
	} {
		if err := writeAtomic(c.ctx, path, c.write); err == nil {
			t.Errorf("%s: no error", name)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: the folder holds %v, %v", name, entries, err)
		}
		if b, _ := os.ReadFile(path); string(b) != "old" {
			t.Errorf("%s: the old file became %q", name, b)
		}
	}
	if err := writeAtomic(t.Context(), path, func(w io.Writer) error { _, err := w.Write([]byte("new")); return err }); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "new" {
		t.Errorf("the file holds %q", b)
	}
}
