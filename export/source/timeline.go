package source

import (
	"context"
	"errors"
	"maps"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// What a value of a model is in a stream, in [Timeline]: one that no time axis reaches, or what the model knows after the steps so far. A number from 0 is the axis along which
// a value is a sequence.
const (
	Timeless = -1
	Current  = -2
)

// Timeline says how a model goes through time: which axes of its inputs are time, and what its outputs are after each step.
type Timeline struct {
	Model           *onnx.Model    // with symbolic time axes, and branches of If whose condition is constant in their place
	Inputs, Outputs map[string]int // time axes by name; of outputs, Timeless and Current too
	Nodes           []*onnx.Node   // of the main graph, live ones in order
	whole, step     *graph
}

// Constant says whether a value does not depend on the inputs, but for their dims.
func (t *Timeline) Constant(name string) bool { return t.whole.constant[name] }

// Value is a value for one step of the sample inputs, nil where nothing reads it.
func (t *Timeline) Value(name string) *onnx.Array { return t.step.values[name] }

// Samples gives the inputs of count steps of a sample stream, which has [SampleSteps].
func (t *Timeline) Samples(first, count int) map[string]*onnx.Array {
	feeds := maps.Clone(t.whole.feeds)
	for name, axis := range t.Inputs {
		feeds[name] = Part(feeds[name], axis, first, count)
	}
	return feeds
}

// NoStreamError says why a model cannot be run step by step.
type NoStreamError struct{ Reason string }

func (e *NoStreamError) Error() string {
	return "export: the model cannot be run one time step at a time: " + e.Reason
}

// Steps finds the time axes of a model that gives, one step after the other, what it gives for a whole sequence: all that looks along time are LSTM, GRU and RNN nodes that run
// forward. Dims of o are the sizes of symbolic dims. Initial states of recurrent nodes must be constant, or with given be made of inputs that are no sequences: states that the caller hands on.
//
// Why there is none is a *[NoStreamError] that names the first node in the way; operators that this package does not know are an *[UnsupportedError].
func Steps(ctx context.Context, m *onnx.Model, o Options, given bool) (*Timeline, error) {
	g, err := prepare(ctx, m, o)
	if err != nil {
		return nil, err
	}
	l := &lowerer{ctx: ctx, program: &Program{}, options: o, given: given}
	t, err := l.timeline(g)
	var lacks *lack
	if errors.As(err, &lacks) {
		return nil, &NoStreamError{lacks.Error()}
	}
	return t, err
}

// timeline finds the time axes of a graph and runs it with one step.
func (l *lowerer) timeline(whole *graph) (*Timeline, error) {
	g, axes, labels, err := l.timed(whole)
	if err != nil {
		return nil, err
	}
	t := &Timeline{Model: g.model, Inputs: axes, Outputs: map[string]int{}, Nodes: g.nodes, whole: g}
	one := l.options
	one.Feeds = t.Samples(0, 1)
	gs, err := newGraph(l.ctx, g.model, one)
	if err != nil {
		return nil, lacksf("the model does not run with one step: %v", err)
	}
	if err := sameButTime(g, gs, labels); err != nil {
		return nil, err
	}
	for _, v := range g.outputs {
		t.Outputs[v.Name] = labels[v.Name]
	}
	t.step = gs
	return t, nil
}

// Proto is the model as generated types, external data taken in.
func (t *Timeline) Proto() (*onnxpb.ModelProto, error) { return toProto(t.Model) }
