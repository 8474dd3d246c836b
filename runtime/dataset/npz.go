package dataset

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// Limits of .npz files. A deflated member may unfold to maxNPZRatio times its stored bytes, and all that are read to as many times the file's,
// or to freeNPZBytes where that is more (small arrays of zeros shrink a thousandfold and harm nobody); all deflated members that are read together
// to maxNPZTotal.
const (
	maxNPZRatio  = 200
	freeNPZBytes = 16 << 20
	maxNPZTotal  = 16 << 30
)

// ReadNPZFile opens an .npz file and reads the named members (all where names is empty). Members may be stored or deflated. Names that are
// paths out of a folder, duplicate members, sizes beyond the file's and zip bombs (see the limits in this file) are errors.
func ReadNPZFile(path string, names ...string) (map[string]*onnx.Array, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := openNPZ(f, size, path)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = z.names
	}
	return z.read(context.Background(), names)
}

// npz is the directory of an .npz file, checked.
type npz struct {
	file    string
	size    int64
	names   []string // in file order
	members map[string]*zip.File
}

func openNPZ(r io.ReaderAt, size int64, file string) (*npz, error) {
	fail := func(err error) (*npz, error) { return nil, fmt.Errorf("dataset: %s: %w", quote(file), err) }
	zr, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return fail(err)
	}
	z := &npz{file: file, size: size, members: make(map[string]*zip.File, len(zr.File))}
	for _, m := range zr.File {
		name, ok := strings.CutSuffix(m.Name, ".npy")
		if !ok {
			return fail(fmt.Errorf("member %s is not an .npy array", quote(m.Name)))
		}
		if err := checkMemberName(name); err != nil {
			return fail(fmt.Errorf("member %s: %w", quote(m.Name), err))
		}
		if z.members[name] != nil {
			return fail(fmt.Errorf("member %s is there twice", quote(m.Name)))
		}
		if err := z.checkSizes(m); err != nil {
			return fail(fmt.Errorf("member %s: %w", quote(m.Name), err))
		}
		z.members[name] = m
		z.names = append(z.names, name)
	}
	return z, nil
}

// checkMemberName refuses names that would leave a folder if someone unpacked the file. Slashes inside are fine: tensor names have them.
func checkMemberName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case strings.HasPrefix(name, "/"), strings.ContainsRune(name, '\\'), len(name) > 1 && name[1] == ':' && (name[0]|32) >= 'a' && (name[0]|32) <= 'z':
		return errors.New("the name is an absolute path or has a backslash")
	case slices.Contains(strings.Split(name, "/"), ".."):
		return errors.New("the name leads out of its folder")
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("the name has control characters")
	}
	return nil
}

// checkSizes compares what the directory says (also in its zip64 fields) with the bytes that are there.
func (z *npz) checkSizes(m *zip.File) error {
	stored, full := m.CompressedSize64, m.UncompressedSize64
	switch {
	case m.Flags&1 != 0:
		return errors.New("it is encrypted")
	case m.Method != zip.Store && m.Method != zip.Deflate:
		return fmt.Errorf("compression method %d is not read (stored and deflated are)", m.Method)
	case stored > uint64(z.size):
		return fmt.Errorf("the directory declares %d stored bytes, the file has %d in all", stored, z.size)
	case m.Method == zip.Store && stored != full:
		return fmt.Errorf("the directory declares %d stored and %d full bytes for a member that is not compressed", stored, full)
	case full > freeNPZBytes && full/maxNPZRatio > stored:
		return fmt.Errorf("%d stored bytes unfold to %d, more than %d times as many: a zip bomb", stored, full, maxNPZRatio)
	}
	return nil
}

// checkTotal refuses names that are not there and arrays that are too large together.
func (z *npz) checkTotal(names []string) error {
	var total, deflated uint64
	for _, name := range names {
		m := z.members[name]
		if m == nil {
			return fmt.Errorf("dataset: %s: no array %s (there are %s)", quote(z.file), quote(name), quoteAll(z.names))
		}
		total += m.UncompressedSize64
		if m.Method != zip.Store {
			deflated += m.UncompressedSize64
		}
		switch {
		case deflated > maxNPZTotal:
			return fmt.Errorf("dataset: %s: the compressed arrays take more than the limit of %d bytes", quote(z.file), int64(maxNPZTotal))
		case total > freeNPZBytes && total/maxNPZRatio > uint64(z.size):
			return fmt.Errorf("dataset: %s: a file of %d bytes unfolds to %d, more than %d times as many: a zip bomb", quote(z.file), z.size, total, maxNPZRatio)
		}
	}
	return nil
}

// read decodes the named arrays.
func (z *npz) read(ctx context.Context, names []string) (map[string]*onnx.Array, error) {
	if err := z.checkTotal(names); err != nil {
		return nil, err
	}
	out := make(map[string]*onnx.Array, len(names))
	for _, name := range names {
		a, err := z.readMember(ctx, name)
		if err != nil {
			return nil, err
		}
		out[name] = a
	}
	return out, nil
}

func (z *npz) readMember(ctx context.Context, name string) (*onnx.Array, error) {
	m := z.members[name]
	label := z.file + ": " + m.Name
	r, err := m.Open()
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", quote(label), err)
	}
	defer r.Close()
	a, err := readNPY(ctxReader{ctx, r}, label, int64(m.UncompressedSize64))
	if err != nil {
		return nil, err
	}
	return a, endsHere(r, label)
}

// openRegular opens a regular file; a FIFO or device would block or never end.
func openRegular(path string) (*os.File, int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, 0, fmt.Errorf("dataset: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("dataset: %s: not a regular file", quote(path))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("dataset: %w", err)
	}
	if st, err = f.Stat(); err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("dataset: %s: %w", quote(path), err)
	}
	return f, st.Size(), nil
}

// ctxReader ends with the context's error once it is cancelled.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func quoteAll(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = quote(n)
	}
	return strings.Join(q, ", ")
}
