//go:build unix

package convert

import (
	"math"
	"syscall"
)

// processorTime is the time in milliseconds that the process has had processors, all threads together.
func processorTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return math.NaN()
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}
