package pytorch

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/export/weights"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// Names of the files.
const (
	ModuleFile  = "model.py"
	TrainFile   = "train.py"
	WeightsFile = "weights.safetensors"
)

// Options of Print.
type Options struct {
	// Trainable, if set, chooses the tensors that are parameters; the other weights are buffers, which training leaves as they are. It is given the model with all weights in full, as
	// export.Restore makes it, and the records of its rings.
	Trainable func(full *onnx.Model, records []export.Record) map[*onnx.Tensor]bool
}

// Module is a printed model.
type Module struct {
	Files   map[string][]byte // model.py and train.py
	Weights *safetensors.File // weights.safetensors
}

// UnsupportedError says what of a model has no counterpart here.
type UnsupportedError struct{ onnx.Lacks }

func (e *UnsupportedError) Error() string { return "pytorch: unsupported: " + e.String() }

// place is a value of a scope.
type place struct {
	graph *onnx.Graph
	name  string
}

// printer prints one model. model is restored: no weight is narrow.
type printer struct {
	model *onnx.Model
	ix    *onnx.Index
	ev    *onnx.Evaluator

	weights   map[*onnx.Tensor]*weights.Weight // of the model that was given, by tensors of model
	trainable func(*onnx.Tensor) bool          // of model
	rings     map[*onnx.Node]*ring             // by recurrent node
	ringList  []*ring

	live   map[*onnx.Node]bool
	idents map[string]bool  // taken in the module or the function
	locals map[place]string // variables of forward
	attrs  map[*onnx.Tensor]string
	fields []field // of Model, in the order in which they were met
	consts []constant
	used   map[string]bool // of the library

	body   bytes.Buffer
	indent int
	lacks  UnsupportedError
}

// ring is a factored layer.
type ring struct {
	record export.Record
	index  map[*onnx.Node]int // of its nodes among the record's sites
	ident  string
	cores  []*onnx.Tensor
	rows   int // directions
}

// field is a weight that Model holds.
type field struct {
	ident     string // with the layer that it stands in
	weight    *weights.Weight
	trainable bool
	core      bool // a parameter of a Factored layer
	tensor    *onnx.Tensor
}

// constant is an attribute of Model with numbers that are no weights.
type constant struct{ ident, value string }

// Print prints a model, which is as it is stored. The operators that are missing, all of them, make an *UnsupportedError.
func Print(ctx context.Context, m *onnx.Model, o Options) (*Module, error) {
	set, err := weights.Of(m)
	if err != nil {
		return nil, err
	}
	restored, err := export.Restore(ctx, m)
	if err != nil {
		return nil, err
	}
	if restored != m {
		defer restored.Close()
	}
	p := &printer{
		model: restored, rings: map[*onnx.Node]*ring{}, live: map[*onnx.Node]bool{}, idents: map[string]bool{}, locals: map[place]string{},
		attrs: map[*onnx.Tensor]string{}, used: map[string]bool{}, trainable: func(*onnx.Tensor) bool { return true },
	}
	for _, name := range reservedNames {
		p.idents[name] = true
	}
	p.ix = onnx.NewIndex(restored)
	p.ev = onnx.NewEvaluator(restored, p.ix, 0)
	if p.weights, err = set.In(restored); err != nil {
		return nil, err
	}
	records, err := export.Records(restored)
	if err != nil {
		return nil, err
	}
	if o.Trainable != nil {
		trained := o.Trainable(restored, records)
		p.trainable = func(t *onnx.Tensor) bool { return trained[t] }
	}
	if err := p.findRings(records); err != nil {
		return nil, err
	}
	for _, r := range p.ringList {
		for k, t := range r.cores {
			p.attrs[t] = r.ident + ".core" + strconv.Itoa(k)
			p.fields = append(p.fields, field{ident: p.attrs[t], weight: p.weights[t], core: true, tensor: t})
		}
	}
	p.findLive()
	if err := p.print(ctx); err != nil {
		return nil, err
	}
	if p.lacks.Counts != nil {
		return nil, &p.lacks
	}
	out := &Module{Files: map[string][]byte{TrainFile: trainProgram}}
	if out.Weights, err = weightsFile(ctx, set); err != nil {
		return nil, err
	}
	out.Files[ModuleFile], err = p.module(set, out.Weights.Metadata[weights.ModelKey])
	return out, err
}

// findRings finds the recurrent nodes of the records, and their cores.
func (p *printer) findRings(records []export.Record) error {
	nodes := map[string]*onnx.Node{}
	for _, n := range recurrent.Nodes(p.model) {
		nodes[n.Name] = n.Node
	}
	for _, rec := range records {
		r := &ring{record: rec, index: map[*onnx.Node]int{}, ident: p.ident(rec.Sites[0] + "_w")}
		for k, name := range rec.Sites {
			n := nodes[name]
			r.index[n] = k
			p.rings[n] = r
			config, err := recurrent.ParseConfig(n, p.model.Opset(""))
			if err != nil {
				return err
			}
			r.rows = config.Direction.Count()
			for _, core := range rec.Cores {
				def, ok := p.ix.Resolve(n.Graph, core)
				if t := tensorOf(def); ok && t != nil && k == 0 {
					r.cores = append(r.cores, t)
				}
			}
		}
		if len(r.cores) != len(rec.Cores) {
			return fmt.Errorf("pytorch: ring of site %q: %d of its %d cores are no stored tensors", rec.Sites[0], len(rec.Cores)-len(r.cores), len(rec.Cores))
		}
		p.ringList = append(p.ringList, r)
	}
	return nil
}

