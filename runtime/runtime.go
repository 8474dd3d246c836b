// Package runtime runs ONNX graphs.
//
// [Compile] resolves every name of every scope to a slot, builds one operator per node and reports all that it lacks at once.
// [Program.Run] walks the nodes in file order, folds what depends on constants alone on its first use, and drops every value
// after its last reader.
//
// [CompileTraining] prepares a model whose stored tensors are variables: [Training.Forward] keeps what the gradients need, and [Pass.Backward] goes back along it.
package runtime

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/trconvert/trconvert/onnx"
)

// Tensor is a value of the graph.
type Tensor = onnx.Array

// Override replaces one input of a node by a constant when a program is compiled: the way to run a model with another W. Its elements must
// not change afterwards.
// Nodes that only fed the replaced input do not run and need not be supported.
type Override struct {
	Node  *onnx.Node
	Slot  int
	Value *Tensor
}

// Observed names an input slot of a node whose values [Program.RunWith] shows to its observer.
type Observed struct {
	Node *onnx.Node
	Slot int
}

// Options of Compile.
type Options struct {
	Overrides []Override
	Observe   []Observed
	// Outputs names the values of the main graph to compute in place of the model's outputs; nil: those. Inner values may be among them.
	Outputs []string
	// Variables names inputs of the model that are variables besides the parameters, for [CompileTraining] only: states of streams, whose gradients go on to
	// the step before. See [Pass.InputGradient].
	Variables []string
	// Threads limits the goroutines of the matrix kernels; 0 leaves the limit, at first GOMAXPROCS. The limit holds for the whole
	// process. Results do not depend on it.
	Threads int
}

// Program is a compiled graph; Run may be called from several goroutines.
type Program struct {
	model   *onnx.Model
	main    *scope
	inputs  []*onnx.ValueInfo
	outputs []*onnx.ValueInfo
	observe map[Observed]bool
	fold    sync.Mutex // held while constants are computed
}

// UnsupportedError lists every operator (or operator version, type, attribute) the model needs and the runtime lacks.
type UnsupportedError struct {
	Counts map[string]int    // by "domain.Op: reason"; the default domain is left out
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

func (e *UnsupportedError) add(key, node string) {
	if e.Counts == nil {
		e.Counts, e.First = map[string]int{}, map[string]string{}
	}
	if e.Counts[key]++; e.Counts[key] == 1 {
		e.First[key] = node
	}
}

// Inputs and Outputs are the model's true interface (initializers that are also inputs left out).
func (p *Program) Inputs() []*onnx.ValueInfo  { return p.inputs }
func (p *Program) Outputs() []*onnx.ValueInfo { return p.outputs }

// Run computes all outputs. Feeds are checked against the declared types, ranks and known dims.
//
// Values are immutable: results may share memory with feeds, with constants of the program and with each other.
// A run that meets an operator's unsupported type returns an *UnsupportedError; any other error names the node.
func (p *Program) Run(ctx context.Context, feeds map[string]*Tensor) (map[string]*Tensor, error) {
	return p.RunWith(ctx, feeds, nil)
}

// RunWith is Run with an observer, which is called in node order with each value that arrives at the slots of Options.Observe
// (several times where a node runs in a Loop, never where its branch is not taken).
func (p *Program) RunWith(ctx context.Context, feeds map[string]*Tensor, observe func(o Observed, t *Tensor)) (map[string]*Tensor, error) {
	out, err := p.values(ctx, feeds, observe)
	if err != nil {
		return nil, err
	}
	return p.tensors(out)
}

// values computes the outputs in order.
func (p *Program) values(ctx context.Context, feeds map[string]*Tensor, observe func(Observed, *Tensor)) ([]*value, error) {
	in, err := p.arguments(feeds)
	if err != nil {
		return nil, err
	}
	r := &runner{ctx: ctx, program: p, observe: observe}
	_, results, err := r.graph(p.main, nil, in, nil)
	return results, err
}

// tensors names the outputs.
func (p *Program) tensors(out []*value) (map[string]*Tensor, error) {
	result := make(map[string]*Tensor, len(out))
	for k, v := range p.outputs {
		if out[k] == nil || out[k].kind != kindTensor {
			return nil, fmt.Errorf("runtime: output %q: is a sequence or an empty optional, only tensors can be returned", v.Name)
		}
		result[v.Name] = out[k].tensor
	}
	return result, nil
}

// arguments checks the feeds and puts them in the order of the inputs.
func (p *Program) arguments(feeds map[string]*Tensor) ([]*value, error) {
	in := make([]*value, len(p.inputs))
	for k, v := range p.inputs {
		t, ok := feeds[v.Name]
		if !ok || t == nil {
			return nil, fmt.Errorf("runtime: input %q: no value fed (%s)", v.Name, p.interfaceHint())
		}
		if err := checkFeed(v, t); err != nil {
			return nil, err
		}
		in[k] = &value{tensor: t}
	}
	if err := p.checkNames(feeds); err != nil {
		return nil, err
	}
	return in, nil
}

// checkNames reports feeds that the model does not ask for, the alphabetically first one.
func (p *Program) checkNames(feeds map[string]*Tensor) error {
	if len(feeds) == len(p.inputs) { // all of which have a feed
		return nil
	}
	known := map[string]bool{}
	for _, v := range p.inputs {
		known[v.Name] = true
	}
	var extra []string
	for name := range feeds {
		if !known[name] {
			extra = append(extra, name)
		}
	}
	if extra == nil {
		return nil
	}
	sort.Strings(extra)
	for _, v := range p.model.Graph.Inputs {
		if v.Name == extra[0] {
			return fmt.Errorf("runtime: input %q: has an initializer, which is compiled as a constant and cannot be fed (use Options.Overrides)", extra[0])
		}
	}
	return fmt.Errorf("runtime: input %q: not an input of the model (%s)", extra[0], p.interfaceHint())
}

func (p *Program) interfaceHint() string {
	if len(p.inputs) == 0 {
		return "it has no inputs"
	}
	var names []string
	for _, v := range p.inputs {
		names = append(names, fmt.Sprintf("%q", v.Name))
	}
	return "its inputs are " + strings.Join(names, ", ")
}
