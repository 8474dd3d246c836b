package dataset

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
)

// files are what a data set keeps open.
type files struct {
	mu       sync.Mutex
	held     []heldFile
	cleanups []runtime.Cleanup
}

// heldFile has a path where the file is to be removed when it is closed.
type heldFile struct {
	file *os.File
	path string
}

func (h heldFile) close() error {
	err := h.file.Close()
	if h.path != "" {
		err = errors.Join(err, os.Remove(h.path))
	}
	return err
}

func (fs *files) keep(h heldFile) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.held = append(fs.held, h)
	if h.path != "" {
		fs.cleanups = append(fs.cleanups, runtime.AddCleanup(fs, func(h heldFile) { h.close() }, h))
	}
}

func (fs *files) close() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, c := range fs.cleanups {
		c.Stop()
	}
	var err error
	for _, h := range fs.held {
		err = errors.Join(err, h.close())
	}
	fs.held, fs.cleanups = nil, nil
	if err != nil {
		err = fmt.Errorf("dataset: %w", err)
	}
	return err
}

// temporary makes a file that vanishes with the data set: at once where the system removes open files, at the end where it does not.
func (fs *files) temporary() (*os.File, error) {
	f, err := os.CreateTemp("", "trconvert-*.npy")
	if err != nil {
		return nil, err
	}
	h := heldFile{file: f}
	if os.Remove(f.Name()) != nil {
		h.path = f.Name()
	}
	fs.keep(h)
	return f, nil
}

// fits takes bytes from the memory that is left.
func (b *binder) fits(bytes int64) bool {
	if bytes > b.memory {
		return false
	}
	b.memory -= bytes
	return true
}

// openNPYFile reads an .npy file that fits, and keeps it open where it does not.
func (b *binder) openNPYFile(ctx context.Context, f *os.File, size int64, path string) (s *stored, keep bool, err error) {
	if b.fits(size) {
		a, err := readNPY(ctxReader{ctx, f}, path, size)
		if err != nil {
			return nil, false, err
		}
		return inMemory(a, path), false, nil
	}
	s, err = inFile(ctx, f, 0, size, path)
	return s, err == nil && s.file != nil, err
}

// inFile is an .npy array that stays in a file. One in Fortran order is read: its rows do not lie together.
func inFile(ctx context.Context, f io.ReaderAt, at, size int64, name string) (*stored, error) {
	r := io.NewSectionReader(f, at, size)
	h, used, err := readNPYHeader(r)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", quote(name), err)
	}
	if err := h.checkSize(name, size-used); err != nil {
		return nil, err
	}
	if h.fortran {
		r.Seek(0, io.SeekStart)
		a, err := readNPY(ctxReader{ctx, r}, name, size)
		if err != nil {
			return nil, err
		}
		return inMemory(a, name), nil
	}
	return &stored{typ: h.typ, dims: h.dims, file: f, at: at + used, header: h, name: name}, nil
}

// member reads an array of an .npz that fits; a larger one stays in the archive if it is not compressed, and is unfolded to a temporary file if it is.
func (b *binder) member(ctx context.Context, z *npz, f *os.File, name string) (*stored, error) {
	m := z.members[name]
	label := z.file + ": " + m.Name
	if b.fits(int64(m.UncompressedSize64)) {
		a, err := z.readMember(ctx, name)
		if err != nil {
			return nil, err
		}
		return inMemory(a, label), nil
	}
	size := int64(m.UncompressedSize64)
	if m.Method != zip.Store {
		t, err := b.unfold(ctx, m, label)
		if err != nil {
			return nil, err
		}
		return inFile(ctx, t, 0, size, label)
	}
	at, err := m.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", quote(label), err)
	}
	if at > z.size-size {
		return nil, fmt.Errorf("dataset: %s: %d bytes at offset %d: the file ends at %d", quote(label), size, at, z.size)
	}
	return inFile(ctx, f, at, size, label)
}

// unfold writes a compressed member to a temporary file.
func (b *binder) unfold(ctx context.Context, m *zip.File, label string) (*os.File, error) {
	r, err := m.Open()
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", quote(label), err)
	}
	defer r.Close()
	fail := func(err error) (*os.File, error) {
		return nil, fmt.Errorf("dataset: %s: its %d bytes do not fit the memory for arrays and are unfolded to the folder of temporary files, %s: %w", quote(label), m.UncompressedSize64, quote(os.TempDir()), err)
	}
	t, err := b.files.temporary()
	if err != nil {
		return fail(err)
	}
	if _, err := io.CopyN(t, ctxReader{ctx, r}, int64(m.UncompressedSize64)); err != nil {
		return fail(err)
	}
	return t, endsHere(r, label)
}

// endsHere compares the checksum, which the end of a member brings.
func endsHere(r io.Reader, label string) error {
	if n, err := io.CopyN(io.Discard, r, 1); n != 0 || !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("there are bytes behind the array")
		}
		return fmt.Errorf("dataset: %s: %w", quote(label), err)
	}
	return nil
}
