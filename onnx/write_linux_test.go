package onnx

import (
	"context"
	"errors"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// TestWriteFileDiskFull writes past a file size limit, which fails like a full disk: in the middle of a write.
func TestWriteFileDiskFull(t *testing.T) {
	dir := t.TempDir()
	m, err := FromProto("m", protoModel(rawTensor("a", 1<<18)))
	if err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Skip(err)
	}
	limit := syscall.Rlimit{Cur: 1 << 19, Max: old.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	}()
	for _, above := range []int64{0, 1000} {
		err := m.WriteFile(context.Background(), filepath.Join(dir, "out.onnx"), WriteOptions{ExternalAbove: above})
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("limit of data %d: %v", above, err)
		}
		checkFolder(t, dir)
	}
}
