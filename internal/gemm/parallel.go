package gemm

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
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

// serialWork is the number of multiplications below which waking goroutines costs more than it gains, leastWork that below which
// even those that are awake do not pay. Vector kernels do vectorWork of them in the time of one.
const (
	serialWork = 1 << 18
	leastWork  = 1 << 15
	vectorWork = 16
)

// shares says whether goroutines are to share so much work, as things stand now.
func shares(work int) bool {
	return work >= serialWork || work >= leastWork && free.Load() > 0
}

// parallel runs jobs 0…n−1 of the first function that start returns; each goroutine calls start once, so it can own scratch memory, and
// the second function when it is done.
func parallel(n, work int, start func() (run func(int), done func())) {
	threads := 1
	if n > 1 && shares(work) {
		threads = min(Threads(), n)
	}
	if threads <= 1 {
		run, done := start()
		for i := range n {
			run(i)
		}
		done()
		return
	}
	callers.Add(1)
	defer callers.Add(-1)
	c := &crew{jobs: int64(n), start: start}
	c.busy.Lock()
	missing := threads - 1
	for ; missing > 0 && claim(); missing-- {
		posted <- c
	}
	if missing > 0 {
		for range missing {
			go c.help()
		}
		go nothing() // stands next in this processor's line, from which others take only after a pause, so that the helpers do not
	}
	c.work()
	c.wait()
}

// Parallel runs job(0) … job(n−1) on up to [Threads] goroutines. Jobs must not depend on each other; which goroutine runs which is
// not fixed, so a job may only write what no other job touches.
func Parallel(n int, job func(int)) { ParallelWork(n, serialWork, job) }

// ParallelWork is [Parallel] of jobs that take as long as so many multiplications all together. Where these are few it uses only goroutines that
// are awake, or none.
func ParallelWork(n, work int, job func(int)) {
	parallel(n, work, func() (func(int), func()) { return job, nothing })
}

func nothing() {}

// crew is what the goroutines of one call share. A job belongs to whoever takes its number; a goroutine that comes when none is left has nothing to do with the call any more.
type crew struct {
	jobs        int64
	taken, done atomic.Int64
	start       func() (run func(int), done func())
	busy        sync.Mutex // locked until all jobs are done; a lock, unlike a channel, belongs to no bubble of testing/synctest
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
			c.busy.Unlock()
		}
	}
}

// wait returns when all jobs are done. Goroutines that have not begun are not waited for: to wake an idle processor can take longer than the jobs.
// Jobs are of like size, so that the last ones end soon: wait looks for a while before it sleeps, and lets others run between.
func (c *crew) wait() {
	var began time.Time
	for i := 1; c.done.Load() < c.jobs; i++ {
		if i%waitLooks > 0 {
			continue
		}
		runtime.Gosched()
		if now := time.Now(); began.IsZero() {
			began = now
		} else if now.Sub(began) > waitPatience {
			c.busy.Lock()
			return
		}
	}
}

// To wake a processor that sleeps takes tens to hundreds of microseconds, as long as many calls. So helpers linger: they stay awake for a while after a call, and the
// next one finds them. That costs at most lingerPatience of processor time for each call and helper, and nobody lingers who would keep a caller from a processor, nor where other programs take the processors away. A helper that waits in vain ends.
const (
	lingerPatience = 200 * time.Microsecond
	lingerYield    = 50 * time.Microsecond // after which others may run
	lingerLooks    = 256                   // between two looks at the clock: a microsecond
	waitPatience   = time.Millisecond
	waitLooks      = 64
	crowdGap       = 500 * time.Microsecond // between two looks at the clock: other programs want the processor
	crowdPause     = 20 * time.Millisecond  // in which nobody lingers then
)

var (
	callers atomic.Int32           // goroutines that are inside parallel with helpers
	free    atomic.Int32           // helpers that linger, without those that are claimed
	posted  = make(chan *crew, 64) // one crew for each that is claimed
	epoch   = time.Now()           // of the next
	crowded atomic.Int64           // nanoseconds after epoch until which nobody lingers
)

// claim claims a lingering helper, for whom a crew must be posted then.
func claim() bool {
	for {
		n := free.Load()
		if n <= 0 {
			return false
		}
		if free.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// help works for c, and then for whoever calls while it lingers.
func (c *crew) help() {
	for ; c != nil; c = linger() {
		c.work()
	}
}

// linger waits for a crew that needs help; it returns nil when none came.
func linger() *crew {
	now := time.Since(epoch)
	if now < time.Duration(crowded.Load()) {
		return nil
	}
	procs := int32(runtime.GOMAXPROCS(0))
	free.Add(1)
	last := now + lingerPatience
	yield := now + lingerYield
	for {
		for range lingerLooks {
			select {
			case c := <-posted:
				return c
			default:
			}
		}
		before := now
		now = time.Since(epoch)
		if now-before > crowdGap {
			crowded.Store(int64(now + crowdPause))
		}
		if now > last || callers.Load()+free.Load() > procs {
			if claim() { // itself
				return nil
			}
			return <-posted // it is claimed already
		}
		if now > yield {
			runtime.Gosched()
			now = time.Since(epoch)
			yield = now + lingerYield
		}
	}
}
