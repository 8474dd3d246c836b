package testmodels

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trconvert/trconvert/runtime/dataset"
)

const committed = "../../testdata/models"

// What the generator writes is what the repository holds.
func TestGeneratorGivesTheCommittedFiles(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors may fuse multiply and add, which can move a rounded weight by one step")
	}
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if strings.HasSuffix(name, ".npz") {
			continue
		}
		got, err := os.ReadFile(filepath.Join(committed, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes committed, %d generated (%v): run `go run ./internal/testmodels/gen testdata/models`, then `python3 testdata/models/expect.py`", name, len(got), len(want), err)
		}
	}
	models, err := filepath.Glob(filepath.Join(committed, "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range models {
		if name := filepath.Base(m); files[name] == nil && !strings.HasSuffix(name, ".tr.onnx") {
			t.Errorf("%s is committed but not generated", name)
		}
	}
	// How the archive is compressed may change with a version of Go, what it holds may not.
	got, err := dataset.ReadNPZFile(filepath.Join(committed, "gestures.npz"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Clips("test", heldBack), got); d != "" {
		t.Error("gestures.npz holds other clips than are generated")
	}
}

// The classifier must be worth keeping: it tells gestures apart that it has not seen.
func TestGesturesAreTold(t *testing.T) {
	if a := makeGestures().accuracy(clips("test", 400)); a < 0.95 {
		t.Errorf("accuracy on clips it was not fitted to is %.3f, want at least 0.95", a)
	}
}
