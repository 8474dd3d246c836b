//go:build windows && (amd64 || arm64) && !noort

package ort

import (
	"syscall"
	"unicode/utf16"
	"unsafe"
)

// openLibrary returns the address of a function in a shared library.
func openLibrary(path, symbol string) (uintptr, error) {
	lib, err := syscall.LoadLibrary(path)
	if err != nil {
		return 0, err
	}
	return syscall.GetProcAddress(lib, symbol)
}

// nativePath is a model's path as the C interface takes it: ORTCHAR_T is wchar_t.
func nativePath(path string) unsafe.Pointer {
	return unsafe.Pointer(&append(utf16.Encode([]rune(path)), 0)[0])
}
