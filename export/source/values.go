package source

import (
	"context"

	"github.com/trconvert/trconvert/onnx"
)

// Values are those of the main graph of a model for one run with fixed dims, and what of them is constant.
type Values struct{ g *graph }

// Evaluate runs a model once on the sample inputs of the options. Branches of If whose condition is constant are put in their place before; operators that no program of this
// package has are an *[UnsupportedError].
func Evaluate(ctx context.Context, m *onnx.Model, o Options) (*Values, error) {
	g, err := prepare(ctx, m, o)
	if err != nil {
		return nil, err
	}
	return &Values{g}, nil
}

// Model is the model with the branches of If in place.
func (v *Values) Model() *onnx.Model { return v.g.model }

// Nodes are the live nodes in order; Inputs the true inputs that are not fixed.
func (v *Values) Nodes() []*onnx.Node        { return v.g.nodes }
func (v *Values) Inputs() []*onnx.ValueInfo  { return v.g.inputs }
func (v *Values) Outputs() []*onnx.ValueInfo { return v.g.outputs }

// Of is a value, nil where nothing reads it.
func (v *Values) Of(name string) *onnx.Array { return v.g.values[name] }

// Constant says whether a value does not depend on the inputs, but for their dims; Folded whether the results of a node do not.
func (v *Values) Constant(name string) bool { return v.g.constant[name] }
func (v *Values) Folded(n *onnx.Node) bool  { return v.g.folded(n) }
