package runtime

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// newPoolWindow reads the geometry of a pooling; the kernel is required.
func newPoolWindow(n *nodeInfo) (window, error) {
	w, err := newWindow(n)
	if err != nil {
		return w, err
	}
	if w.kernel == nil {
		return w, fmt.Errorf("attribute \"kernel_shape\" is missing")
	}
	w.ceil = n.opset >= 10 && n.bool("ceil_mode", false)
	return w, nil
}

// pooling is one pooling of an [N, C, D1, …] tensor: the window at each output position, clipped to the input.
type pooling struct {
	in, out []int
	strides []int // of the input
	axes    []poolAxis
}

// poolAxis holds, for each output position of an axis, the window's first element in the input (as an offset), how many of its
// elements lie there, and how many in the input or its padding.
type poolAxis struct {
	base, inside, padded []int
	step                 int // offset from one element of a window to the next
}

func newPooling(w window, t *Tensor) (pooling, []int, error) {
	in, err := spatial(t)
	if err != nil {
		return pooling{}, nil, err
	}
	w, out, err := w.fit(in)
	if err != nil {
		return pooling{}, nil, err
	}
	dims := append([]int{t.Dims[0], t.Dims[1]}, out...)
	for _, list := range [][]int{dims, out} { // out alone too: a batch of 0 hides any size
		if _, err := shape.Size(list, maxElements); err != nil {
			return pooling{}, nil, err
		}
	}
	p := pooling{in: in, out: out, strides: shape.Strides(in), axes: make([]poolAxis, len(in))}
	for d, n := range out {
		a := poolAxis{base: make([]int, n), inside: make([]int, n), padded: make([]int, n), step: w.dilations[d] * p.strides[d]}
		for o := range n {
			first := w.first(d, o)
			lo, hi := w.inside(d, first, in[d])
			a.base[o] = first*p.strides[d] + lo*a.step
			a.inside[o] = max(hi-lo, 0)
			_, a.padded[o] = w.inside(d, first, in[d]+w.end[d])
		}
		p.axes[d] = a
	}
	return p, dims, nil
}

// each visits the output positions in order: taps are the offsets of the input elements in the window, in C order (the slice is
// used again), and padded counts the positions of the window that lie in the input or its padding.
func (p pooling) each(visit func(o, padded int, taps []int)) {
	rank := len(p.in)
	index, k, extent := make([]int, rank), make([]int, rank), make([]int, rank)
	var taps []int
	last := rank - 1
	o := 0
	for more := elements(p.out) > 0; more; more = increment(index, p.out) {
		base, padded, n := 0, 1, 1
		for d, i := range index {
			a := &p.axes[d]
			base += a.base[i]
			padded *= a.padded[i]
			extent[d] = a.inside[i]
			n *= extent[d]
		}
		taps = taps[:0]
		for more := n > 0; more; more = increment(k[:last], extent[:last]) {
			offset := base
			for d, i := range k[:last] {
				offset += i * p.axes[d].step
			}
			for range extent[last] {
				taps = append(taps, offset)
				offset += p.axes[last].step
			}
		}
		visit(o, padded, taps)
		o++
	}
}

// buildMaxPool: https://onnx.ai/onnx/operators/onnx__MaxPool.html
func buildMaxPool(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	w, err := newPoolWindow(n)
	if err != nil {
		return nil, err
	}
	columnMajor := n.opset >= 8 && n.bool("storage_order", false)
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
		switch d := in[0].Data.(type) {
		case []float32:
			return maxPool(c, w, in[0], d, float32(math.Inf(-1)), columnMajor)
		case []float64:
			return maxPool(c, w, in[0], d, math.Inf(-1), columnMajor)
		case []int8:
			return maxPool(c, w, in[0], d, math.MinInt8, columnMajor)
		case []uint8:
			return maxPool(c, w, in[0], d, 0, columnMajor)
		}
		return nil, unsupportedType(in[0].Type)
	}), nil
}

