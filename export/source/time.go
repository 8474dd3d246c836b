package source

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// followError says why a model cannot be run step by step; reached says that the time axis arrived at a recurrent node.
type followError struct {
	reason  string
	reached bool
}

func (e *followError) Error() string { return e.reason }

// follow carries the time axes of the inputs through the graph. A stream gives the outputs of the whole model where no node looks along time but the forward
// recurrent ones, whose states are all that one step hands to the next.
func (g *graph) follow(inputs map[string]int, given bool) (map[string]int, error) {
	f := &follower{graph: g, labels: map[string]int{}, given: given}
	for _, v := range g.inputs {
		f.labels[v.Name] = Timeless
		if axis, ok := inputs[v.Name]; ok {
			f.labels[v.Name] = axis
		}
	}
	for _, n := range g.nodes {
		if err := guard(func() error { return f.node(n) }); err != nil {
			return nil, &followError{fmt.Sprintf("%v: %v", n, err), f.reached}
		}
	}
	if !f.reached {
		return nil, &followError{"no recurrent node reads the inputs along time", false}
	}
	for _, v := range g.outputs { // constants too
		f.labels[v.Name] = f.label(v.Name)
	}
	return f.labels, nil
}

type follower struct {
	*graph
	labels  map[string]int
	reached bool
	given   bool // initial states may be made of inputs
}

func (f *follower) label(name string) int {
	if l, ok := f.labels[name]; ok && !f.constant[name] {
		return l
	}
	return Timeless
}

func (f *follower) dims(name string) []int {
	if a := f.values[name]; a != nil {
		return a.Dims
	}
	return nil
}

func (f *follower) node(n *onnx.Node) error {
	if f.folded(n) {
		return nil
	}
	kind, sequence := Timeless, -1 // the operand that is a sequence
	for k, name := range n.Inputs {
		switch l := f.label(name); {
		case name == "" || l == Timeless:
		case l == Current && kind >= 0 || l >= 0 && kind == Current:
			return fmt.Errorf("it joins a sequence with the end of one")
		case l == Current:
			kind = Current
		case kind < 0:
			kind, sequence = l, k
		}
	}
	if isRecurrent(n) {
		return f.recurrent(n)
	}
	out := kind
	if kind >= 0 {
		var err error
		if out, err = f.sequence(n, sequence, kind); err != nil {
			return err
		}
	}
	for _, name := range n.Outputs {
		f.labels[name] = out
	}
	return nil
}

func isRecurrent(n *onnx.Node) bool { return slices.Contains([]string{"LSTM", "GRU", "RNN"}, n.OpType) }

func (f *follower) recurrent(n *onnx.Node) error {
	cfg, err := recurrent.ParseConfig(n, f.model.Opset(""))
	if err != nil {
		return err
	}
	axis := cfg.Layout
	if f.label(n.Input(0)) != axis {
		return fmt.Errorf("its steps are not those of the inputs")
	}
	f.reached = true
	if cfg.Direction != recurrent.Forward {
		return fmt.Errorf("direction %q needs the whole sequence", cfg.Direction)
	}
	for k, name := range n.Inputs {
		if state := k == recurrent.SlotInitialH || k == recurrent.SlotInitialC; state && f.given && f.label(name) == Timeless {
			continue
		}
		if k > 0 && name != "" && !f.constant[name] {
			return fmt.Errorf("operand %d is not constant", k)
		}
	}
	if cfg.HasSequenceLens {
		return fmt.Errorf("lengths of sequences")
	}
	for k, name := range n.Outputs {
		f.labels[name] = Current
		if k == 0 {
			f.labels[name] = axis // Y has its steps where X has them
		}
	}
	return nil
}

var errAlong = errors.New("it works along time")

