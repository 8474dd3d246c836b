package runtime

import (
	"sync"
	"unsafe"

	"github.com/trconvert/trconvert/internal/shape"
)

// Loans are of arrays of at least loanLeast elements, and of no more than loanMost in one pass (64 MiB).
const (
	loanLeast = 1 << 13
	loanMost  = 1 << 24
)

// arena keeps the large arrays that passes of a training are done with for the next ones: fresh ones would be cleared first, all by one thread, only to be written over.
type arena struct {
	free [][]float32
	size int // elements of free
}

// loan is what a pass has borrowed. A nil loan lends fresh arrays. Whatever outlives the pass must be kept. The two directions of a layer may borrow at the same time.
type loan struct {
	mu    sync.Mutex
	arena *arena
	lent  [][]float32
	size  int // elements of lent
}

// floats returns n elements of no particular content.
func (l *loan) floats(n int) []float32 {
	if l == nil || n < loanLeast {
		return make([]float32, n)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+n > loanMost {
		return make([]float32, n)
	}
	l.size += n
	best := -1
	for k, x := range l.arena.free {
		if len(x) >= n && len(x) <= 2*n && (best < 0 || len(x) < len(l.arena.free[best])) {
			best = k
		}
	}
	var x []float32
	if best < 0 {
		x = make([]float32, n)
	} else {
		x = l.arena.take(best)
	}
	l.lent = append(l.lent, x)
	return x[:n:n]
}

// take removes array k.
func (a *arena) take(k int) []float32 {
	x, last := a.free[k], len(a.free)-1
	a.free[k], a.free[last] = a.free[last], nil
	a.free = a.free[:last]
	a.size -= len(x)
	return x
}

// keep leaves the array that holds a tensor's elements to whoever has the tensor.
func (l *loan) keep(t *Tensor) {
	if l == nil || t == nil {
		return
	}
	v, ok := t.Data.([]float32)
	if !ok || len(v) == 0 {
		return
	}
	at := uintptr(unsafe.Pointer(&v[0]))
	for k, x := range l.lent {
		if first := uintptr(unsafe.Pointer(&x[0])); at >= first && at < first+4*uintptr(len(x)) {
			last := len(l.lent) - 1
			l.lent[k], l.lent[last] = l.lent[last], nil
			l.lent = l.lent[:last]
			return
		}
	}
}

// settle gives everything back but what was kept, at the end of the pass. The oldest arrays go where there are too many.
func (l *loan) settle() {
	a := l.arena
	for _, x := range l.lent {
		a.free = append(a.free, x)
		a.size += len(x)
	}
	for a.size > loanMost {
		a.take(0)
	}
	l.lent, l.size = nil, 0
}

// lend is alloc for a result that is written as a whole before it is read.
func lend[T any](l *loan, dims []int) ([]T, error) {
	if l != nil {
		if _, ok := any([]T(nil)).([]float32); ok {
			n, err := shape.Size(dims, maxElements)
			if err != nil {
				return nil, err
			}
			return any(l.floats(n)).([]T), nil
		}
	}
	return alloc[T](dims)
}
