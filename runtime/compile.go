package runtime

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/onnx"
)

// maxNodes bounds the nodes of a compiled program: functions are expanded at each call, which can grow exponentially.
const maxNodes = 1 << 18

// compiler holds what Compile needs and Run does not.
type compiler struct {
	ctx         context.Context
	program     *Program
	model       *onnx.Model
	overrides   map[Observed]*constant
	functions   map[functionKey]*onnx.Function
	calling     map[functionKey]bool // functions on the expansion path
	liveness    map[*onnx.Graph]*liveness
	constants   map[*onnx.Tensor]*constant
	parameters  map[*onnx.Tensor]*Parameter
	holding     map[*onnx.Graph]bool // see holdsParameter
	outputs     []*onnx.ValueInfo    // of the main graph
	unsupported UnsupportedError
	nodes       int
}

type functionKey struct{ domain, name, overload string }

// Compile prepares a model. Everything unsupported is reported at once as an *UnsupportedError: operators, opset versions,
// attributes, and types as far as they are known before a run. Nodes that no output needs are left out. No weight is decoded before
// the first Run that needs it, so the model must stay open while the program is in use. Decoded weights and folded constants stay with the
// program, but not the parts that only folded constants were made from; so do the copies of constant matrices of up to 64 MiB that are laid
// out for the matrix kernels by the first run that multiplies with them.
func Compile(ctx context.Context, m *onnx.Model, o Options) (*Program, error) {
	return compile(ctx, m, o, nil)
}

// compile is Compile with tensors that are variables.
func compile(ctx context.Context, m *onnx.Model, o Options, parameters map[*onnx.Tensor]*Parameter) (*Program, error) {
	p := &Program{model: m, outputs: m.Graph.Outputs, observe: map[Observed]bool{}}
	if o.Outputs != nil {
		p.outputs = nil
		for _, name := range o.Outputs {
			p.outputs = append(p.outputs, valueInfo(m.Graph, name))
		}
	}
	if o.Threads > 0 {
		gemm.SetThreads(o.Threads)
	}
	for _, ob := range o.Observe {
		if err := checkSlot(m, ob); err != nil {
			return nil, fmt.Errorf("runtime: observe: %w", err)
		}
		p.observe[ob] = true
	}
	c := &compiler{
		ctx: ctx, program: p, model: m,
		overrides:  map[Observed]*constant{},
		functions:  map[functionKey]*onnx.Function{},
		calling:    map[functionKey]bool{},
		liveness:   map[*onnx.Graph]*liveness{},
		constants:  map[*onnx.Tensor]*constant{},
		parameters: parameters,
		holding:    map[*onnx.Graph]bool{},
		outputs:    p.outputs,
	}
	for _, v := range o.Overrides {
		if err := checkSlot(m, Observed{v.Node, v.Slot}); err != nil {
			return nil, fmt.Errorf("runtime: override: %w", err)
		}
		if v.Value == nil {
			return nil, fmt.Errorf("runtime: override: %v: input %d: no value given", v.Node, v.Slot)
		}
		if err := checkArray(v.Value); err != nil {
			return nil, fmt.Errorf("runtime: override: %v: input %d: %w", v.Node, v.Slot, err)
		}
		k := &constant{keep: true}
		k.value.Store(&value{tensor: v.Value})
		c.overrides[Observed{v.Node, v.Slot}] = k
	}
	for _, f := range m.Functions {
		c.functions[functionKey{domainName(f.Domain), f.Name, f.Overload}] = f
	}
	p.inputs = m.Graph.TrueInputs()
	for _, v := range p.inputs {
		if v.Type != nil && v.Type.Kind != "" && v.Type.Kind != "tensor" {
			c.unsupported.add(fmt.Sprintf("graph input: kind %q", v.Type.Kind), fmt.Sprintf("%q", v.Name))
		}
	}
	variable, err := variableInputs(p.inputs, o.Variables)
	if err != nil {
		return nil, err
	}
	s, err := c.graph(m.Graph, p.inputs, nil, &environment{opset: m.Opset}, nil, variable)
	if err != nil {
		return nil, err
	}
	if c.unsupported.Counts != nil {
		return nil, &c.unsupported
	}
	p.main = s
	return p, nil
}

// variableInputs marks the inputs whose gradients are asked for.
func variableInputs(inputs []*onnx.ValueInfo, names []string) ([]bool, error) {
	variable := make([]bool, len(inputs))
	for _, name := range names {
		k := slices.IndexFunc(inputs, func(v *onnx.ValueInfo) bool { return v.Name == name })
		if k < 0 {
			return nil, fmt.Errorf("runtime: variable input %q: the model has no such input", name)
		}
		variable[k] = true
	}
	return variable, nil
}

// checkSlot verifies that the slot is one of a node of this model, and not of another decoding of the same file.
func checkSlot(m *onnx.Model, at Observed) error {
	switch {
	case at.Node == nil || at.Node.Graph == nil || at.Node.Graph.Model != m:
		return fmt.Errorf("the node is not one of this model")
	case at.Slot < 0 || at.Slot >= len(at.Node.Inputs):
		return fmt.Errorf("%v has %d inputs, no input %d", at.Node, len(at.Node.Inputs), at.Slot)
	}
	return nil
}

