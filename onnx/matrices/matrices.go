// Package matrices finds the constant matrices of a model that are not the W of a recurrent layer: the recurrent matrix R, operands of
// MatMul and Gemm, convolutions whose kernel is a single point, and embedding tables.
//
// Each is given as W [Out, In] of a product y = W·x, whatever the orientation in which the operator wants it stored.
package matrices

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// Role is what a matrix is for its node.
type Role string

// The roles. A right operand B [K, N] of X·B is W = Bᵀ, a left operand A [M, K] of A·X is W = A; R [D, G·H, H] is W [D·G·H, H], which
// the state of the step before is multiplied with; a kernel [M, C, 1, …] is W [M, C]; a table [V, E] is W [E, V], which a unit vector
// is multiplied with.
const (
	Recurrent Role = "r"
	Right     Role = "matmul-right"
	Left      Role = "matmul-left"
	Gemm      Role = "gemm"
	Conv      Role = "conv"
	Table     Role = "gather"
)

// leastNumbers is the size from which a matrix is worth the nodes and metadata that take its place, some 600 bytes.
const leastNumbers = 512

// Site is one constant matrix.
type Site struct {
	Name string // unique among the sites of a model: that of the node by the rules of recurrent.Nodes, with ".R" for a recurrent matrix
	Role Role
	Node *onnx.Node
	Slot int // input slot of the matrix
	X    int // input slot of what it is multiplied with; −1 for R

	// Out = Directions·Gates·Hidden rows, the latter two being 1 and Out but for R.
	Out, In                   int
	Directions, Gates, Hidden int
	Dims                      []int         // as the node wants it
	Elem                      onnx.DataType // Float, Float16, BFloat16 or Double

	Decomposable bool
	Reason       string // why not

	eval *onnx.Evaluator // of the model, shared by its sites
}

// Size is the number of elements.
func (s *Site) Size() int { return s.Out * s.In }

// Transposed says that the stored matrix is [In, Out].
func (s *Site) Transposed() bool {
	switch s.Role {
	case Right, Table:
		return true
	case Gemm:
		b, _ := s.Node.AttrInt("transB", 0)
		return b == 0
	}
	return false
}

// Nodes lists the nodes that may hold a matrix, under the names of their sites.
func Nodes(m *onnx.Model) []recurrent.Named {
	nodes := recurrent.NodesWhere(m, func(n *onnx.Node) bool {
		return len(rolesOf[n.OpType]) > 0 && n.Domain == ""
	})
	for k, n := range nodes {
		if rolesOf[n.Node.OpType][0] == Recurrent {
			nodes[k].Name += ".R"
		}
	}
	return nodes
}

var rolesOf = map[string][]Role{
	"LSTM": {Recurrent}, "GRU": {Recurrent}, "RNN": {Recurrent},
	"MatMul": {Right, Left}, "Gemm": {Gemm}, "Conv": {Conv}, "Gather": {Table},
}

// Find lists the constant matrices of all scopes, in file order. Those of fewer than 512 numbers are left out, and so are operands of
// nodes whose other operand is constant too. No weight is read.
func Find(ctx context.Context, m *onnx.Model) ([]*Site, error) {
	ix := onnx.NewIndex(m)
	f := finder{index: ix, eval: onnx.NewEvaluator(m, ix, 0)}
	var sites []*Site
	for _, n := range Nodes(m) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, role := range rolesOf[n.Node.OpType] {
			s, err := f.site(ctx, n, role)
			if err != nil {
				return nil, err
			}
			if s != nil {
				sites = append(sites, s)
			}
		}
	}
	return sites, nil
}

type finder struct {
	index *onnx.Index
	eval  *onnx.Evaluator
	steps int
}

// Slots are the input slots of a role's matrix and of what it is multiplied with, −1 where that is no input; ok is false where there is no such role.
func (r Role) Slots() (matrix, x int, ok bool) {
	switch r {
	case Recurrent:
		return recurrent.SlotR, -1, true
	case Left, Table:
		return 0, 1, true
	case Right, Gemm, Conv:
		return 1, 0, true
	}
	return 0, 0, false
}

// site is the matrix that a node holds in a role, nil where it holds none.
func (f *finder) site(ctx context.Context, n recurrent.Named, role Role) (*Site, error) {
	s := &Site{Name: n.Name, Role: role, Node: n.Node, eval: f.eval}
	s.Slot, s.X, _ = role.Slots()
	name := n.Node.Input(s.Slot)
	if name == "" || !f.constant(n.Node.Graph, name) {
		return nil, nil
	}
	if s.X >= 0 && f.constant(n.Node.Graph, n.Node.Input(s.X)) {
		return nil, nil // folded when the model is loaded
	}
	elem, dims, err := f.eval.Info(ctx, n.Node.Graph, name)
	if err != nil {
		return nil, err
	}
	s.Elem, s.Dims = elem, dims
	switch elem {
	case onnx.Float, onnx.Float16, onnx.BFloat16, onnx.Double:
	default:
		return nil, nil
	}
	ok, err := s.measure()
	if err != nil || !ok || s.Size() < leastNumbers {
		return nil, err
	}
	s.Reason = f.obstacle(s, name)
	s.Decomposable = s.Reason == ""
	return s, nil
}

