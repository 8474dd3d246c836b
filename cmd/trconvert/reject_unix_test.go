//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func fifo(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip(err)
	}
}

// TestRejectsFullDisks is in group 28, for the two verbs that write. A limit on the size of files stands in for a full disk: the write fails in the middle.
func TestRejectsFullDisks(t *testing.T) {
	for _, args := range []string{decomposeArgs, "run m.onnx --input x=x.npy -o out.npz"} {
		t.Run("28 disk full: "+strings.Fields(args)[0], func(t *testing.T) {
			t.Chdir(t.TempDir())
			broken()(t)
			put(t, "x.npy", npyOf("<f4", "(500, 1, 96)", make([]byte, 4*500*96)))
			process(t, []string{"sh", "-c", `ulimit -f 8 && exec trconvert "$@"`, "sh"}, args, "out.", "too large")
		})
	}
}

// TestRejectsCheckpointsOnFullDisks is in group 28: the checkpoint before stays as it is.
func TestRejectsCheckpointsOnFullDisks(t *testing.T) {
	t.Chdir(t.TempDir())
	checkpointed(nil)(t)
	process(t, []string{"sh", "-c", `ulimit -f 2 && exec trconvert "$@"`, "sh"}, finetuneArgs+" --checkpoint ck --force", "finetune.ckpt", "the one before is intact", "too large")
}

// TestRejectsReadOnlyCheckpoints is in group 28.
func TestRejectsReadOnlyCheckpoints(t *testing.T) {
	prefix := ordinaryUser(t)
	t.Chdir(t.TempDir())
	checkpointed(nil)(t)
	if err := os.Chmod("ck", 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod("ck", 0o755)
	process(t, prefix, finetuneArgs+" --checkpoint ck --force", "finetune.ckpt", "the one before is intact", "permission denied")
}

// ordinaryUser starts the program without the right to write everywhere, which the superuser has unless it gives it up.
func ordinaryUser(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		return []string{"trconvert"}
	}
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("the superuser writes everywhere, and setpriv is not installed")
	}
	return []string{"setpriv", "--bounding-set", "-dac_override,-dac_read_search", "trconvert"}
}

// TestRejectsReadOnlyFolders is in group 28.
func TestRejectsReadOnlyFolders(t *testing.T) {
	prefix := ordinaryUser(t)
	for _, args := range []string{decomposeArgs, "run m.onnx --input x=x.npy -o out.npz"} {
		t.Run("28 read-only folder: "+strings.Fields(args)[0], func(t *testing.T) {
			t.Chdir(t.TempDir())
			broken()(t)
			put(t, "x.npy", npyOf("<f4", "(2, 1, 96)", make([]byte, 768)))
			if err := os.Chmod(".", 0o555); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(".", 0o755)
			process(t, prefix, args, "out.", "permission denied")
		})
	}
}

// TestRejectsUnreadableFiles is in group 28.
func TestRejectsUnreadableFiles(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("the superuser reads everything")
	}
	t.Chdir(t.TempDir())
	broken()(t)
	if err := os.Chmod("m.onnx", 0); err != nil {
		t.Fatal(err)
	}
	process(t, []string{"trconvert"}, "inspect m.onnx", "m.onnx", "permission denied")
}

// process runs the program as a process of its own, which has to fail and to leave nothing behind.
func process(t *testing.T, prefix []string, args string, says ...string) {
	t.Helper()
	before := snapshot(t)
	line := append(prefix, strings.Fields(args)...)
	cmd := exec.Command(line[0], line[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitError || stdout.Len() > 0 {
		t.Errorf("%v, stdout %q, stderr %q", err, stdout.String(), stderr.String())
	}
	for _, want := range says {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("it does not say %q: %s", want, stderr.String())
		}
	}
	after := snapshot(t)
	for name, content := range after {
		if before[name] != content {
			t.Errorf("%s is new or has changed", name)
		}
	}
	if len(after) < len(before) {
		t.Errorf("of %d files %d are left", len(before), len(after))
	}
}
