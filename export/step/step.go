// Package step makes of a model for whole sequences one for a single time step, whose states are inputs and outputs: what a stream is run with.
//
// All states start at zero: where the model starts from something else, the step adds it to the state that comes in and takes it off the one that goes out. The states stand in
// metadata_props too, under [Key].
package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
)

// Key is the metadata_props entry of a step model that pairs its states.
const (
	Key    = "trconvert.step"
	schema = "trconvert.step/v1"
)

// State is a value that the caller keeps: zero at first, later what Output gave at the step before.
type State struct {
	Input  string `json:"input"`
	Output string `json:"output"`
}

// Options of Make.
type Options struct {
	// States pairs outputs with the inputs that take them back, for a model that is one step of a stream. Pairs that the graph shows need not be given.
	States map[string]string
}

// Model is a model of one time step.
type Model struct {
	Model  *onnx.Model // the one that was given where that is a step already
	States []State
	// Timeline relates it to the model of the whole sequence; nil where the model was a step already and is run as it is.
	Timeline *source.Timeline
}

// UnsupportedError says why a model has no step: what looks ahead in time, or an operator whose use of time is not known.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return "export: one time step: " + e.Reason }

// Make gives the step of a model. Recurrent nodes must run forward along the time of the inputs, and nothing else may look along it; everything that does not is an
// [UnsupportedError] that names it. A model whose states are inputs and outputs already, on every recurrent node, is a step whatever else it does: it keeps its bytes but for the metadata.
func Make(ctx context.Context, m *onnx.Model, o Options) (*Model, error) {
	found, err := findStates(m, o)
	if err != nil {
		return nil, err
	}
	switch {
	case len(found.nodes) > 0:
	case len(o.States) > 0:
		return found.asIs(ctx, m)
	default:
		return nil, &UnsupportedError{"the model has no LSTM, GRU or RNN node (a step of other nodes is known by its states: --state OUT=IN)"}
	}
	t, err := timeline(ctx, m)
	var no *source.NoStreamError
	var lacks *source.UnsupportedError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case found.complete() || len(o.States) > 0:
		return found.asIs(ctx, m)
	case errors.As(err, &no):
		return nil, &UnsupportedError{no.Reason}
	case !errors.As(err, &lacks):
		return nil, err
	default:
		return nil, &UnsupportedError{"what these do along time is not known here: " + strings.TrimPrefix(lacks.Error(), "export: source code: unsupported: ")}
	}
	if found.complete() && oneStep(m, t) {
		return found.asIs(ctx, m)
	}
	return rewrite(m, t, found)
}

// States pairs the states of a model that is one step already, by output, as the graph shows them; nil where it is none.
func States(m *onnx.Model) map[string]string {
	f, err := findStates(m, Options{})
	if err != nil || !f.complete() {
		return nil
	}
	pairs := map[string]string{}
	for _, s := range f.states {
		pairs[s.Output] = s.Input
	}
	return pairs
}

// sampleDim is the size of named dims in the sample run, which tells them from the ones that are 1.
const sampleDim = 2

// timeline follows time, with symbolic dims apart from 1 where the model runs like that.
func timeline(ctx context.Context, m *onnx.Model) (*source.Timeline, error) {
	dims := map[string]int{}
	for _, v := range m.Graph.Inputs {
		if v.Type == nil {
			continue
		}
		for _, d := range v.Type.Shape {
			if d.Param != "" {
				dims[d.Param] = sampleDim
			}
		}
	}
	t, err := source.Steps(ctx, m, source.Options{Dims: dims}, true)
	if err == nil || len(dims) == 0 || ctx.Err() != nil {
		return t, err
	}
	if t, err := source.Steps(ctx, m, source.Options{}, true); err == nil {
		return t, nil
	}
	return nil, err
}

// oneStep says whether the model's inputs have one step already.
func oneStep(m *onnx.Model, t *source.Timeline) bool {
	for _, v := range m.Graph.Inputs {
		if axis, ok := t.Inputs[v.Name]; ok {
			if d := v.Type.Shape[axis]; !d.Known || d.Value != 1 {
				return false
			}
		}
	}
	return true
}

// asIs gives the model with the metadata.
func (f *found) asIs(ctx context.Context, m *onnx.Model) (*Model, error) {
	p := onnx.NewPatch(m)
	text, err := record(f.states)
	if err != nil {
		return nil, err
	}
	p.SetMetadata(Key, text)
	out, err := p.Apply(ctx)
	if err != nil {
		return nil, err
	}
	return &Model{Model: out, States: f.states}, nil
}

// record is the metadata entry.
func record(states []State) (string, error) {
	text, err := json.Marshal(struct {
		Schema string  `json:"schema"`
		States []State `json:"states"`
	}{schema, states})
	if err != nil {
		return "", fmt.Errorf("export: one time step: %w", err)
	}
	return string(text), nil
}
