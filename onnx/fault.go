package onnx

import (
	"errors"
	"runtime/debug"
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
