package runtime

import (
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// padGradient takes the gradient of each element from where padding put it, and that of the constant from everywhere else.
func padGradient(n *nodeInfo) (*gradient, error) {
	mode, pads := n.string("mode", "constant"), newPadArguments(n)
	return &gradient{in: 1<<1 | 1<<3, run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		v, err := pads.of(in)
		if err != nil {
			return nil, err
		}
		at, err := shape.Of(numbered(in[0].Dims).Data)
		if err != nil {
			return nil, err
		}
		out, _, err := at.Pad(in[0].Dims, v, mode, nil, maxElements)
		if err != nil {
			return nil, err
		}
		from := out.Data().([]int64)
		grads := make([]*Tensor, len(in))
		if c.needs(0) {
			if grads[0], err = gatherBack(d[0], from, in[0].Dims); err != nil {
				return nil, err
			}
		}
		if c.needs(2) {
			for i, k := range from {
				from[i] = 0
				if k == 0 {
					from[i] = 1
				}
			}
			fill, err := gatherBack(d[0], from, []int{1})
			if grads[2], err = like(in[2], fill, err); err != nil {
				return nil, err
			}
		}
		return grads, nil
	}}, nil
}

// resizeGradient serves Resize and Upsample: each element gets the gradients of the positions that read it, by their weights.
func resizeGradient(build func(n *nodeInfo) (resize, error)) gradientBuilder {
	return func(n *nodeInfo) (*gradient, error) {
		r, err := build(n)
		if err != nil {
			return nil, err
		}
		return &gradient{in: all &^ 1, run: func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
			scales, sizes, roi := r.arguments(in)
			axes, err := r.plan(in[0].Dims, scales, sizes, roi)
			if err != nil {
				return nil, err
			}
			if r.picks() {
				from, err := r.pickNearest(numbered(in[0].Dims), axes)
				if err != nil {
					return nil, err
				}
				return one(gatherBack(d[0], from.Data.([]int64), in[0].Dims))
			}
			g, err := convertTo[float64](d[0])
			if err != nil {
				return nil, err
			}
			dims := slices.Clone(d[0].Dims)
			for k := len(axes) - 1; k >= 0; k-- {
				a := axes[k]
				if r.still(a) {
					continue
				}
				inner, outer := elements(dims[k+1:]), elements(dims[:k])
				dims[k] = a.in
				to, err := alloc[float64](dims)
				if err != nil {
					return nil, err
				}
				if _, err := r.taps(a, k, func(o, from int, weight float64) {
					for b := range outer {
						src := g[(b*a.out+o)*inner:][:inner]
						dst := to[(b*a.in+from)*inner:][:inner]
						for j, v := range src {
							dst[j] += weight * v
						}
					}
				}); err != nil {
					return nil, err
				}
				g = to
			}
			return one(cast(newTensor(onnx.Double, in[0].Dims, g), in[0].Type))
		}}, nil
	}
}

// gridSampleGradient: an element gets the gradients of the points that read it, by their weights; a coordinate moves the weights.
func gridSampleGradient(n *nodeInfo) (*gradient, error) {
	s, err := newGridSample(n)
	if err != nil {
		return nil, err
	}
	return &gradient{in: 1<<1 | n.whereVariable(1, 1), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		space, err := spatial(in[0])
		if err != nil {
			return nil, err
		}
		rank := len(space)
		at, err := convertTo[float64](in[1])
		if err != nil {
			return nil, err
		}
		x, err := keptFloats(in[0])
		if err != nil {
			return nil, err
		}
		g, err := convertTo[float64](d[0])
		if err != nil {
			return nil, err
		}
		grads := [][]float64{make([]float64, elements(in[0].Dims)), make([]float64, len(at))}
		strides, area, count, channels := shape.Strides(space), elements(space), elements(d[0].Dims[2:]), in[0].Dims[1]
		axes, shifted := make([]sampleAxis, rank), make([]sampleAxis, rank)
		for b := range in[0].Dims[0] {
			if err := c.ctx.Err(); err != nil {
				return nil, err
			}
			for p := range count {
				point := at[(b*count+p)*rank:][:rank]
				for k := range axes { // the first coordinate belongs to the last axis
					axes[k] = s.neighbours(point[rank-1-k], space[k], strides[k])
				}
				for ch := range channels {
					plane := b*channels + ch
					dy := g[plane*count+p]
					if c.needs(0) {
						scatter(grads[0][plane*area:][:area], axes, dy)
					}
					if !c.needs(1) {
						continue
					}
					for k := range axes {
						copy(shifted, axes)
						shifted[k].weight = s.slopes(point[rank-1-k], space[k], axes[k])
						grads[1][(b*count+p)*rank+rank-1-k] += dy * interpolate(x[plane*area:][:area], shifted)
					}
				}
			}
		}
		return castNeeded(c, in, grads)
	}}, nil
}

// scatter is the transpose of interpolate.
func scatter(x []float64, axes []sampleAxis, v float64) {
	if len(axes) == 0 {
		x[0] += v
		return
	}
	for k, w := range axes[0].weight {
		if w != 0 {
			scatter(x[axes[0].offset[k]:], axes[1:], w*v)
		}
	}
}

