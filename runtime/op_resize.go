package runtime

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// resize interpolates a tensor along its axes, one after the other.
type resize struct {
	mode       string // nearest, linear or cubic
	coordinate string
	nearest    string // which neighbour nearest takes; "simple" is that of simpleResize
	cubic      float64
	exclude    bool // weights outside the tensor are dropped and the others scaled up
	antialias  bool
	outside    float64
	policy     string
	axes       []int64
	only       bool      // scales are the only input besides the tensor
	fixed      []float32 // scales by attribute, nil where they are an input
}

// buildResize: https://onnx.ai/onnx/operators/onnx__Resize.html
func buildResize(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 4); err != nil {
		return nil, err
	}
	return resizeWith(newResize(n))
}

// resizeWith is the operator once the attributes are read.
func resizeWith(r resize, err error) (operator, error) {
	if err != nil {
		return nil, err
	}
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		scales, sizes, roi := r.arguments(in)
		return one(r.run(in[0], scales, sizes, roi))
	}), nil
}

// simpleResize is what opset 10 and Upsample did.
func simpleResize(n *nodeInfo) resize {
	return resize{mode: n.string("mode", "nearest"), coordinate: "asymmetric", nearest: "simple", policy: "stretch", only: true}
}

func newResize(n *nodeInfo) (resize, error) {
	r := simpleResize(n)
	if n.opset >= 11 {
		r.only = false
		r.coordinate = n.string("coordinate_transformation_mode", "half_pixel")
		r.nearest = n.string("nearest_mode", "round_prefer_floor")
		r.cubic = float64(n.float("cubic_coeff_a", -0.75))
		r.exclude = n.bool("exclude_outside", false)
		r.outside = float64(n.float("extrapolation_value", 0))
	}
	if n.opset >= 18 {
		r.antialias = n.bool("antialias", false)
		r.axes = n.ints("axes", nil)
		r.policy = n.string("keep_aspect_ratio_policy", "stretch")
	}
	return r, r.check()
}

// arguments are the inputs of Resize and Upsample besides the tensor.
func (r resize) arguments(in []*Tensor) (scales, sizes, roi *Tensor) {
	switch {
	case r.fixed != nil:
		return newTensor(onnx.Float, []int{len(r.fixed)}, r.fixed), nil, nil
	case r.only:
		return optional(in, 1), nil, nil
	}
	return optional(in, 2), optional(in, 3), optional(in, 1)
}

// buildUpsample: https://onnx.ai/onnx/operators/onnx__Upsample.html
func buildUpsample(n *nodeInfo) (operator, error) {
	required := 1
	if n.opset >= 9 {
		required = 2
	}
	if err := requireInputs(n, required, required); err != nil {
		return nil, err
	}
	return resizeWith(newUpsample(n))
}

func newUpsample(n *nodeInfo) (resize, error) {
	r := simpleResize(n)
	if n.opset < 9 {
		r.fixed = n.floats("scales", []float32{})
	}
	return r, r.check()
}

func (r resize) check() error {
	switch r.mode {
	case "nearest", "linear", "cubic", "bilinear":
	default:
		return unsupportedf("mode = %q", r.mode)
	}
	switch r.coordinate {
	case "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn":
	default:
		return unsupportedf("coordinate_transformation_mode = %q", r.coordinate)
	}
	switch r.nearest {
	case "round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple":
	default:
		return unsupportedf("nearest_mode = %q", r.nearest)
	}
	switch r.policy {
	case "stretch", "not_larger", "not_smaller":
	default:
		return unsupportedf("keep_aspect_ratio_policy = %q", r.policy)
	}
	return nil
}

// resizeAxis is the resampling of one axis.
type resizeAxis struct {
	in, out  int
	scale    float64
	from, to float64 // region of interest, in units of the axis
}

func (r resize) run(t, scales, sizes, roi *Tensor) (*Tensor, error) {
	axes, err := r.plan(t.Dims, scales, sizes, roi)
	if err != nil {
		return nil, err
	}
	dims := make([]int, len(axes))
	for k, a := range axes {
		dims[k] = a.out
	}
	if _, err := shape.Size(dims, maxElements); err != nil {
		return nil, err
	}
	if r.picks() {
		return r.pickNearest(t, axes)
	}
	if !isFloat(t.Type) && t.Type != onnx.Uint8 && t.Type != onnx.Int8 && t.Type != onnx.Int32 {
		return nil, unsupportedType(t.Type)
	}
	x, err := convertTo[float64](t)
	if err != nil {
		return nil, err
	}
	shapeNow := slices.Clone(t.Dims)
	gone := make([][]bool, len(axes)) // output positions outside the region of interest
	for k, a := range axes {
		if r.still(a) {
			continue
		}
		if x, gone[k], err = r.along(x, shapeNow, k, a); err != nil {
			return nil, err
		}
		shapeNow[k] = a.out
	}
	r.extrapolate(x, dims, gone)
	if t.Type.IsInteger() {
		lo, hi, _ := quantRange(t.Type)
		for i, v := range x {
			x[i] = min(max(math.RoundToEven(v), lo), hi)
		}
	}
	return cast(newTensor(onnx.Double, dims, x), t.Type)
}

