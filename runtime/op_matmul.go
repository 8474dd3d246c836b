package runtime

import (
	"context"
	"fmt"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildMatMul: https://onnx.ai/onnx/operators/onnx__MatMul.html, NumPy's matmul.
func buildMatMul(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	kept := newPackedMatrix(n, 1)
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
		return one(matMul(c, in[0], in[1], kept))
	}), nil
}

func matMul(c *call, a, b *Tensor, kept *packedMatrix) (*Tensor, error) {
	if err := sameType(a, b); err != nil {
		return nil, err
	}
	switch a.Type {
	case onnx.Float:
		return matMulWith[float32](c, a, b, kept)
	case onnx.Double:
		return matMulOf[float64](c, a, b)
	case onnx.Int32:
		return matMulOf[int32](c, a, b)
	case onnx.Int64:
		return matMulOf[int64](c, a, b)
	case onnx.Uint32:
		return matMulOf[uint32](c, a, b)
	case onnx.Uint64:
		return matMulOf[uint64](c, a, b)
	}
	return nil, unsupportedType(a.Type)
}

func matMulOf[T numeric](c *call, a, b *Tensor) (*Tensor, error) {
	return matMulWith[T](c, a, b, nil)
}

// matMulWith is matMulOf with a right operand that kept may lay out once.
func matMulWith[T numeric](c *call, a, b *Tensor, kept *packedMatrix) (*Tensor, error) {
	x, okA := a.Data.([]T)
	y, okB := b.Data.([]T)
	if !okA || !okB {
		return nil, unsupportedType(a.Type)
	}
	g, err := newMatMulShape(a.Dims, b.Dims)
	if err != nil {
		return nil, err
	}
	out, err := lend[T](c.loan(), g.dims)
	if err != nil {
		return nil, err
	}
	m, n, k := g.m, g.n, g.k
	if g.single() {
		gemmWith(kept, false, false, g.rows(), n, k, 1, x, y, 0, out)
		return newTensor(a.Type, g.dims, out), nil
	}
	to := out
	if err := g.each(c.ctx, func(ia, ib int) {
		matMulInto(m, n, k, x[ia*m*k:(ia+1)*m*k], y[ib*k*n:(ib+1)*k*n], to[:m*n])
		to = to[m*n:]
	}); err != nil {
		return nil, err
	}
	return newTensor(a.Type, g.dims, out), nil
}

// matMulShape is the geometry of a product of operands read as [batch…, m, k] and [batch…, k, n].
type matMulShape struct {
	dims           []int // of the result
	m, n, k        int
	batchA, batchB []int
}

func newMatMulShape(a, b []int) (s matMulShape, err error) {
	s.m, s.n = 1, 1
	if s.dims, s.k, err = shape.MatMulDims(a, b); err != nil {
		return s, err
	}
	if r := len(a); r > 1 {
		s.m, s.batchA = a[r-2], a[:r-2]
	}
	if r := len(b); r > 1 {
		s.n, s.batchB = b[r-1], b[:r-2]
	}
	return s, nil
}

// single says that there is one matrix on the right, so that all rows of the left meet it at once.
func (s *matMulShape) single() bool { return elements(s.batchB) == 1 && len(s.batchB) <= len(s.batchA) }

// rows are all rows of the left.
func (s *matMulShape) rows() int { return elements(s.batchA) * s.m }

// each visits the matrices of the result in their order: ia and ib are the numbers of those that are multiplied.
func (s *matMulShape) each(ctx context.Context, visit func(ia, ib int)) error {
	batch, err := shape.Broadcast(s.batchA, s.batchB)
	if err != nil {
		return err
	}
	sa, err := shape.BroadcastStrides(s.batchA, batch)
	if err != nil {
		return err
	}
	sb, err := shape.BroadcastStrides(s.batchB, batch)
	if err != nil {
		return err
	}
	shape.Runs(batch, [][]int{sa, sb}, func(runs int, off, step []int) {
		for i := range runs {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return
			}
			visit(off[0]+i*step[0], off[1]+i*step[1])
		}
	})
	return err
}

// matMulInto computes C = A·B of contiguous matrices, A [m, k], B [k, n].
func matMulInto[T numeric](m, n, k int, a, b, c []T) {
	gemmInto(false, false, m, n, k, 1, a, b, 0, c)
}

// gemmInto computes C = alpha·op(A)·op(B) + beta·C of contiguous matrices, op(A) [m, k] and op(B) [k, n]: floats through the
// matrix kernels, integers by definition.
func gemmInto[T numeric](ta, tb bool, m, n, k int, alpha T, a, b []T, beta T, c []T) {
	lda, ldb := max(k, 1), max(n, 1)
	if ta {
		lda = max(m, 1)
	}
	if tb {
		ldb = max(k, 1)
	}
	switch c := any(c).(type) {
	case []float32:
		if !ta && tb && m > innerRows && n <= innerCols && k >= innerDepth {
			innerProducts(m, n, k, float32(alpha), any(a).([]float32), any(b).([]float32), float32(beta), c)
			return
		}
		gemm.F32(ta, tb, m, n, k, float32(alpha), any(a).([]float32), lda, any(b).([]float32), ldb, float32(beta), c, max(n, 1))
		return
	case []float64:
		gemm.F64(ta, tb, m, n, k, float64(alpha), any(a).([]float64), lda, any(b).([]float64), ldb, float64(beta), c, max(n, 1))
		return
	}
	ra, ca, rb, cb := lda, 1, ldb, 1
	if ta {
		ra, ca = 1, lda
	}
	if tb {
		rb, cb = 1, ldb
	}
	for i := range m {
		for j := range n {
			var sum T
			for l := range k {
				sum += a[i*ra+l*ca] * b[l*rb+j*cb]
			}
			c[i*n+j] = alpha*sum + beta*c[i*n+j]
		}
	}
}