// tensorOf is the tensor of an initializer or a Constant node, nil of other values.
func tensorOf(d onnx.Def) *onnx.Tensor {
	if d.Tensor != nil {
		return d.Tensor
	}
	if d.Node != nil && d.Node.OpType == "Constant" && d.Node.Domain == "" {
		if a := d.Node.Attr("value"); a != nil {
			return a.T
		}
	}
	return nil
}

// operands are the values that a node reads, with what stands for a ring in place of the nodes that merge it.
func (p *printer) operands(n *onnx.Node) []string {
	r := p.rings[n]
	if r == nil {
		return n.Inputs
	}
	in := slices.Clone(n.Inputs)
	in[recurrent.SlotX], in[recurrent.SlotW] = r.record.Inputs[r.index[n]], ""
	return in
}

// findLive marks the nodes that the outputs need.
func (p *printer) findLive() {
	var todo []place
	for _, v := range p.model.Graph.Outputs {
		todo = append(todo, place{p.model.Graph, v.Name})
	}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		def, ok := p.ix.Resolve(at.graph, at.name)
		if at.name == "" || !ok || def.Node == nil || p.live[def.Node] {
			continue
		}
		n := def.Node
		p.live[n] = true
		for _, name := range p.operands(n) {
			todo = append(todo, place{n.Graph, name})
		}
		for _, body := range n.Subgraphs() {
			for _, v := range body.Outputs {
				todo = append(todo, place{body, v.Name})
			}
		}
	}
}

// weightsFile holds all weights, in float32 where PyTorch computes with nothing narrower.
func weightsFile(ctx context.Context, set *weights.Set) (*safetensors.File, error) {
	f, err := set.File(ctx)
	if err != nil {
		return nil, err
	}
	var wide []safetensors.Tensor
	for k := range set.Weights {
		w := &set.Weights[k]
		a := f.Tensor(w.Name)
		if w.Stored != nil {
			if a, err = w.Stored.Array(); err != nil {
				return nil, err
			}
		} else if a.Type != onnx.Double && a.Type != onnx.Float {
			x, err := a.Float32s()
			if err != nil {
				return nil, err
			}
			a = &onnx.Array{Type: onnx.Float, Dims: a.Dims, Data: x}
		}
		wide = append(wide, safetensors.Tensor{Name: w.Name, Array: a})
	}
	f.Tensors = wide
	return f, nil
}

// value is the expression of a value as seen from a scope.
func (p *printer) value(g *onnx.Graph, name string) string {
	if name == "" {
		return "None"
	}
	def, ok := p.ix.Resolve(g, name)
	if !ok {
		return "None"
	}
	if t := tensorOf(def); t != nil {
		return "self." + p.attribute(t, name)
	}
	return p.local(place{def.Graph, name})
}

// local is the variable of a value.
func (p *printer) local(at place) string {
	if id := p.locals[at]; id != "" {
		return id
	}
	id := p.ident(at.name)
	p.locals[at] = id
	return id
}

// attribute is the field of Model that holds a tensor.
func (p *printer) attribute(t *onnx.Tensor, name string) string {
	if id := p.attrs[t]; id != "" {
		return id
	}
	w := p.weights[t]
	if w == nil {
		id := p.ident(name)
		p.attrs[t] = id
		a, err := t.Array()
		text := ""
		if err == nil {
			text, err = p.literal(a)
		}
		if err != nil {
			p.lacks.Add("constant "+strconv.QuoteToASCII(name)+": "+err.Error(), t.String())
		}
		p.consts = append(p.consts, constant{id, text})
		return id
	}
	id := p.ident(w.Name)
	p.attrs[t] = id
	p.fields = append(p.fields, field{ident: id, weight: w, tensor: t, trainable: p.trainable(t)})
	return id
}

// line writes a line of forward.
func (p *printer) line(format string, args ...any) {
	p.body.WriteString(strings.Repeat("    ", p.indent))
	fmt.Fprintf(&p.body, format, args...)
	p.body.WriteByte('\n')
}

// print prints forward.
func (p *printer) print(ctx context.Context) error {
	p.indent = 2
	for _, v := range p.inputs() {
		p.local(place{p.model.Graph, v.Name})
	}
	if err := p.nodes(ctx, p.model.Graph); err != nil {
		return err
	}
	var outs []string
	for _, v := range p.model.Graph.Outputs {
		outs = append(outs, p.value(p.model.Graph, v.Name))
	}
	p.line("return %s", strings.Join(outs, ", "))
	return nil
}

// inputs are the true inputs.
func (p *printer) inputs() []*onnx.ValueInfo { return p.model.Graph.TrueInputs() }

// nodes prints the live nodes of a graph.
func (p *printer) nodes(ctx context.Context, g *onnx.Graph) error {
	for _, n := range g.Nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.live[n] {
			p.node(ctx, n)
		}
	}
	return nil
}
