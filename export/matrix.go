package export

import (
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/matrices"
	"github.com/trconvert/trconvert/tensor"
)

// MatrixKey is the metadata_props entry of the factors of matrices that are no W.
const (
	MatrixKey    = "trconvert.matrix"
	matrixSchema = "trconvert.matrix/v1"
)

// MatrixReplacement pairs a matrix that is no W with its factor.
type MatrixReplacement struct {
	Matrix *matrices.Site
	Factor *tensor.Factor
}

// MatrixRecord describes the factor of one matrix that is no W. Its Sites has one name and its Inputs one, "" where nothing stands in front
// of the node.
//
// With Ŵ = L·Rᵀ as in [Form], the product Ŵ·x of a node is written in one of two ways:
//
//   - Thin: x is multiplied by Rᵀ in a node of its own, and the site's node has L for its matrix. So are operands of MatMul and Gemm and kernels of
//     one point, where (rows + columns)·r_0·r_n is below rows·columns: each call is cheaper and no Ŵ is ever there.
//   - Not thin: Ŵ is multiplied out in the graph by nodes that depend on constants alone, which a runtime folds once when it loads the model. The
//     file is small; speed and memory are those of the dense matrix. So are R, which the standard operators want whole at every step, and
//     embedding tables, whose node would have to become another.
type MatrixRecord struct {
	Record
	Role       matrices.Role
	Thin       bool
	Transposed bool  // the node wants [In, Out]
	Dims       []int // of the dense matrix, as the node wants it
}

// matrix is MatrixRecord as it stands in the metadata.
type matrix struct {
	ring
	Role       matrices.Role `json:"role"`
	Thin       bool          `json:"thin"`
	Transposed bool          `json:"transposed"`
	Dims       []int         `json:"dims"`
}

// matrixLog is the metadata entry.
type matrixLog struct {
	Schema   string   `json:"schema"`
	Matrices []matrix `json:"matrices"`
}

func (l matrixLog) store(p *onnx.Patch) error {
	if len(l.Matrices) == 0 {
		return nil
	}
	l.Schema = matrixSchema
	return setEntry(p, MatrixKey, l)
}

// readMatrices parses the metadata entry without looking at the graph.
func readMatrices(m *onnx.Model) (matrixLog, error) {
	var l matrixLog
	if _, err := readEntry(m, MatrixKey, matrixSchema, &l); err != nil {
		return matrixLog{}, err
	}
	seen := map[string]bool{}
	for k, r := range l.Matrices {
		if err := r.check(); err != nil {
			return matrixLog{}, fmt.Errorf("export: metadata %s: matrix %d: %w", MatrixKey, k, err)
		}
		if seen[r.Sites[0]] {
			return matrixLog{}, fmt.Errorf("export: metadata %s: site %q stands in it twice", MatrixKey, r.Sites[0])
		}
		seen[r.Sites[0]] = true
	}
	return l, nil
}

// check compares a matrix's own numbers.
func (m matrix) check() error {
	if err := m.ring.check(); err != nil {
		return err
	}
	n, err := product(m.Dims)
	switch {
	case err != nil:
		return err
	case len(m.Sites) != 1:
		return fmt.Errorf("it has %d sites, not one", len(m.Sites))
	case n/m.Out != m.In || n%m.Out != 0:
		return fmt.Errorf("dims %v do not hold %d rows of %d columns", m.Dims, m.Out, m.In)
	case m.MergedOutput:
		return fmt.Errorf("the output is merged, which only rings of W are")
	}
	_, _, err = slotsOf(m.Role)
	return err
}

// slotsOf is [matrices.Role.Slots] for roles that may be unknown.
func slotsOf(r matrices.Role) (matrix, x int, err error) {
	matrix, x, ok := r.Slots()
	if !ok {
		err = fmt.Errorf("role %q is unknown", r)
	}
	return matrix, x, err
}

