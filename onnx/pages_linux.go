package onnx

import (
	"os"
	"syscall"
	"unsafe"
)

// dropPages tells the system that the pages wholly inside b, which lies in a file mapping, are not needed for now. They
// stay in the system's cache, but no longer count as memory of this process.
func dropPages(b []byte) {
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	skip := (page - start%page) % page
	if uintptr(len(b)) < skip+page {
		return
	}
	b = b[skip:]
	_ = syscall.Madvise(b[:uintptr(len(b))/page*page], syscall.MADV_DONTNEED)
}
