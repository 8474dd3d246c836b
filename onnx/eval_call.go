package onnx

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
)

// operator is one entry of the evaluator's table.
type operator struct {
	run func(c *call) ([]*Array, error)
	// values lists the inputs whose values decide the shape of the result: they are read even where only the shape is asked for.
	values []int
	// dimsOnly says that the result depends on the shape of the inputs alone.
	dimsOnly bool
	// many says that the node may have more outputs than the first.
	many bool
	// since is the opset from which on the operator is evaluated.
	since int64
}

func (o operator) decides(k int) bool { return slices.Contains(o.values, k) }

// operators are those of the standard domain that are evaluated.
var operators map[string]operator

func init() {
	operators = map[string]operator{
		"Constant":         {run: evalConstant},
		"ConstantOfShape":  {run: evalConstantOfShape, values: []int{0}},
		"Identity":         {run: evalIdentity},
		"Cast":             {run: evalCast, since: 6},
		"CastLike":         {run: evalCastLike},
		"Reshape":          {run: evalReshape, values: []int{1}},
		"Flatten":          {run: evalFlatten},
		"Squeeze":          {run: evalSqueeze, values: []int{1}},
		"Unsqueeze":        {run: evalUnsqueeze, values: []int{1}},
		"Transpose":        {run: evalTranspose},
		"Slice":            {run: evalSlice, values: []int{1, 2, 3, 4}},
		"Split":            {run: evalSplit, values: []int{1}, many: true},
		"Concat":           {run: evalConcat},
		"Gather":           {run: evalGather},
		"GatherElements":   {run: evalGatherElements},
		"GatherND":         {run: evalGatherND},
		"Expand":           {run: evalExpand, values: []int{1}},
		"Tile":             {run: evalTile, values: []int{1}, since: 6},
		"Pad":              {run: evalPad, values: []int{1, 3}},
		"Shape":            {run: evalShape, dimsOnly: true},
		"Size":             {run: evalSize, dimsOnly: true},
		"Range":            {run: evalRange, values: []int{0, 1, 2}},
		"Where":            {run: evalWhere},
		"MatMul":           {run: evalMatMul},
		"Gemm":             {run: evalGemm},
		"Not":              {run: evalNot},
		"And":              {run: logical(func(a, b bool) bool { return a && b })},
		"Or":               {run: logical(func(a, b bool) bool { return a || b })},
		"Xor":              {run: logical(func(a, b bool) bool { return a != b })},
		"Equal":            {run: compared("Equal")},
		"Less":             {run: compared("Less")},
		"LessOrEqual":      {run: compared("LessOrEqual")},
		"Greater":          {run: compared("Greater")},
		"GreaterOrEqual":   {run: compared("GreaterOrEqual")},
		"DequantizeLinear": {run: evalDequantizeLinear},
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum"} {
		operators[op] = operator{run: arithmetic(op)}
	}
	for _, op := range []string{"Neg", "Abs", "Sqrt", "Exp", "Log", "Reciprocal", "Floor", "Ceil", "Relu", "Sigmoid", "Tanh"} {
		operators[op] = operator{run: elementwise(op)}
	}
	for _, op := range []string{"ReduceSum", "ReduceProd", "ReduceMean", "ReduceMax", "ReduceMin"} {
		operators[op] = operator{run: reduction(op), values: []int{1}}
	}
}

// refused says why a node of an operator in the table is not evaluated all the same, "" where it is.
func (o operator) refused(n *Node) string {
	if v := n.Graph.Opset(""); v < o.since {
		return fmt.Sprintf("%s in opset %d, before %d", n, v, o.since)
	}
	switch n.OpType {
	case "Constant":
		if n.Attr("sparse_value") != nil {
			return "the sparse value of " + n.String()
		}
	case "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater":
		if n.Attr("axis") != nil {
			return "broadcasting along an axis, as before opset 7, by " + n.String()
		}
	}
	return ""
}

// call is one evaluation of a node.
type call struct {
	*evaluation
	node      *Node
	in        []*Array // nil where absent; Data is nil where only type and dims are known
	shapeOnly bool     // the result needs no Data
	version   int64    // opset
}

// input is the k-th input, which must be there.
func (c *call) input(k int) (*Array, error) {
	if k >= len(c.in) || c.in[k] == nil {
		return nil, fmt.Errorf("input %d is missing", k)
	}
	return c.in[k], nil
}

// has says whether the k-th input is given.
func (c *call) has(k int) bool { return k < len(c.in) && c.in[k] != nil }

// ints are the values of an integer input.
func (c *call) ints(k int) ([]int64, error) {
	a, err := c.input(k)
	if err != nil {
		return nil, err
	}
	return intValues(a, fmt.Sprintf("input %d", k))
}

func intValues(a *Array, what string) ([]int64, error) {
	if len(a.Dims) > 1 {
		return nil, fmt.Errorf("%s has shape %v (want a list)", what, a.Dims)
	}
	return indexValues(a, what)
}

// indexValues are the values of an integer tensor of any shape.
func indexValues(a *Array, what string) ([]int64, error) {
	switch d := a.Data.(type) {
	case []int64:
		return d, nil
	case []int32:
		out := make([]int64, len(d))
		for i, v := range d {
			out[i] = int64(v)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s has type %s (want int32 or int64)", what, a.Type)
}

// axes are the attribute of that name or, from the opset on that made it so, input k; nil where neither is given.
func (c *call) axes(name string, k int) ([]int64, error) {
	var v []int64
	var err error
	switch {
	case c.node.Attr(name) != nil:
		v, err = c.node.AttrInts(name)
	case c.has(k):
		v, err = c.ints(k)
	default:
		return nil, nil
	}
	if v == nil {
		v = []int64{}
	}
	return v, err
}

// spend books the bytes of a result before it is allocated.
func (c *call) spend(t DataType, dims []int) error {
	n, err := shape.Size(dims, 0)
	if err != nil {
		return err
	}
	size := elementBytes(t)
	if int64(n) > c.left/size {
		return errNotEvaluated(fmt.Sprintf("a result of shape %v would take the values computed from constants past %d bytes", dims, c.e.limit))
	}
	c.left -= int64(n) * size
	return nil
}

// shaped is a result of which only type and dims are known.
func shaped(t DataType, dims []int) ([]*Array, error) {
	return []*Array{{Type: t, Dims: dims}}, nil
}

// moved is a result of type a.Type and the given dims, whose elements move makes unless only the shape is asked for.
func (c *call) moved(a *Array, dims []int, move func(e shape.Elements) (shape.Elements, []int, error)) ([]*Array, error) {
	if _, err := shape.Size(dims, 0); err != nil {
		return nil, err
	}
	if c.shapeOnly {
		return shaped(a.Type, dims)
	}
	if err := c.spend(a.Type, dims); err != nil {
		return nil, err
	}
	e, err := shape.Of(a.Data)
	if err != nil {
		return nil, err
	}
	out, dims, err := move(e)
	if err != nil {
		return nil, err
	}
	return []*Array{{Type: a.Type, Dims: dims, Data: out.Data()}}, nil
}

// viewed is input a in another shape; it shares the data.
func viewed(a *Array, dims []int) ([]*Array, error) {
	return []*Array{{Type: a.Type, Dims: dims, Data: a.Data}}, nil
}
