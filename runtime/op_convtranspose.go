package runtime

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// buildConvTranspose: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html
func buildConvTranspose(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 3); err != nil {
		return nil, err
	}
	t, err := newTransposedConv(n)
	if err != nil {
		return nil, err
	}
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
		switch in[0].Type {
		case onnx.Float:
			return one(convTranspose[float32](c, t, in))
		case onnx.Double:
			return one(convTranspose[float64](c, t, in))
		}
		return nil, unsupportedType(in[0].Type)
	}), nil
}

type transposedConv struct {
	window
	group        int64
	extra, shape []int64 // output_padding, output_shape
}

func newTransposedConv(n *nodeInfo) (transposedConv, error) {
	w, err := newWindow(n)
	return transposedConv{window: w, group: n.int("group", 1), extra: n.ints("output_padding", nil), shape: n.ints("output_shape", nil)}, err
}

// fit gives the geometry of the convolution that is transposed and the spatial dims of the result:
// stride·(in − 1) + output_padding + span − begin − end, or output_shape, from which the padding follows.
func (t transposedConv) fit(in, kernel []int) (window, []int, error) {
	w := t.window
	if w.kernel != nil && !slices.Equal(w.kernel, kernel) {
		return w, nil, fmt.Errorf("kernel_shape %v differs from the weights' %v", w.kernel, kernel)
	}
	w.kernel = kernel
	// The defaults and lengths are those of a convolution over an axis that any window fits.
	roomy := make([]int, len(in))
	for d := range roomy {
		roomy[d] = maxElements
	}
	explicit := w.autoPad == "NOTSET" || w.autoPad == ""
	plain := w
	plain.autoPad = "NOTSET"
	full, _, err := plain.fit(roomy)
	if err != nil {
		return w, nil, err
	}
	full.autoPad = w.autoPad
	w = full
	target := t.shape
	if len(target) == len(in)+2 {
		target = target[2:] // written with N and C by some exporters
	}
	if target != nil && len(target) != len(in) || t.extra != nil && len(t.extra) != len(in) {
		return w, nil, fmt.Errorf("output_shape %v or output_padding %v do not have one value for each of %d axes", t.shape, t.extra, len(in))
	}
	out := make([]int, len(in))
	for d, size := range in {
		extra := 0
		if t.extra != nil {
			if t.extra[d] < 0 || t.extra[d] > maxElements {
				return w, nil, fmt.Errorf("output_padding %v is out of range", t.extra)
			}
			extra = int(t.extra[d])
		}
		whole := w.strides[d]*(size-1) + extra + (w.kernel[d]-1)*w.dilations[d] + 1
		switch {
		case target != nil:
			if target[d] < 1 || target[d] > maxElements {
				return w, nil, fmt.Errorf("output_shape %v is out of range", t.shape)
			}
			out[d] = int(target[d])
		case explicit:
			out[d] = whole - w.begin[d] - w.end[d]
		case w.autoPad == "VALID":
			w.begin[d], w.end[d] = 0, 0
			out[d] = whole
		default:
			out[d] = size * w.strides[d]
		}
		if target != nil || w.autoPad == "SAME_UPPER" || w.autoPad == "SAME_LOWER" {
			total := max(whole-out[d], 0)
			w.begin[d], w.end[d] = total/2, total-total/2
			if w.autoPad != "SAME_UPPER" {
				w.begin[d], w.end[d] = w.end[d], w.begin[d]
			}
		}
		if out[d] < 0 {
			return w, nil, fmt.Errorf("axis %d of %v shrinks to %d under pads %d and %d", d, in, out[d], w.begin[d], w.end[d])
		}
	}
	return w, out, nil
}

// convTranspose computes the patch matrix Wᵀ·X[n] and adds each patch where the convolution would have read it.
func convTranspose[T floating](c *call, t transposedConv, in []*Tensor) (*Tensor, error) {
	x, k, b, err := convOperands[T](in)
	if err != nil {
		return nil, err
	}
	xd, kd := in[0].Dims, in[1].Dims
	space, err := spatial(in[0])
	if err != nil {
		return nil, err
	}
	if len(kd) != len(xd) || t.group < 1 || xd[1] != kd[0] || int64(kd[0])%t.group != 0 {
		return nil, fmt.Errorf("input %v and weights %v do not fit in %d groups", xd, kd, t.group)
	}
	w, outSpace, err := t.fit(space, kd[2:])
	if err != nil {
		return nil, err
	}
	groups, cg, mg := int(t.group), kd[0]/int(t.group), kd[1]
	dims := append([]int{xd[0], mg * groups}, outSpace...)
	y, err := alloc[T](dims)
	if err != nil {
		return nil, err
	}
	if b != nil && len(b) != mg*groups {
		return nil, fmt.Errorf("bias %v does not fit weights %v in %d groups", in[2].Dims, kd, groups)
	}
	area, outArea := elements(space), elements(outSpace)
	depth := mg * elements(w.kernel)
	cols, err := alloc[T]([]int{depth, area})
	if err != nil {
		return nil, err
	}
	if len(cols) > 0 && len(y) > 0 {
		p := newPatches(w, outSpace, space)
		for n := range xd[0] {
			for g := range groups {
				if err := c.ctx.Err(); err != nil {
					return nil, err
				}
				gemmInto(true, false, depth, area, cg, 1, k[g*cg*depth:][:cg*depth], x[(n*groups+g)*cg*area:][:cg*area], 0, cols)
				addPatches(p, cols, mg, 0, area, y[(n*groups+g)*mg*outArea:][:mg*outArea])
			}
		}
	}
	addBias(y, b, outArea)
	return newTensor(in[0].Type, dims, y), nil
}

// addPatches is the transpose of patchMatrix.
func addPatches[T floating](p patches, cols []T, channels, from, size int, y []T) {
	stride := p.w.strides[len(p.out)-1]
	area := elements(p.in)
	at := make([]int, len(p.w.kernel))
	for c := range channels {
		dst := y[c*area : (c+1)*area]
		for more := true; more; more = increment(at, p.w.kernel) {
			row := cols[:size]
			cols = cols[size:]
			p.rows(at, from, size, func(done, _, lo, hi, offset int) {
				for _, v := range row[done+lo : done+hi] {
					dst[offset] += v
					offset += stride
				}
			})
		}
	}
}
