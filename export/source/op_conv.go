package source

import (
	"fmt"
	"slices"
)

// window is what convolutions and poolings share, for spatial axes.
type window struct {
	kernel, strides, dilations []int
	pads                       []int64 // before, then after
}

// window reads the attributes; in and out are the spatial dims.
func (n *node) window(in, out, kernel []int) (window, error) {
	rank := len(in)
	w := window{kernel: kernel}
	list := func(name string) ([]int, error) {
		v, err := n.ints(name, -1)
		if err != nil {
			return nil, err
		}
		d := make([]int, rank)
		for k := range d {
			d[k] = 1
			if v != nil {
				if len(v) != rank {
					return nil, fmt.Errorf("%s %v for %d axes", name, v, rank)
				}
				d[k] = int(v[k])
			}
		}
		return d, nil
	}
	var err error
	if w.strides, err = list("strides"); err != nil {
		return w, err
	}
	if w.dilations, err = list("dilations"); err != nil {
		return w, err
	}
	auto, err := n.string("auto_pad", "NOTSET")
	if err != nil {
		return w, err
	}
	if w.pads, err = n.ints("pads", -1); err != nil {
		return w, err
	}
	if w.pads == nil || auto != "NOTSET" && auto != "" {
		w.pads = make([]int64, 2*rank)
	}
	if len(w.pads) != 2*rank {
		return w, fmt.Errorf("pads %v for %d axes", w.pads, rank)
	}
	w.pads = slices.Clone(w.pads)
	for k := range rank {
		span := (out[k]-1)*w.strides[k] + (kernel[k]-1)*w.dilations[k] + 1
		if auto == "SAME_UPPER" || auto == "SAME_LOWER" {
			total := max(0, span-in[k])
			before := total / 2
			if auto == "SAME_LOWER" {
				before = total - before
			}
			w.pads[k], w.pads[rank+k] = int64(before), int64(total-before)
		}
		// Padding that no window reaches is left out, and what rounding up adds is put in.
		w.pads[rank+k] = int64(max(0, span-in[k]-int(w.pads[k])))
	}
	return w, nil
}

// padded gives t with its spatial axes padded by value.
func (n *node) padded(t tensor, pads []int64, fill float32) tensor {
	if !slices.ContainsFunc(pads, func(p int64) bool { return p != 0 }) {
		return t
	}
	rank := len(pads) / 2
	full := make([]int64, 2*len(t.dims))
	dims := slices.Clone(t.dims)
	for k := range rank {
		full[2+k], full[len(t.dims)+2+k] = pads[k], pads[rank+k]
		dims[2+k] += int(pads[k] + pads[rank+k])
	}
	out := tensor{temp(t.buf.Elem, size(dims)), dims}
	n.pad(out, t, full, Expr{Op: "fill", Params: []float32{fill}})
	return out
}

// kernelOf reads kernel_shape or takes the weight's dims.
func (n *node) kernelOf(dims []int) ([]int, error) {
	v, err := n.ints("kernel_shape", -1)
	if err != nil || v == nil {
		return dims, err
	}
	k := make([]int, len(v))
	for i := range k {
		k[i] = int(v[i])
	}
	return k, nil
}

// slide makes loops and strides of a window over t: output positions, then window positions.
func (w *window) slide(t tensor, first []int) (positions, inside []int) {
	s := strides(t.dims)
	for k := range w.kernel {
		positions = append(positions, s[2+k]*w.strides[k])
		inside = append(inside, s[2+k]*w.dilations[k])
	}
	return append(slices.Clone(first), positions...), inside
}

