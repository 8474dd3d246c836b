package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
)

// manifestName is the file of a written folder that lists its files, itself among them. It is what tells a folder of ours, which --force may replace, from any other.
const manifestName = "trconvert.json"

// manifestSchema is the schema of that file.
const manifestSchema = "trconvert.folder/v1"

// maxManifest bounds the bytes of a manifest that is read.
const maxManifest = 1 << 20

// manifest is that file.
type manifest struct {
	Schema string   `json:"schema"`
	Target string   `json:"target"`
	Files  []string `json:"files"` // paths with slashes, sorted
}

// guardFolder refuses, before any work is done, a folder that cannot be written in the end: an existing one without force, and with it one that holds
// anything but the files that its manifest lists, or that an input lies in.
func guardFolder(out string, force bool, inputs ...string) error {
	info, err := os.Lstat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return guardOutput(out, force)
	case err != nil:
		return fmt.Errorf("convert: output: %w", err)
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("convert: output %q is a link; nothing is written through links (remove it or choose another -o)", out)
	case !info.IsDir():
		return fmt.Errorf("convert: output %q exists and is no folder (the target writes one)", out)
	case !force:
		return fmt.Errorf("convert: output %q exists (--force replaces a folder that export wrote)", out)
	}
	listed, err := listedFiles(out)
	if err != nil {
		return err
	}
	return filepath.WalkDir(out, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("convert: output %q: %w", out, err)
		}
		rel, err := filepath.Rel(out, name)
		if err != nil {
			return fmt.Errorf("convert: output %q: %w", out, err)
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() && (rel == "." || slices.ContainsFunc(listed, func(f string) bool { return below(rel, f) })) {
			return nil
		}
		if !d.Type().IsRegular() || !slices.Contains(listed, rel) {
			return fmt.Errorf("convert: output %q holds %q, which export did not write there (move it away, or choose another -o)", out, rel)
		}
		for _, in := range inputs {
			if a, err := os.Stat(in); err == nil {
				if b, err := d.Info(); err == nil && os.SameFile(a, b) {
					return fmt.Errorf("convert: output %q holds the input %q; the input is never overwritten (choose another -o)", out, in)
				}
			}
		}
		return nil
	})
}

// below says whether file lies in the folder dir; both are paths with slashes.
func below(dir, file string) bool {
	for d := path.Dir(file); d != "."; d = path.Dir(d) {
		if d == dir {
			return true
		}
	}
	return false
}

// listedFiles reads the manifest of a folder; a folder without entries needs none.
func listedFiles(folder string) ([]string, error) {
	f, err := os.Open(filepath.Join(folder, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("convert: output %q: %w", folder, err)
	}
	defer f.Close()
	data := make([]byte, maxManifest)
	n, err := f.Read(data)
	var m manifest
	if err == nil {
		err = json.Unmarshal(data[:n], &m)
	}
	if err == nil && m.Schema != manifestSchema {
		err = fmt.Errorf("its schema is %q, want %q", m.Schema, manifestSchema)
	}
	if err != nil {
		return nil, fmt.Errorf("convert: output %q: its %s is none of export's: %w (choose another -o)", folder, manifestName, err)
	}
	return append(m.Files, manifestName), nil
}

// writeFolder writes the files of a folder and their manifest into a temporary sibling that is renamed into place; on any error nothing is left and an
// existing folder stays as it was.
func (e *exporting) writeFolder(ctx context.Context, files map[string]content) (err error) {
	out := filepath.Clean(e.o.Output)
	m := manifest{Schema: manifestSchema, Target: e.report.Target, Files: sortedNames(files)}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("convert: output %q: %w", out, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".*")
	if err != nil {
		return fmt.Errorf("convert: output: %w", err)
	}
	defer os.RemoveAll(temp)
	fresh := filepath.Join(temp, "new")
	all := map[string]content{manifestName: raw(append(bytes.TrimSpace(text), '\n'))}
	for name, c := range files {
		all[name] = c
	}
	for _, name := range sortedNames(all) {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("convert: output %q: %s is no path inside it", out, strconv.Quote(name))
		}
		to := filepath.Join(fresh, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("convert: output %q: %w", out, err)
		}
		if err := writeAtomic(ctx, to, all[name]); err != nil {
			return err
		}
		info, err := os.Stat(to)
		if err != nil {
			return fmt.Errorf("convert: output %q: %w", out, err)
		}
		e.report.Files = append(e.report.Files, ExportedFile{Name: name, Bytes: info.Size()})
		e.report.Output.Bytes += info.Size()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	old := filepath.Join(temp, "old")
	switch err := os.Rename(out, old); {
	case errors.Is(err, fs.ErrNotExist):
		old = ""
	case err != nil:
		return fmt.Errorf("convert: output: %w", err)
	}
	if err := os.Rename(fresh, out); err != nil {
		if old != "" {
			err = errors.Join(err, os.Rename(old, out))
		}
		return fmt.Errorf("convert: output: %w", err)
	}
	return nil
}