// domainName maps both spellings of the default domain to "".
func domainName(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

// valueInfo is the declaration of a value of the main graph, which may be an inner one that has none.
func valueInfo(g *onnx.Graph, name string) *onnx.ValueInfo {
	for _, list := range [][]*onnx.ValueInfo{g.Outputs, g.Inputs} {
		for _, v := range list {
			if v.Name == name {
				return v
			}
		}
	}
	return &onnx.ValueInfo{Name: name}
}

// results are what a graph must compute.
func (c *compiler) results(g *onnx.Graph) []*onnx.ValueInfo {
	if g == c.model.Graph {
		return c.outputs
	}
	return g.Outputs
}

// graph compiles one scope. inputs are the formal inputs that a run gives values for; given says which of them have one (nil: all), variable
// which depend on parameters (nil: none).
func (c *compiler) graph(g *onnx.Graph, inputs []*onnx.ValueInfo, parent *scope, env *environment, given, variable []bool) (*scope, error) {
	s := &scope{graph: g, parent: parent, env: env, names: map[string]operand{}}
	l := c.live(g)
	for k, v := range inputs {
		switch s.slot(v.Name); {
		case !l.read[v.Name]:
			delete(s.names, v.Name)
		case given != nil && !given[k]:
			s.names[v.Name] = operand{}
		}
	}
	copy(s.variable, variable)
	for _, t := range g.Initializers {
		if p := c.parameters[t]; p != nil && l.read[t.Name] {
			s.parameter(t.Name, p)
		} else if l.read[t.Name] {
			s.names[t.Name] = operand{present: true, constant: c.initializer(t)}
		}
	}
	for _, t := range g.Sparse {
		if l.read[t.Name] {
			c.unsupported.add("sparse initializer", fmt.Sprintf("%q", t.Name))
			s.names[t.Name] = operand{present: true, constant: &constant{}}
		}
	}
	for i, n := range g.Nodes {
		if !l.node[i] {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return nil, fmt.Errorf("runtime: %w", err)
		}
		if c.nodes++; c.nodes > maxNodes {
			return nil, fmt.Errorf("runtime: %v: more than %d nodes once functions are expanded", n, maxNodes)
		}
		if err := c.node(s, l, n); err != nil {
			return nil, err
		}
	}
	for _, v := range c.results(g) {
		o, ok := s.resolve(v.Name)
		if !ok || !o.present {
			return nil, fmt.Errorf("runtime: output %q of graph %q: nothing computes it", v.Name, g.Path())
		}
		if o.constant != nil {
			o.constant.keep = true
		}
		s.outputs = append(s.outputs, o)
	}
	s.planRelease()
	if g == c.model.Graph && len(c.parameters) > 0 {
		s.planShared()
	}
	return s, nil
}

// initializer is the constant of a stored tensor, the same one for every scope that is compiled from it.
func (c *compiler) initializer(t *onnx.Tensor) *constant {
	k := c.constants[t]
	if k == nil {
		k = &constant{tensor: t}
		c.constants[t] = k
	}
	return k
}

// node compiles one live node into a step, or into constants where all it depends on is constant.
func (c *compiler) node(s *scope, l *liveness, n *onnx.Node) error {
	info := &nodeInfo{node: n, opset: s.env.opset(domainName(n.Domain)), scope: s, compiler: c, asked: map[string]onnx.AttributeType{}}
	info.attrs = boundAttributes(n, s.env)
	info.read = make([]bool, len(n.Outputs))
	for k, name := range n.Outputs {
		info.read[k] = name != "" && l.read[name]
	}
	st := step{info: info}
	fold := !nondeterministic[n.OpType]
	for k, name := range n.Inputs {
		var o operand
		if k := c.overrides[Observed{n, k}]; k != nil {
			o = operand{present: true, constant: k}
		} else if name != "" {
			var ok bool
			if o, ok = s.resolve(name); !ok {
				return fmt.Errorf("runtime: %v: input %q: nothing computes it before this node", n, name)
			}
		}
		if c.program.observe[Observed{n, k}] {
			st.observe = append(st.observe, k)
		}
		fold = fold && (!o.present || o.constant != nil)
		st.in = append(st.in, o)
		info.given = append(info.given, o.present)
		info.fixed = append(info.fixed, o.constant != nil)
		info.variable = append(info.variable, s.isVariable(o))
		st.variable = st.variable || info.variable[k]
	}
	for _, b := range n.Subgraphs() {
		for _, name := range c.live(b).free {
			o, ok := s.resolve(name)
			if !ok {
				return fmt.Errorf("runtime: %v: %q is read in graph %q: nothing computes it before this node", n, name, b.Path())
			}
			fold = fold && (!o.present || o.constant != nil)
			info.captured = append(info.captured, o)
			st.variable = st.variable || s.isVariable(o)
		}
		st.variable = st.variable || c.holdsParameter(b)
	}
	if f := c.functions[functionKey{domainName(n.Domain), n.OpType, n.Overload}]; f != nil {
		st.variable = st.variable || c.holdsParameter(f.Body)
	}
	info.reached = st.variable
	if n.OpType == "Constant" && domainName(n.Domain) == "" && n.Attr("value") != nil && n.Attr("value").T != nil && len(n.Outputs) == 1 {
		if p := c.parameters[n.Attr("value").T]; p != nil {
			s.parameter(n.Outputs[0], p)
			return nil
		}
		s.names[n.Outputs[0]] = operand{present: true, constant: c.initializer(n.Attr("value").T)}
		return nil
	}
	var err error
	if st.op, err = c.build(info); err != nil {
		return err
	}
	if fold && !st.variable && st.observe == nil {
		c.foldNode(s, st)
		return nil
	}
	for _, o := range st.in {
		if o.constant != nil {
			o.constant.keep = true
		}
	}
	varies := make([]bool, len(n.Outputs))
	if st.variable {
		if st.grad, varies, err = c.gradient(info, st.op); err != nil {
			return err
		}
		st.variable = slices.Contains(varies, true)
	}
	st.alone = c.standsAlone(s, &st)
	for k, name := range n.Outputs {
		if info.read[k] {
			st.out = append(st.out, s.slot(name))
			s.variable[st.out[k]], s.fixed[st.out[k]] = varies[k], st.alone
		} else {
			st.out = append(st.out, -1)
		}
	}
	s.steps = append(s.steps, st)
	return nil
}

// holdsParameter says whether a parameter is stored in a graph, its bodies or the functions it calls.
func (c *compiler) holdsParameter(g *onnx.Graph) bool {
	if len(c.parameters) == 0 {
		return false
	}
	if holds, known := c.holding[g]; known {
		return holds
	}
	c.holding[g] = false // for functions that call themselves, which is an error found elsewhere
	holds := slices.ContainsFunc(g.Initializers, func(t *onnx.Tensor) bool { return c.parameters[t] != nil })
	for _, n := range g.Nodes {
		if v := n.Attr("value"); v != nil && n.OpType == "Constant" && c.parameters[v.T] != nil {
			holds = true
		}
		for _, b := range n.Subgraphs() {
			holds = holds || c.holdsParameter(b)
		}
		if f := c.functions[functionKey{domainName(n.Domain), n.OpType, n.Overload}]; f != nil {
			holds = holds || c.holdsParameter(f.Body)
		}
	}
	c.holding[g] = holds
	return holds
}

// nondeterministic lists the operators whose result differs from run to run.
var nondeterministic = map[string]bool{
	"RandomNormal": true, "RandomNormalLike": true, "RandomUniform": true, "RandomUniformLike": true, "Multinomial": true, "Bernoulli": true,
}

// build finds the operator of a node. What is unsupported is noted, and nil returned.
func (c *compiler) build(n *nodeInfo) (operator, error) {
	op, err := c.buildKnown(n)
	if err == nil && n.err != nil {
		err = n.err
	}
	if err == nil {
		if name := n.unasked(); name != "" {
			err = unsupportedf("attribute %q", name)
		}
	}
	if err == nil {
		return op, nil
	}
	if isUnsupported(err) {
		c.unsupported.add(opKey(n.node)+": "+err.Error(), n.node.String())
		return nil, nil
	}
	return nil, nodeErrorf(n.node, err)
}

// buildKnown looks in the model's functions first, as the specification wants, then in the operator table.
func (c *compiler) buildKnown(n *nodeInfo) (operator, error) {
	domain := domainName(n.node.Domain)
	key := functionKey{domain, n.node.OpType, n.node.Overload}
	if f := c.functions[key]; f != nil {
		return c.buildFunction(n, key, f)
	}
	if domain != "" {
		return nil, unsupportedf("operator")
	}
	versions := operators[n.node.OpType]
	if versions == nil {
		return nil, unsupportedf("operator")
	}
	if n.opset < versions[0].since || n.opset > newestOpset {
		return nil, unsupportedf("opset %d (supported: %d to %d)", n.opset, versions[0].since, newestOpset)
	}
	k := sort.Search(len(versions), func(i int) bool { return versions[i].since > n.opset })
	return versions[k-1].build(n)
}

// opKey names an operator in reports.
func opKey(n *onnx.Node) string {
	if d := domainName(n.Domain); d != "" {
		return d + "." + n.OpType
	}
	return n.OpType
}

// planRelease finds the last reader of every slot, bodies counting as reads of the node that holds them.
func (s *scope) planRelease() {
	kept := make([]bool, s.slots)
	for _, o := range s.outputs {
		if o.constant == nil && o.depth == 0 {
			kept[o.slot] = true
		}
	}
	for i := len(s.steps) - 1; i >= 0; i-- {
		st := &s.steps[i]
		last := func(o operand) {
			if o.present && o.constant == nil && o.depth == 0 && !kept[o.slot] {
				kept[o.slot] = true
				st.release = append(st.release, o.slot)
			}
		}
		for _, o := range st.in {
			last(o)
		}
		for _, o := range st.info.captured {
			last(o)
		}
	}
}
