package export

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/matrices"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// view finds the parts of rings in a compact model.
type view struct {
	model *onnx.Model
	index *onnx.Index
	eval  *onnx.Evaluator
	nodes map[string]*onnx.Node // recurrent nodes by site name
	holds map[string]*onnx.Node // of other matrices, by site name
	steps int                   // taken by ancestors
}

// maxSteps bounds what is walked through to compare the records with the graph; a ring's own chains have some forty nodes.
const maxSteps = 2_000_000

func newView(m *onnx.Model) *view {
	v := &view{model: m, index: onnx.NewIndex(m), nodes: map[string]*onnx.Node{}, holds: map[string]*onnx.Node{}}
	v.eval = onnx.NewEvaluator(m, v.index, 0)
	for _, n := range recurrent.Nodes(m) {
		v.nodes[n.Name] = n.Node
	}
	for _, n := range matrices.Nodes(m) {
		v.holds[n.Name] = n.Node
	}
	return v
}

// root is the scope in which a record's cores stand.
func (v *view) root(r Record) (*onnx.Graph, error) {
	var root *onnx.Graph
	for _, name := range r.Sites {
		n := v.nodes[name]
		if n == nil {
			return nil, fmt.Errorf("the metadata name site %q, the graph has no such recurrent node", name)
		}
		if root != nil && rootOf(n.Graph) != root {
			return nil, fmt.Errorf("sites %q and %q see no common scope", r.Sites[0], name)
		}
		root = rootOf(n.Graph)
	}
	return root, nil
}

// coreDims are the shapes in which the cores are stored, w being that of the sites' W.
func (r Record) coreDims(w []int) [][]int {
	f := r.shape()
	dims := make([][]int, len(f.Cores))
	for k, s := range f.Slots() {
		dims[k] = coreDims(f.Cores[k].Left, s, f.Cores[k].Right)
		if r.MergedOutput && k == len(r.InModes) {
			dims[k] = w
		}
	}
	return dims
}

// agrees compares a record with the graph.
func (v *view) agrees(ctx context.Context, r Record) error {
	root, err := v.root(r)
	if err != nil {
		return err
	}
	var wDims []int
	for k, name := range r.Sites {
		n := v.nodes[name]
		dims, err := v.checkW(ctx, n, r)
		if err != nil {
			return err
		}
		wDims = dims
		if err := v.checkX(n, r, k); err != nil {
			return err
		}
	}
	return v.agreeCores(ctx, root, r, wDims)
}

// agreeCores compares the dims of a record's cores.
func (v *view) agreeCores(ctx context.Context, root *onnx.Graph, r Record, wDims []int) error {
	wants := r.coreDims(wDims)
	for k, name := range r.Cores {
		_, dims, err := v.core(ctx, root, name)
		if err != nil {
			return err
		}
		if r.Orders != nil {
			if n, err := product(dims); err != nil || n != tensorProduct(wants[k]) {
				return fmt.Errorf("core %d %q has dims %s, the metadata say %d numbers", k, name, dimsText(dims), tensorProduct(wants[k]))
			}
			continue
		}
		if want := wants[k]; !slices.Equal(dims, want) {
			return fmt.Errorf("core %d %q has dims %s, the metadata say %s", k, name, dimsText(dims), dimsText(want))
		}
	}
	return nil
}

// core gives type and dims of a core.
func (v *view) core(ctx context.Context, root *onnx.Graph, name string) (onnx.DataType, []int, error) {
	if _, ok := v.index.Resolve(root, name); !ok {
		return 0, nil, fmt.Errorf("the metadata name the core %q, the graph has no such initializer", name)
	}
	if ok, why := v.eval.Constant(root, name); !ok {
		return 0, nil, fmt.Errorf("core %q is not constant: %s", name, why)
	}
	return v.eval.Info(ctx, root, name)
}

// behindW are the cores that the sites' W is computed from, behindX those that their X is computed from: output and input cores, or all
// of them for one of the two where there are no sides.
func (r Record) behindW() []string {
	switch {
	case r.shape().HasSides():
		return r.Cores[len(r.InModes):]
	case r.Form == Cores:
		return nil
	}
	return r.Cores
}

func (r Record) behindX() []string { return r.Cores[:len(r.Cores)-len(r.behindW())] }

// checkW asks W of a node to be computed from its cores, [D, G·H, columns].
func (v *view) checkW(ctx context.Context, n *onnx.Node, r Record) ([]int, error) {
	dims, err := v.merged(ctx, n, "input W", recurrent.SlotW, r.behindW())
	if err != nil {
		return nil, err
	}
	if len(dims) != 3 || dims[0]*dims[1] != r.Out || dims[2] != r.columns() {
		return nil, fmt.Errorf("input W %q has dims %s, the metadata say %d rows and %s columns", n.Input(recurrent.SlotW), dimsText(dims), r.Out, r.columnsText())
	}
	return dims, nil
}

