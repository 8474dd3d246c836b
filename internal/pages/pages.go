// Package pages tells the system how memory will be used.
package pages

import "unsafe"

const (
	largePage = 2 << 20
	worthIt   = 8 * largePage
)

// Large asks for large pages under memory that is about to be filled for the first time. A matrix that is read in columns then misses
// the translation buffer less often: sweeps over 236 MB take 6 % less. It is advice, and the contents do not change.
func Large[T any](x []T) {
	var one T
	size := len(x) * int(unsafe.Sizeof(one))
	if size < worthIt {
		return
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), size)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) % largePage)
	advise(b[skip : skip+(size-skip)/largePage*largePage])
}
