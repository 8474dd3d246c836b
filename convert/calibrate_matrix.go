package convert

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/matrices"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// statesOf is the value that holds the states which a recurrent matrix is multiplied with: Y of its node, where the node gives it and stands in
// the main graph; "" for other matrices. The states h_{t−1} of all steps are those of Y without the last, and the initial ones.
func statesOf(s *matrices.Site) string {
	if s.Role != matrices.Recurrent || s.Node.Graph != s.Node.Graph.Model.Graph {
		return ""
	}
	return s.Node.Output(0)
}

// outputs are those of the model and the values that hold states; nil where there are none of the latter.
func (c *collector) outputs(m *onnx.Model) []string {
	if len(c.states) == 0 {
		return nil
	}
	var names []string
	for _, v := range m.Graph.Outputs {
		names = append(names, v.Name)
	}
	for _, name := range sortedNames(c.states) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// takeStates adds the states of a run to the frames of recurrent matrices.
func (c *collector) takeStates(out map[string]*onnx.Array) {
	for _, name := range sortedNames(c.states) {
		if c.err != nil {
			return
		}
		c.err = c.states[name].takeStates(out[name])
	}
}

// takeStates takes Y [T, D, B, H], or [B, T, D, H] with layout 1. The last state of a direction, which no step reads, is among them: it
// is one of many. Behind the end of shorter sequences Y is zero, which adds nothing to a moment.
func (f *frames) takeStates(y *onnx.Array) error {
	if y == nil || len(y.Dims) != 4 || y.Dims[3] != f.width {
		return fmt.Errorf("matrix %q: the layer's Y does not have %d units", f.group.name(), f.width)
	}
	v, err := f.finite(y)
	if err != nil {
		return err
	}
	f.rows(v)
	return nil
}

// takeOperand takes what a matrix is multiplied with in one run of its node.
func (f *frames) takeOperand(x *onnx.Array) error {
	m := f.group.matrix
	if m.Role == matrices.Table {
		return f.takeIndices(x)
	}
	v, err := f.finite(x)
	if err != nil {
		return err
	}
	mismatch := fmt.Errorf("matrix %q: what arrives has dims %v, the matrix %d columns", m.Name, x.Dims, f.width)
	last := len(x.Dims) - 1
	if last < 0 || len(v) == 0 {
		return mismatch
	}
	switch m.Role {
	case matrices.Conv: // [N, C, …]
		if last < 2 || x.Dims[1] != f.width {
			return mismatch
		}
		f.columns(v, x.Dims[0], len(v)/(x.Dims[0]*f.width))
	case matrices.Left: // [K] or […, K, N]
		if last == 0 {
			f.rows(v)
			break
		}
		if x.Dims[last-1] != f.width {
			return mismatch
		}
		f.columns(v, len(v)/(f.width*x.Dims[last]), x.Dims[last])
	default:
		if a, err := m.Node.AttrInt("transA", 0); err != nil || m.Role == matrices.Gemm && a != 0 { // [K, M]
			if err != nil || x.Dims[0] != f.width {
				return mismatch
			}
			f.columns(v, 1, x.Dims[last])
			break
		}
		if x.Dims[last] != f.width {
			return mismatch
		}
		f.rows(v)
	}
	return nil
}

// finite gives the elements of an array, which must be finite.
func (f *frames) finite(x *onnx.Array) ([]float32, error) {
	v, err := recurrent.Floats(x)
	if err != nil {
		return nil, fmt.Errorf("matrix %q: %w", f.group.name(), err)
	}
	if i := firstNonFinite(v); i >= 0 {
		return nil, fmt.Errorf("matrix %q: %v arrives at element %d", f.group.name(), v[i], i)
	}
	return v, nil
}

// full says that further frames would not tell more.
func (f *frames) full() bool { return f.count >= enoughFrames }

// rows takes frames that lie one after another.
func (f *frames) rows(v []float32) {
	for i := 0; i+f.width <= len(v) && !f.full(); i += f.width {
		f.frame(v[i : i+f.width])
	}
}

// columns takes the frames of blocks [width, n].
func (f *frames) columns(v []float32, blocks, n int) {
	x := make([]float32, f.width)
	for b := range blocks {
		for k := range n {
			if f.full() {
				return
			}
			for i := range x {
				x[i] = v[(b*f.width+i)*n+k]
			}
			f.frame(x)
		}
	}
}

// takeIndices counts the rows of a table that are looked up: frames are unit vectors, whose moment is diagonal. A table of more rows than a moment is kept for
// is fitted to its weights alone.
func (f *frames) takeIndices(x *onnx.Array) error {
	if f.width > momentWidth {
		return nil
	}
	v, err := x.Int64s()
	if err != nil {
		return fmt.Errorf("matrix %q: %w", f.group.name(), err)
	}
	if f.moment == nil {
		f.moment = make([]float64, f.width*f.width)
	}
	for _, i := range v {
		if i < 0 {
			i += int64(f.width)
		}
		if i >= 0 && i < int64(f.width) {
			f.moment[int(i)*(f.width+1)]++
			f.count++
		}
	}
	return nil
}
