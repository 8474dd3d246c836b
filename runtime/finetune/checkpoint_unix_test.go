//go:build linux || darwin

package finetune

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// stopped trains into dir and cancels behind an epoch.
func stopped(t *testing.T, dir string, epochs, behind int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := resumable(t, dir, epochs)(ctx, func(e Event) {
		if e.Kind == EpochEnded && e.Trial == "" && e.Epoch == behind {
			cancel()
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// A folder that became read-only: the error says so, and the last checkpoint stays.
func TestCheckpointsInReadOnlyFolder(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	stopped(t, dir, 6, 3)
	before := checkpointBytes(t, dir)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o777)
	_, err := resumable(t, dir, 6)(context.Background(), nil)
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "the one before is intact") {
		t.Errorf("error %v", err)
	}
	if !bytes.Equal(checkpointBytes(t, dir), before) {
		t.Error("the last checkpoint was touched")
	}
}

const fullVariable = "FINETUNE_TEST_FULL"

// TestFullDisk is no test but the process of TestCheckpointsOnFullDisk: its files cannot grow beyond 1000 bytes, which writes feel as they do a full disk.
func TestFullDisk(t *testing.T) {
	dir := os.Getenv(fullVariable)
	if dir == "" {
		t.Skip("runs as a process of TestCheckpointsOnFullDisk")
	}
	train := resumable(t, dir, 6)
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1000, Max: 1000}); err != nil {
		t.Fatal(err)
	}
	_, err := train(context.Background(), nil)
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "the one before is intact") {
		t.Errorf("error %v", err)
	}
}

func TestCheckpointsOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	stopped(t, dir, 6, 3)
	before := checkpointBytes(t, dir)
	if len(before) <= 1000 {
		t.Fatalf("a checkpoint has %d bytes only", len(before))
	}
	full := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	full.Env = append(os.Environ(), fullVariable+"="+dir)
	if out, err := full.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS: TestFullDisk")) {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Equal(checkpointBytes(t, dir), before) {
		t.Error("the last checkpoint was touched")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v lie in the folder (%v)", files, err)
	}
	if got, want := bytesOf(mustTrain(t, resumable(t, dir, 6))), bytesOf(mustTrain(t, resumable(t, "", 6))); !bytes.Equal(got, want) {
		t.Errorf("another result afterwards (%s)", filepath.Join(dir, CheckpointFile))
	}
}
