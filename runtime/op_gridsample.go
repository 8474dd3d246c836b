package runtime

import (
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// gridSample reads a tensor at the points of a grid, in any number of spatial dims.
type gridSample struct {
	mode    string // nearest, linear or cubic
	padding string // zeros, border or reflection
	corners bool
}

// buildGridSample: https://onnx.ai/onnx/operators/onnx__GridSample.html
func buildGridSample(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	g, err := newGridSample(n)
	if err != nil {
		return nil, err
	}
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
		if !isFloat(in[0].Type) || !isFloat(in[1].Type) {
			return nil, unsupportedf("types %v and %v", in[0].Type, in[1].Type)
		}
		return one(g.run(c, in[0], in[1]))
	}), nil
}

func newGridSample(n *nodeInfo) (gridSample, error) {
	def := "linear"
	if n.opset < 20 {
		def = "bilinear"
	}
	g := gridSample{mode: n.string("mode", def), padding: n.string("padding_mode", "zeros"), corners: n.bool("align_corners", false)}
	switch g.mode {
	case "bilinear":
		g.mode = "linear"
	case "bicubic":
		g.mode = "cubic"
	case "nearest", "linear", "cubic":
	default:
		return g, unsupportedf("mode = %q", g.mode)
	}
	switch g.padding {
	case "zeros", "border", "reflection":
	default:
		return g, unsupportedf("padding_mode = %q", g.padding)
	}
	return g, nil
}

func (g gridSample) run(c *call, t, grid *Tensor) (*Tensor, error) {
	space, err := spatial(t)
	if err != nil {
		return nil, err
	}
	rank := len(space)
	if len(grid.Dims) != rank+2 || grid.Dims[0] != t.Dims[0] || grid.Dims[rank+1] != rank {
		return nil, fmt.Errorf("grid has shape %v, want [%d, …, %d] of rank %d for input %v", grid.Dims, t.Dims[0], rank, rank+2, t.Dims)
	}
	points := grid.Dims[1 : rank+1]
	dims := slices.Concat(t.Dims[:2], points)
	y, err := alloc[float64](dims)
	if err != nil {
		return nil, err
	}
	if len(y) > 0 && elements(space) == 0 {
		return nil, fmt.Errorf("input of shape %v has nothing to sample", t.Dims)
	}
	x, err := convertTo[float64](t)
	if err != nil {
		return nil, err
	}
	at, err := convertTo[float64](grid)
	if err != nil {
		return nil, err
	}
	strides, area, count := shape.Strides(space), elements(space), elements(points)
	axes := make([]sampleAxis, rank)
	for n := range t.Dims[0] {
		if err := c.ctx.Err(); err != nil {
			return nil, err
		}
		for p := range count {
			point := at[(n*count+p)*rank:][:rank]
			for d := range axes { // the first coordinate belongs to the last axis
				axes[d] = g.neighbours(point[rank-1-d], space[d], strides[d])
			}
			for ch := range t.Dims[1] {
				plane := n*t.Dims[1] + ch
				y[plane*count+p] = interpolate(x[plane*area:][:area], axes)
			}
		}
	}
	return cast(newTensor(onnx.Double, dims, y), t.Type)
}

// sampleAxis holds the elements of an axis that a point reads, as offsets, and their weights.
type sampleAxis struct {
	offset []int
	weight []float64
}

func interpolate(x []float64, axes []sampleAxis) float64 {
	if len(axes) == 0 {
		return x[0]
	}
	sum := 0.0
	for k, w := range axes[0].weight {
		if w != 0 {
			sum += w * interpolate(x[axes[0].offset[k]:], axes[1:])
		}
	}
	return sum
}

// neighbours finds what a coordinate in [−1, 1] reads of an axis. Reflection brings the coordinate inside and then each neighbour;
// border only the neighbours (so do ONNX Runtime and PyTorch; it matters to cubic).
func (g gridSample) neighbours(v float64, size, stride int) sampleAxis {
	lo, hi := g.ends(size)
	p, _ := g.position(v, size)
	if !(math.Abs(p) < maxElements) { // NaN, or farther out than any tensor reaches
		return sampleAxis{}
	}
	base := math.Floor(p)
	start, weights := resize{mode: g.mode, nearest: "floor", cubic: -0.75}.weights(p-base, 1)
	a := sampleAxis{offset: make([]int, len(weights)), weight: weights}
	for k := range weights {
		i := int(base) + start + k
		if i < 0 || i >= size {
			switch g.padding {
			case "zeros":
				a.weight[k] = 0
				continue
			case "reflection":
				i = int(foldInto(float64(i), lo, hi))
			}
			i = min(max(i, 0), size-1)
		}
		a.offset[k] = i * stride
	}
	return a
}

// ends are the coordinates of the ends of an axis, in elements.
func (g gridSample) ends(size int) (lo, hi float64) {
	if g.corners {
		return 0, float64(size - 1)
	}
	return -0.5, float64(size) - 0.5
}

// position is a coordinate in [−1, 1] in elements, after rounding and reflection, and its derivative where it is not rounded.
func (g gridSample) position(v float64, size int) (p, slope float64) {
	lo, hi := g.ends(size)
	p, slope = ((v+1)*float64(size)-1)/2, float64(size)/2
	if g.corners {
		p, slope = (v+1)/2*hi, hi/2
	}
	if g.mode == "nearest" {
		p = math.RoundToEven(p)
	}
	if g.padding == "reflection" && (p < lo || p > hi) {
		before := p
		if p = foldInto(p, lo, hi); hi > lo && math.Mod(math.Floor((before-lo)/(hi-lo)), 2) != 0 {
			slope = -slope
		}
	}
	return p, slope
}

// foldInto reflects a coordinate at the ends of [lo, hi] until it lies inside.
func foldInto(p, lo, hi float64) float64 {
	length := hi - lo
	if length <= 0 {
		return lo
	}
	way := math.Mod(p-lo, 2*length)
	if way < 0 {
		way += 2 * length
	}
	return lo + min(way, 2*length-way)
}