// Products A·Bᵀ of few columns and great depth, as gradients of cores are, are taken as inner products of innerRows rows of A with those of B where both lie: as a matrix, Bᵀ would first
// be laid out anew.
const (
	innerRows  = 4
	innerCols  = 8
	innerDepth = 1 << 12
)

func innerProducts(m, n, k int, alpha float32, a, b []float32, beta float32, c []float32) {
	rows := func(j int) {
		i := j * innerRows
		gemm.F32(false, true, min(innerRows, m-i), n, k, alpha, a[i*k:], k, b, k, beta, c[i*n:], n)
	}
	jobs := (m + innerRows - 1) / innerRows
	if m*n*k < 1<<20 {
		for j := range jobs {
			rows(j)
		}
		return
	}
	gemm.Parallel(jobs, rows)
}

// buildGemm: https://onnx.ai/onnx/operators/onnx__Gemm.html. Y = alpha·A'·B' + beta·C, C broadcast in one direction and optional
// from opset 11 on.
func buildGemm(n *nodeInfo) (operator, error) {
	required := 3
	if n.opset >= 11 {
		required = 2
	}
	if err := requireInputs(n, required, 3); err != nil {
		return nil, err
	}
	n.ignore("broadcast") // below opset 7 a permission that later versions always give
	g := newGemmOp(n)
	g.kept = newPackedMatrix(n, 1)
	return widened(g.run), nil
}

// newGemmOp reads the attributes.
func newGemmOp(n *nodeInfo) gemmOp {
	return gemmOp{
		alpha: n.float("alpha", 1), beta: n.float("beta", 1),
		ta: n.bool("transA", false), tb: n.bool("transB", false),
	}
}

type gemmOp struct {
	alpha, beta float32
	ta, tb      bool
	kept        *packedMatrix
}

func (g gemmOp) run(_ *call, in []*Tensor) ([]*Tensor, error) {
	if err := sameType(in[0], in[1]); err != nil {
		return nil, err
	}
	switch in[0].Type {
	case onnx.Float:
		return one(gemmOf[float32](g, in))
	case onnx.Double:
		return one(gemmOf[float64](g, in))
	case onnx.Int32:
		return one(gemmOf[int32](g, in))
	case onnx.Int64:
		return one(gemmOf[int64](g, in))
	case onnx.Uint32:
		return one(gemmOf[uint32](g, in))
	case onnx.Uint64:
		return one(gemmOf[uint64](g, in))
	}
	return nil, unsupportedType(in[0].Type)
}

func gemmOf[T numeric](g gemmOp, in []*Tensor) (*Tensor, error) {
	a, b, c := in[0], in[1], optional(in, 2)
	if len(a.Dims) != 2 || len(b.Dims) != 2 {
		return nil, fmt.Errorf("operands A and B have shapes %v and %v, want two matrices", a.Dims, b.Dims)
	}
	m, k := a.Dims[0], a.Dims[1]
	if g.ta {
		m, k = k, m
	}
	kb, n := b.Dims[0], b.Dims[1]
	if g.tb {
		kb, n = n, kb
	}
	if k != kb {
		return nil, fmt.Errorf("operands A %v (transA %v) and B %v (transB %v) do not fit: %d columns, %d rows", a.Dims, g.ta, b.Dims, g.tb, k, kb)
	}
	x, okA := a.Data.([]T)
	y, okB := b.Data.([]T)
	if !okA || !okB {
		return nil, unsupportedType(a.Type)
	}
	dims := []int{m, n}
	var out []T
	if c == nil {
		var err error
		if out, err = alloc[T](dims); err != nil {
			return nil, err
		}
	} else {
		z, ok := c.Data.([]T)
		if !ok {
			return nil, fmt.Errorf("operand C has type %v, A has %v", c.Type, a.Type)
		}
		var err error
		if out, err = shape.BroadcastTo(z, c.Dims, dims, maxElements); err != nil {
			return nil, err
		}
	}
	if !isFloating[T]() && (g.alpha != float32(T(g.alpha)) || g.beta != float32(T(g.beta))) {
		return nil, unsupportedf("alpha %v and beta %v with integers", g.alpha, g.beta)
	}
	gemmWith(g.kept, g.ta, g.tb, m, n, k, T(g.alpha), x, y, T(g.beta), out)
	return newTensor(a.Type, dims, out), nil
}
