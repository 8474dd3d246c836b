package onnx

import (
	"bytes"
	"context"
	"os"
	"testing"
)

// TestRoundTripModels checks, on every model of the test material, that decoding and encoding gives the input's bytes,
// both from the untouched model and with every message on the way to the nodes made anew.
func TestRoundTripModels(t *testing.T) {
	files := sharedFiles(t, ".", ".onnx")
	if len(files) < 300 {
		t.Fatalf("only %d models found", len(files))
	}
	for _, path := range files {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := OpenFile(context.Background(), path, OpenOptions{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		checkEncodes(t, path, m, want)
		if m.FileBytes() < int64(len(want)) {
			t.Errorf("%s: FileBytes %d is below the file's %d", path, m.FileBytes(), len(want))
		}
		if m.Size() != int64(len(want)) {
			t.Errorf("%s: Size is %d, the file has %d bytes", path, m.Size(), len(want))
		}
		derived, _ := m.derive()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		for _, g := range derived.Scopes() {
			touch(g)
			for _, n := range g.Nodes {
				n.src.raw = nil
			}
		}
		checkEncodes(t, path+" (touched)", derived, want)
		if err := derived.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d models", len(files))
}

func checkEncodes(t *testing.T, name string, m *Model, want []byte) {
	t.Helper()
	var got bytes.Buffer
	n, err := m.Encode(&got)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if n != int64(got.Len()) || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s: encoding gives %d bytes (reported %d) that differ from the input's %d", name, got.Len(), n, len(want))
	}
}