// Matrices reads the factors of a compact model's matrices that are no W, as [Records] reads the rings.
func Matrices(m *onnx.Model) ([]MatrixRecord, error) {
	l, err := readMatrices(m)
	if err != nil || len(l.Matrices) == 0 {
		return nil, err
	}
	v := newView(m)
	var out []MatrixRecord
	for _, e := range l.Matrices {
		r := MatrixRecord{Record: e.record(), Role: e.Role, Thin: e.Thin, Transposed: e.Transposed, Dims: e.Dims}
		if err := v.agreesMatrix(context.Background(), r); err != nil {
			return nil, fmt.Errorf("export: matrix of site %q: %w", e.Sites[0], err)
		}
		out = append(out, r)
	}
	return out, nil
}

// Factor reads the cores from the model.
func (r MatrixRecord) Factor(ctx context.Context, m *onnx.Model) (*tensor.Factor, error) {
	f, err := newView(m).factorOfMatrix(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("export: matrix of site %q: %w", r.Sites[0], err)
	}
	return f, nil
}

func (v *view) factorOfMatrix(ctx context.Context, r MatrixRecord) (*tensor.Factor, error) {
	if err := v.agreesMatrix(ctx, r); err != nil {
		return nil, err
	}
	return v.read(ctx, rootOf(v.holds[r.Sites[0]].Graph), r.Record)
}

// matrixDims is the shape of the matrix in the node's slot.
func (r MatrixRecord) matrixDims() []int {
	if !r.Thin {
		return r.Dims
	}
	dims := slices.Clone(r.Dims)
	if r.Transposed {
		dims[0] = r.Cut()
	} else {
		dims[1] = r.Cut()
	}
	return dims
}

// agreesMatrix compares a record with the graph.
func (v *view) agreesMatrix(ctx context.Context, r MatrixRecord) error {
	n := v.holds[r.Sites[0]]
	slot, slotX, err := slotsOf(r.Role)
	if err != nil {
		return err
	}
	switch {
	case n == nil:
		return fmt.Errorf("the metadata name it, the graph has no such node")
	case r.Thin && (slotX < 0 || r.Cut() == 0 || len(r.Dims) < 2):
		return fmt.Errorf("the metadata say that it stands as two products, which role %s in format %s cannot", r.Role, r.Format)
	}
	inMatrix, inX := r.Cores, []string(nil)
	if r.Thin {
		inMatrix, inX = r.Cores[len(r.InModes):], r.Cores[:len(r.InModes)]
	}
	dims, err := v.merged(ctx, n, "input", slot, inMatrix)
	if err != nil {
		return err
	}
	if want := r.matrixDims(); !slices.Equal(dims, want) {
		return fmt.Errorf("input %q has dims %s, the metadata say %s", n.Input(slot), dimsText(dims), dimsText(want))
	}
	if r.Thin {
		if err := v.projected(n, "input", slotX, r.Inputs[0], "", inX); err != nil {
			return err
		}
	}
	return v.agreeCores(ctx, rootOf(n.Graph), r.Record, nil)
}

// expandMatrix puts the product of a record's cores in their place.
func (v *view) expandMatrix(ctx context.Context, p *onnx.Patch, r MatrixRecord, name string) error {
	f, err := v.factorOfMatrix(ctx, r)
	if err != nil {
		return err
	}
	n := v.holds[r.Sites[0]]
	slot, slotX, _ := r.Role.Slots()
	elem, _, err := v.eval.Info(ctx, n.Graph, n.Input(slot))
	if err != nil {
		return err
	}
	w, err := matrices.Stored(f.Reconstruct(), elem, r.Dims, r.Transposed)
	if err != nil {
		return err
	}
	name = p.Fresh(name)
	p.AddInitializerArray(rootOf(n.Graph), name, w)
	p.SetInput(n, slot, name)
	if r.Thin {
		p.SetInput(n, slotX, r.Inputs[0])
	}
	return nil
}

