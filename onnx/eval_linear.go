package onnx

import (
	"context"
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
)

// product is the matrix product of a stack of matrices: out[i,j] = Σ_k a[i,k]·b[k,j], floats summed in float64.
func product[T number](ctx context.Context, out, a, b []T, rows, inner, cols int) error {
	if !isFloat[T]() {
		for i := range rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			row := out[i*cols : (i+1)*cols]
			for k, x := range a[i*inner : (i+1)*inner] {
				for j, y := range b[k*cols : (k+1)*cols] {
					row[j] += x * y
				}
			}
		}
		return nil
	}
	sum := make([]float64, cols)
	for i := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		clear(sum)
		for k, x := range a[i*inner : (i+1)*inner] {
			f := float64(x)
			for j, y := range b[k*cols : (k+1)*cols] {
				sum[j] += f * float64(y)
			}
		}
		for j, s := range sum {
			out[i*cols+j] = T(s)
		}
	}
	return nil
}

func evalMatMul(c *call) ([]*Array, error) {
	if len(c.in) != 2 {
		return nil, fmt.Errorf("%d inputs (want 2)", len(c.in))
	}
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	b, err := c.input(1)
	if err != nil {
		return nil, err
	}
	if a.Type != b.Type {
		return nil, fmt.Errorf("inputs have types %s and %s", a.Type, b.Type)
	}
	dims, inner, err := shape.MatMulDims(a.Dims, b.Dims)
	if err != nil {
		return nil, err
	}
	if _, err := shape.Size(dims, 0); err != nil {
		return nil, err
	}
	if c.shapeOnly {
		return shaped(a.Type, dims)
	}
	if err := c.spend(a.Type, dims); err != nil {
		return nil, err
	}
	return c.multiply(a, b, dims, inner)
}

// multiply computes a·b, whose shape is dims, in float32 for the half types.
func (c *call) multiply(a, b *Array, dims []int, inner int) ([]*Array, error) {
	if c.work -= float64(mustSize(dims)) * float64(inner); c.work < 0 {
		return nil, errNotEvaluated(fmt.Sprintf("the product of shapes %v and %v takes the work past 64 multiplications for each of %d bytes", a.Dims, b.Dims, c.e.limit))
	}
	t := a.Type
	a, err := widened(a)
	if err != nil {
		return nil, err
	}
	if b, err = widened(b); err != nil {
		return nil, err
	}
	out := &Array{Type: a.Type, Dims: dims}
	switch x := a.Data.(type) {
	case []float32:
		out.Data, err = matmulOf(c.ctx, x, a.Dims, b, dims, inner)
	case []float64:
		out.Data, err = matmulOf(c.ctx, x, a.Dims, b, dims, inner)
	case []int32:
		out.Data, err = matmulOf(c.ctx, x, a.Dims, b, dims, inner)
	case []int64:
		out.Data, err = matmulOf(c.ctx, x, a.Dims, b, dims, inner)
	case []uint32:
		out.Data, err = matmulOf(c.ctx, x, a.Dims, b, dims, inner)
	case []uint64:
		out.Data, err = matmulOf(c.ctx, x, a.Dims, b, dims, inner)
	default:
		err = errNotEvaluated(fmt.Sprintf("%s of %s is not evaluated", c.node.OpType, t))
	}
	if err != nil {
		return nil, err
	}
	return castBack(out, t)
}

func matmulOf[T number](ctx context.Context, x []T, xdims []int, b *Array, dims []int, inner int) ([]T, error) {
	y, ok := b.Data.([]T)
	if !ok {
		return nil, fmt.Errorf("second operand has type %s", b.Type)
	}
	rows, cols := 1, 1
	batch := dims
	var xb, yb []int
	if len(xdims) > 1 {
		rows = xdims[len(xdims)-2]
		xb = xdims[:len(xdims)-2]
		batch = batch[:len(batch)-1]
	}
	if len(b.Dims) > 1 {
		cols = b.Dims[len(b.Dims)-1]
		yb = b.Dims[:len(b.Dims)-2]
		batch = batch[:len(batch)-1]
	}
	out := make([]T, mustSize(dims))
	if len(out) == 0 {
		return out, nil
	}
	xs, err := shape.BroadcastStrides(xb, batch)
	if err != nil {
		return nil, err
	}
	ys, err := shape.BroadcastStrides(yb, batch)
	if err != nil {
		return nil, err
	}
	at := 0
	shape.Runs(batch, [][]int{xs, ys}, func(n int, off, step []int) {
		for i := range n {
			p, q := (off[0]+i*step[0])*rows*inner, (off[1]+i*step[1])*inner*cols
			if err == nil {
				err = product(ctx, out[at:at+rows*cols], x[p:p+rows*inner], y[q:q+inner*cols], rows, inner, cols)
			}
			at += rows * cols
		}
	})
	return out, err
}

// evalGemm is alpha·A'·B' + beta·C.
func evalGemm(c *call) ([]*Array, error) {
	var side [2]*Array
	for k, name := range []string{"transA", "transB"} {
		a, err := c.input(k)
		if err != nil {
			return nil, err
		}
		if len(a.Dims) != 2 {
			return nil, fmt.Errorf("input %d has shape %v (want a matrix)", k, a.Dims)
		}
		trans, err := c.node.AttrInt(name, 0)
		if err != nil {
			return nil, err
		}
		if trans != 0 {
			turned, err := c.moved(a, []int{a.Dims[1], a.Dims[0]}, func(e shape.Elements) (shape.Elements, []int, error) { return e.Transpose(a.Dims, nil) })
			if err != nil {
				return nil, err
			}
			a = turned[0]
		}
		side[k] = a
	}
	if side[0].Type != side[1].Type || (c.has(2) && c.in[2].Type != side[0].Type) {
		return nil, fmt.Errorf("inputs of types %s and %s", side[0].Type, side[1].Type)
	}
	dims, inner, err := shape.MatMulDims(side[0].Dims, side[1].Dims)
	if err != nil {
		return nil, err
	}
	if c.has(2) {
		if _, err := shape.BroadcastStrides(c.in[2].Dims, dims); err != nil {
			return nil, err
		}
	}
	if c.shapeOnly {
		return shaped(side[0].Type, dims)
	}
	if err := c.spend(Double, dims); err != nil {
		return nil, err
	}
	out, err := c.multiply(side[0], side[1], dims, inner)
	if err != nil {
		return nil, err
	}
	alpha, err := c.node.AttrFloat("alpha", 1)
	if err != nil {
		return nil, err
	}
	beta, err := c.node.AttrFloat("beta", 1)
	if err != nil {
		return nil, err
	}
	if alpha != 1 {
		if out[0], err = c.scaled(out[0], alpha); err != nil {
			return nil, err
		}
	}
	if c.has(2) && beta != 0 {
		term := c.in[2]
		if beta != 1 {
			if term, err = c.scaled(term, beta); err != nil {
				return nil, err
			}
		}
		if out[0], err = c.pair("Add", out[0], term); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// scaled multiplies an array by a scalar, in its own type.
func (c *call) scaled(a *Array, by float32) (*Array, error) {
	factor, err := castArray(&Array{Type: Float, Data: []float32{by}}, a.Type, true)
	if err != nil {
		return nil, err
	}
	return c.pair("Mul", a, factor)
}
