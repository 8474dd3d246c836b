package onnx

import (
	"fmt"
	"io"
	"math"
)

// Elements is the product of the dims. The decoder has checked that it does not overflow.
func (t *Tensor) Elements() int64 {
	n, _ := elements(t.Dims)
	return n
}

// Bytes is the number of payload bytes as stored.
func (t *Tensor) Bytes() int64 {
	switch {
	case t.External != nil && t.External.Length >= 0:
		return t.External.Length
	case t.External != nil, t.data.array != nil && t.Type != String:
		n, _ := t.Type.rawBytes(t.Elements())
		return n
	case t.data.hasRaw:
		return int64(len(t.data.raw))
	}
	return t.data.stored
}

// Array decodes the payload (raw or typed fields, or external data) and checks it against Dims. The caller owns the
// result. Memory is allocated only once the bytes are known to be there.
func (t *Tensor) Array() (*Array, error) {
	if t.data.array != nil {
		return t.data.array.Clone(), nil
	}
	switch {
	case t.data.segment:
		return nil, t.unsupported("it is one segment of a larger tensor (segments are not put together: save the tensor whole)")
	case t.Type == Undefined:
		return nil, t.unsupported("its data_type is undefined")
	case t.Type > Int2:
		return nil, t.unsupported(fmt.Sprintf("%s is unknown (this program knows those up to %d)", t.Type, Int2))
	}
	dims := make([]int, len(t.Dims))
	for i, v := range t.Dims {
		if v > math.MaxInt {
			return nil, t.formatError("dim %d is %d, too large for this machine", i, v)
		}
		dims[i] = int(v)
	}
	n := t.Elements()
	size, ok := t.Type.rawBytes(n)
	if !ok || size > math.MaxInt || n > math.MaxInt {
		return nil, t.formatError("dims %v of %s are too large for this machine", t.Dims, t.Type)
	}
	var a *Array
	err := guardMapped(func() error {
		var err error
		switch {
		case t.External != nil:
			a, err = t.externalArray(dims, int(n), size)
		case t.data.hasRaw:
			a, err = arrayFromBytes(t.Type, dims, int(n), func(b []byte) error {
				if len(b) != len(t.data.raw) {
					return t.formatError("raw_data holds %d bytes, dims %v of %s need %d", len(t.data.raw), t.Dims, t.Type, len(b))
				}
				return t.model.origin.readMapped(t.data.raw, func(piece []byte) error {
					b = b[copy(b, piece):]
					return nil
				})
			})
		default:
			a, err = t.typedArray(dims, int(n))
		}
		return err
	})
	if err == errFault {
		err = fmt.Errorf("onnx: %s: %s: %w", t.subject(), t, err)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (t *Tensor) externalArray(dims []int, n int, size int64) (*Array, error) {
	f, err := t.openExternal(size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return arrayFromBytes(t.Type, dims, n, func(b []byte) error {
		if _, err := io.ReadFull(io.NewSectionReader(f, t.External.Offset, size), b); err != nil {
			return t.dataError("", err)
		}
		return nil
	})
}

func (t *Tensor) subject() string {
	if t.model == nil {
		return "tensor"
	}
	return t.model.subject()
}

func (t *Tensor) formatError(format string, args ...any) error {
	return &FormatError{File: t.subject(), Offset: t.src.offset, Path: t.String(), What: fmt.Sprintf(format, args...)}
}

func (t *Tensor) unsupported(what string) error {
	return &UnsupportedError{File: t.subject(), Path: t.String(), What: what}
}
