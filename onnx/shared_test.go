package onnx

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// sharedFiles lists the files below a folder of ../shared (seen from the repository) whose names end in one of the
// suffixes. The test is skipped where the folder is absent.
func sharedFiles(t testing.TB, folder string, suffixes ...string) []string {
	t.Helper()
	named := filepath.Join("..", "..", "shared", folder)
	root, err := filepath.EvalSymlinks(named)
	if err != nil {
		t.Skipf("test material is absent: %s", named)
	}
	var files []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, s := range suffixes {
			if !d.IsDir() && strings.HasSuffix(path, s) {
				files = append(files, path)
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
