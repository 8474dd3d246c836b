//go:build unix

package convert

import (
	goruntime "runtime"
	"syscall"
)

// peakBytes is the largest resident size the process has had. Apple's kernel counts bytes, the others kibibytes.
func peakBytes() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	n := int64(u.Maxrss)
	if goruntime.GOOS != "darwin" && goruntime.GOOS != "ios" {
		n <<= 10
	}
	return n
}
