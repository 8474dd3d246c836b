package runtime

import (
	"math"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// convGradient: with P the patches of X, Y = W·P per image and group, so dW = dY·Pᵀ and the patches' gradient is Wᵀ·dY, each of which is added where it was read.
func convGradient(n *nodeInfo) (*gradient, error) {
	w, err := newWindow(n)
	if err != nil {
		return nil, err
	}
	group := int(n.int("group", 1))
	return &gradient{in: productReads(n), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		space, err := spatial(in[0])
		if err != nil {
			return nil, err
		}
		w := w
		w.kernel = in[1].Dims[2:]
		w, out, err := w.fit(space)
		if err != nil {
			return nil, err
		}
		p := newPatches(w, slices.Clone(space), out)
		switch d[0].Type {
		case onnx.Float:
			return convBack[float32](c, p, group, in, d[0])
		case onnx.Double:
			return convBack[float64](c, p, group, in, d[0])
		}
		return nil, unsupportedType(d[0].Type)
	}}, nil
}

func convBack[T floating](c *backCall, p patches, groups int, in []*Tensor, dy *Tensor) ([]*Tensor, error) {
	xd, kd := in[0].Dims, in[1].Dims
	mg, cg := kd[0]/groups, kd[1]
	positions, area := elements(p.out), elements(p.in)
	depth := cg * elements(kd[2:])
	x, _ := in[0].Data.([]T)
	k, _ := in[1].Data.([]T)
	d := dy.Data.([]T)
	grads := make([]*Tensor, len(in))
	dx, dw := needed[T](c, grads, 0, in[0]), needed[T](c, grads, 1, in[1])
	if c.needs(2) {
		grads[2] = newTensor(in[2].Type, in[2].Dims, biasBack(d, kd[0], positions))
	}
	if len(d) == 0 || depth == 0 || dx == nil && dw == nil {
		return grads, nil
	}
	block := min(positions, max(patchElements/depth, 64))
	var cols []T
	if !p.whole {
		cols = make([]T, depth*block)
	}
	for n := range xd[0] {
		for g := range groups {
			at := (n*groups + g) * cg * area
			dst := d[(n*groups+g)*mg*positions:][:mg*positions]
			if p.whole { // 1×1 kernel: the input is its own patch matrix
				if dx != nil {
					product(true, false, depth, positions, mg, k[g*mg*depth:][:mg*depth], depth, dst, positions, 0, dx[at:][:cg*area], positions)
				}
				if dw != nil {
					product(false, true, mg, depth, positions, dst, positions, x[at:][:cg*area], positions, 1, dw[g*mg*depth:][:mg*depth], depth)
				}
				continue
			}
			for from := 0; from < positions; from += block {
				if err := c.ctx.Err(); err != nil {
					return nil, err
				}
				size := min(block, positions-from)
				if dw != nil {
					patchMatrix(p, x[at:][:cg*area], cg, from, size, cols)
					product(false, true, mg, depth, size, dst[from:], positions, cols, size, 1, dw[g*mg*depth:][:mg*depth], depth)
				}
				if dx != nil {
					product(true, false, depth, size, mg, k[g*mg*depth:][:mg*depth], depth, dst[from:], positions, 0, cols, size)
					addPatches(p, cols, cg, from, size, dx[at:][:cg*area])
				}
			}
		}
	}
	return grads, nil
}

// biasBack sums the gradient of [N, channels, positions] for each channel.
func biasBack[T floating](d []T, channels, positions int) []T {
	sum := make([]float64, channels)
	for i := 0; len(d) > 0; i++ {
		for _, v := range d[:positions] {
			sum[i%channels] += float64(v)
		}
		d = d[positions:]
	}
	out := make([]T, channels)
	for i, v := range sum {
		out[i] = T(v)
	}
	return out
}

// convTransposeGradient is that of a convolution with the roles of input and result exchanged: with P the patches of dY, dX = W·P and dW = X·Pᵀ.
func convTransposeGradient(n *nodeInfo) (*gradient, error) {
	t, err := newTransposedConv(n)
	if err != nil {
		return nil, err
	}
	return &gradient{in: productReads(n), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		space, err := spatial(in[0])
		if err != nil {
			return nil, err
		}
		w, out, err := t.fit(space, in[1].Dims[2:])
		if err != nil {
			return nil, err
		}
		p := newPatches(w, out, slices.Clone(space))
		switch d[0].Type {
		case onnx.Float:
			return convTransposeBack[float32](c, p, int(t.group), in, d[0])
		case onnx.Double:
			return convTransposeBack[float64](c, p, int(t.group), in, d[0])
		}
		return nil, unsupportedType(d[0].Type)
	}}, nil
}

