package gosource_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/trconvert/trconvert/export/gosource"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/export/source/sourcetest"
)

// test runs the test of a generated package, which compares with stored outputs of package runtime to 1e-4 of the largest element.
func test(t *testing.T, files map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	sourcetest.Write(t, dir, files)
	cmd := exec.Command("go", "test", "-v", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%.3000s", err, out)
	}
	t.Logf("%s", out)
}

func TestModelsGiveTheOutputsOfTheRuntime(t *testing.T) {
	for _, tt := range sourcetest.Models {
		t.Run(tt.Name, func(t *testing.T) {
			files, err := gosource.Write(context.Background(), sourcetest.Open(t, tt.Path), gosource.Options{Options: source.Options{Dims: tt.Dims}})
			if err != nil {
				t.Fatal(err)
			}
			test(t, files)
		})
	}
}
