package runtime

import (
	"fmt"
	"math"
	"math/cmplx"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildCosineWindow serves HannWindow, HammingWindow and BlackmanWindow: Σ_k (−1)^k·a_k·cos(2πki/N), N being the size, less one
// unless periodic. https://onnx.ai/onnx/operators/onnx__HannWindow.html
func buildCosineWindow(a ...float64) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 1, 1); err != nil {
			return nil, err
		}
		periodic, typ := n.bool("periodic", true), onnx.DataType(n.int("output_datatype", int64(onnx.Float)))
		return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			size, err := int64Scalar(in[0])
			if err != nil {
				return nil, err
			}
			if size < 0 || size > maxTransform {
				return nil, fmt.Errorf("size %d is outside [0, %d]", size, maxTransform)
			}
			w := make([]float64, size)
			period := float64(size)
			if !periodic {
				period--
			}
			for i := range w {
				sign := 1.0
				for k, c := range a {
					phase := 0.0
					if period > 0 {
						phase = 2 * math.Pi * float64(k*i) / period
					}
					w[i] += sign * c * math.Cos(phase)
					sign = -sign
				}
			}
			return one(cast(newTensor(onnx.Double, []int{len(w)}, w), typ))
		}), nil
	}
}

// maxTransform bounds windows and Fourier transforms, whose length the model may state apart from any data.
const maxTransform = 1 << 20

// fft computes X[k] = Σ_j x[j]·e^(∓2πijk/n) of any length, by splitting off prime factors: O(n·Σ factors). Where a prime factor
// is large, by Bluestein's convolution: O(n·log n).
func fft(x []complex128, inverse bool) []complex128 {
	n := len(x)
	if largestFactor(n) > 64 {
		return bluestein(x, inverse)
	}
	roots := make([]complex128, n)
	sign := -2 * math.Pi
	if inverse {
		sign = -sign
	}
	for k := range roots {
		roots[k] = cmplx.Rect(1, sign*float64(k)/float64(n))
	}
	out := make([]complex128, n)
	fftInto(out, x, 1, roots, 1)
	return out
}

// smallestFactor is the smallest prime factor of n, n itself below 2.
func smallestFactor(n int) int {
	for p := 2; p*p <= n; p++ {
		if n%p == 0 {
			return p
		}
	}
	return n
}

func largestFactor(n int) int {
	for p := smallestFactor(n); p < n; p = smallestFactor(n) {
		n /= p
	}
	return n
}

// bluestein writes jk as (j² + k² − (k−j)²)/2 and so turns the transform into a convolution with a chirp, done by transforms of a
// power of two.
func bluestein(x []complex128, inverse bool) []complex128 {
	n := len(x)
	m := 1
	for m < 2*n-1 {
		m *= 2
	}
	sign := -math.Pi
	if inverse {
		sign = math.Pi
	}
	chirp := make([]complex128, n)
	a, b := make([]complex128, m), make([]complex128, m)
	for k := range chirp {
		chirp[k] = cmplx.Rect(1, sign*float64(k*k%(2*n))/float64(n))
		a[k] = x[k] * chirp[k]
		b[k] = cmplx.Conj(chirp[k])
		if k > 0 {
			b[m-k] = b[k]
		}
	}
	fa, fb := fft(a, false), fft(b, false)
	for i := range fa {
		fa[i] *= fb[i] / complex(float64(m), 0)
	}
	y := fft(fa, true)[:n]
	for k := range y {
		y[k] *= chirp[k]
	}
	return y
}

// fftInto transforms x[0], x[step], … into out; roots are the unit roots of the whole length, of which every rootStep-th belongs
// here.
func fftInto(out, x []complex128, step int, roots []complex128, rootStep int) {
	n := len(out)
	if n <= 1 {
		copy(out, x[:n])
		return
	}
	p := smallestFactor(n)
	m := n / p
	parts := make([]complex128, n)
	for r := range p {
		fftInto(parts[r*m:(r+1)*m], x[r*step:], step*p, roots, rootStep*p)
	}
	for k := range n {
		var sum complex128
		for r := range p {
			sum += roots[r*k%n*rootStep] * parts[r*m+k%m]
		}
		out[k] = sum
	}
}

