package runtime

import (
	"context"
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// Parameter is a stored tensor that a [Training] differentiates with respect to.
type Parameter struct {
	Tensor *onnx.Tensor
	// Value is what passes use in place of the stored elements, at first a copy of them: float64 for a tensor of that type, else float32. Of a 16-bit tensor each pass reads Value rounded
	// to its type, so that steps smaller than that type can tell still add up (Micikevicius et al., ICLR 2018, §3.1). Its elements, not its dims, may be changed between the passes,
	// not during one.
	Value *Tensor
	// Grad is the sum of the gradients of all Backward calls since ZeroGrad, with type and dims of Value.
	Grad *Tensor
}

// read is what a scope reads.
func (p *Parameter) read() *Tensor {
	if isHalf(p.Tensor.Type) {
		return narrowHalf(p.Value, p.Tensor.Type)
	}
	return p.Value
}

// accumulate adds a gradient.
func (p *Parameter) accumulate(g *Tensor) error {
	if err := addTo(p.Grad, g); err != nil {
		return fmt.Errorf("runtime: parameter %q: %w", p.Tensor.Name, err)
	}
	return nil
}

// Training is a program some of whose stored tensors are variables: forward passes leave a trace that gradients go back along. Nodes that no parameter reaches
// leave none. Passes must not run at the same time.
type Training struct {
	program    *Program
	parameters []*Parameter
	arena      arena
	holding    bool
	held       *held // computed by the first pass while holding
}

// CompileTraining prepares a model like [Compile], with parameters (initializers, or values of Constant nodes, of any scope of this model; float32, float64, float16 or bfloat16)
// as variables. What depends on them is never folded, so cores are merged anew in every pass (but see [Training.Hold]). All operators and attributes
// without a gradient that stand between a parameter and an output of o.Outputs are reported at once as an *UnsupportedError, together with what cannot run at all.
func CompileTraining(ctx context.Context, m *onnx.Model, parameters []*onnx.Tensor, o Options) (*Training, error) {
	t := &Training{}
	variables := map[*onnx.Tensor]*Parameter{}
	for _, tensor := range parameters {
		if variables[tensor] != nil {
			return nil, fmt.Errorf("runtime: parameter %q: given twice", tensor.Name)
		}
		stored, err := tensor.Array()
		if err != nil {
			return nil, fmt.Errorf("runtime: parameter %q: %w", tensor.Name, err)
		}
		if isHalf(stored.Type) {
			stored = widenHalf(stored)
		}
		p := &Parameter{Tensor: tensor}
		if p.Grad, err = zeros(stored.Type, stored.Dims); err != nil {
			return nil, fmt.Errorf("runtime: parameter %q: %w", tensor.Name, err)
		}
		if p.Value, err = zeros(stored.Type, stored.Dims); err != nil {
			return nil, fmt.Errorf("runtime: parameter %q: %w", tensor.Name, err)
		}
		if err := addTo(p.Value, stored); err != nil {
			return nil, fmt.Errorf("runtime: parameter %q: is %v, want a floating type", tensor.Name, stored.Type)
		}
		variables[tensor] = p
		t.parameters = append(t.parameters, p)
	}
	program, err := compile(ctx, m, o, variables)
	if err != nil {
		return nil, err
	}
	t.program = program
	return t, nil
}

// Program is the program that passes run.
func (t *Training) Program() *Program { return t.program }

// Parameters are the variables in the order they were given.
func (t *Training) Parameters() []*Parameter { return t.parameters }

// ZeroGrad forgets the gradients summed so far, those of shared values included.
func (t *Training) ZeroGrad() {
	if t.held != nil {
		t.held.forget()
	}
	for _, p := range t.parameters {
		switch g := p.Grad.Data.(type) {
		case []float32:
			inBlocks(len(g), func(lo, hi int) { clear(g[lo:hi]) })
		case []float64:
			clear(g)
		}
	}
}

// PassOptions vary one pass.
type PassOptions struct {
	// Dropout, if its rates are not zero, drops features at random, as training wants and nothing else does.
	Dropout Dropout
}

// Dropout is inverted dropout in the recurrent nodes of the trained part (Pan et al., AAAI 2019, §4: 0.25 on both): every element is zero with the given probability, and
// divided by one minus it otherwise. A mask is drawn for each batch row and feature and holds for all time steps.
type Dropout struct {
	Projection float64 // of X·Wᵀ, before the bias is added
	Hidden     float64 // of H as the next node reads it (Y and Y_h), not as the recurrence does
	Seed       uint64  // of the masks, together with the node
}

// Pass is one forward run with its trace.
type Pass struct {
	// Outputs are as Run gives them.
	Outputs map[string]*Tensor

	training *Training
	frame    *frame
	tape     *tape // nil once the pass has gone back
	kept     int64
	peak     int64
}

// Forward runs the model on feeds, which are checked as in [Program.Run], and keeps what Backward needs: of each node that a parameter reaches, those operands and results
// whose elements its gradient reads, and what recurrent nodes save of their steps. Every other value is dropped after its last reader, as in a run without gradients. The
// memory is given back by Backward, node by node, or with the Pass; up to 64 MiB of large arrays stay with the Training for the next pass.
func (t *Training) Forward(ctx context.Context, feeds map[string]*Tensor, o PassOptions) (*Pass, error) {
	in, err := t.program.arguments(feeds)
	if err != nil {
		return nil, err
	}
	r := &runner{ctx: ctx, program: t.program, tape: &tape{loan: &loan{arena: &t.arena}}, pass: &o}
	for _, v := range in {
		r.tape.ledger.exempt(v.tensor)
	}
	for _, p := range t.parameters {
		r.tape.ledger.exempt(p.Value)
	}
	if err := t.share(r); err != nil {
		return nil, err
	}
	f, results, err := r.graph(t.program.main, nil, in, nil)
	if err != nil {
		return nil, err
	}
	p := &Pass{training: t, frame: f, tape: r.tape, kept: r.tape.ledger.now, peak: r.tape.ledger.most}
	if p.Outputs, err = t.program.tensors(results); err != nil {
		return nil, err
	}
	for _, out := range p.Outputs {
		r.tape.loan.keep(out)
	}
	return p, nil
}

// Kept is the number of bytes that Forward keeps for Backward. Elements that several nodes keep count once; feeds and parameters, which are there anyway, do not.
func (p *Pass) Kept() int64 { return p.kept }

// Peak is the largest number of bytes, so far, that the trace and the gradients on their way back held at one time: Kept until Backward has run. Not among them are Parameter.Value and
// Grad, and what a single node needs while it is at work.
func (p *Pass) Peak() int64 { return p.peak }

// Backward adds the gradient of Σ ⟨d[name], output name⟩ to Parameter.Grad. d holds gradients of floating outputs with their types and dims; outputs it does not
// name have gradient zero. A pass can go back once. Gradients of float16 and bfloat16 values are held and added in float32.
func (p *Pass) Backward(ctx context.Context, d map[string]*Tensor) error {
	if p.tape == nil {
		return fmt.Errorf("runtime: backward: this pass has been run back already")
	}
	t := p.tape
	known := 0
	for k, v := range p.training.program.outputs {
		g := d[v.Name]
		if g == nil {
			continue
		}
		known++
		out := p.Outputs[v.Name]
		if g.Type != out.Type || !sameDims(g.Dims, out.Dims) {
			return fmt.Errorf("runtime: backward: output %q: gradient is %v%v, the output %v%v", v.Name, g.Type, g.Dims, out.Type, out.Dims)
		}
		if !isFloat(out.Type) {
			return fmt.Errorf("runtime: backward: output %q: is %v, which has no gradient", v.Name, out.Type)
		}
		if err := checkArray(g); err != nil {
			return fmt.Errorf("runtime: backward: output %q: gradient: %w", v.Name, err)
		}
		if at := p.frame.output(k); at.variable() {
			if err := t.add(at, widenKept([]*Tensor{g})[0]); err != nil {
				return err
			}
		}
	}
	if known != len(d) {
		return fmt.Errorf("runtime: backward: %d gradients given, %d of them belong to outputs", len(d), known)
	}
	p.tape = nil
	defer func() { p.peak = max(p.peak, t.ledger.most) }()
	if err := t.backward(ctx); err != nil {
		return err
	}
	for k := range p.frame.grads {
		t.loan.keep(p.frame.grads[k].sum)
	}
	t.loan.settle()
	return nil
}

// InputGradient is the gradient of the same sum with respect to an input named in [Options.Variables], once Backward has run; nil where it is zero everywhere. That of a 16-bit
// input is float32.
func (p *Pass) InputGradient(name string) *Tensor {
	for k, v := range p.training.program.inputs {
		if v.Name == name && p.tape == nil && p.frame.grads != nil && p.frame.scope.variable[k] {
			return p.frame.grads[k].sum
		}
	}
	return nil
}
