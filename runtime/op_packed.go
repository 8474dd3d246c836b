package runtime

import (
	"sync"

	"github.com/trconvert/trconvert/internal/gemm"
)

// packedMatrix keeps the constant right operand of a node's products laid out for the kernels. A nil one keeps nothing.
type packedMatrix struct {
	once sync.Once
	p    *gemm.Packed
}

// newPackedMatrix is nil if input k of the node may change from run to run.
func newPackedMatrix(n *nodeInfo, k int) *packedMatrix {
	if !n.has(k) || !n.constant(k) {
		return nil
	}
	return &packedMatrix{}
}

// of returns op(B) [k, n], laid out by the first call.
func (m *packedMatrix) of(tb bool, n, k int, b []float32) *gemm.Packed {
	m.once.Do(func() {
		ldb := max(n, 1)
		if tb {
			ldb = max(k, 1)
		}
		m.p = gemm.PackB(tb, n, k, b, ldb)
	})
	return m.p
}

// gemmWith is gemmInto with a right operand that kept may lay out once.
func gemmWith[T numeric](kept *packedMatrix, ta, tb bool, m, n, k int, alpha T, a, b []T, beta T, c []T) {
	if single, ok := any(b).([]float32); ok && kept != nil && n > 1 && len(b) <= packElements {
		lda := max(k, 1)
		if ta {
			lda = max(m, 1)
		}
		gemm.F32Packed(ta, m, float32(alpha), any(a).([]float32), lda, kept.of(tb, n, k, single), float32(beta), any(c).([]float32), n)
		return
	}
	gemmInto(ta, tb, m, n, k, alpha, a, b, beta, c)
}