func maxPool[T numeric](c *call, w window, t *Tensor, x []T, lowest T, columnMajor bool) ([]*Tensor, error) {
	p, dims, err := newPooling(w, t)
	if err != nil {
		return nil, err
	}
	y, err := alloc[T](dims)
	if err != nil {
		return nil, err
	}
	var where []int64
	if c.wants(1) {
		where = make([]int64, len(y))
	}
	// planeIndex numbers the elements of one channel in the order that storage_order asks for.
	planeIndex := func(offset int) int {
		if !columnMajor {
			return offset
		}
		at, stride := 0, 1
		for d, s := range p.strides {
			at += offset / s % p.in[d] * stride
			stride *= p.in[d]
		}
		return at
	}
	area, positions := elements(p.in), elements(p.out)
	for plane := range dims[0] * dims[1] {
		if err := c.ctx.Err(); err != nil {
			return nil, err
		}
		src, dst := x[plane*area:(plane+1)*area], y[plane*positions:(plane+1)*positions]
		p.each(func(o, _ int, taps []int) {
			best, from := lowest, -1
			for _, offset := range taps {
				if v := src[offset]; from < 0 || v > best || v != v {
					best, from = v, offset
				}
			}
			dst[o] = best
			if where != nil {
				where[plane*positions+o] = int64(plane*area + planeIndex(max(from, 0)))
			}
		})
	}
	out := []*Tensor{newTensor(t.Type, dims, y)}
	if where != nil {
		out = append(out, newTensor(onnx.Int64, dims, where))
	}
	return out, nil
}

// buildAveragePool: https://onnx.ai/onnx/operators/onnx__AveragePool.html. Padding counts only under count_include_pad; what
// ceil_mode adds beyond it never does.
func buildAveragePool(n *nodeInfo) (operator, error) {
	w, err := newPoolWindow(n)
	if err != nil {
		return nil, err
	}
	include := n.opset >= 7 && n.bool("count_include_pad", false)
	return buildPool(n, w, poolFold{
		add: func(a, v float64) float64 { return a + v },
		finish: func(a float64, inside, padded int) float64 {
			if include {
				return a / float64(padded)
			}
			return a / float64(inside)
		},
	})
}

// buildLpPool: https://onnx.ai/onnx/operators/onnx__LpPool.html
func buildLpPool(n *nodeInfo) (operator, error) {
	w, err := newPoolWindow(n)
	if err != nil {
		return nil, err
	}
	return buildPool(n, w, lpFold(n))
}

// buildGlobalPool serves GlobalAveragePool, GlobalMaxPool and GlobalLpPool:
// https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html
func buildGlobalPool(op reduceOp) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 1, 1); err != nil {
			return nil, err
		}
		return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			if _, err := spatial(in[0]); err != nil {
				return nil, err
			}
			return one(reduce(op, in[0], allAxes(len(in[0].Dims))[2:], true))
		}), nil
	}
}

// buildGlobalLpPool: https://onnx.ai/onnx/operators/onnx__GlobalLpPool.html
func buildGlobalLpPool(n *nodeInfo) (operator, error) {
	fold := lpFold(n)
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
		in2, err := spatial(in[0])
		if err != nil {
			return nil, err
		}
		return pool(c, window{kernel: in2}, in[0], fold)
	}), nil
}

// poolFold folds the elements of a window into one number.
type poolFold struct {
	add    func(a, v float64) float64
	finish func(a float64, inside, padded int) float64
}

// lpFold is the p-norm of a window.
func lpFold(n *nodeInfo) poolFold {
	p := lpExponent(n)
	return poolFold{
		add:    func(a, v float64) float64 { return a + math.Pow(math.Abs(v), p) },
		finish: func(a float64, _, _ int) float64 { return math.Pow(a, 1/p) },
	}
}

// lpExponent is the p of a p-norm, a float in opset 1.
func lpExponent(n *nodeInfo) float64 {
	if n.opset >= 2 {
		return float64(n.int("p", 2))
	}
	return float64(n.float("p", 2))
}

func buildPool(n *nodeInfo, w window, fold poolFold) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) { return pool(c, w, in[0], fold) }), nil
}

func pool(c *call, w window, t *Tensor, fold poolFold) ([]*Tensor, error) {
	switch d := t.Data.(type) {
	case []float32:
		return one(foldWindows(c, w, t, d, fold))
	case []float64:
		return one(foldWindows(c, w, t, d, fold))
	}
	return nil, unsupportedType(t.Type)
}

func foldWindows[T floating](c *call, w window, t *Tensor, x []T, fold poolFold) (*Tensor, error) {
	p, dims, err := newPooling(w, t)
	if err != nil {
		return nil, err
	}
	y, err := alloc[T](dims)
	if err != nil {
		return nil, err
	}
	area, positions := elements(p.in), elements(p.out)
	for plane := range dims[0] * dims[1] {
		if err := c.ctx.Err(); err != nil {
			return nil, err
		}
		src, dst := x[plane*area:(plane+1)*area], y[plane*positions:(plane+1)*positions]
		p.each(func(o, padded int, taps []int) {
			sum := 0.0
			for _, offset := range taps {
				sum = fold.add(sum, float64(src[offset]))
			}
			dst[o] = T(fold.finish(sum, len(taps), padded))
		})
	}
	return newTensor(t.Type, dims, y), nil
}