// sequence gives the time axis of the result of a node one of whose operands is a sequence along axis.
func (f *follower) sequence(n *onnx.Node, operand, axis int) (int, error) {
	in, out := f.dims(n.Input(operand)), f.dims(FirstOutput(n))
	steps := in[axis]
	others := func(aligned bool) error {
		for k, name := range n.Inputs {
			if k == operand || name == "" {
				continue
			}
			d := f.dims(name)
			at := axis
			if aligned {
				at = axis - len(in) + len(d)
			}
			switch l := f.label(name); {
			case l >= 0 && l != at:
				return fmt.Errorf("operands are sequences along different axes")
			case l < 0 && aligned && at >= 0 && d[at] != 1:
				return fmt.Errorf("an operand has other values at every step")
			case l < 0 && !aligned:
				return fmt.Errorf("an operand is no sequence")
			}
		}
		return nil
	}
	attr := func(name string, otherwise int64, rank int) int {
		a, err := n.AttrInt(name, otherwise)
		k, err2 := resolveAxis(a, rank)
		if err != nil || err2 != nil {
			return axis
		}
		return k
	}
	first := func() (int, error) { // operators on a batch
		if operand != 0 || axis != 0 {
			return 0, errAlong
		}
		return 0, nil
	}
	switch n.OpType {
	case "Reshape", "Squeeze", "Unsqueeze", "Flatten":
		before := size(in[:axis])
		for k, d := range out {
			if d == steps && size(out[:k]) == before {
				return k, nil
			}
		}
		return 0, fmt.Errorf("it mixes time with other axes")
	case "Transpose":
		perm, err := n.AttrInts("perm")
		if err != nil {
			return 0, err
		}
		if perm == nil {
			return len(in) - 1 - axis, nil
		}
		return slices.Index(perm, int64(axis)), nil
	case "MatMul":
		for k, name := range n.Inputs {
			if k != operand && f.label(name) != Timeless {
				return 0, fmt.Errorf("both operands change with time")
			}
		}
		b := f.dims(n.Input(1))
		if operand != 0 || axis == len(in)-1 || len(b) > 2 && size(b[:len(b)-2]) != 1 {
			return 0, errAlong
		}
		return len(out) - len(in) + axis + min(1, max(0, 2-len(b))), nil
	case "Gemm":
		transposed, err := n.AttrInt("transA", 0)
		if err != nil || operand != 0 || axis != int(transposed) || f.label(n.Input(1)) != Timeless {
			return 0, errAlong
		}
		if c := f.dims(n.Input(2)); n.Input(2) != "" && (f.label(n.Input(2)) != Timeless || len(c) == 2 && c[0] != 1) {
			return 0, errAlong
		}
		return 0, nil
	case "Concat":
		if attr("axis", 1, len(in)) == axis {
			return 0, errAlong
		}
		return axis, others(false)
	case "Split", "Softmax", "LogSoftmax", "LayerNormalization", "ArgMax", "ArgMin":
		otherwise, onwards := int64(0), false // onwards: over the axes behind it too
		switch n.OpType {
		case "LayerNormalization":
			otherwise, onwards = -1, true
		case "Softmax", "LogSoftmax":
			if otherwise = -1; f.model.Opset("") < 13 {
				otherwise, onwards = 1, true
			}
		}
		k := attr("axis", otherwise, len(in))
		if k == axis || axis > k && onwards {
			return 0, errAlong
		}
		if len(out) < len(in) && k < axis {
			return axis - 1, nil
		}
		return axis, nil
	case "Gather":
		k := attr("axis", 0, len(in))
		if operand != 0 || f.label(n.Input(1)) != Timeless {
			if operand == 1 && f.label(n.Input(0)) == Timeless { // entries of a table
				return k + axis, nil
			}
			return 0, errAlong
		}
		index := f.values[n.Input(1)]
		if k != axis {
			if axis > k {
				return axis - 1 + len(index.Dims), nil
			}
			return axis, nil
		}
		if v, err := index.Int64s(); err != nil || len(v) != 1 || v[0] != -1 || !f.constant[n.Input(1)] {
			return 0, errAlong
		}
		return Current, nil
	case "Slice", "Pad":
		if n.OpType == "Pad" {
			if in[axis] != out[axis] {
				return 0, errAlong
			}
			return axis, nil
		}
		if out[axis] == steps && !f.negativeSteps(n) {
			return axis, nil
		}
		if out[axis] == 1 && f.lastOnly(n, axis) {
			return Current, nil
		}
		return 0, errAlong
	case "BatchNormalization":
		if axis == 1 {
			return 0, errAlong
		}
		return axis, nil
	case "Conv":
		if w := f.dims(n.Input(1)); operand == 0 && axis >= 2 && axis < len(w) && w[axis] == 1 && out[axis] == steps && f.label(n.Input(1)) == Timeless { // each step alone
			return axis, nil
		}
		return first()
	case "ConvTranspose", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization":
		return first()
	case "CumSum", "Tile", "Einsum", "ScatterND", "Trilu":
		return 0, errAlong
	case "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum":
		if len(out) == len(in) {
			if out[axis] != steps {
				return 0, errAlong
			}
			return axis, nil
		}
		return f.reduced(n, in, axis)
	case "Expand":
		return len(out) - len(in) + axis, nil
	}
	return len(out) - len(in) + axis, others(true) // element by element: operands and results line up at their last axes
}