func convTransposeBack[T floating](c *backCall, p patches, groups int, in []*Tensor, dy *Tensor) ([]*Tensor, error) {
	xd, kd := in[0].Dims, in[1].Dims
	cg, mg := kd[0]/groups, kd[1]
	area, outArea := elements(p.out), elements(p.in)
	depth := mg * elements(kd[2:])
	x, _ := in[0].Data.([]T)
	k, _ := in[1].Data.([]T)
	d := dy.Data.([]T)
	grads := make([]*Tensor, len(in))
	dx, dw := needed[T](c, grads, 0, in[0]), needed[T](c, grads, 1, in[1])
	if c.needs(2) {
		grads[2] = newTensor(in[2].Type, in[2].Dims, biasBack(d, mg*groups, outArea))
	}
	if len(d) == 0 || depth == 0 || area == 0 || dx == nil && dw == nil {
		return grads, nil
	}
	block := min(area, max(patchElements/depth, 64))
	cols := make([]T, depth*block)
	for n := range xd[0] {
		for g := range groups {
			at := (n*groups + g) * cg * area
			for from := 0; from < area; from += block {
				if err := c.ctx.Err(); err != nil {
					return nil, err
				}
				size := min(block, area-from)
				patchMatrix(p, d[(n*groups+g)*mg*outArea:][:mg*outArea], mg, from, size, cols)
				if dx != nil {
					product(false, false, cg, size, depth, k[g*cg*depth:][:cg*depth], depth, cols, size, 0, dx[at+from:], area)
				}
				if dw != nil {
					product(false, true, cg, depth, size, x[at+from:], area, cols, size, 1, dw[g*cg*depth:][:cg*depth], depth)
				}
			}
		}
	}
	return grads, nil
}

// poolShape reads what the window of a pooling is, which may depend on the tensor.
type poolShape func(n *nodeInfo) (func(t *Tensor) (window, error), error)

// poolGradient makes the gradient of a pooling of the function that sends the gradient g of one window, whose result was y, to its elements: src are those of the
// plane, taps the offsets of those in the window, and padded counts the positions of the window in the input or its padding.
func poolGradient(shape poolShape, reads, result, flat uint64, back func(n *nodeInfo) func(src, dst []float64, taps []int, padded int, y, g float64)) gradientBuilder {
	return func(n *nodeInfo) (*gradient, error) {
		geometry, err := shape(n)
		if err != nil {
			return nil, err
		}
		send := back(n)
		return &gradient{in: reads, out: result, flat: flat, run: func(c *backCall, in, out, d []*Tensor) ([]*Tensor, error) {
			w, err := geometry(in[0])
			if err != nil {
				return nil, err
			}
			p, dims, err := newPooling(w, in[0])
			if err != nil {
				return nil, err
			}
			x, err := keptFloats(in[0])
			if err != nil {
				return nil, err
			}
			y, err := keptFloats(out[0])
			if err != nil {
				return nil, err
			}
			g, err := convertTo[float64](d[0])
			if err != nil {
				return nil, err
			}
			dx := make([]float64, elements(in[0].Dims))
			area, positions := elements(p.in), elements(p.out)
			for plane := range dims[0] * dims[1] {
				if err := c.ctx.Err(); err != nil {
					return nil, err
				}
				var src []float64
				if x != nil {
					src = x[plane*area:][:area]
				}
				dst := dx[plane*area:][:area]
				p.each(func(o, padded int, taps []int) {
					k := plane*positions + o
					v := 0.0
					if y != nil {
						v = y[k]
					}
					send(src, dst, taps, padded, v, g[k])
				})
			}
			return one(cast(newTensor(onnx.Double, in[0].Dims, dx), in[0].Type))
		}}, nil
	}
}

// keptFloats are the elements of a tensor as float64, nil where none were kept.
func keptFloats(t *Tensor) ([]float64, error) {
	if t.Data == nil {
		return nil, nil
	}
	return convertTo[float64](t)
}

// slidingWindow is the geometry of a pooling with a kernel.
func slidingWindow(n *nodeInfo) (func(*Tensor) (window, error), error) {
	w, err := newPoolWindow(n)
	return func(*Tensor) (window, error) { return w, nil }, err
}

// globalWindow is the geometry of a pooling over all of each plane.
func globalWindow(*nodeInfo) (func(*Tensor) (window, error), error) {
	return func(t *Tensor) (window, error) {
		space, err := spatial(t)
		return window{kernel: space}, err
	}, nil
}

// maxPoolBack gives all to the element that was taken.
func maxPoolBack(*nodeInfo) func(src, dst []float64, taps []int, padded int, y, g float64) {
	return func(src, dst []float64, taps []int, _ int, _, g float64) {
		best := -1
		for _, at := range taps {
			if v := src[at]; best < 0 || v > src[best] || v != v {
				best = at
			}
		}
		if best >= 0 {
			dst[best] += g
		}
	}
}

func averagePoolBack(n *nodeInfo) func(src, dst []float64, taps []int, padded int, y, g float64) {
	include := n.opset >= 7 && n.bool("count_include_pad", false)
	return func(_, dst []float64, taps []int, padded int, _, g float64) {
		share := g / float64(len(taps))
		if include {
			share = g / float64(padded)
		}
		for _, at := range taps {
			dst[at] += share
		}
	}
}

// lpPoolBack: y = (Σ|x|^p)^(1/p), so dx = sign(x)·(|x|/y)^(p−1)·dy.
func lpPoolBack(n *nodeInfo) func(src, dst []float64, taps []int, padded int, y, g float64) {
	p := lpExponent(n)
	return func(src, dst []float64, taps []int, _ int, y, g float64) {
		if y == 0 {
			return
		}
		for _, at := range taps {
			dst[at] += g * absSlope(src[at]) * math.Pow(math.Abs(src[at])/y, p-1)
		}
	}
}
