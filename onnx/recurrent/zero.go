package recurrent

import (
	"context"

	"github.com/trconvert/trconvert/onnx"
)

const (
	maxZero  = 1 << 20 // elements of a constant that is looked at: an initial state is small
	maxDepth = 64      // nodes between a state and where its zeros come from
)

// ZeroState says whether an initial state (SlotInitialH, SlotInitialC) is given and is zero whatever the model's inputs are, so that the node computes the same without
// it: a constant, or what exporters compute from the batch's size by ConstantOfShape, Expand and their like. False where that is not seen.
func (s *Site) ZeroState(ctx context.Context, slot int) bool {
	name := s.Node.Input(slot)
	if name == "" || slot != SlotInitialH && slot != SlotInitialC {
		return false
	}
	s.values.mu.Lock()
	defer s.values.mu.Unlock()
	return s.values.zero(ctx, s.Node.Graph, name, maxDepth)
}

// zero walks from a value to where its elements come from.
func (v *values) zero(ctx context.Context, g *onnx.Graph, name string, depth int) bool {
	if name == "" || depth == 0 || !v.step() {
		return false
	}
	if ok, _ := v.eval.Constant(g, name); ok {
		_, dims, err := v.eval.Info(ctx, g, name)
		if err != nil {
			return false
		}
		n := 1
		for _, d := range dims {
			if n *= d; n > maxZero {
				return false
			}
		}
		a, err := v.eval.Eval(ctx, g, name)
		return err == nil && allZero(a)
	}
	def, ok := v.index.Resolve(g, name)
	if !ok || def.Node == nil {
		return false
	}
	n := def.Node
	if !isDefaultDomain(n.Domain) {
		return false
	}
	switch n.OpType {
	case "ConstantOfShape":
		value := n.Attr("value")
		if value == nil {
			return true
		}
		if value.T == nil {
			return false
		}
		a, err := value.T.Array()
		return err == nil && allZero(a)
	case "Cast", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze":
		return v.zero(ctx, def.Graph, n.Input(0), depth-1)
	case "Concat":
		for _, in := range n.Inputs {
			if !v.zero(ctx, def.Graph, in, depth-1) {
				return false
			}
		}
		return len(n.Inputs) > 0
	}
	return false
}

// allZero says whether every element of a numeric array is +0 or −0.
func allZero(a *onnx.Array) bool {
	v, err := a.Float64s()
	if err != nil || len(v) > maxZero {
		return false
	}
	for _, x := range v {
		if x != 0 {
			return false
		}
	}
	return true
}