// complexLanes views a float tensor whose last axis is 1 (real) or 2 (real, imaginary) as complex numbers.
func complexLanes(t *Tensor) ([]complex128, []int, error) {
	if !isFloat(t.Type) {
		return nil, nil, unsupportedType(t.Type)
	}
	v, err := convertTo[float64](t)
	if err != nil {
		return nil, nil, err
	}
	last := len(t.Dims) - 1
	if last < 1 || t.Dims[last] != 1 && t.Dims[last] != 2 {
		return nil, nil, fmt.Errorf("input has shape %v, want a last axis of 1 (real) or 2 (complex)", t.Dims)
	}
	parts := t.Dims[last]
	out := make([]complex128, len(v)/parts)
	for i := range out {
		if parts == 1 {
			out[i] = complex(v[i], 0)
		} else {
			out[i] = complex(v[2*i], v[2*i+1])
		}
	}
	return out, t.Dims[:last], nil
}

// complexTensor lays complex numbers out with a last axis of 2.
func complexTensor(x []complex128, dims []int, typ onnx.DataType) (*Tensor, error) {
	return partsTensor(x, append(slices.Clone(dims), 2), typ)
}

// partsTensor lays complex numbers out with a last axis of 1 (the real parts) or 2, which dims has too.
func partsTensor(x []complex128, dims []int, typ onnx.DataType) (*Tensor, error) {
	parts := dims[len(dims)-1]
	v := make([]float64, 0, parts*len(x))
	for _, c := range x {
		if v = append(v, real(c)); parts == 2 {
			v = append(v, imag(c))
		}
	}
	return cast(newTensor(onnx.Double, dims, v), typ)
}

// buildDFT: https://onnx.ai/onnx/operators/onnx__DFT.html. The axis is an attribute below opset 20 (default 1) and an input from
// there on (default −2).
func buildDFT(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 3); err != nil {
		return nil, err
	}
	inverse, onesided := n.bool("inverse", false), n.bool("onesided", false)
	args := newDFTArguments(n)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		x, dims, err := complexLanes(in[0])
		if err != nil {
			return nil, err
		}
		k, length, err := args.of(in)
		if err != nil {
			return nil, err
		}
		return one(dft(x, dims, k, length, inverse, onesided, in[0].Type))
	}), nil
}

// dftArguments are the axis and the length of transforms, by attribute or input.
type dftArguments struct{ axis int64 }

func newDFTArguments(n *nodeInfo) dftArguments {
	if n.opset < 20 {
		return dftArguments{n.int("axis", 1)}
	}
	return dftArguments{-2}
}

func (a dftArguments) of(in []*Tensor) (k, length int, err error) {
	dims, axis := in[0].Dims, a.axis
	if t := optional(in, 2); t != nil {
		if axis, err = int64Scalar(t); err != nil {
			return 0, 0, err
		}
	}
	if k, err = shape.Axis(axis, len(dims)); err != nil {
		return 0, 0, err
	}
	if k == len(dims)-1 {
		return 0, 0, fmt.Errorf("axis %d is that of the real and imaginary parts (shape %v)", axis, dims)
	}
	n := int64(dims[k])
	if t := optional(in, 1); t != nil {
		if n, err = int64Scalar(t); err != nil {
			return 0, 0, err
		}
	}
	if n < 1 || n > maxTransform {
		return 0, 0, fmt.Errorf("transform of length %d (shape %v), want 1 to %d", n, dims, maxTransform)
	}
	return k, int(n), nil
}

func dft(x []complex128, dims []int, axis, length int, inverse, onesided bool, typ onnx.DataType) (*Tensor, error) {
	bins := length
	switch {
	case onesided && inverse:
		return nil, unsupportedf("onesided with inverse")
	case onesided:
		bins = length/2 + 1
	}
	to := slices.Clone(dims)
	to[axis] = bins
	out, err := alloc[complex128](to)
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return complexTensor(out, to, typ)
	}
	inner := shape.Strides(dims)[axis]
	lane := make([]complex128, length)
	for o := range elements(dims[:axis]) {
		for i := range inner {
			clear(lane)
			for j := range min(length, dims[axis]) {
				lane[j] = x[(o*dims[axis]+j)*inner+i]
			}
			y := fft(lane, inverse)
			for j, v := range y[:bins] {
				if inverse {
					v /= complex(float64(length), 0)
				}
				out[(o*bins+j)*inner+i] = v
			}
		}
	}
	return complexTensor(out, to, typ)
}

// buildSTFT: https://onnx.ai/onnx/operators/onnx__STFT.html. signal [batch, length, 1 or 2] gives [batch, frames, bins, 2].
func buildSTFT(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 4); err != nil {
		return nil, err
	}
	onesided := n.bool("onesided", true)
	return opFunc(func(c *call, in []*Tensor) ([]*Tensor, error) {
		x, dims, err := complexLanes(in[0])
		if err != nil {
			return nil, err
		}
		if len(dims) != 2 {
			return nil, fmt.Errorf("signal has shape %v, want [batch, length, 1 or 2]", in[0].Dims)
		}
		window, step, size, err := stftArguments(in)
		if err != nil {
			return nil, err
		}
		return one(stft(c, x, dims, window, step, size, onesided, in[0].Type))
	}), nil
}

