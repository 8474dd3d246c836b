package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// Fourier transforms are linear, so the gradient is the adjoint under the inner product Re⟨a, b⟩: that of F is n times the inverse, and conversely. Of a real input
// the real part counts.

// partsTensor lays complex numbers out with a last axis of one (the real part) or two.
func partsTensor(x []complex128, like *Tensor) (*Tensor, error) {
	parts := like.Dims[len(like.Dims)-1]
	v := make([]float64, 0, parts*len(x))
	for _, c := range x {
		if v = append(v, real(c)); parts == 2 {
			v = append(v, imag(c))
		}
	}
	return cast(newTensor(onnx.Double, like.Dims, v), like.Type)
}

func dftGradient(n *nodeInfo) (*gradient, error) {
	inverse := n.bool("inverse", false)
	fixed := int64(-2)
	if n.opset < 20 {
		fixed = n.int("axis", 1)
	}
	return &gradient{in: 1<<1 | 1<<2, run: func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		axis := fixed
		if t := optional(in, 2); t != nil {
			var err error
			if axis, err = int64Scalar(t); err != nil {
				return nil, err
			}
		}
		k, err := shape.Axis(axis, len(in[0].Dims))
		if err != nil {
			return nil, err
		}
		length := int64(in[0].Dims[k])
		if t := optional(in, 1); t != nil {
			if length, err = int64Scalar(t); err != nil {
				return nil, err
			}
		}
		if length < 1 || length > maxTransform {
			return nil, fmt.Errorf("transform of length %d, want 1 to %d", length, maxTransform)
		}
		g, dims, err := complexLanes(d[0])
		if err != nil {
			return nil, err
		}
		bins, size := dims[k], in[0].Dims[k]
		inner := elements(dims[k+1:])
		dx := make([]complex128, elements(in[0].Dims[:len(in[0].Dims)-1]))
		lane := make([]complex128, length)
		for o := range elements(dims[:k]) {
			for i := range inner {
				clear(lane) // bins that onesided left out have no gradient
				for j := range bins {
					lane[j] = g[(o*bins+j)*inner+i]
				}
				y := fft(lane, !inverse)
				for j := range min(size, int(length)) {
					v := y[j]
					if inverse {
						v /= complex(float64(length), 0)
					}
					dx[(o*size+j)*inner+i] = v
				}
			}
		}
		return one(partsTensor(dx, in[0]))
	}}, nil
}

// stftGradient: the signal gets the adjoint of each frame times the window where the frame was taken; the window that times the signal.
func stftGradient(n *nodeInfo) (*gradient, error) {
	return &gradient{in: 1<<1 | 1<<2 | 1<<3 | n.whereVariable(2, 1), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		step, err := int64Scalar(in[1])
		if err != nil {
			return nil, err
		}
		batch, length := in[0].Dims[0], in[0].Dims[1]
		frames, bins := d[0].Dims[1], d[0].Dims[2]
		var window []float64
		size := 0
		if t := optional(in, 2); t != nil {
			if window, err = convertTo[float64](t); err != nil {
				return nil, err
			}
			size = len(window)
		}
		if t := optional(in, 3); t != nil {
			v, err := int64Scalar(t)
			if err != nil {
				return nil, err
			}
			size = int(v)
		}
		g, _, err := complexLanes(d[0])
		if err != nil {
			return nil, err
		}
		var x []complex128
		if c.needs(2) {
			if x, _, err = complexLanes(in[0]); err != nil {
				return nil, err
			}
		}
		dx := make([]complex128, batch*length)
		dw := make([]float64, len(window))
		lane := make([]complex128, size)
		for b := range batch {
			for f := range frames {
				if err := c.ctx.Err(); err != nil {
					return nil, err
				}
				clear(lane)
				copy(lane, g[(b*frames+f)*bins:][:bins])
				at := b*length + f*int(min(step, int64(length)))
				for i, v := range fft(lane, true) {
					if x != nil {
						dw[i] += real(v)*real(x[at+i]) + imag(v)*imag(x[at+i])
					}
					if window != nil {
						v *= complex(window[i], 0)
					}
					dx[at+i] += v
				}
			}
		}
		grads := make([]*Tensor, len(in))
		if c.needs(0) {
			if grads[0], err = partsTensor(dx, in[0]); err != nil {
				return nil, err
			}
		}
		if c.needs(2) {
			if grads[2], err = cast(newTensor(onnx.Double, in[2].Dims, dw), in[2].Type); err != nil {
				return nil, err
			}
		}
		return grads, nil
	}}, nil
}
