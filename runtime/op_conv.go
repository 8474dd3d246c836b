package runtime

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildConv: https://onnx.ai/onnx/operators/onnx__Conv.html
func buildConv(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 3); err != nil {
		return nil, err
	}
	w, err := newWindow(n)
	if err != nil {
		return nil, err
	}
	group := n.int("group", 1)
	kept := newKeptConv(n, group)
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
		switch in[0].Type {
		case onnx.Float:
			return one(convWith[float32](c, w, group, in, kept))
		case onnx.Double:
			return one(convWith[float64](c, w, group, in, kept))
		}
		return nil, unsupportedType(in[0].Type)
	}), nil
}

// patchElements bounds the patch matrix of a convolution: output positions are taken in blocks of this many elements.
const patchElements = 1 << 19

// conv computes Y[n, m] = B[m] + Σ W[m]·patches(X[n]).
func conv[T floating](c *call, w window, group int64, in []*Tensor) (*Tensor, error) {
	return convWith[T](c, w, group, in, nil)
}

// convWith is conv with what a node of constant weights keeps. The patches of a block of output positions are laid out as a matrix at a
// time.
func convWith[T floating](c *call, w window, group int64, in []*Tensor, kept *keptConv) (*Tensor, error) {
	x, k, b, err := convOperands[T](in)
	if err != nil {
		return nil, err
	}
	xd, kd := in[0].Dims, in[1].Dims
	space, err := spatial(in[0])
	if err != nil {
		return nil, err
	}
	if len(kd) != len(xd) || group < 1 || int64(xd[1]) != int64(kd[1])*group || int64(kd[0])%group != 0 {
		return nil, fmt.Errorf("input %v and weights %v do not fit in %d groups", xd, kd, group)
	}
	if w.kernel != nil && !slices.Equal(w.kernel, kd[2:]) {
		return nil, fmt.Errorf("kernel_shape %v differs from weights %v", w.kernel, kd)
	}
	w.kernel = kd[2:]
	geometry, err := kept.fit(w, space)
	if err != nil {
		return nil, err
	}
	p, outSpace := geometry.patches, geometry.out
	groups, mg, cg := int(group), kd[0]/int(group), kd[1]
	dims := append([]int{xd[0], kd[0]}, outSpace...)
	y, err := alloc[T](dims)
	if err != nil {
		return nil, err
	}
	if b != nil && len(b) != kd[0] {
		return nil, fmt.Errorf("bias %v does not fit weights %v", in[2].Dims, kd)
	}
	positions, area := elements(outSpace), elements(space)
	depth := cg * elements(w.kernel)
	if len(y) == 0 || depth == 0 {
		addBias(y, b, positions)
		return newTensor(in[0].Type, dims, y), nil
	}
	few := kept.suits(positions, mg, k)
	block := min(positions, max(patchElements/depth, 64))
	var cols, part []T
	if !p.whole && !few {
		cols = make([]T, depth*block)
	}
	for n := range xd[0] {
		for g := range groups {
			src := x[(n*groups+g)*cg*area:][:cg*area]
			weights := k[g*mg*depth:][:mg*depth]
			dst := y[(n*groups+g)*mg*positions:][:mg*positions]
			if few {
				kept.few(p, g, any(src).([]float32), any(weights).([]float32), cg, mg, depth, positions, any(dst).([]float32))
				continue
			}
			if p.whole { // 1×1 kernel: the input is its own patch matrix
				matMulInto(mg, positions, depth, weights, src, dst)
				continue
			}
			for from := 0; from < positions; from += block {
				if err := c.ctx.Err(); err != nil {
					return nil, err
				}
				size := min(block, positions-from)
				patchMatrix(p, src, cg, from, size, cols)
				if size == positions {
					matMulInto(mg, size, depth, weights, cols, dst)
					continue
				}
				if part == nil {
					part = make([]T, mg*block)
				}
				matMulInto(mg, size, depth, weights, cols[:depth*size], part[:mg*size])
				for m := range mg {
					copy(dst[m*positions+from:][:size], part[m*size:][:size])
				}
			}
		}
	}
	addBias(y, b, positions)
	return newTensor(in[0].Type, dims, y), nil
}

