//go:build (darwin || freebsd || linux) && (amd64 || arm64) && !noort

package ort

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// openLibrary returns the address of a function in a shared library.
func openLibrary(path, symbol string) (uintptr, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, err
	}
	return purego.Dlsym(lib, symbol)
}

// nativePath is a model's path as the C interface takes it: ORTCHAR_T is char.
func nativePath(path string) unsafe.Pointer {
	return unsafe.Pointer(&append([]byte(path), 0)[0])
}
