package gemm

import (
	"sync"
	"unsafe"
)

// space is memory to pack into, kept for the next product.
type space[C float] struct{ data []C }

var spaces32, spaces64 sync.Pool

func spaces[C float]() *sync.Pool {
	if unsafe.Sizeof(C(0)) == 4 {
		return &spaces32
	}
	return &spaces64
}

// borrow returns a space of at least n elements of no particular content.
func borrow[C float](n int) *space[C] {
	s, _ := spaces[C]().Get().(*space[C])
	if s == nil {
		s = new(space[C])
	}
	s.grow(n)
	return s
}

func (s *space[C]) grow(n int) []C {
	if cap(s.data) < n {
		s.data = make([]C, n)
	}
	s.data = s.data[:cap(s.data)]
	return s.data[:n]
}

func (s *space[C]) release() { spaces[C]().Put(s) }
