package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// trainingFolder holds a compact classifier and its data, and gives the line that trains it for some seconds.
func trainingFolder(t *testing.T) (line []string) {
	t.Helper()
	t.Chdir(t.TempDir())
	perform(t, "new -o m.onnx --input 6 --hidden 48 --classes 3 --layers 2 --format tr --ratio 2 --quiet")
	labelled(inTurn, nil)(t)
	return strings.Fields("finetune m.onnx -o out.onnx --data d.npz --labels label --epochs 400 --batch 2 --checkpoint ck --resume --quiet")
}

// TestResumeAfterKill kills the program at random moments and lets it go on; in the end the bytes are those of a training that nothing disturbed.
func TestResumeAfterKill(t *testing.T) {
	t.Run("labels", func(t *testing.T) { resumes(t, trainingFolder(t), 10) })
	t.Run("start of layers", func(t *testing.T) { // its least squares run anew each time
		line := trainingFolder(t)
		perform(t, "new -o t.onnx --input 6 --hidden 48 --classes 3 --layers 2 --format dense --seed 9 --quiet")
		resumes(t, append(line, "--teacher", "t.onnx", "--start", "layers"), 5)
	})
}

// resumes kills a training a number of times.
func resumes(t *testing.T, line []string, kills int) {
	undisturbed := strings.Split(strings.Replace(strings.Join(line, " "), "--checkpoint ck --resume", "-o whole.onnx", 1), " ")
	undisturbed = append(undisturbed[:2], undisturbed[4:]...) // without -o out.onnx
	began := time.Now()
	if out, err := exec.Command("trconvert", undisturbed...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole := time.Since(began)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	killed := 0
	for range kills {
		cmd := exec.Command("trconvert", line...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wait := time.Duration(rng.Int64N(int64(whole)/4 + 1))
		time.Sleep(wait)
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			break // it had ended
		} else if stderr.Len() > 0 {
			t.Fatalf("after %v: %v: %s", wait, err, stderr.String())
		}
		killed++
		if _, err := os.Stat("out.onnx"); err == nil {
			break
		}
	}
	t.Logf("%d kills within %v", killed, whole)
	if _, err := os.Stat("out.onnx"); err != nil {
		if out, err := exec.Command("trconvert", line...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	want, err := os.ReadFile("whole.onnx")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("out.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the file of the training that was killed %d times differs from that of the undisturbed one", killed)
	}
}

// TestInterruptKeepsTheCheckpoint signals a training: nothing is written but the checkpoint, which the next one goes on from.
func TestInterruptKeepsTheCheckpoint(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows cannot send an interrupt to one process")
	}
	line := trainingFolder(t)
	cmd := exec.Command("trconvert", line...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	checkpoint := filepath.Join("ck", "finetune.ckpt")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(checkpoint); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no checkpoint: %s", stderr.String())
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted || !strings.Contains(stderr.String(), "interrupted; no model was written; --resume goes on from the checkpoint in ck") {
		t.Errorf("got %v, want exit code %d; stderr: %s", err, exitInterrupted, stderr.String())
	}
	var files []string
	for name := range snapshot(t) {
		files = append(files, name)
	}
	for _, f := range files {
		switch filepath.ToSlash(f) {
		case "m.onnx", "d.npz", "ck", "ck/finetune.ckpt":
		default:
			t.Errorf("%s was left behind", f)
		}
	}
	if out, err := exec.Command("trconvert", line...).CombinedOutput(); err != nil {
		t.Errorf("it does not go on: %v\n%s", err, out)
	}
}