// checkMatrix compares a factor with the matrix it is for.
func checkMatrix(s *matrices.Site, f *tensor.Factor, form Form, seen map[string]bool) error {
	if err := f.Validate(); err != nil {
		return fmt.Errorf("export: matrix %q: %w", s.Name, err)
	}
	switch {
	case !s.Decomposable:
		return fmt.Errorf("export: matrix %q cannot be decomposed: %s", s.Name, s.Reason)
	case seen[s.Name]:
		return fmt.Errorf("export: matrix %q stands in two replacements", s.Name)
	case s.Out != f.Out || s.In != f.In:
		return fmt.Errorf("export: matrix %q: it is [%d, %d], the factor is [%d, %d]", s.Name, s.Out, s.In, f.Out, f.In)
	case s.X >= 0 && !utf8.ValidString(s.Node.Input(s.X)):
		return fmt.Errorf("export: matrix %q: the name of its node's other input is not UTF-8: %q", s.Name, s.Node.Input(s.X))
	}
	seen[s.Name] = true
	return checkOpset(s.Name, s.Node, s.Elem, form)
}

// Thin says whether the factor of a matrix is written as two products: where each call is cheaper that way.
func Thin(s *matrices.Site, f *tensor.Factor) bool {
	if !f.HasSides() || f.Cut()*(s.In+s.Out) >= s.Size() {
		return false
	}
	switch s.Role {
	case matrices.Recurrent, matrices.Table:
		return false
	case matrices.Gemm:
		a, err := s.Node.AttrInt("transA", 0)
		return err == nil && a == 0
	}
	return true
}

func matrixNotes(s *matrices.Site, f *tensor.Factor, form Form) []string {
	if form == Dense || Thin(s, f) {
		return nil
	}
	return []string{fmt.Sprintf("matrix %q: a runtime rebuilds it from its factors when it loads the model: the file is small, speed and memory are the dense matrix's", s.Name)}
}

// matrix stores the factor of a matrix that is no W.
func (l *lowering) matrix(r MatrixReplacement, log *matrixLog, dense *[]origin) error {
	s, f := r.Matrix, r.Factor
	if slices.ContainsFunc(log.Matrices, func(m matrix) bool { return m.Sites[0] == s.Name }) {
		return fmt.Errorf("export: matrix %q: is factored already (expand the model before converting it again)", s.Name)
	}
	b := l.builderAt(s.Node, s.Elem, fmt.Sprintf("m%d.", len(log.Matrices)+len(*dense)))
	if l.options.Form == Dense {
		w, err := s.Array(f.Reconstruct())
		if err != nil {
			return fmt.Errorf("export: matrix %q: %w", s.Name, err)
		}
		name := b.patch.Fresh(b.prefix + "W")
		b.patch.AddInitializerArray(b.root, name, w)
		b.patch.SetInput(s.Node, s.Slot, name)
		*dense = append(*dense, originOfFactor(f, s.Name))
		return nil
	}
	e := matrix{
		ring: ring{
			Sites: []string{s.Name}, Inputs: []string{""}, Format: f.Format, Form: Bottleneck, In: f.In, Out: f.Out,
			InModes: f.InModes, OutModes: f.OutModes, Ranks: f.Ranks(),
		},
		Role: s.Role, Thin: Thin(s, f), Transposed: s.Transposed(), Dims: s.Dims,
	}
	var err error
	if l.options.Arranged && f.HasSides() {
		if err := b.arrangedMatrix(&e, s, f); err != nil {
			return err
		}
		log.Matrices = append(log.Matrices, e)
		return nil
	}
	if e.Cores, err = b.cores(f, func(int) ([]int, []float32) { return nil, nil }); err != nil {
		return err
	}
	if e.Thin {
		e.Inputs[0] = s.Node.Input(s.X)
		b.thin(s, f, e.Cores)
	} else {
		b.patch.SetInput(s.Node, s.Slot, b.multiplied(s, f, e.Cores))
	}
	log.Matrices = append(log.Matrices, e)
	return nil
}

