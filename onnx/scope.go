package onnx

import "context"

// Def is where a value comes from. Exactly one of Input, Tensor and Node is set (a graph input that is also an initializer has
// both Input and Tensor).
type Def struct {
	Graph  *Graph
	Input  *ValueInfo
	Tensor *Tensor
	Sparse *SparseTensor
	Node   *Node
	Slot   int // output slot of Node
}

// Use is one reader of a value: an input slot of a node (possibly in an inner scope), or a graph output.
type Use struct {
	Graph  *Graph // the scope of the reader
	Node   *Node  // nil for a graph output
	Slot   int
	Output *ValueInfo
}

// Index answers use-def questions over all scopes of a model.
type Index struct{}

// NewIndex builds the index in one pass over the graph.
func NewIndex(m *Model) *Index { return nil }

// Resolve finds the definition of name as seen from g, walking outwards through the scopes.
func (ix *Index) Resolve(g *Graph, name string) (Def, bool) { return Def{}, false }

// Uses lists every reader of the value that g itself defines under this name, in file order, inner scopes included.
func (ix *Index) Uses(g *Graph, name string) []Use { return nil }

// Check validates what a well-formed model promises: unique names in every scope, no shadowing, topological order, no dangling
// input or output, imported domains, acyclic functions. It returns a *FormatError naming the first violation.
func Check(m *Model) error { return errNotYet }

// Evaluator computes values that depend on constants alone: initializers, Constant nodes, and chains of Identity, Cast, Reshape,
// Transpose, Squeeze, Unsqueeze, Slice, Split, Concat, Gather, Expand, Pad, ConstantOfShape, Shape, elementwise arithmetic, MatMul, …
// The cores of a compact model merge through such chains. Results are cached by scope and name.
type Evaluator struct{}

// NewEvaluator makes an evaluator; results of more than limit bytes in all are refused (0: no limit beyond 8× the bytes present + 256 MiB).
func NewEvaluator(m *Model, ix *Index, limit int64) *Evaluator { return nil }

// Constant says whether the value can be evaluated; it reads no weights. Where it cannot, why names the input, node or operator in the way.
func (e *Evaluator) Constant(g *Graph, name string) (ok bool, why string) { return false, "" }

// Eval computes the value.
func (e *Evaluator) Eval(ctx context.Context, g *Graph, name string) (*Array, error) {
	return nil, errNotYet
}

// Info gives type and dims of a constant value; weights are read only where an operator's result shape depends on their values.
func (e *Evaluator) Info(ctx context.Context, g *Graph, name string) (DataType, []int, error) {
	return 0, nil, errNotYet
}

// Sources lists the initializers and Constant tensors that a constant value is computed from, without duplicates, in first-use order.
func (e *Evaluator) Sources(g *Graph, name string) []*Tensor { return nil }
