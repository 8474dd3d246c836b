// Package runtime runs ONNX graphs.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

var errNotYet = errors.New("runtime: not written yet")

// Tensor is a value of the graph.
type Tensor = onnx.Array

// Override replaces one input of a node by a constant when a program is compiled: the way to run a model with another W.
type Override struct {
	Node  *onnx.Node
	Slot  int
	Value *Tensor
}

// Options of Compile.
type Options struct {
	Overrides []Override
	Threads   int // 0: GOMAXPROCS
}

// Program is a compiled graph; Run may be called from several goroutines.
type Program struct{}

// UnsupportedError lists every operator (or operator version, type, attribute) the model needs and the runtime lacks.
type UnsupportedError struct {
	Counts map[string]int    // by "domain.Op: reason"
	First  map[string]string // the first node of each, as onnx.Node.String gives it
}

func (e *UnsupportedError) Error() string {
	var s []string
	for k, n := range e.Counts {
		s = append(s, fmt.Sprintf("%s (%d, first: %s)", k, n, e.First[k]))
	}
	sort.Strings(s)
	return "runtime: unsupported: " + strings.Join(s, "; ")
}

// Compile prepares a model. Everything unsupported is reported at once as an *UnsupportedError.
func Compile(ctx context.Context, m *onnx.Model, o Options) (*Program, error) { return nil, errNotYet }

// Inputs and Outputs are the model's true interface (initializers that are also inputs left out).
func (p *Program) Inputs() []*onnx.ValueInfo  { return nil }
func (p *Program) Outputs() []*onnx.ValueInfo { return nil }

// Run computes all outputs. Feeds are checked against the declared types, ranks and known dims.
func (p *Program) Run(ctx context.Context, feeds map[string]*Tensor) (map[string]*Tensor, error) {
	return nil, errNotYet
}