// merged asks an input of a node to be a constant that is computed from cores, and gives its dims. label is what errors call the input.
func (v *view) merged(ctx context.Context, n *onnx.Node, label string, slot int, cores []string) ([]int, error) {
	name := n.Input(slot)
	seen, err := v.ancestors(n.Graph, name, "")
	if err != nil {
		return nil, err
	}
	for _, core := range cores {
		if !seen[core] {
			return nil, fmt.Errorf("%s %q is not computed from the core %q that the metadata name", label, name, core)
		}
	}
	if ok, why := v.eval.Constant(n.Graph, name); !ok {
		return nil, fmt.Errorf("%s %q is not constant: %s", label, name, why)
	}
	_, dims, err := v.eval.Info(ctx, n.Graph, name)
	return dims, err
}

// checkX asks X of a node to be computed from the recorded input and the input cores.
func (v *view) checkX(n *onnx.Node, r Record, k int) error {
	return v.projected(n, "input X", recurrent.SlotX, r.Inputs[k], fmt.Sprintf(" of site %q", r.Sites[k]), r.behindX())
}

// projected asks an input of a node to be computed from the value that it was before and from cores. label is what errors call the input, of
// what they say behind its name.
func (v *view) projected(n *onnx.Node, label string, slot int, before, of string, cores []string) error {
	if _, ok := v.index.Resolve(n.Graph, before); !ok {
		return fmt.Errorf("the metadata name the input %q%s, the graph has no such value", before, of)
	}
	x := n.Input(slot)
	seen, err := v.ancestors(n.Graph, x, before)
	if err != nil {
		return err
	}
	for _, name := range append([]string{before}, cores...) {
		if !seen[name] {
			return fmt.Errorf("%s %q%s is not computed from %q, as the metadata say", label, x, of, name)
		}
	}
	return nil
}

// ancestors lists the names that a value is computed from, itself included, without looking behind stop.
func (v *view) ancestors(g *onnx.Graph, name, stop string) (map[string]bool, error) {
	type place struct {
		g    *onnx.Graph
		name string
	}
	seen, names := map[place]bool{}, map[string]bool{}
	todo := []place{{g, name}}
	for len(todo) > 0 {
		if v.steps++; v.steps > maxSteps {
			return nil, fmt.Errorf("following the chains of the graph takes more than %d steps", maxSteps)
		}
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		def, ok := v.index.Resolve(at.g, at.name)
		key := place{def.Graph, at.name}
		if !ok || seen[key] {
			continue
		}
		seen[key] = true
		names[at.name] = true
		if def.Node == nil || at.name == stop {
			continue
		}
		for _, in := range def.Node.Inputs {
			if in != "" {
				todo = append(todo, place{def.Graph, in})
			}
		}
	}
	return names, nil
}

// factor reads the cores of a record.
func (v *view) factor(ctx context.Context, r Record) (*tensor.Factor, error) {
	if err := v.agrees(ctx, r); err != nil {
		return nil, err
	}
	root, err := v.root(r)
	if err != nil {
		return nil, err
	}
	return v.read(ctx, root, r)
}

// read reads the cores of a record that agrees with the graph.
func (v *view) read(ctx context.Context, root *onnx.Graph, r Record) (*tensor.Factor, error) {
	f := r.shape()
	for k, name := range r.Cores {
		a, err := v.eval.Eval(ctx, root, name)
		if err != nil {
			return nil, err
		}
		data, err := recurrent.Floats(a)
		if err != nil {
			return nil, fmt.Errorf("core %q: %w", name, err)
		}
		f.Cores[k].Data = data
		if places := r.Places(k); places != nil {
			f.Cores[k].Data = make([]float32, len(data))
			for i, at := range places {
				f.Cores[k].Data[at] = data[i]
			}
		}
		if r.MergedOutput && k == len(r.InModes) {
			f.Cores[k] = splitMerged(data, r.Out, f.Cores[k].Right, f.Cores[k].Left)
		}
	}
	return f, f.Validate()
}

// splitMerged turns L [o, a·r_n + b] into the ring's core [r_n, o, r_0].
func splitMerged(left []float32, out, r0, rn int) tensor.Core {
	core := tensor.Core{Left: rn, Mode: out, Right: r0, Data: make([]float32, len(left))}
	for o := 0; o < out; o++ {
		for a := 0; a < r0; a++ {
			for b := 0; b < rn; b++ {
				core.Data[(b*out+o)*r0+a] = left[(o*r0+a)*rn+b]
			}
		}
	}
	return core
}

func dimsText(dims []int) string {
	parts := make([]string, len(dims))
	for k, d := range dims {
		parts[k] = strconv.Itoa(d)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