// slopes are the derivatives of the weights that a coordinate gives its neighbours.
func (g gridSample) slopes(v float64, size int, a sampleAxis) []float64 {
	slope := make([]float64, len(a.weight))
	if g.mode == "nearest" || len(slope) == 0 {
		return slope
	}
	p, factor := g.position(v, size)
	ratio := p - math.Floor(p)
	start := 1 - len(slope)/2
	for k := range slope {
		if a.weight[k] == 0 && g.outside(int(math.Floor(p))+start+k, size) {
			continue
		}
		d := ratio - float64(start+k)
		if g.mode == "cubic" {
			slope[k] = factor * absSlope(d) * resize{cubic: -0.75}.cubicSlope(math.Abs(d))
		} else {
			slope[k] = -factor * absSlope(d)
			if d == 0 {
				slope[k] = -factor
			}
		}
	}
	return slope
}

// outside says whether an element beyond the tensor counts as zero.
func (g gridSample) outside(i, size int) bool { return g.padding == "zeros" && (i < 0 || i >= size) }

// cubicSlope is the derivative of cubicWeight.
func (r resize) cubicSlope(d float64) float64 {
	a := r.cubic
	switch {
	case d <= 1:
		return (3*(a+2)*d - 2*(a+3)) * d
	case d < 2:
		return (3*a*d-10*a)*d + 8*a
	}
	return 0
}

// affineGridGradient: each coordinate is a product of theta with a point that does not depend on it.
func affineGridGradient(n *nodeInfo) (*gradient, error) {
	corners := n.bool("align_corners", false)
	return gradientOf(func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		space := d[0].Dims[1 : len(d[0].Dims)-1]
		rank := len(space)
		g, err := convertTo[float64](d[0])
		if err != nil {
			return nil, err
		}
		// The grid of theta = [0 … 1 … 0] holds the coordinates of the points.
		unit := make([]float64, rank*(rank+1))
		for r := range rank {
			unit[r*(rank+1)+r] = 1
		}
		points := make([]float64, elements(space)*rank)
		if len(points) > 0 {
			affineGrid(points, unit, space, corners)
		}
		dtheta := make([]float64, elements(in[0].Dims))
		count := elements(space)
		for b := range in[0].Dims[0] {
			to := dtheta[b*rank*(rank+1):][:rank*(rank+1)]
			for p := range count {
				for r := range rank {
					v := g[(b*count+p)*rank+r]
					for k := range rank {
						to[r*(rank+1)+k] += v * points[p*rank+k]
					}
					to[r*(rank+1)+rank] += v
				}
			}
		}
		return one(cast(newTensor(onnx.Double, in[0].Dims, dtheta), in[0].Type))
	})(n)
}

// oneHotGradient sums the gradient over where each of the two values stands.
func oneHotGradient(n *nodeInfo) (*gradient, error) {
	op, err := n.compiler.buildKnown(n)
	if err != nil {
		return nil, err
	}
	return &gradient{in: 3, run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		out, err := op.run(&call{ctx: c.ctx, node: c.node}, []*Tensor{in[0], in[1], numbered(in[2].Dims)})
		if err != nil {
			return nil, err
		}
		g, err := gatherBack(d[0], out[0].Data.([]int64), in[2].Dims)
		return []*Tensor{nil, nil, g}, err
	}}, nil
}

// rangeGradient: element i is start + i·delta; the limit only sets their number.
var rangeGradient = gradientOf(func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
	g, err := convertTo[float64](d[0])
	if err != nil {
		return nil, err
	}
	start, delta := 0.0, 0.0
	for i, v := range g {
		start += v
		delta += float64(i) * v
	}
	return castNeeded(c, in, [][]float64{{start}, nil, {delta}})
})

// uniqueGradient gives each distinct element's gradient to its first occurrence.
func uniqueGradient(n *nodeInfo) (*gradient, error) {
	flat, axis := !n.hasAttr("axis"), n.int("axis", 0)
	return &gradient{out: 2, flat: 2 | 4 | 8, run: func(_ *backCall, in, out, d []*Tensor) ([]*Tensor, error) {
		dims := in[0].Dims
		if flat {
			dims = []int{elements(dims)}
		}
		k, err := shape.Axis(axis, len(dims))
		if err != nil {
			return nil, err
		}
		g, err := rowsBack(d[0], out[1].Data.([]int64), dims, k)
		return one(like(in[0], g, err))
	}}, nil
}

// dequantizeGradient: y = (x − zero)·scale. The integers x have no gradient, a floating zero point (of float8 types) counts as one of them.
func dequantizeGradient(n *nodeInfo) (*gradient, error) {
	q := newQuantAxis(n)
	return &gradient{in: all, run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		scale, zero, at, err := quantParameters(q, in)
		if err != nil {
			return nil, err
		}
		x, err := convertTo[float64](in[0])
		if err != nil {
			return nil, err
		}
		g, err := convertTo[float64](d[0])
		if err != nil {
			return nil, err
		}
		sum := make([]float64, len(scale))
		for i, v := range g {
			k := at(i)
			sum[k] += v * (x[i] - zero[k])
		}
		return castNeeded(c, in, [][]float64{nil, sum})
	}}, nil
}
