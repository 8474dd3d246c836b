package gemm

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// withProcs runs f with different numbers of processors.
func withProcs(t *testing.T, f func(t *testing.T)) {
	for _, procs := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			f(t)
		})
	}
}

// TestParallelRunsEachJobOnce counts jobs, and that what start gives is done with by as many goroutines as began.
func TestParallelRunsEachJobOnce(t *testing.T) {
	withProcs(t, func(t *testing.T) {
		for _, n := range []int{0, 1, 2, 3, 7, 64, 1000} {
			for _, work := range []int{0, leastWork, serialWork} {
				runs := make([]atomic.Int32, n)
				var begun, done atomic.Int32
				for range 20 {
					parallel(n, work, func() (func(int), func()) {
						begun.Add(1)
						return func(k int) { runs[k].Add(1) }, func() { done.Add(1) }
					})
				}
				for k := range runs {
					if got := runs[k].Load(); got != 20 {
						t.Errorf("%d jobs worth %d: job %d ran %d times, want 20", n, work, k, got)
					}
				}
				settle(t, func() bool { return begun.Load() == done.Load() })
			}
		}
	})
}

// settle waits until a condition holds that goroutines about to end bring about.
func settle(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not so after 10 s")
		}
	}
}

// TestHelpersEnd looks for goroutines that stay behind.
func TestHelpersEnd(t *testing.T) {
	withProcs(t, func(t *testing.T) {
		none := func() bool { return free.Load() == 0 && callers.Load() == 0 && len(posted) == 0 }
		settle(t, none)
		before := runtime.NumGoroutine()
		for range 100 {
			Parallel(8, func(int) {})
		}
		settle(t, func() bool { return none() && runtime.NumGoroutine() <= before })
	})
}

// TestHelpersLinger claims one after a call, as the next call would.
func TestHelpersLinger(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	settle(t, func() bool { // no other program may want the processors all the time
		Parallel(64, func(int) { spin(20 * time.Microsecond) })
		return claimsSoon()
	})
	ran := make(chan bool)
	c := &crew{jobs: 1, start: func() (func(int), func()) { return func(int) { ran <- true }, nothing }}
	c.busy.Lock()
	posted <- c
	<-ran
	c.wait()
}

func claimsSoon() bool {
	for end := time.Now().Add(lingerPatience / 2); time.Now().Before(end); {
		if claim() {
			return true
		}
	}
	return false
}

func spin(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}

// TestManyCallers runs calls in calls from many goroutines, with others that call nothing and must not starve.
func TestManyCallers(t *testing.T) {
	withProcs(t, func(t *testing.T) {
		var stop atomic.Bool
		var turns atomic.Int64
		var others, group sync.WaitGroup
		for range 3 {
			others.Go(func() {
				for !stop.Load() {
					turns.Add(1)
					runtime.Gosched()
				}
			})
		}
		for g := range 16 {
			group.Go(func() {
				for round := range 20 {
					sums := make([]int, 9)
					Parallel(len(sums), func(k int) {
						inner := make([]int, 5)
						ParallelWork(len(inner), leastWork, func(j int) { inner[j] = g + round + k*j })
						for _, v := range inner {
							sums[k] += v
						}
					})
					for k, got := range sums {
						if want := 5*(g+round) + 10*k; got != want {
							t.Errorf("caller %d, round %d: sum %d is %d, want %d", g, round, k, got, want)
						}
					}
				}
			})
		}
		group.Wait()
		before := turns.Load()
		settle(t, func() bool {
			Parallel(8, func(int) { spin(time.Microsecond) })
			return turns.Load() >= before+100
		})
		stop.Store(true)
		others.Wait()
	})
}

// TestBitsDoNotDependOnProcessors compares products on both sides of the bounds of work, and those that are cut along k, with the ones a single processor finds.
func TestBitsDoNotDependOnProcessors(t *testing.T) {
	for _, s := range []struct{ m, n, k int }{{20, 7200, 5}, {8, 1024, 256}, {96, 25, 57600 / 4}, {96, 1024, 25}, {300, 300, 300}, {4, 5000, 64}} {
		a, b := make([]float32, s.m*s.k), make([]float32, s.k*s.n)
		for i := range a {
			a[i] = float32(i*7%23)/11 - 1
		}
		for i := range b {
			b[i] = float32(i*5%29)/13 - 1
		}
		t.Run(fmt.Sprintf("%dx%dx%d", s.m, s.n, s.k), func(t *testing.T) {
			var want []float32
			withProcs(t, func(t *testing.T) {
				for round := range 5 { // later ones meet helpers that are awake
					c := make([]float32, s.m*s.n)
					F32(false, false, s.m, s.n, s.k, 1, a, s.k, b, s.n, 0, c, s.n)
					if want == nil {
						want = c
					}
					if !slices.Equal(c, want) {
						t.Errorf("round %d differs from one processor's", round)
					}
				}
			})
		})
	}
}

// TestSharedProductsHaveTheSameBits compares the two ways between which [product.shared] chooses by who is awake.
func TestSharedProductsHaveTheSameBits(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		testSharedProducts[float32](t)
		testSharedProducts[float64](t)
	})
}

func testSharedProducts[T float](t *testing.T) {
	tier := tierOf[T]()
	if tier == nil {
		return
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		m, n, k := 1+r.IntN(130), 1+r.IntN(700), 1+r.IntN(columnDepth)
		if r.IntN(2) == 0 {
			m, n = n, m
		}
		ta, tb := r.IntN(2) == 0, r.IntN(2) == 0
		p := product[T, T, T]{m: m, n: n, k: k, alpha: 1.5, add: r.IntN(2), ldc: n,
			a: view[T]{random[T](r, m*k), k, 1}, b: view[T]{random[T](r, k*n), n, 1}}
		if ta {
			p.a.row, p.a.col = 1, m
		}
		if tb {
			p.b.row, p.b.col = 1, k
		}
		start := random[T](r, m*n)
		alone, together := slices.Clone(start), slices.Clone(start)
		p.c = alone
		p.tiledAlone(tier, false)
		p.c = together
		p.tiled(tier, false)
		if !slices.Equal(alone, together) {
			t.Errorf("%T %d×%d×%d, transposed %v %v: the two ways differ", alone, m, n, k, ta, tb)
		}
	}
}
