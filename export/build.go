package export

import (
	"context"
	"fmt"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// lowering is what the rings of one patch have in common.
type lowering struct {
	patch   *onnx.Patch
	model   *onnx.Model
	index   *onnx.Index // of the model, made when it is needed
	options Options
	shapes  map[shapeKey]string
}

// shapeKey names an integer constant that nodes of one root scope share.
type shapeKey struct {
	root *onnx.Graph
	text string
}

// builder writes one ring into the patch.
type builder struct {
	*lowering
	root   *onnx.Graph // where the cores stand
	opset  int64
	elem   onnx.DataType
	prefix string
	at     *onnx.Node // new nodes go before it; nil: to the top of root
	count  int
}

func (l *lowering) builder(r Replacement, ring int) *builder {
	s := r.Sites[0]
	return l.builderAt(s.Node, s.Elem, fmt.Sprintf("tr%d.", ring))
}

// builderAt writes what takes the place of an operand of a node.
func (l *lowering) builderAt(n *onnx.Node, elem onnx.DataType, prefix string) *builder {
	return &builder{lowering: l, root: rootOf(n.Graph), opset: opsetOf(n.Graph), elem: elem, prefix: prefix}
}

// node adds a node with one output and returns the output's name. Names are short: a ring of many small cores would otherwise be
// mostly names.
func (b *builder) node(op string, inputs []string, attrs ...*onnxpb.AttributeProto) string {
	out := b.patch.Fresh(fmt.Sprintf("%sv%d", b.prefix, b.count))
	b.count++
	n := &onnxpb.NodeProto{Input: inputs, Output: []string{out}, OpType: &op, Attribute: attrs}
	if b.at == nil {
		b.patch.Prepend(b.root, n)
	} else {
		b.patch.InsertBefore(b.at, n)
	}
	return out
}

// matrix adds a floating initializer in the site's element type.
func (b *builder) matrix(name string, dims []int, data []float32) (string, error) {
	a, err := recurrent.Array(b.elem, dims, data)
	if err != nil {
		return "", fmt.Errorf("export: %s: %w", name, err)
	}
	name = b.patch.Fresh(b.prefix + name)
	b.patch.AddInitializerArray(b.root, name, a)
	return name, nil
}

// ints names an integer constant; equal ones are stored once.
func (b *builder) ints(v ...int) string {
	key := shapeKey{b.root, fmt.Sprint(v)}
	name, ok := b.shapes[key]
	if !ok {
		data := make([]int64, len(v))
		for k, x := range v {
			data[k] = int64(x)
		}
		name = b.patch.Fresh(fmt.Sprintf("tr.s%d", len(b.shapes)))
		b.patch.AddInitializerArray(b.root, name, &onnx.Array{Type: onnx.Int64, Dims: []int{len(v)}, Data: data})
		b.shapes[key] = name
	}
	return name
}

// reshape takes 0 for "as in the input" and −1 for "the rest".
func (b *builder) reshape(x string, dims ...int) string {
	return b.node("Reshape", []string{x, b.ints(dims...)})
}

func (b *builder) matmul(x, y string) string { return b.node("MatMul", []string{x, y}) }

func (b *builder) transpose(x string, perm ...int) string {
	return b.node("Transpose", []string{x}, intsAttribute("perm", perm...))
}

// head keeps the first n entries of an axis.
func (b *builder) head(x string, axis, n int) string {
	if b.opset < 10 {
		return b.node("Slice", []string{x}, intsAttribute("axes", axis), intsAttribute("ends", n), intsAttribute("starts", 0))
	}
	if axis == 0 {
		return b.node("Slice", []string{x, b.ints(0), b.ints(n)})
	}
	return b.node("Slice", []string{x, b.ints(0), b.ints(n), b.ints(axis)})
}

// padFrames adds n zeros after the features of every frame of x [T, B, I].
func (b *builder) padFrames(x string, n int) string {
	return b.pad(x, 0, 0, 0, 0, 0, n)
}

// pad adds zeros: those before each axis, then those after each axis.
func (b *builder) pad(x string, pads ...int) string {
	if b.opset < 11 {
		return b.node("Pad", []string{x}, intsAttribute("pads", pads...))
	}
	return b.node("Pad", []string{x, b.ints(pads...)})
}

func intsAttribute(name string, v ...int) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum()}
	for _, x := range v {
		a.Ints = append(a.Ints, int64(x))
	}
	return a
}

// dense stores Ŵ and makes it W of the sites.
func (b *builder) dense(r Replacement) error {
	s := r.Sites[0]
	w, err := b.matrix("W", weightDims(s, s.Input), r.Factor.Reconstruct().Data)
	if err != nil {
		return err
	}
	for _, s := range r.Sites {
		b.patch.SetInput(s.Node, recurrent.SlotW, w)
	}
	return nil
}

