package finetune

import (
	"fmt"

	"github.com/trconvert/trconvert/runtime"
)

// rows are the vectors that a value consists of, sample by sample: its classes at each place (step, pixel), or its elements, which are vectors of one.
type rows struct {
	name    string
	data    floats
	tensor  *runtime.Tensor
	per     int // vectors of a sample
	steps   int // extent of the first axis besides batch and class axis, 1 where there is none
	classes int
	stride  int   // between the classes of a vector
	offsets []int // of the vectors
}

// rowsOf cuts a value along its class axis; Head.Elements is no axis.
func rowsOf(name string, t *runtime.Tensor, samples, batchAxis int, h Head) (*rows, error) {
	fail := func(format string, args ...any) (*rows, error) {
		return nil, fmt.Errorf("finetune: value %q: "+format, append([]any{name}, args...)...)
	}
	if t == nil {
		return fail("is not computed")
	}
	dims := t.Dims
	if h.flat { // softmax before opset 13: all axes from the axis on are one
		axis := max(h.axis, 0)
		if axis > len(dims) {
			return fail("dims %v have no axis %d", dims, h.axis)
		}
		n := 1
		for _, d := range dims[axis:] {
			n *= d
		}
		dims = append(append([]int{}, dims[:axis]...), n)
	}
	r := &rows{name: name, tensor: t, per: 1, steps: 1, classes: 1, stride: 1}
	var ok bool
	if r.data, ok = floatsOf(t); !ok {
		return fail("is %v, want float or double", t.Type)
	}
	class := -1
	if !h.elements {
		class = h.axis
		if class < 0 {
			class += len(dims)
		}
		if class < 0 || class >= len(dims) {
			return fail("dims %v have no class axis %d", dims, h.axis)
		}
		if class == batchAxis && samples > 1 {
			return fail("axis %d of dims %v is that of classes and of samples", class, dims)
		}
		r.classes = dims[class]
	}
	if class == batchAxis {
		batchAxis = -1
	}
	switch {
	case batchAxis >= len(dims) || batchAxis >= 0 && dims[batchAxis] != samples:
		return fail("dims %v have not %d samples on axis %d", dims, samples, batchAxis)
	case batchAxis < 0 && samples != 1:
		return fail("dims %v have no axis of samples, %d are run at once", dims, samples)
	}
	strides := make([]int, len(dims))
	size := 1
	for k := len(dims) - 1; k >= 0; k-- {
		strides[k] = size
		size *= dims[k]
	}
	if class >= 0 {
		r.stride = strides[class]
	}
	r.offsets = []int{0}
	expand := func(axis int) {
		next := make([]int, 0, len(r.offsets)*dims[axis])
		for _, o := range r.offsets {
			for i := range dims[axis] {
				next = append(next, o+i*strides[axis])
			}
		}
		r.offsets = next
	}
	if batchAxis >= 0 {
		expand(batchAxis)
	}
	first := true
	for k, d := range dims {
		if k == class || k == batchAxis {
			continue
		}
		if first {
			r.steps, first = d, false
		}
		r.per *= d
		expand(k)
	}
	if len(r.offsets) == 0 || r.classes == 0 {
		return fail("dims %v hold nothing", dims)
	}
	return r, nil
}

// vector copies vector i.
func (r *rows) vector(i int, to []float64) {
	at := r.offsets[i]
	for k := range to {
		to[k] = r.data.at(at + k*r.stride)
	}
}

// weight is that of vector i: its sample's, and 0 behind the sample's length.
func (r *rows) weight(run *Run, i int) float64 {
	b := i / r.per
	w := run.Weights[b]
	if w != 0 && run.Lengths != nil && r.steps > 1 && i%r.per/(r.per/r.steps) >= run.Lengths[b] {
		return 0
	}
	return w
}

// add adds a vector's gradient.
func (r *rows) add(g floats, i int, v []float64) {
	at := r.offsets[i]
	for k, x := range v {
		g.add(at+k*r.stride, x)
	}
}

// student and teacher are the rows of a head's value in this run.
func (r *Run) student(h Head) (*rows, error) {
	return rowsOf(h.Value, r.Outputs[h.Value], len(r.Weights), r.axes[h.Value], h)
}

func (r *Run) teacher(h Head) (*rows, error) {
	rs, err := rowsOf(h.Value, r.Teacher[h.Value], len(r.Weights), r.teacherAxes[h.Value], h)
	if err != nil {
		return nil, fmt.Errorf("finetune: teacher: %w", err)
	}
	return rs, nil
}

// gradient is where the gradient of these rows goes; present says whether one is wanted.
func (r *rows) gradient(grads map[string]*runtime.Tensor) (g floats, present bool, err error) {
	if grads == nil {
		return floats{}, false, nil
	}
	t, err := AddGradient(grads, r.name, r.tensor)
	if err != nil {
		return floats{}, false, err
	}
	g, _ = floatsOf(t)
	return g, true, nil
}
