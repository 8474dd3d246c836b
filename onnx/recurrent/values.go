package recurrent

import (
	"context"
	"strconv"
	"sync"

	"github.com/trconvert/trconvert/onnx"
)

// values is the constant evaluator that all sites of a model share.
type values struct {
	mu    sync.Mutex
	model *onnx.Model
	index *onnx.Index
	eval  *onnx.Evaluator
	steps int // taken by walks through chains
	limit int // of steps
}

func newValues(m *onnx.Model) *values {
	ix := onnx.NewIndex(m)
	return &values{model: m, index: ix, eval: onnx.NewEvaluator(m, ix, 0), limit: maxSteps}
}

// Operand reads a constant input of the node: W, R, B and, where they are constant, sequence_lens, the initial states and P.
// An absent operand is nil. An operand that is computed when the model runs is an *UnsupportedError.
func (s *Site) Operand(ctx context.Context, slot int) (*onnx.Array, error) {
	name := s.Node.Input(slot)
	if name == "" {
		return nil, nil
	}
	s.values.mu.Lock()
	defer s.values.mu.Unlock()
	if ok, why := s.values.eval.Constant(s.Node.Graph, name); !ok {
		return nil, &UnsupportedError{Site: s.Node.String(), Attribute: "input " + slotNames[slot], Value: strconv.Quote(name), What: "is not constant: " + why}
	}
	return s.values.eval.Eval(ctx, s.Node.Graph, name)
}

// shape is what is known of a value before the model runs; unknown dims are -1.
type shape struct {
	elem onnx.DataType
	dims []int64 // nil where not even the rank is known
}

// static finds the shape of a constant or of a typed input of the scope. Types that the file merely claims for intermediate
// values are not trusted.
func (v *values) static(ctx context.Context, g *onnx.Graph, name string) (shape, error) {
	if ok, _ := v.eval.Constant(g, name); ok {
		elem, dims, err := v.eval.Info(ctx, g, name)
		s := shape{elem, make([]int64, len(dims))}
		for k, d := range dims {
			s.dims[k] = int64(d)
		}
		return s, err
	}
	def, ok := v.index.Resolve(g, name)
	if !ok || def.Input == nil || def.Input.Type == nil || def.Input.Type.Kind != "tensor" {
		return shape{}, nil
	}
	s := shape{elem: def.Input.Type.Elem}
	if def.Input.Type.HasShape {
		s.dims = []int64{}
		for _, d := range def.Input.Type.Shape {
			if d.Known {
				s.dims = append(s.dims, d.Value)
			} else {
				s.dims = append(s.dims, -1)
			}
		}
	}
	return s, nil
}