// stftArguments are the window, nil for none, and the distance, at most that of the ends of the signal, and length of frames.
func stftArguments(in []*Tensor) (window []float64, step, size int, err error) {
	every, err := int64Scalar(in[1])
	if err != nil {
		return nil, 0, 0, err
	}
	long := int64(-1)
	if t := optional(in, 2); t != nil {
		if window, err = convertTo[float64](t); err != nil {
			return nil, 0, 0, err
		}
		long = int64(len(window))
	}
	if t := optional(in, 3); t != nil {
		if long, err = int64Scalar(t); err != nil {
			return nil, 0, 0, err
		}
	}
	signal := int64(in[0].Dims[1])
	if every < 1 || long < 1 || long > min(signal, maxTransform) || window != nil && int64(len(window)) != long {
		return nil, 0, 0, fmt.Errorf("frames of %d every %d with a window of %d do not fit signal %v", long, every, len(window), in[0].Dims)
	}
	return window, int(min(every, signal)), int(long), nil
}

func stft(c *call, x []complex128, dims []int, window []float64, step, size int, onesided bool, typ onnx.DataType) (*Tensor, error) {
	frames := (dims[1]-size)/step + 1
	bins := size
	if onesided {
		bins = size/2 + 1
	}
	to := []int{dims[0], frames, bins}
	if _, err := shape.Size(to, maxElements); err != nil {
		return nil, err
	}
	var out []complex128
	lane := make([]complex128, size)
	for b := range dims[0] {
		for f := range frames {
			if err := c.ctx.Err(); err != nil {
				return nil, err
			}
			copy(lane, x[b*dims[1]+f*step:][:size])
			for i, w := range window {
				lane[i] *= complex(w, 0)
			}
			out = append(out, fft(lane, false)[:bins]...)
		}
	}
	return complexTensor(out, to, typ)
}

// buildMelWeightMatrix: https://onnx.ai/onnx/operators/onnx__MelWeightMatrix.html
func buildMelWeightMatrix(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 5, 5); err != nil {
		return nil, err
	}
	typ := onnx.DataType(n.int("output_datatype", int64(onnx.Float)))
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		var arg [5]float64 // mel bins, DFT length, sample rate, lower and upper edge in Hz
		for k, t := range in[:5] {
			v, err := convertTo[float64](t)
			if err != nil {
				return nil, err
			}
			if len(v) != 1 {
				return nil, fmt.Errorf("input %d has shape %v, want one value", k, t.Dims)
			}
			arg[k] = v[0]
		}
		if !(arg[0] >= 1 && arg[0] <= maxTransform && arg[1] >= 1 && arg[1] <= maxTransform && arg[2] >= 1 && arg[3] >= 0 && arg[4] >= arg[3]) {
			return nil, fmt.Errorf("arguments %v (mel bins, DFT length, sample rate, lower and upper edge) are out of range", arg)
		}
		return one(melWeights(int(arg[0]), int(arg[1]), arg[2], arg[3], arg[4], typ))
	}), nil
}

// melWeights are triangles whose corners are equally spaced on the mel scale 2595·log10(1 + f/700), rounded to DFT bins.
func melWeights(bins, length int, rate, lower, upper float64, typ onnx.DataType) (*Tensor, error) {
	dims := []int{length/2 + 1, bins}
	w, err := alloc[float64](dims)
	if err != nil {
		return nil, err
	}
	mel := func(f float64) float64 { return 2595 * math.Log10(1+f/700) }
	corner := func(i int) int {
		m := mel(lower) + float64(i)*(mel(upper)-mel(lower))/float64(bins+2)
		f := 700 * (math.Pow(10, m/2595) - 1)
		return int(math.Floor(float64(length+1) * f / rate))
	}
	for b := range bins {
		left, centre, right := corner(b), corner(b+1), corner(b+2)
		rows := dims[0]
		if left == centre {
			if centre < rows {
				w[centre*bins+b] = 1
			}
		} else {
			for j := left; j <= min(centre, rows-1); j++ {
				w[j*bins+b] = float64(j-left) / float64(centre-left)
			}
		}
		if right > centre {
			for j := centre; j < min(right, rows); j++ {
				w[j*bins+b] = float64(right-j) / float64(right-centre)
			}
		}
	}
	return cast(newTensor(onnx.Double, dims, w), typ)
}
