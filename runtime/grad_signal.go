package runtime

import (
	"github.com/trconvert/trconvert/onnx"
)

// Fourier transforms are linear, so the gradient is the adjoint under the inner product Re⟨a, b⟩: that of F is n times the inverse, and conversely. Of a real input
// the real part counts.

func dftGradient(n *nodeInfo) (*gradient, error) {
	inverse, args := n.bool("inverse", false), newDFTArguments(n)
	return &gradient{in: 1<<1 | 1<<2, run: func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		k, length, err := args.of(in)
		if err != nil {
			return nil, err
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
				for j := range min(size, length) {
					v := y[j]
					if inverse {
						v /= complex(float64(length), 0)
					}
					dx[(o*size+j)*inner+i] = v
				}
			}
		}
		return one(partsTensor(dx, in[0].Dims, in[0].Type))
	}}, nil
}

// stftGradient: the signal gets the adjoint of each frame times the window where the frame was taken; the window that times the signal.
func stftGradient(n *nodeInfo) (*gradient, error) {
	return &gradient{in: 1<<1 | 1<<2 | 1<<3 | n.whereVariable(2, 1), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		window, step, size, err := stftArguments(in)
		if err != nil {
			return nil, err
		}
		batch, length := in[0].Dims[0], in[0].Dims[1]
		frames, bins := d[0].Dims[1], d[0].Dims[2]
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
				at := b*length + f*step
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
			if grads[0], err = partsTensor(dx, in[0].Dims, in[0].Type); err != nil {
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
