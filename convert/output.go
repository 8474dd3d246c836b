package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// guardOutput refuses, before any work is done, an output that cannot be written in the end: an input under whatever name, a link, something
// that is no regular file, an existing file (unless force), a folder that is not there. An input "" is none.
func guardOutput(out string, force bool, inputs ...string) error {
	info, err := os.Lstat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		dir := filepath.Dir(out)
		if d, err := os.Stat(dir); err != nil {
			return fmt.Errorf("convert: output %q: its folder cannot be used: %w", out, err)
		} else if !d.IsDir() {
			return fmt.Errorf("convert: output %q: %q is not a folder", out, dir)
		}
		return nil
	case err != nil:
		return fmt.Errorf("convert: output: %w", err)
	}
	target, statErr := os.Stat(out) // follows a link
	for _, in := range inputs {
		if i, err := os.Stat(in); err == nil && (os.SameFile(i, info) || statErr == nil && os.SameFile(i, target)) {
			return fmt.Errorf("convert: output %q is the input %q; the input is never overwritten (choose another -o)", out, in)
		}
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("convert: output %q is a link; nothing is written through links (remove it or choose another -o)", out)
	case !info.Mode().IsRegular():
		return fmt.Errorf("convert: output %q exists and is no regular file (%v)", out, info.Mode().Type())
	case !force:
		return fmt.Errorf("convert: output %q exists (--force replaces it)", out)
	}
	return nil
}

// samePath says whether two paths name one file, which need not be there yet.
func samePath(a, b string) bool {
	x, errX := filepath.Abs(a)
	y, errY := filepath.Abs(b)
	if errX == nil && errY == nil && x == y {
		return true
	}
	i, errI := os.Stat(a)
	j, errJ := os.Stat(b)
	return errI == nil && errJ == nil && os.SameFile(i, j)
}

// writeAtomic writes a file by way of a temporary sibling that is synced and renamed into place; on any error nothing is left.
func writeAtomic(ctx context.Context, path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("convert: output: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return fmt.Errorf("convert: output %q: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("convert: output %q: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("convert: output %q: %w", path, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return fmt.Errorf("convert: output %q: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("convert: output: %w", err)
	}
	return nil
}
