package onnx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/edsrzf/mmap-go"
)

// maxModelFile is protobuf's limit for one message, and so for a model file.
const maxModelFile = 1<<31 - 1

// origin is the file that a model, and the models patched from it, were decoded from.
type origin struct {
	path  string // "" for models in memory
	name  string // stands for the file in errors
	bytes int64
	opts  OpenOptions
	data  []string // locations of the data files of the model as opened, each once

	mapped mmap.MMap // nil where the bytes are held in memory
	refs   atomic.Int32

	mu   sync.Mutex
	sums map[string]checksum // verified data files, by location
}

func newOrigin(name string) *origin {
	o := &origin{name: name}
	o.refs.Store(1)
	return o
}

func (o *origin) release() error {
	if o.refs.Add(-1) != 0 || o.mapped == nil {
		return nil
	}
	if err := o.mapped.Unmap(); err != nil {
		return fmt.Errorf("onnx: %s: unmap: %w", printable(o.name), err)
	}
	return nil
}

// OpenFile maps the file and decodes everything but the weights. Where the system cannot map it (a pipe, some network
// file systems) it is read into memory. External data must lie in the folder that path names, see [External].
func OpenFile(ctx context.Context, path string, opts OpenOptions) (*Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o := newOrigin(path)
	o.path, o.opts = path, opts
	data, err := o.load(ctx)
	if err != nil {
		return nil, err
	}
	m := &Model{origin: o}
	err = guardMapped(func() error { return decodeModel(ctx, m, path, data) })
	if errors.Is(err, errFault) {
		err = fmt.Errorf("onnx: %s: %w", printable(path), err)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, o.release())
	}
	m.inspect()
	return m, nil
}

// load maps or reads the file.
func (o *origin) load(ctx context.Context) ([]byte, error) {
	f, err := openRegular(o.path)
	if err != nil {
		return nil, fmt.Errorf("onnx: %s: open: %w", printable(o.path), plainPathError(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("onnx: %s: stat: %w", printable(o.path), plainPathError(err))
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return nil, fmt.Errorf("onnx: %s: it is a folder (name the .onnx file in it)", printable(o.path))
	case mode.Type() == fs.ModeNamedPipe:
		return o.read(ctx, f)
	case !mode.IsRegular():
		return nil, fmt.Errorf("onnx: %s: it is not a regular file (%s)", printable(o.path), mode.Type())
	}
	o.bytes = info.Size()
	if o.bytes > maxModelFile {
		return nil, &FormatError{File: o.path, Offset: -1, What: fmt.Sprintf("the file has %d bytes, a model file at most %d (larger weights belong into external data)",
			o.bytes, maxModelFile)}
	}
	if o.bytes == 0 {
		return nil, nil
	}
	mapped, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return o.read(ctx, f)
	}
	o.mapped = mapped
	return mapped, nil
}

// read reads what cannot be mapped.
func (o *origin) read(ctx context.Context, f io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(&contextReader{ctx, f}, maxModelFile+1))
	if err != nil {
		return nil, fmt.Errorf("onnx: %s: read: %w", printable(o.path), plainPathError(err))
	}
	if len(data) > maxModelFile {
		return nil, &FormatError{File: o.path, Offset: -1, What: fmt.Sprintf("more than %d bytes, the most a model file may have", maxModelFile)}
	}
	o.bytes = int64(len(data))
	return data, nil
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// plainPathError drops the path from an error whose message will name it anyway.
func plainPathError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// folder is where the model's external data lies.
func (o *origin) folder() string { return filepath.Dir(o.path) }

// Close unmaps the file. Closing twice does nothing.
func (m *Model) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	return m.origin.release()
}

// openRegular opens a file for reading without waiting for the other end of a pipe.
func openRegular(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|openNonblock, 0)
}
