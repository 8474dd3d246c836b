package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// load reads the file's arrays; only test_data_set folders are bound here, as each of their files is one whole feed.
func (b *binder) load(ctx context.Context) error {
	st, err := os.Stat(b.path)
	if err != nil {
		return fmt.Errorf("dataset: %w", err)
	}
	if st.IsDir() {
		return b.loadFolder(ctx)
	}
	f, size, err := openRegular(b.path)
	if err != nil {
		return err
	}
	keep, err := b.loadFile(ctx, f, size)
	if err == nil && keep {
		b.files.keep(heldFile{file: f})
		return nil
	}
	f.Close()
	return err
}

// loadFile tells whether arrays stay in the file.
func (b *binder) loadFile(ctx context.Context, f *os.File, size int64) (keep bool, err error) {
	head := make([]byte, 8)
	n, _ := f.ReadAt(head, 0)
	head = head[:n]
	lower := strings.ToLower(b.path)
	if b.options.Lengths != "" && !isZip(head) {
		return false, fmt.Errorf("dataset: %s: lengths %s are read from an .npz only", quote(b.path), quote(b.options.Lengths))
	}
	switch {
	case isZip(head):
		z, err := openNPZ(f, size, b.path)
		if err != nil {
			return false, err
		}
		return b.loadNPZ(ctx, z, f)
	case strings.HasPrefix(string(head), npyMagic):
		in, err := b.single(".npy")
		if err != nil {
			return false, err
		}
		if b.arrays[in.Name], keep, err = b.openNPYFile(ctx, f, size, b.path); err != nil {
			return false, err
		}
		return keep, b.loadNPYLabels(ctx)
	case strings.HasSuffix(lower, ".csv"):
		return false, b.loadCSV(ctx, f)
	case strings.HasSuffix(lower, ".npz"), strings.HasSuffix(lower, ".npy"):
		return false, fmt.Errorf("dataset: %s: begins with %q: neither a zip archive of arrays nor an .npy array", quote(b.path), head)
	}
	return false, fmt.Errorf("dataset: %s: not an .npz, .npy or .csv file, nor a folder in the ONNX test_data_set layout", quote(b.path))
}

func isZip(head []byte) bool {
	return strings.HasPrefix(string(head), "PK\x03\x04") || strings.HasPrefix(string(head), "PK\x05\x06")
}

// loadNPYLabels reads the labels of an .npy, which are another file.
func (b *binder) loadNPYLabels(ctx context.Context) error {
	path := b.options.Labels
	if path == "" {
		return nil
	}
	f, size, err := openRegular(path)
	if err != nil {
		return fmt.Errorf("%w (%s holds one array: its labels must be named by the path of another .npy file)", err, quote(b.path))
	}
	a, keep, err := b.openNPYFile(ctx, f, size, path)
	if !keep {
		f.Close()
	} else {
		b.files.keep(heldFile{file: f})
	}
	if err != nil {
		return err
	}
	b.labels = &labels{from: path, parts: []*stored{a}}
	return nil
}

// single is the only input of the model, which files without names need.
func (b *binder) single(what string) (*onnx.ValueInfo, error) {
	if len(b.wanted) == 1 {
		return b.wanted[0], nil
	}
	var names []string
	for _, in := range b.wanted {
		names = append(names, in.Name)
	}
	return nil, fmt.Errorf("dataset: %s: %s holds one array without a name, the model has %d inputs besides its states: %s (use an .npz)", quote(b.path), what, len(names), quoteAll(names))
}

// loadNPZ reads labels and lengths before the inputs, so that they are in memory where not everything fits.
func (b *binder) loadNPZ(ctx context.Context, z *npz, f *os.File) (keep bool, err error) {
	var names []string
	add := func(name, what string) error {
		switch {
		case name == "" || slices.Contains(names, name):
		case z.members[name] == nil:
			return fmt.Errorf("dataset: %s: no array %s %s (there are %s)", quote(b.path), what, quote(name), quoteAll(z.names))
		default:
			names = append(names, name)
		}
		return nil
	}
	if err := errors.Join(add(b.options.Labels, "of labels"), add(b.options.Lengths, "of lengths")); err != nil {
		return false, err
	}
	for _, in := range b.wanted {
		if err := add(in.Name, "for the input"); err != nil {
			return false, err
		}
	}
	if err := z.checkTotal(names); err != nil {
		return false, err
	}
	for _, name := range names {
		s, err := b.member(ctx, z, f, name)
		if err != nil {
			return false, err
		}
		b.arrays[name] = s
		keep = keep || s.file == io.ReaderAt(f)
	}
	if l := b.options.Labels; l != "" {
		b.labels = &labels{from: b.path + ": " + l, parts: []*stored{b.arrays[l]}}
	}
	if l := b.options.Lengths; l != "" {
		b.lengths = b.arrays[l]
	}
	return keep, nil
}