// thin puts the product with R in front of the node and L into it.
func (b *builder) thin(s *matrices.Site, f *tensor.Factor, names []string) {
	right, x := b.right(f, names), s.Node.Input(s.X)
	var l string
	if s.Transposed() {
		l = b.leftTransposed(f, names)
	} else {
		l = b.left(f, names)
	}
	switch s.Role {
	case matrices.Left:
		right = b.transpose(right, 1, 0)
		b.at = s.Node
		x = b.matmul(right, x)
	case matrices.Conv:
		points := slices.Repeat([]int{1}, len(s.Dims)-2)
		right = b.reshape(b.transpose(right, 1, 0), append([]int{f.Cut(), s.In}, points...)...)
		l = b.reshape(l, append([]int{s.Out, f.Cut()}, points...)...)
		b.at = s.Node
		x = b.node("Conv", []string{x, right})
	default:
		b.at = s.Node
		x = b.matmul(x, right)
	}
	b.patch.SetInput(s.Node, s.X, x)
	b.patch.SetInput(s.Node, s.Slot, l)
}

// multiplied multiplies the factor out to the matrix that the node wants.
func (b *builder) multiplied(s *matrices.Site, f *tensor.Factor, names []string) string {
	var w string
	switch {
	case !f.HasSides():
		w = b.whole(f, names, f.Out, f.In)
		if s.Transposed() {
			w = b.transpose(w, 1, 0)
		}
	case s.Transposed():
		w = b.matmul(b.right(f, names), b.leftTransposed(f, names))
	default:
		w = b.matmul(b.left(f, names), b.transpose(b.right(f, names), 1, 0))
	}
	if len(s.Dims) != 2 {
		w = b.reshape(w, s.Dims...)
	}
	return w
}

// arrangedMatrix is thin or multiplied, with the cores in the orders that merging wants.
func (b *builder) arrangedMatrix(e *matrix, s *matrices.Site, f *tensor.Factor) (err error) {
	x := ""
	if e.Thin {
		x = s.Node.Input(s.X)
		e.Inputs[0] = x
	}
	cut := f.Cut()
	crossIn, crossOut := !e.Transposed, e.Transposed
	if e.Thin {
		crossIn = s.Role == matrices.Left || s.Role == matrices.Conv
	}
	a := arrangementOf(f, crossIn, crossOut)
	e.Orders = a.orders()
	in, out := []int{a.in.rows, cut}, []int{f.Out, cut}
	if crossIn {
		in = []int{cut, a.in.rows}
	}
	whole := false // the product of both sides is the matrix in its dims
	switch last := len(s.Dims) - 1; {
	case crossOut:
		out = []int{cut, f.Out}
		whole = last == 1
	case s.Role == matrices.Conv && e.Thin:
		points := slices.Repeat([]int{1}, len(s.Dims)-2)
		out = append(out, points...)
		if a.in.rows == f.In {
			in = append(in, points...)
		}
	case tensorProduct(s.Dims[:last]) == f.Out && !e.Thin:
		out = append(slices.Clone(s.Dims[:last]), cut)
		whole = true
	}
	if e.Cores, err = b.store(a, in, out); err != nil {
		return err
	}
	right, left := b.mergeIn(a, e.Cores, in), b.mergeOut(a, e.Cores, out)
	if !e.Thin {
		var w string
		if crossOut {
			w = b.matmul(right, left)
		} else {
			w = b.matmul(left, right)
		}
		if !whole {
			w = b.reshape(w, s.Dims...)
		}
		b.patch.SetInput(s.Node, s.Slot, w)
		return nil
	}
	if s.Role == matrices.Conv && a.in.rows != f.In {
		right = b.reshape(right, append([]int{cut, f.In}, slices.Repeat([]int{1}, len(s.Dims)-2)...)...)
	}
	b.at = s.Node
	switch s.Role {
	case matrices.Left:
		x = b.matmul(right, x)
	case matrices.Conv:
		x = b.node("Conv", []string{x, right})
	default:
		x = b.matmul(x, right)
	}
	b.patch.SetInput(s.Node, s.X, x)
	b.patch.SetInput(s.Node, s.Slot, left)
	return nil
}