// lowerConv reduces products of the padded input and the weight, and adds the bias, for any number of spatial axes.
func lowerConv(n *node) error {
	t, err := n.floatIn(0)
	if err != nil {
		return err
	}
	if !n.has(1) || n.values[n.Input(1)] == nil {
		return lacksf("a weight that is no tensor")
	}
	wd := n.values[n.Input(1)].Dims
	groups, err := n.int("group", 1)
	if err != nil {
		return err
	}
	kernel, err := n.kernelOf(wd[2:])
	if err != nil {
		return err
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	w, err := n.window(t.dims[2:], out.dims[2:], kernel)
	if err != nil {
		return err
	}
	g := int(groups)
	filters, channels := wd[0]/max(1, g), wd[1]
	weight, err := n.rows(1, wd[0], size(wd[1:]), false, 1)
	if err != nil {
		return err
	}
	n.convolve(out, n.padded(t, w.pads, 0), weight, w, g, filters, channels)
	return n.finishConv(out, weight.Scale, 2)
}

func (n *node) convolve(out, x tensor, weight Weight, w window, g, filters, channels int) {
	// Loops: batch, group, filter, positions | channel, window.
	xs, ws := strides(x.dims), 1
	dims := []int{x.dims[0], g, filters}
	dims = append(dims, out.dims[2:]...)
	outer := len(dims)
	dims = append(append(dims, channels), w.kernel...)
	walk, inside := w.slide(x, []int{xs[0], channels * xs[1], 0})
	rx := Ref{Buf: x.buf, Strides: append(append(walk, xs[1]), inside...)}
	for _, k := range w.kernel {
		ws *= k
	}
	per := channels * ws
	rw := Ref{Buf: weight.Buf, Strides: []int{0, filters * per, per}}
	rw.Strides = append(append(append(rw.Strides, make([]int, len(w.kernel))...), ws), strides(w.kernel)...)
	n.products(out.buf, dims, outer, rx, rw)
}

// finishConv applies the scales of int8 filters and the bias, operand k.
func (n *node) finishConv(out tensor, scale *Buffer, k int) error {
	per := make([]int, len(out.dims))
	per[1] = 1
	if scale != nil {
		n.nest(out.dims, whole(out), Expr{Op: "mul"}, whole(out), Ref{Buf: scale, Strides: per})
	}
	if n.has(k) {
		b, err := n.floatIn(k)
		if err != nil {
			return err
		}
		n.nest(out.dims, whole(out), Expr{Op: "add"}, whole(out), Ref{Buf: b.buf, Strides: per})
	}
	return nil
}

// lowerConvTranspose spreads the input with zeros between its elements and convolves it with the flipped weight, which must be constant.
func lowerConvTranspose(n *node) error {
	t, err := n.floatIn(0)
	if err != nil {
		return err
	}
	a, err := n.fixed(1)
	if err != nil {
		return err
	}
	stored, err := a.Float32s()
	if err != nil {
		return err
	}
	n.ignore("output_padding", "output_shape")
	groups, err := n.int("group", 1)
	if err != nil {
		return err
	}
	kernel, err := n.kernelOf(a.Dims[2:])
	if err != nil {
		return err
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	w, err := n.transposedWindow(t.dims[2:], out.dims[2:], kernel)
	if err != nil {
		return err
	}
	g := int(groups)
	channels, filters := a.Dims[0]/g, a.Dims[1] // of one group
	area := size(kernel)
	flipped := make([]float32, len(stored))
	for group := range g {
		for c := range channels {
			for f := range filters {
				from := ((group*channels+c)*filters + f) * area
				to := ((group*filters+f)*channels + c) * area
				for i := range area {
					flipped[to+area-1-i] = stored[from+i]
				}
			}
		}
	}
	// The input with its elements strides apart, padding that is negative where the output is cut.
	dims := slices.Clone(t.dims)
	walk := []int{0, 0}
	offset := 0
	rank := len(kernel)
	for k := range rank {
		reach := (kernel[k] - 1) * w.dilations[k]
		dims[2+k] = out.dims[2+k] + reach
		walk = append(walk, w.strides[k])
		w.pads[k] = int64(reach) - w.pads[k]
	}
	x := tensor{temp(Float32, size(dims)), dims}
	xs := strides(dims)
	from, to := whole(t), Ref{Buf: x.buf, Strides: []int{xs[0], xs[1]}}
	count := slices.Clone(t.dims)
	for k := range rank {
		first := 0 // input elements before it would stand at negative places
		if w.pads[k] < 0 {
			first = int(-w.pads[k]+int64(w.strides[k])-1) / w.strides[k]
		}
		at := int(w.pads[k]) + first*w.strides[k]
		count[2+k] = max(0, min(t.dims[2+k]-first, (dims[2+k]-1-at)/w.strides[k]+1))
		if at >= dims[2+k] {
			count[2+k] = 0
		}
		from.Offset += first * from.Strides[2+k]
		offset += at * xs[2+k]
		to.Strides = append(to.Strides, walk[2+k]*xs[2+k])
	}
	to.Offset = offset
	n.nest(dims, whole(x), Expr{Op: "fill", Params: []float32{0}})
	if size(count) > 0 {
		n.nest(count, to, Expr{Op: "copy"}, from)
	}
	for k := range w.strides {
		w.strides[k] = 1
	}
	n.convolve(out, x, Weight{Buf: n.floats(flipped)}, w, g, filters, channels)
	return n.finishConv(out, nil, 2)
}

// transposedWindow resolves the pads of a transposed convolution from its output's dims.
func (n *node) transposedWindow(in, out, kernel []int) (window, error) {
	auto, err := n.string("auto_pad", "NOTSET")
	if err != nil {
		return window{}, err
	}
	shape, err := n.ints("output_shape", -1)
	if err != nil {
		return window{}, err
	}
	if auto != "NOTSET" && auto != "" || shape != nil {
		return window{}, lacksf("attribute \"auto_pad\" or \"output_shape\"")
	}
	w, err := n.window(in, in, kernel)
	if err != nil {
		return w, err
	}
	given, err := n.ints("pads", -1)
	if err != nil {
		return w, err
	}
	w.pads = make([]int64, 2*len(in))
	copy(w.pads, given)
	return w, nil
}

// pooling reads what MaxPool and AveragePool share.
func (n *node) pooling() (t, out tensor, w window, err error) {
	if t, err = n.floatIn(0); err != nil {
		return
	}
	n.ignore("ceil_mode", "storage_order")
	if n.wants(1) {
		return t, out, w, lacksf("indices")
	}
	if out, err = n.out(0); err != nil {
		return
	}
	kernel, err := n.kernelOf(nil)
	if err != nil {
		return
	}
	w, err = n.window(t.dims[2:], out.dims[2:], kernel)
	return
}

// pool reduces windows of the padded input.
func (n *node) pool(out, x tensor, w window, combine string, finish Expr) {
	xs := strides(x.dims)
	dims := append([]int{x.dims[0], x.dims[1]}, out.dims[2:]...)
	outer := len(dims)
	walk, inside := w.slide(x, []int{xs[0], xs[1]})
	n.add(newReduce(append(dims, w.kernel...), outer, Ref{Buf: out.buf, Strides: strides(dims)}, []Ref{{Buf: x.buf, Strides: append(walk, inside...)}}, Expr{Op: "copy"}, combine, finish))
}

func lowerMaxPool(n *node) error {
	t, out, w, err := n.pooling()
	if err != nil {
		return err
	}
	n.pool(out, n.padded(t, w.pads, lowest), w, "max", Expr{Op: "copy"})
	return nil
}

const lowest = -3.4028234663852886e38

// lowerAveragePool divides by the size of the window where padding counts, by the number of elements inside the input otherwise.
func lowerAveragePool(n *node) error {
	counts, err := n.int("count_include_pad", 0)
	if err != nil {
		return err
	}
	given, err := n.ints("pads", -1)
	if err != nil {
		return err
	}
	t, out, w, err := n.pooling()
	if err != nil {
		return err
	}
	n.pool(out, n.padded(t, w.pads, 0), w, "sum", Expr{Op: "copy"})
	rank := len(w.kernel)
	share := make([]float32, size(out.dims[2:]))
	for i := range share {
		rest, count := i, 1
		for k := rank - 1; k >= 0; k-- {
			at := rest % out.dims[2+k]
			rest /= out.dims[2+k]
			inside := 0
			for j := range w.kernel[k] {
				p := at*w.strides[k] + j*w.dilations[k] - int(w.pads[k])
				after := 0
				if counts != 0 && len(given) == 2*rank {
					after = int(given[rank+k])
				} else if counts != 0 {
					after = int(w.pads[rank+k])
				}
				if p >= 0 && p < t.dims[2+k] || counts != 0 && p >= -int(w.pads[k]) && p < t.dims[2+k]+after {
					inside++
				}
			}
			count *= inside
		}
		share[i] = 1 / float32(max(1, count))
	}
	dims := []int{size(out.dims[:2]), len(share)}
	y := whole(tensor{out.buf, dims})
	n.nest(dims, y, Expr{Op: "mul"}, y, Ref{Buf: n.floats(share), Strides: []int{0, 1}})
	return nil
}
