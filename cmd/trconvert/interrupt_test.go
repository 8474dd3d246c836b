package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterruptLeavesNothingBehind signals a real process in the middle of a fit that would take hours.
func TestInterruptLeavesNothingBehind(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows cannot send an interrupt to one process")
	}
	original, err := os.ReadFile(filepath.Join("..", "..", "testdata", "models", "gestures.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := t.TempDir()
			model := filepath.Join(dir, "model.onnx")
			if err := os.WriteFile(model, original, 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("trconvert", "decompose", model, "--rank", "4", "--restarts", "1000")
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			sent := time.Now()
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatalf("%v; the job ended before it was interrupted: %s", err, stderr.String())
			}
			err := cmd.Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
				t.Errorf("got %v, want exit code %d; stderr: %s", err, exitInterrupted, stderr.String())
			}
			if d := time.Since(sent); d > 5*time.Second {
				t.Errorf("it took %v to stop", d)
			}
			if stdout.Len() > 0 || !strings.Contains(stderr.String(), "interrupted; nothing was written") {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("the folder holds %v, %v", entries, err)
			}
			if now, err := os.ReadFile(model); err != nil || !bytes.Equal(now, original) {
				t.Errorf("the input has changed: %v", err)
			}
		})
	}
}
