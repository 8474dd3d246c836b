//go:build !linux

package runtime

import "time"

var start = time.Now()

// threadTime is the time of the clock where that of a thread is not known.
func threadTime() time.Duration { return time.Since(start) }

func processTime() time.Duration { return threadTime() }