// convOperands gives input, weights and bias (nil where absent) as slices of one type.
func convOperands[T floating](in []*Tensor) (x, k, b []T, err error) {
	var ok bool
	if x, ok = in[0].Data.([]T); !ok {
		return nil, nil, nil, unsupportedType(in[0].Type)
	}
	if k, ok = in[1].Data.([]T); !ok {
		return nil, nil, nil, fmt.Errorf("weights have type %v, the input has %v", in[1].Type, in[0].Type)
	}
	if t := optional(in, 2); t != nil {
		if b, ok = t.Data.([]T); !ok {
			return nil, nil, nil, fmt.Errorf("bias has type %v, the input has %v", t.Type, in[0].Type)
		}
	}
	return x, k, b, nil
}

// addBias adds b[m] to the channels of an [N, M, positions] tensor.
func addBias[T floating](y, b []T, positions int) {
	if b == nil || positions == 0 {
		return
	}
	for i := 0; len(y) > 0; i++ {
		v := b[i%len(b)]
		for j := range y[:positions] {
			y[j] += v
		}
		y = y[positions:]
	}
}

// patches knows which input element each (kernel position, output position) meets.
type patches struct {
	w         window
	in, out   []int
	inStrides []int
	whole     bool // every window is one element, in order
}

func newPatches(w window, in, out []int) patches {
	p := patches{w: w, in: in, out: out, inStrides: shape.Strides(in), whole: slices.Equal(in, out)}
	for d := range in {
		p.whole = p.whole && w.kernel[d] == 1 && w.begin[d] == 0
	}
	return p
}

// rows visits the output positions [from, from+size) row by row along the last axis, for the kernel position at. Of n outputs, of
// which done came before, those in [lo, hi) read the input at offset, offset + stride, …; the others read padding.
func (p patches) rows(at []int, from, size int, row func(done, n, lo, hi, offset int)) {
	last := len(p.out) - 1
	width, stride := p.out[last], p.w.strides[last]
	index := make([]int, last)
	rest := from / width
	for d := last - 1; d >= 0; d-- {
		index[d] = rest % p.out[d]
		rest /= p.out[d]
	}
	for done, col := 0, from%width; done < size; col = 0 {
		n := min(width-col, size-done)
		offset, padding := 0, false
		for d, o := range index {
			i := p.w.first(d, o) + at[d]*p.w.dilations[d]
			padding = padding || i < 0 || i >= p.in[d]
			offset += i * p.inStrides[d]
		}
		i := p.w.first(last, col) + at[last]*p.w.dilations[last]
		lo := min(ceilDiv(max(-i, 0), stride), n)
		hi := max(min(ceilDiv(p.in[last]-i, stride), n), lo)
		if padding {
			lo, hi = 0, 0
		}
		row(done, n, lo, hi, offset+i+lo*stride)
		done += n
		increment(index, p.out[:last])
	}
}

// patchMatrix lays out the patches of output positions [from, from+size) of channels as a [channels·kernel, size] matrix.
func patchMatrix[T floating](p patches, x []T, channels, from, size int, cols []T) {
	stride := p.w.strides[len(p.out)-1]
	area := elements(p.in)
	at := make([]int, len(p.w.kernel))
	for c := range channels {
		src := x[c*area : (c+1)*area]
		for more := true; more; more = increment(at, p.w.kernel) {
			to := cols[:size]
			cols = cols[size:]
			p.rows(at, from, size, func(done, n, lo, hi, offset int) {
				dst := to[done : done+n]
				clear(dst[:lo])
				clear(dst[hi:])
				dst = dst[lo:hi]
				if stride == 1 && len(dst) > 0 {
					copy(dst, src[offset:])
					return
				}
				for i := range dst {
					dst[i] = src[offset]
					offset += stride
				}
			})
		}
	}
}
