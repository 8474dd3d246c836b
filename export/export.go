// Package export lowers sites and their factors to ONNX patches, and reads the rings of compact models back.
package export

import (
	"cmp"
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// Form is how a factored input projection is written in ONNX.
type Form string

// The three forms. With Ŵ = L·Rᵀ, R [I, r_0·r_n] from the input cores and L [D·G·H, r_0·r_n] from the output cores (see
// [tensor.Factor.Sides]), the layer's projection X·Ŵᵀ is (X·R)·Lᵀ: a standard recurrent node whose input is X·R and whose W is L.
//
// A factor without sides (a TT-matrix) has no R and L. Its frames go through two merged groups of cores to the pre-activations, which the
// standard node takes with the identity for W, or Ŵ is multiplied out in the graph, once at load. Bottleneck takes the former where it is
// faster than the dense layer, Cores where it takes less memory than W (see [tensor.Stages]); a record's form is Cores for the former and
// Bottleneck for the latter.
const (
	// Bottleneck stores the cores; a few nodes that depend on constants alone, which a runtime folds once when it loads the model,
	// merge them to R and L. One MatMul of X with R, then the standard node with W = L.
	Bottleneck Form = "bottleneck"
	// Cores contracts X with two merged groups of input cores, so that R is never built: least memory. The output side is as in
	// Bottleneck. An input side of one mode has no two groups and is written as Bottleneck.
	Cores Form = "cores"
	// Dense stores Ŵ itself in place of W. It is terminal: the cores are gone and the model counts as a plain one.
	Dense Form = "dense"
)

// Target turns sites and their factors into a patch of the model. [Options] is the target for ONNX's standard operators.
type Target interface {
	Lower(ctx context.Context, m *onnx.Model, rs []Replacement) (*onnx.Patch, error)
}

var _ Target = Options{}

// Options say how sites are lowered.
type Options struct {
	Form        Form // "" means Bottleneck
	MergeOutput bool // bottleneck, cores: store L itself as the ring's single output core

	// Arranged stores the cores of the form bottleneck in the orders in which their products want them (see [Record].Orders), which saves half of the nodes that merge them, and with
	// these most of the time that merging takes when a runtime loads the model. It does nothing to the cores of factors without sides, of the form cores and of merged outputs.
	// Sites lose the last of their node's outputs that nothing reads (usually Y_h and Y_c), for about a fiftieth of a small model's time to load. The form dense leaves all as it is.
	Arranged bool

	Matrices []MatrixReplacement // what is replaced besides W
}

// Replacement pairs the sites that share one W with its factor.
type Replacement struct {
	Sites  []*recurrent.Site
	Factor *tensor.Factor
}

// Lower builds one patch that replaces W of all sites by their factors and records the rings in metadata_props.
func Lower(ctx context.Context, m *onnx.Model, rs []Replacement, o Options) (*onnx.Patch, error) {
	return o.Lower(ctx, m, rs)
}

// Lower builds one patch that replaces W of all sites, and the other matrices, by their factors and records them in metadata_props.
// What takes the place of the other matrices is described at [MatrixRecord].
//
// Cores keep the element type of their site. They stand in the main graph, or in the function's body for sites of a function,
// where every site that shares them sees them, whatever the nesting. Only standard operators of the model's own opset (5 or later)
// are used; batch and time stay dynamic; no intermediate has more than four axes. Initial states that are zero whatever the inputs
// are dropped, for zero is what a node takes without them: the nodes that compute them from the size of the batch would else be a fifth of a small model's
// time to load, and a twentieth of its time for one sequence. All other operands and attributes of the nodes, the interface of the model and every byte the patch does not concern stay as they are.
//
// A factor that does not fit its site, a site given twice and an element type the opset cannot multiply are errors.
func (o Options) Lower(ctx context.Context, m *onnx.Model, rs []Replacement) (*onnx.Patch, error) {
	if o.Form == "" {
		o.Form = Bottleneck
	}
	if _, ok := metadata(m, StoredKey); ok {
		return nil, fmt.Errorf("export: the model holds stored tensors, whose nodes a conversion would leave behind (restore it first)")
	}
	if err := check(rs, o); err != nil {
		return nil, err
	}
	log, err := readRings(m)
	if err != nil {
		return nil, err
	}
	l := lowering{patch: onnx.NewPatch(m), model: m, options: o, shapes: map[shapeKey]string{}}
	others, err := readMatrices(m)
	if err != nil {
		return nil, err
	}
	var dense []origin
	for _, r := range rs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, s := range r.Sites {
			if old := log.of(s.Name); old != nil {
				return nil, fmt.Errorf("export: site %q: is a ring already (expand the model before converting it again)", s.Name)
			}
		}
		b := l.builder(r, len(log.Rings))
		if o.Form == Dense {
			if err := b.dense(r); err != nil {
				return nil, err
			}
			dense = append(dense, originOf(r))
			continue
		}
		rec, err := b.ring(r)
		if err != nil {
			return nil, err
		}
		log.Rings = append(log.Rings, rec)
		for _, s := range r.Sites {
			l.dropZeroStates(ctx, s)
			if o.Arranged {
				l.dropOutputs(s.Node)
			}
		}
	}
	for _, r := range o.Matrices {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := l.matrix(r, &others, &dense); err != nil {
			return nil, err
		}
	}
	if o.Form == Dense {
		return l.patch, recordOrigins(m, l.patch, dense)
	}
	if err := log.store(l.patch); err != nil {
		return nil, err
	}
	return l.patch, others.store(l.patch)
}

