package onnx

import (
	"errors"
	"runtime/debug"
	"unsafe"
)

// errFault says that mapped bytes could not be read.
var errFault = errors.New("the mapped file could not be read (it was truncated or its disk failed while it was in use)")

// guardMapped runs read, which touches mapped bytes, and turns a memory fault (SIGBUS where the file was truncated
// under the mapping) into errFault. Any other panic goes on.
func guardMapped(read func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(interface{ Addr() uintptr }); !ok {
				panic(r)
			}
			err = errFault
		}
	}()
	return read()
}

// readPiece is how much of a mapped payload is read before its pages are let go.
const readPiece = 8 << 20

// readMapped hands b to use in pieces. Where b lies in the mapped file, the pages of large payloads are let go again
// after use, so that reading weights once does not keep the file in memory.
func (o *origin) readMapped(b []byte, use func(piece []byte) error) error {
	mapped := o.inMapping(b) && len(b) > readPiece/8
	for {
		piece := b[:min(len(b), readPiece)]
		if err := use(piece); err != nil {
			return err
		}
		if mapped {
			dropPages(piece)
		}
		if b = b[len(piece):]; len(b) == 0 {
			return nil
		}
	}
}

// inMapping says whether b lies in the mapped file.
func (o *origin) inMapping(b []byte) bool {
	if o == nil || len(o.mapped) == 0 || len(b) == 0 {
		return false
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(o.mapped)))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return at >= start && at-start < uintptr(len(o.mapped))
}
