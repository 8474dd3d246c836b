package runtime

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is the processor time that the calling thread has used, which does not grow while others have the processor.
func threadTime() time.Duration {
	return clock(unix.CLOCK_THREAD_CPUTIME_ID)
}

// processTime is the processor time that all threads of the process have used.
func processTime() time.Duration { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
