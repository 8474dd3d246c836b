package runtime

import (
	"slices"
	"sync/atomic"

	"github.com/trconvert/trconvert/internal/gemm"
)

const (
	// fewPositions is the number of output positions up to which a convolution with constant weights is computed with its patches as the
	// rows of the left operand: then there is too little to multiply each weight with for laying the weights out in every run.
	fewPositions = 64
	// leastChannels is the number of output channels of a group from which that fills the vectors of the kernels.
	leastChannels = 8
)

// keptConv is what a convolution with constant weights keeps from run to run. A nil one keeps nothing.
type keptConv struct {
	groups   []packedMatrix
	geometry atomic.Pointer[convGeometry] // the last one met
}

// convGeometry is what follows from the spatial dims of the input alone.
type convGeometry struct {
	window  window
	in, out []int
	patches patches
}

// newKeptConv is nil if the weights may change from run to run.
func newKeptConv(n *nodeInfo, groups int64) *keptConv {
	if !n.has(1) || !n.constant(1) || groups < 1 || groups > maxNodes {
		return nil
	}
	return &keptConv{groups: make([]packedMatrix, groups)}
}

// fit is window.fit and newPatches. The window has its kernel already.
func (k *keptConv) fit(w window, space []int) (*convGeometry, error) {
	if k != nil {
		if g := k.geometry.Load(); g != nil && slices.Equal(g.in, space) {
			return g, nil
		}
	}
	w, out, err := w.fit(space)
	if err != nil {
		return nil, err
	}
	g := &convGeometry{window: w, in: slices.Clone(space), out: out}
	g.patches = newPatches(w, g.in, out)
	if k != nil {
		k.geometry.Store(g)
	}
	return g, nil
}

// suits says whether few serves a convolution of weights [groups·channels, depth].
func (k *keptConv) suits(positions, channels int, weights any) bool {
	w, ok := weights.([]float32)
	return ok && k != nil && positions <= fewPositions && channels >= leastChannels && len(w) <= packElements
}

// few computes the channels of group g of one image without bias: y [channels, positions] of x [depth of the image's group, area] and
// weights [channels, depth].
func (k *keptConv) few(p patches, g int, x, weights []float32, inputs, channels, depth, positions int, y []float32) {
	packed := k.groups[g].of(true, channels, depth, weights)
	product := y
	if positions > 1 {
		product = make([]float32, positions*channels)
	}
	if p.whole {
		gemm.F32Packed(true, positions, 1, x, positions, packed, 0, product, channels)
	} else {
		rows := make([]float32, positions*depth)
		patchRows(p, x, inputs, rows)
		gemm.F32Packed(false, positions, 1, rows, depth, packed, 0, product, channels)
	}
	if positions > 1 {
		for m := range channels {
			row := y[m*positions:][:positions]
			for j := range row {
				row[j] = product[j*channels+m]
			}
		}
	}
}

// patchRows lays out the patches of all output positions as a [positions, channels·kernel] matrix.
func patchRows[T floating](p patches, x []T, channels int, rows []T) {
	last := len(p.out) - 1
	area, width, dilation := elements(p.in), p.w.kernel[last], p.w.dilations[last]
	at, position := make([]int, last), make([]int, last+1)
	for more := len(rows) > 0; more; more = increment(position, p.out) {
		first := p.w.first(last, position[last])
		lo, hi := p.w.inside(last, first, p.in[last])
		for c := range channels {
			for more := true; more; more = increment(at, p.w.kernel[:last]) {
				row := rows[:width]
				rows = rows[width:]
				offset, padding := c*area+first, false
				for d, k := range at {
					i := p.w.first(d, position[d]) + k*p.w.dilations[d]
					padding = padding || i < 0 || i >= p.in[d]
					offset += i * p.inStrides[d]
				}
				if padding || lo >= hi {
					clear(row)
					continue
				}
				clear(row[:lo])
				clear(row[hi:])
				if dilation == 1 && width >= 16 {
					copy(row[lo:hi], x[offset+lo:])
					continue
				}
				for k := lo; k < hi; k++ {
					row[k] = x[offset+k*dilation]
				}
			}
		}
	}
}
