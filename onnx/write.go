package onnx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteOptions say how a file is written.
type WriteOptions struct {
	Force bool // replace an existing file (never the model's own input or its data files)
	// Check, if set, is called with the path of the complete temporary file before it is renamed into place; an error
	// removes it and is returned.
	Check func(path string) error
	// ExternalAbove is the encoded size from which initializers move to "<file>.data"; 0 means 2 GiB − 16 MiB.
	ExternalAbove int64
}

// externalAbove is the default of WriteOptions.ExternalAbove: protobuf's limit with some room for tools that add to
// the model.
const externalAbove = 2<<30 - 16<<20

// WriteFile writes the model to a temporary sibling folder, syncs, checks and renames it into place. External payloads of the
// input are taken into the file, or into its own "<file>.data" above the limit.
//
// An existing file is replaced only with opts.Force, and never where it is the model's input, one of its data files or
// a symbolic link. Whatever goes wrong, nothing is left behind and an existing file stays as it was.
func (m *Model) WriteFile(ctx context.Context, path string, opts WriteOptions) error {
	if err := m.writeFile(ctx, path, opts); err != nil {
		return fmt.Errorf("onnx: %s: write: %w", printable(path), err)
	}
	return nil
}

func (m *Model) writeFile(ctx context.Context, path string, opts WriteOptions) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	plan, err := m.planFile(path, opts.ExternalAbove)
	if err != nil {
		return err
	}
	targets := []string{path}
	if len(plan.data) > 0 {
		targets = []string{path + dataSuffix, path} // the model comes last: it is complete once it is there
	}
	for _, target := range targets {
		if err := m.mayReplace(target, opts.Force); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp(filepath.Dir(path), ".trconvert-*")
	if err != nil {
		return fmt.Errorf("make a temporary folder beside it: %w", plainPathError(err))
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()

	file := filepath.Join(temp, filepath.Base(path))
	if len(plan.data) > 0 {
		if err := writeSynced(ctx, file+dataSuffix, plan.writeData); err != nil {
			return err
		}
	}
	if err := writeSynced(ctx, file, plan.writeModel); err != nil {
		return err
	}
	if opts.Check != nil {
		if err := opts.Check(file); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.install(temp, targets, opts.Force)
}

// mayReplace says why a target must not be written, nil where it may.
func (m *Model) mayReplace(target string, force bool) error {
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return plainPathError(err)
	}
	name := quote(filepath.Base(target))
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link (name the file it stands for)", name)
	case mode.IsDir():
		return fmt.Errorf("%s is a folder", name)
	case !mode.IsRegular():
		return fmt.Errorf("%s is not a regular file (%s)", name, mode.Type())
	}
	if m.origin.path != "" {
		if in, err := os.Stat(m.origin.path); err == nil && os.SameFile(in, info) {
			return fmt.Errorf("%s is the model's own input (choose another name)", name)
		}
		for _, file := range m.DataFiles() {
			if in, err := os.Stat(file); err == nil && os.SameFile(in, info) {
				return fmt.Errorf("%s holds the weights of the model's input (choose another name)", name)
			}
		}
	}
	if !force {
		return fmt.Errorf("%s: %w (--force replaces it)", name, fs.ErrExist)
	}
	return nil
}

// writeSynced creates a file, lets write fill it, and brings it to the disk.
func writeSynced(ctx context.Context, path string, write func(w io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return plainPathError(err)
	}
	err = write(&contextWriter{ctx, f})
	if err == nil {
		err = f.Sync()
	}
	return plainPathError(errors.Join(err, f.Close()))
}

// contextWriter writes in pieces and stops when its context ends.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *contextWriter) Write(p []byte) (int, error) {
	const piece = 4 << 20
	done := 0
	for {
		if err := c.ctx.Err(); err != nil {
			return done, err
		}
		n, err := c.w.Write(p[done:min(len(p), done+piece)])
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

// install moves the finished files from temp to their targets. Where one cannot be moved, those before it are taken
// back.
func (m *Model) install(temp string, targets []string, force bool) error {
	var undo []func() error
	for i, target := range targets {
		file := filepath.Join(temp, filepath.Base(target))
		old := filepath.Join(temp, fmt.Sprintf("old-%d", i))
		err := m.mayReplace(target, force)
		if err == nil && i+1 < len(targets) {
			// Keep what this target held until the last one is in place.
			switch err = os.Rename(target, old); {
			case err == nil:
				undo = append(undo, func() error { return os.Rename(old, target) })
			case errors.Is(err, fs.ErrNotExist):
				err = nil
				undo = append(undo, func() error { return os.Remove(target) })
			}
		}
		if err == nil {
			err = move(file, target, force)
		}
		if err != nil {
			for j := len(undo) - 1; j >= 0; j-- {
				if back := undo[j](); !errors.Is(back, fs.ErrNotExist) {
					err = errors.Join(err, back)
				}
			}
			return err
		}
	}
	syncFolder(filepath.Dir(targets[0]))
	return nil
}

// move renames a file. Without force it does not replace a target that appeared in the meantime.
func move(file, target string, force bool) error {
	if !force {
		err := os.Link(file, target)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return linkError(err)
		}
		// A file system without hard links: look once more, then rename.
		if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w (--force replaces it)", quote(filepath.Base(target)), fs.ErrExist)
		}
	}
	return linkError(os.Rename(file, target))
}

// linkError drops the two paths from an error of a rename or link.
func linkError(err error) error {
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}