// plan resolves scales or sizes, axes and the region of interest.
func (r resize) plan(dims []int, scales, sizes, roi *Tensor) ([]resizeAxis, error) {
	plan := make([]resizeAxis, len(dims))
	for k, d := range dims {
		plan[k] = resizeAxis{in: d, out: d, scale: 1, to: 1}
	}
	axes := allAxes(len(dims))
	if r.axes != nil {
		var err error
		if axes, err = shape.Axes(r.axes, len(dims)); err != nil {
			return nil, err
		}
	}
	values := func(t *Tensor, want int) ([]float64, error) {
		if t == nil || elements(t.Dims) == 0 {
			return nil, nil
		}
		v, err := convertTo[float64](t)
		if err == nil && len(v) != want {
			err = fmt.Errorf("%d values in %v for %d axes of shape %v", len(v), t.Dims, len(axes), dims)
		}
		return v, err
	}
	byScale, err := values(scales, len(axes))
	if err != nil {
		return nil, err
	}
	bySize, err := values(sizes, len(axes))
	if err != nil {
		return nil, err
	}
	if (byScale == nil) == (bySize == nil) && len(axes) > 0 {
		return nil, errors.New("want scales or sizes, and only one of them")
	}
	region, err := values(roi, 2*len(axes))
	if err != nil {
		return nil, err
	}
	common := math.NaN() // the scale that keeps the aspect ratio
	for i, k := range axes {
		if bySize != nil && r.policy != "stretch" {
			s := bySize[i] / float64(dims[k])
			if i == 0 || r.policy == "not_larger" && s < common || r.policy == "not_smaller" && s > common {
				common = s
			}
		}
	}
	for i, k := range axes {
		a := &plan[k]
		size := 0.0
		switch {
		case byScale != nil:
			a.scale = byScale[i]
			// The scale is stored in float32; 0.6 of 5 is 3 and not 2.999….
			size = math.Floor(float64(float32(a.scale) * float32(a.in)))
		case r.policy != "stretch":
			a.scale = common
			size = math.Floor(common*float64(a.in) + 0.5)
		default:
			size = bySize[i]
			a.scale = size / float64(a.in)
		}
		if !(size >= 0 && size <= maxElements) || !(a.scale > 0) && size > 0 || a.in == 0 && size > 0 {
			return nil, fmt.Errorf("axis %d of shape %v is resized by %v to %v", k, dims, a.scale, size)
		}
		a.out = int(size)
		if region != nil {
			a.from, a.to = region[i], region[len(axes)+i]
		}
	}
	return plan, nil
}

// source is the position in the input, in elements, of output position o. It is computed in float32, as the scales are stored: in
// float64, 1.5/0.6 would fall just short of 2.5, and "nearest" take the other neighbour. The length of the result is its true,
// rounded one, as the specification defines it and ONNX Runtime has it (the node test
// resize_downsample_scales_linear_align_corners uses the unrounded scale·length).
func (r resize) source(a resizeAxis, o int) float64 {
	x, in, out, scale := float32(o), float32(a.in), float32(a.out), float32(a.scale)
	half := (x+0.5)/scale - 0.5
	switch r.coordinate {
	case "align_corners":
		if a.out == 1 {
			return 0
		}
		return float64(x * (in - 1) / (out - 1))
	case "asymmetric":
		return float64(x / scale)
	case "tf_half_pixel_for_nn":
		return float64((x + 0.5) / scale)
	case "tf_crop_and_resize":
		from, to := float32(a.from), float32(a.to)
		if a.out == 1 {
			return float64(0.5 * (from + to) * (in - 1))
		}
		return float64(from*(in-1) + x*(to-from)*(in-1)/(out-1))
	case "pytorch_half_pixel":
		if a.out == 1 {
			return 0
		}
	case "half_pixel_symmetric":
		return float64(in/2*(1-out/(scale*in)) + half)
	}
	return float64(half)
}

// pickNearest takes the nearest element along every axis; elements of any type move unchanged.
func (r resize) pickNearest(t *Tensor, axes []resizeAxis) (*Tensor, error) {
	x, err := shape.Of(t.Data)
	if err != nil {
		return nil, err
	}
	dims := slices.Clone(t.Dims)
	for k, a := range axes {
		if a.in == a.out && a.scale == 1 {
			continue
		}
		from := make([]int64, a.out)
		for o := range from {
			from[o] = int64(min(max(r.round(r.source(a, o), a.scale), 0), float64(a.in-1)))
		}
		if x, dims, err = x.Gather(dims, from, []int{len(from)}, int64(k), maxElements); err != nil {
			return nil, err
		}
	}
	return newTensor(t.Type, dims, x.Data()), nil
}

