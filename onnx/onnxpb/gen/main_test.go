package main

import (
	"bytes"
	"context"
	"os"
	"testing"
)

// TestCommitted checks that the committed types are what the committed schema generates.
func TestCommitted(t *testing.T) {
	got, err := generate(context.Background(), "../trconvert-onnx.proto")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../onnx.pb.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("onnx.pb.go is not what trconvert-onnx.proto generates: run go generate ./onnx/onnxpb")
	}
}