// weightDims is the shape of a node's W with the given number of columns.
func weightDims(s *recurrent.Site, columns int) []int {
	d := s.Direction.Count()
	return []int{d, s.Rows() / d, columns}
}

// ring stores the cores, merges them in the graph and rewires the sites.
func (b *builder) ring(r Replacement) (ring, error) {
	f := r.Factor
	if b.options.MergeOutput {
		f = mergeOutput(f)
	}
	rec := recordOf(r.Sites, f, b.options, b.opset)
	n := len(f.InModes)
	if rec.Orders != nil {
		return b.arrangedRing(r.Sites, rec, f)
	}
	names, err := b.cores(f, func(k int) (dims []int, data []float32) {
		if !rec.MergedOutput || k != n {
			return nil, nil
		}
		left, _ := f.Sides()
		return weightDims(r.Sites[0], f.Cut()), left.Data
	})
	if err != nil {
		return ring{}, err
	}
	rec.Cores = names
	var (
		w       string
		project func(x string) string
	)
	switch {
	case rec.MergedOutput:
		w, project = names[n], b.inputSide(f, names)
	case f.HasSides():
		w, project = b.outputSide(r.Sites[0], f, names), b.inputSide(f, names)
	case rec.Form == Cores:
		w, project = b.identity(r.Sites[0]), b.stages(f, names)
	default:
		w, project = b.whole(f, names, weightDims(r.Sites[0], f.In)...), func(x string) string { return x }
	}
	b.wire(r.Sites, project, w)
	return rec, nil
}

// arrangedRing is ring with the cores in the orders that merging wants.
func (b *builder) arrangedRing(sites []*recurrent.Site, rec ring, f *tensor.Factor) (_ ring, err error) {
	a := arrangementOf(f, false, false)
	in, out := []int{a.in.rows, f.Cut()}, weightDims(sites[0], f.Cut())
	if rec.Cores, err = b.store(a, in, out); err != nil {
		return ring{}, err
	}
	r, w := b.mergeIn(a, rec.Cores, in), b.mergeOut(a, rec.Cores, out)
	b.wire(sites, func(x string) string { return b.matmul(x, r) }, w)
	return rec, nil
}

// wire puts the projection in front of the sites' nodes and gives them their W.
func (b *builder) wire(sites []*recurrent.Site, project func(x string) string, w string) {
	for _, s := range sites {
		b.at = s.Node
		b.patch.SetInput(s.Node, recurrent.SlotX, project(s.Node.Input(recurrent.SlotX)))
		b.patch.SetInput(s.Node, recurrent.SlotW, w)
	}
}

// dropZeroStates leaves out initial states that are zero anyway. What computed them goes with them, unless something else reads it.
func (l *lowering) dropZeroStates(ctx context.Context, s *recurrent.Site) {
	for _, slot := range []int{recurrent.SlotInitialH, recurrent.SlotInitialC} {
		if s.ZeroState(ctx, slot) {
			l.patch.SetInput(s.Node, slot, "")
		}
	}
}

// dropOutputs leaves out the last outputs of a node that neither a node of any scope nor an output of the graph reads: a runtime takes time to prepare each.
func (l *lowering) dropOutputs(n *onnx.Node) {
	if l.index == nil {
		l.index = onnx.NewIndex(l.model)
	}
	keep := len(n.Outputs)
	for keep > 1 && (n.Outputs[keep-1] == "" || len(l.index.Uses(n.Graph, n.Outputs[keep-1])) == 0) {
		keep--
	}
	l.patch.KeepOutputs(n, keep)
}

// cores stores the cores, save those that other gives dims and data for, and returns their names.
func (b *builder) cores(f *tensor.Factor, other func(k int) (dims []int, data []float32)) ([]string, error) {
	names := make([]string, len(f.Cores))
	for k, slot := range f.Slots() {
		c := f.Cores[k]
		dims, data := other(k)
		if dims == nil {
			dims, data = coreDims(c.Left, slot, c.Right), c.Data
		}
		var err error
		if names[k], err = b.matrix(fmt.Sprint(k), dims, data); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// coreDims is the shape in which a core is stored.
func coreDims(left int, s tensor.Slot, right int) []int {
	dims := []int{left}
	for _, mode := range []int{s.Row, s.Col} {
		if mode > 0 {
			dims = append(dims, mode)
		}
	}
	return append(dims, right)
}

// mergeOutput contracts the output cores to one core [r_n, D·G·H, r_0].
func mergeOutput(f *tensor.Factor) *tensor.Factor {
	n := len(f.InModes)
	if len(f.OutModes) == 1 {
		return f
	}
	left, _ := f.Sides()
	core := splitMerged(left.Data, f.Out, f.Cores[0].Left, f.Cores[n].Left)
	return &tensor.Factor{
		Format: f.Format, Out: f.Out, In: f.In,
		InModes: f.InModes, OutModes: []int{f.Out},
		Cores: append(append([]tensor.Core{}, f.Cores[:n]...), core),
	}
}