func (r resize) round(x, scale float64) float64 {
	switch r.nearest {
	case "floor":
		return math.Floor(x)
	case "ceil":
		return math.Ceil(x)
	case "round_prefer_ceil":
		return math.Floor(x + 0.5)
	case "simple":
		if scale < 1 {
			return math.Ceil(x)
		}
		return math.Floor(x)
	}
	return math.Ceil(x - 0.5)
}

// weights gives the weights of the neighbours of a point: the first belongs to the element start after the one at or before the
// point, which lies ratio before it.
func (r resize) weights(ratio, scale float64) (start int, w []float64) {
	stretch := 1.0
	if r.antialias {
		stretch = min(scale, 1)
	}
	switch r.mode {
	case "nearest":
		n := int(r.round(ratio, scale))
		return n, []float64{1}
	case "cubic":
		start = int(math.Floor(-2/stretch) + 1)
	default:
		start = int(math.Floor(-1/stretch) + 1)
	}
	sum := 0.0
	w = make([]float64, 2-2*start)
	for i := range w {
		d := math.Abs(float64(start+i)-ratio) * stretch
		if r.mode == "cubic" {
			w[i] = r.cubicWeight(d)
		} else {
			w[i] = max(1-d, 0)
		}
		sum += w[i]
	}
	if r.antialias {
		for i := range w {
			w[i] /= sum
		}
	}
	return start, w
}

// cubicWeight is Keys' convolution kernel (IEEE Trans. ASSP 29, 1981, eq. 15 generalised to any a).
func (r resize) cubicWeight(d float64) float64 {
	a := r.cubic
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}

// maxTaps bounds the weights of one output position: a tiny scale with antialiasing asks for as many as the input has elements.
const maxTaps = 1 << 20

// along resamples one axis. gone tells the output positions outside the region of interest, nil where there are none.
func (r resize) along(x []float64, dims []int, axis int, a resizeAxis) (y []float64, gone []bool, err error) {
	to := slices.Clone(dims)
	to[axis] = a.out
	if y, err = alloc[float64](to); err != nil {
		return nil, nil, err
	}
	inner, outer := shape.Strides(to)[axis], elements(dims[:axis])
	gone, err = r.taps(a, axis, func(o, from int, weight float64) {
		for k := range outer {
			src := x[(k*a.in+from)*inner:][:inner]
			dst := y[(k*a.out+o)*inner:][:inner]
			for j, v := range src {
				dst[j] += weight * v
			}
		}
	})
	return y, gone, err
}

// taps visits the input elements that each output position of an axis reads, and their weights.
func (r resize) taps(a resizeAxis, axis int, visit func(o, from int, weight float64)) (gone []bool, err error) {
	if r.antialias && a.scale < 4.0/maxTaps {
		return nil, fmt.Errorf("scale %g of axis %d is too small to antialias", a.scale, axis)
	}
	for o := range a.out {
		p := r.source(a, o)
		if r.coordinate == "tf_crop_and_resize" && (p < 0 || p > float64(a.in-1)) {
			if gone == nil {
				gone = make([]bool, a.out)
			}
			gone[o] = true
			continue
		}
		base := math.Floor(p)
		start, w := r.weights(p-base, a.scale)
		first := int(base) + start
		if r.exclude {
			excludeOutside(w, first, a.in)
		}
		for i, weight := range w {
			if weight != 0 {
				visit(o, min(max(first+i, 0), a.in-1), weight)
			}
		}
	}
	return gone, nil
}

// still says whether an axis is left as it is.
func (r resize) still(a resizeAxis) bool {
	return a.in == a.out && a.scale == 1 && (r.coordinate != "tf_crop_and_resize" || a.from == 0 && a.to == 1)
}

// picks says whether elements move unchanged.
func (r resize) picks() bool { return r.mode == "nearest" && r.coordinate != "tf_crop_and_resize" }

func excludeOutside(w []float64, first, size int) {
	sum := 0.0
	for i := range w {
		if first+i < 0 || first+i >= size {
			w[i] = 0
		}
		sum += w[i]
	}
	for i := range w {
		w[i] /= sum
	}
}

// extrapolate writes extrapolation_value where any axis is outside the region of interest.
func (r resize) extrapolate(x []float64, dims []int, gone [][]bool) {
	for k, list := range gone {
		if list == nil {
			continue
		}
		inner := shape.Strides(dims)[k]
		for i := range x {
			if list[i/inner%dims[k]] {
				x[i] = r.outside
			}
		}
	}
}