// reduced places the time axis after a reduction that drops axes.
func (f *follower) reduced(n *onnx.Node, in []int, axis int) (int, error) {
	list, err := resolveAxes(f.ints(n, "axes", 1), len(in))
	if err != nil || len(list) == 0 || slices.Contains(list, axis) {
		return 0, errAlong
	}
	before := 0
	for _, k := range list {
		if k < axis {
			before++
		}
	}
	return axis - before, nil
}

// ints is an attribute that became operand k in later opsets, nil where there is none.
func (f *follower) ints(n *onnx.Node, name string, k int) []int64 {
	if v, err := n.AttrInts(name); err == nil && v != nil {
		return v
	}
	if a := f.values[n.Input(k)]; n.Input(k) != "" && a != nil {
		if v, err := a.Int64s(); err == nil {
			return v
		}
	}
	return nil
}

func (f *follower) negativeSteps(n *onnx.Node) bool {
	return slices.ContainsFunc(f.ints(n, "steps", 4), func(s int64) bool { return s < 0 })
}

// lastOnly says whether a Slice takes the last entry of an axis, counted from the end so that it does for every length.
func (f *follower) lastOnly(n *onnx.Node, axis int) bool {
	axes, starts := f.ints(n, "axes", 3), f.ints(n, "starts", 1)
	for k, s := range starts {
		at := k
		if axes != nil {
			if k >= len(axes) {
				return false
			}
			var err error
			if at, err = resolveAxis(axes[k], len(f.dims(n.Input(0)))); err != nil {
				return false
			}
		}
		if at == axis {
			return s == -1
		}
	}
	return false
}

// sameButTime checks that the graph for one step differs from that for SampleSteps in the length of time axes alone, and that no number depends on that length.
func sameButTime(whole, step *graph, labels map[string]int) error {
	for _, n := range whole.nodes {
		if whole.folded(n) {
			continue
		}
		for _, name := range n.Outputs {
			a, b := whole.values[name], step.values[name]
			if a == nil || b == nil {
				continue
			}
			want := slices.Clone(a.Dims)
			if k := labels[name]; k >= 0 {
				if k >= len(want) || want[k] != SampleSteps {
					return lacksf("%v: its time axis was lost", n)
				}
				want[k] = 1
			}
			if !slices.Equal(want, b.Dims) {
				return lacksf("%v: dims %v of one step instead of %v", n, b.Dims, want)
			}
		}
		for _, name := range n.Inputs {
			a, b := whole.values[name], step.values[name]
			if name == "" || !whole.constant[name] || a == nil || b == nil || !a.Type.IsFloat() {
				continue
			}
			if !slices.Equal(a.Dims, b.Dims) || !reflect.DeepEqual(a.Data, b.Data) {
				return lacksf("%v: %q depends on the number of steps", n, name)
			}
		}
	}
	return nil
}
