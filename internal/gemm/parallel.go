package gemm

import (
	"runtime"
	"sync/atomic"
)

// threadLimit is the most goroutines one call uses; 0 means GOMAXPROCS.
var threadLimit atomic.Int32

// SetThreads limits the goroutines of each later call to n; n ≤ 0 means GOMAXPROCS, which is the default. Results do not depend on it.
func SetThreads(n int) { threadLimit.Store(int32(max(n, 0))) }

// Threads is the number of goroutines a call may use.
func Threads() int {
	if n := int(threadLimit.Load()); n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// serialWork is the number of multiplications below which starting goroutines costs more than it gains; vector kernels do vectorWork of them
// in the time of one.
const (
	serialWork = 1 << 18
	vectorWork = 16
)

// parallel runs jobs 0…n−1 of the first function that start returns; each goroutine calls start once, so it can own scratch memory, and
// the second function when it is done.
func parallel(n, work int, start func() (run func(int), done func())) {
	threads := min(Threads(), n)
	if threads <= 1 || work < serialWork {
		run, done := start()
		for i := range n {
			run(i)
		}
		done()
		return
	}
	c := &crew{jobs: int64(n), start: start, idle: make(chan struct{})}
	for range threads - 1 {
		go c.work()
	}
	go nothing() // stands next in this processor's line, from which others take only after a pause, so that the workers do not
	c.work()
	c.wait()
}

// crew is what the goroutines of one call share. A job belongs to whoever takes its number; a goroutine that comes when none is left has nothing to do with the call any more.
type crew struct {
	jobs        int64
	taken, done atomic.Int64
	start       func() (run func(int), done func())
	idle        chan struct{} // closed when all jobs are done
}

func (c *crew) work() {
	i := c.taken.Add(1) - 1
	if i >= c.jobs {
		return
	}
	run, done := c.start()
	defer done()
	for ; i < c.jobs; i = c.taken.Add(1) - 1 {
		run(int(i))
		if c.done.Add(1) == c.jobs {
			close(c.idle)
		}
	}
}

// patience is how many times wait looks before it sleeps: jobs are of like size, so that the last ones end soon.
const patience = 64

// wait returns when all jobs are done. Goroutines that have not begun are not waited for: to wake an idle processor can take longer than the jobs.
func (c *crew) wait() {
	for range patience {
		if c.done.Load() == c.jobs {
			return
		}
		runtime.Gosched()
	}
	<-c.idle
}

// Parallel runs job(0) … job(n−1) on up to [Threads] goroutines. Jobs must not depend on each other; which goroutine runs which is
// not fixed, so a job may only write what no other job touches.
func Parallel(n int, job func(int)) {
	parallel(n, serialWork, func() (func(int), func()) { return job, nothing })
}

func nothing() {}