// Notes says what the lowering of a model cannot do as asked or what a reader of the report should know, one sentence each.
func Notes(rs []Replacement, o Options) []string {
	var notes []string
	for _, r := range rs {
		if len(r.Sites) == 0 {
			continue
		}
		name := r.Sites[0].Name
		for _, s := range r.Sites {
			if s.UsedElsewhere {
				notes = append(notes, fmt.Sprintf("site %q: W is also read elsewhere, so its dense copy stays in the file", s.Name))
				break
			}
		}
		if o.Form == Dense || r.Factor == nil {
			continue
		}
		asked := cmp.Or(o.Form, Bottleneck)
		switch written := formOf(r.Factor, asked, opsetOf(r.Sites[0].Node.Graph)); {
		case !r.Factor.HasSides() && written == Bottleneck:
			notes = append(notes, fmt.Sprintf("site %q: a runtime rebuilds W from the cores when it loads the model, for frames would take longer through them than through the dense layer: the file is small, speed and memory are the dense layer's", name))
		case asked == Cores && written == Bottleneck:
			notes = append(notes, fmt.Sprintf("site %q: the input side has one mode, so it cannot be contracted in two groups and is written as bottleneck", name))
		}
	}
	for _, r := range o.Matrices {
		notes = append(notes, matrixNotes(r.Matrix, r.Factor, o.Form)...)
	}
	return notes
}

// check compares factors with the sites they are for.
func check(rs []Replacement, o Options) error {
	switch o.Form {
	case Bottleneck, Cores, Dense:
	default:
		return fmt.Errorf("export: form %q is unknown (expected %s, %s or %s)", o.Form, Bottleneck, Cores, Dense)
	}
	seen := map[string]bool{}
	for k, r := range rs {
		if len(r.Sites) == 0 || r.Factor == nil {
			return fmt.Errorf("export: replacement %d has %d sites and factor %v (it needs both)", k, len(r.Sites), r.Factor != nil)
		}
		if err := r.Factor.Validate(); err != nil {
			return fmt.Errorf("export: site %q: %w", r.Sites[0].Name, err)
		}
		if o.MergeOutput && !r.Factor.HasSides() {
			return fmt.Errorf("export: site %q: format %s has no output cores to merge", r.Sites[0].Name, r.Factor.Format)
		}
		first := r.Sites[0]
		for _, s := range r.Sites {
			switch {
			case !s.Decomposable:
				return fmt.Errorf("export: site %q cannot be decomposed: %s", s.Name, s.Reason)
			case seen[s.Name]:
				return fmt.Errorf("export: site %q stands in two replacements", s.Name)
			case s.Rows() != r.Factor.Out || s.Input != r.Factor.In:
				return fmt.Errorf("export: site %q: W is [%d, %d], the factor is [%d, %d]", s.Name, s.Rows(), s.Input, r.Factor.Out, r.Factor.In)
			case !utf8.ValidString(s.Node.Input(recurrent.SlotX)):
				return fmt.Errorf("export: site %q: the name of input X is not UTF-8: %q", s.Name, s.Node.Input(recurrent.SlotX))
			case s.Elem != first.Elem:
				return fmt.Errorf("export: sites %q and %q share a factor, but W has element types %d and %d", first.Name, s.Name, first.Elem, s.Elem)
			case rootOf(s.Node.Graph) != rootOf(first.Node.Graph):
				return fmt.Errorf("export: sites %q and %q share a factor, but no scope is seen by both", first.Name, s.Name)
			}
			seen[s.Name] = true
			if err := checkOpset(s.Name, s.Node, s.Elem, o.Form); err != nil {
				return err
			}
		}
	}
	taken := map[string]bool{}
	for _, r := range o.Matrices {
		if err := checkMatrix(r.Matrix, r.Factor, o.Form, taken); err != nil {
			return err
		}
	}
	return nil
}

// checkOpset asks for the operator versions that the new nodes need.
func checkOpset(name string, n *onnx.Node, elem onnx.DataType, form Form) error {
	if form == Dense {
		return nil
	}
	version := opsetOf(n.Graph)
	if version < 5 {
		return fmt.Errorf("export: site %q: opset %d has no Reshape with a computed shape, which came with 5 (convert the model to a later opset, or use the form %s)", name, version, Dense)
	}
	if elem == onnx.BFloat16 && version < 13 {
		return fmt.Errorf("export: site %q: MatMul takes bfloat16 from opset 13 on, the model imports %d (use the form %s)", name, version, Dense)
	}
	return nil
}

// rootOf is the outermost scope around g: the main graph or a function's body.
func rootOf(g *onnx.Graph) *onnx.Graph {
	for g.Owner != nil && g.Owner.Graph != nil {
		g = g.Owner.Graph
	}
	return g
}

// opsetOf is the version of the default operator domain in a scope.
func opsetOf(g *onnx.Graph) int64 {
	root := rootOf(g)
	if root.Function != nil {
		for _, o := range root.Function.Opsets {
			if o.Domain == "" || o.Domain == "ai.onnx" {
				return o.Version
			}
		}
	}
	return root.Model.Opset("")
}
