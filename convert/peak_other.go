//go:build !unix

package convert

import goruntime "runtime"

// peakBytes is what Go has asked of the system, the nearest figure to a peak that is portable.
func peakBytes() int64 {
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.Sys)
}