func (f *finder) constant(g *onnx.Graph, name string) bool {
	ok, _ := f.eval.Constant(g, name)
	return ok
}

// measure finds rows and columns; ok is false where the node does not use the value as a matrix.
func (s *Site) measure() (ok bool, err error) {
	s.Directions, s.Gates = 1, 1
	switch s.Role {
	case Recurrent:
		if len(s.Dims) != 3 || !positive(s.Dims) || s.Dims[1]%s.Dims[2] != 0 {
			return false, nil
		}
		s.Directions, s.Gates, s.Hidden = s.Dims[0], s.Dims[1]/s.Dims[2], s.Dims[2]
		s.Out, s.In = s.Dims[0]*s.Dims[1], s.Dims[2]
		return true, nil
	case Conv:
		group, err := s.Node.AttrInt("group", 1)
		if err != nil || group != 1 || len(s.Dims) < 3 || !positive(s.Dims) || slices.Max(s.Dims[2:]) > 1 {
			return false, err
		}
		s.Out, s.In = s.Dims[0], s.Dims[1]
	case Table:
		axis, err := s.Node.AttrInt("axis", 0)
		if err != nil || axis != 0 && axis != -int64(len(s.Dims)) {
			return false, err
		}
		fallthrough
	default:
		if len(s.Dims) != 2 || !positive(s.Dims) {
			return false, nil
		}
		if _, err := s.Node.AttrInt("transB", 0); err != nil {
			return false, err
		}
		s.Out, s.In = s.Dims[0], s.Dims[1]
		if s.Transposed() {
			s.Out, s.In = s.In, s.Out
		}
	}
	s.Hidden = s.Out
	return true, nil
}

func positive(dims []int) bool { return slices.Min(dims) > 0 }

// maxSteps bounds what is walked through to find the readers of all matrices.
const maxSteps = 1_000_000

// obstacle says why a matrix cannot be replaced, "" where it can: it must be a stored tensor of as many numbers, or be computed from one, and
// nothing but its node may read either, for the dense copy would stay.
func (f *finder) obstacle(s *Site, name string) string {
	type place struct {
		graph *onnx.Graph
		name  string
	}
	todo, stored := []place{{s.Node.Graph, name}}, false
	for len(todo) > 0 {
		if f.steps++; f.steps > maxSteps {
			return "its chain of constants is too long"
		}
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		def, ok := f.index.Resolve(at.graph, at.name)
		if !ok {
			continue
		}
		t := def.Tensor
		if def.Node != nil && def.Node.OpType == "Constant" {
			if a := def.Node.Attr("value"); a != nil {
				t = a.T
			}
		}
		if t != nil && 100*t.Elements() < int64(s.Size()) {
			continue // axes, shapes, scales
		}
		if uses := f.index.Uses(def.Graph, at.name); len(uses) != 1 {
			return fmt.Sprintf("%s is read in %d places", strconv.Quote(at.name), len(uses))
		}
		if t != nil {
			if !t.Type.IsFloat() {
				return fmt.Sprintf("already quantised: it is computed from the %v tensor %s", t.Type, strconv.Quote(at.name))
			}
			stored = stored || t.Elements() >= int64(s.Size())
			continue
		}
		if def.Node != nil {
			for _, in := range def.Node.Inputs {
				if in != "" {
					todo = append(todo, place{def.Graph, in})
				}
			}
		}
	}
	if !stored {
		return "it is computed from smaller tensors"
	}
	return ""
}

// Weight reads the matrix as float32 [Out, In]. A NaN or an infinity is an error that names its place.
func (s *Site) Weight(ctx context.Context) (*tensor.Dense, error) {
	if !s.Decomposable {
		return nil, fmt.Errorf("matrices: %s: cannot be read as a matrix: %s", strconv.Quote(s.Name), s.Reason)
	}
	a, err := s.eval.Eval(ctx, s.Node.Graph, s.Node.Input(s.Slot))
	if err != nil {
		return nil, err
	}
	data, err := recurrent.Floats(a)
	if err != nil {
		return nil, fmt.Errorf("matrices: %s: %w", strconv.Quote(s.Name), err)
	}
	w := &tensor.Dense{Dims: []int{s.Out, s.In}, Data: data}
	if k := w.FirstNonFinite(); k >= 0 {
		return nil, fmt.Errorf("matrices: %s: element %d is %v, not a finite float32 (repair the weights before converting)", strconv.Quote(s.Name), k, data[k])
	}
	if s.Transposed() {
		w.Dims = []int{s.In, s.Out}
		w = w.Transpose(1, 0)
	}
	return w, nil
}

// Array is a matrix [Out, In] in type, dims and orientation of the site.
func (s *Site) Array(w *tensor.Dense) (*onnx.Array, error) {
	return Stored(w, s.Elem, s.Dims, s.Transposed())
}

// Stored is a matrix [Out, In] as an array of a type and dims, transposed first where that is asked for.
func Stored(w *tensor.Dense, elem onnx.DataType, dims []int, transposed bool) (*onnx.Array, error) {
	if transposed {
		w = w.Transpose(1, 0)
	}
	return recurrent.Array(elem, dims, w.Data)
}
