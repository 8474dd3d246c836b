package runtime

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// sequenceOp is an operator on sequences and optionals. Sequences are immutable like tensors.
type sequenceOp func(c *call, in []*value) (*value, error)

func (f sequenceOp) run(*call, []*Tensor) ([]*Tensor, error) { return nil, errValuesOnly }

func (f sequenceOp) runValues(c *call, in []*value) ([]*value, error) {
	v, err := f(c, in)
	if err != nil {
		return nil, err
	}
	return []*value{v}, nil
}

// varies: lengths do not depend on parameters, elements do.
func (f sequenceOp) varies(n *nodeInfo) []bool {
	count := n.node.OpType == "SequenceLength" || n.node.OpType == "OptionalHasElement"
	return []bool{!count && slices.Contains(n.variable, true)}
}

// source is the place of element k of a sequence, which has none where no tape is kept, nor maybe where no parameter reached it.
func (v *value) source(k int) place {
	if v.from == nil {
		return place{}
	}
	return v.from[k]
}

// sources are the places of all elements, to be changed; nil where no tape is kept.
func (c *call) sources(v *value) []place {
	switch {
	case c.runner.tape == nil:
		return nil
	case v.from == nil:
		return make([]place, len(v.sequence))
	}
	return slices.Clone(v.from)
}

// sequenceOf is the sequence a value must be.
func sequenceOf(v *value) ([]*Tensor, error) {
	if v == nil || v.kind != kindSequence {
		return nil, fmt.Errorf("input is absent or no sequence")
	}
	return v.sequence, nil
}

// position resolves an optional index into n places.
func position(in []*value, k, n, otherwise int) (int, error) {
	if k >= len(in) || in[k] == nil {
		return otherwise, nil
	}
	t, err := tensorOf(in[k])
	if err != nil {
		return 0, err
	}
	i, err := int64Scalar(t)
	if err != nil {
		return 0, fmt.Errorf("position: %w", err)
	}
	if i < -int64(n) || i >= int64(n) {
		return 0, fmt.Errorf("position %d is outside [%d, %d)", i, -n, n)
	}
	if i < 0 {
		i += int64(n)
	}
	return int(i), nil
}

func buildSequenceEmpty(n *nodeInfo) (operator, error) {
	elem := onnx.DataType(n.int("dtype", int64(onnx.Float)))
	return sequenceOp(func(*call, []*value) (*value, error) {
		return &value{kind: kindSequence, elem: elem}, nil
	}), nil
}

func buildSequenceConstruct(n *nodeInfo) (operator, error) {
	return sequenceOp(func(c *call, in []*value) (*value, error) {
		out := &value{kind: kindSequence}
		for k, v := range in {
			t, err := tensorOf(v)
			if err != nil {
				return nil, fmt.Errorf("input %d: %w", k, err)
			}
			if k > 0 && t.Type != out.elem {
				return nil, fmt.Errorf("input %d is %v, input 0 %v", k, t.Type, out.elem)
			}
			out.elem = t.Type
			out.sequence = append(out.sequence, t)
			if c.runner.tape != nil {
				out.from = append(out.from, c.input(k))
			}
		}
		return out, nil
	}), nil
}

// buildSequenceInsert: a position equal to the length appends, which is the default.
func buildSequenceInsert(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 3); err != nil {
		return nil, err
	}
	return sequenceOp(func(c *call, in []*value) (*value, error) {
		s, err := sequenceOf(in[0])
		if err != nil {
			return nil, err
		}
		t, err := tensorOf(in[1])
		if err != nil {
			return nil, err
		}
		if len(s) > 0 && s[0].Type != t.Type {
			return nil, fmt.Errorf("tensor is %v, the sequence holds %v", t.Type, s[0].Type)
		}
		at := len(s)
		if len(in) > 2 && in[2] != nil {
			p, err := tensorOf(in[2])
			if err != nil {
				return nil, err
			}
			i, err := int64Scalar(p)
			if err != nil {
				return nil, fmt.Errorf("position: %w", err)
			}
			if i < -int64(len(s)) || i > int64(len(s)) {
				return nil, fmt.Errorf("position %d is outside [%d, %d]", i, -len(s), len(s))
			}
			if i < 0 {
				i += int64(len(s))
			}
			at = int(i)
		}
		out := &value{kind: kindSequence, elem: t.Type, sequence: slices.Concat(s[:at], []*Tensor{t}, s[at:])}
		if from := c.sources(in[0]); from != nil {
			out.from = slices.Insert(from, at, c.input(1))
		}
		return out, nil
	}), nil
}

func buildSequenceErase(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 2); err != nil {
		return nil, err
	}
	return sequenceOp(func(c *call, in []*value) (*value, error) {
		s, err := sequenceOf(in[0])
		if err != nil {
			return nil, err
		}
		at, err := position(in, 1, len(s), len(s)-1)
		if err != nil {
			return nil, err
		}
		if len(s) == 0 {
			return nil, fmt.Errorf("the sequence is empty")
		}
		out := &value{kind: kindSequence, elem: in[0].elem, sequence: slices.Concat(s[:at], s[at+1:])}
		if from := c.sources(in[0]); from != nil {
			out.from = slices.Delete(from, at, at+1)
		}
		return out, nil
	}), nil
}

func buildSequenceAt(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	return sequenceOp(func(c *call, in []*value) (*value, error) {
		s, err := sequenceOf(in[0])
		if err != nil {
			return nil, err
		}
		at, err := position(in, 1, len(s), 0)
		if err != nil {
			return nil, err
		}
		c.trace(c.output(0), in[0].source(at))
		return &value{tensor: s[at]}, nil
	}), nil
}

func buildSequenceLength(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return sequenceOp(func(_ *call, in []*value) (*value, error) {
		s, err := sequenceOf(in[0])
		if err != nil {
			return nil, err
		}
		return &value{tensor: newTensor(onnx.Int64, []int{}, []int64{int64(len(s))})}, nil
	}), nil
}

func buildConcatFromSequence(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	if n.attr("axis", onnx.AttrInt) == nil {
		return nil, fmt.Errorf("attribute \"axis\" is missing")
	}
	axis, newAxis := int(n.int("axis", 0)), n.bool("new_axis", false)
	return sequenceOp(func(c *call, in []*value) (*value, error) {
		s, err := sequenceOf(in[0])
		if err != nil {
			return nil, err
		}
		if len(s) == 0 {
			return nil, fmt.Errorf("the sequence is empty")
		}
		var t *Tensor
		if newAxis {
			for k := range s {
				if !sameDims(s[k].Dims, s[0].Dims) {
					return nil, fmt.Errorf("element %d has dims %v, element 0 %v", k, s[k].Dims, s[0].Dims)
				}
			}
			t, err = stack(s, axis)
		} else {
			t, err = concat(s, axis)
		}
		if err == nil {
			err = c.traceJoin(c.output(0), in[0].from, s, int64(axis), newAxis)
		}
		return &value{tensor: t}, err
	}), nil
}

func buildSplitToSequence(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 2); err != nil {
		return nil, err
	}
	axis, keep := n.int("axis", 0), n.bool("keepdims", true)
	return sequenceOp(func(c *call, in []*value) (*value, error) {
		t, err := tensorOf(in[0])
		if err != nil {
			return nil, err
		}
		a, err := shape.Axis(axis, len(t.Dims))
		if err != nil {
			return nil, err
		}
		lengths, scalar := []int64(nil), false
		if len(in) > 1 && in[1] != nil {
			l, err := tensorOf(in[1])
			if err != nil {
				return nil, err
			}
			if lengths, err = int64s(l); err != nil {
				return nil, fmt.Errorf("split: %w", err)
			}
			scalar = len(l.Dims) == 0
		}
		single := lengths == nil
		if single {
			lengths, scalar = []int64{1}, true
		}
		if scalar {
			if lengths, err = chunks(int64(t.Dims[a]), lengths[0]); err != nil {
				return nil, err
			}
		}
		out, err := splitSequence(t, a, lengths, single && !keep)
		if err != nil {
			return nil, err
		}
		if whole := c.input(0); c.runner.tape != nil && whole.variable() {
			out.from = newPlaces(len(lengths))
			at := 0
			for k, l := range lengths {
				c.traceTake(out.from[k], whole, t, a, at, int(l))
				at += int(l)
			}
		}
		return out, nil
	}), nil
}

// chunks are the lengths of pieces of n, the last one possibly smaller.
func chunks(n, piece int64) ([]int64, error) {
	if piece < 1 {
		return nil, fmt.Errorf("split: length %d, want at least 1", piece)
	}
	var out []int64
	for ; n > 0; n -= piece {
		out = append(out, min(n, piece))
	}
	return out, nil
}

func splitSequence(t *Tensor, axis int, lengths []int64, squeeze bool) (*value, error) {
	out := &value{kind: kindSequence, elem: t.Type}
	e, err := shape.Of(t.Data)
	if err != nil {
		return nil, err
	}
	from := int64(0)
	for _, l := range lengths {
		if l < 0 || from+l > int64(t.Dims[axis]) {
			return nil, fmt.Errorf("split: lengths %v do not fit axis %d of dims %v", lengths, axis, t.Dims)
		}
		ranges, err := shape.SliceRanges(t.Dims, []int64{from}, []int64{from + l}, []int64{int64(axis)}, nil)
		if err != nil {
			return nil, err
		}
		part, dims, err := e.Slice(t.Dims, ranges)
		if err != nil {
			return nil, err
		}
		if squeeze {
			if dims, err = shape.SqueezeDims(dims, []int64{int64(axis)}); err != nil {
				return nil, err
			}
		}
		out.sequence = append(out.sequence, newTensor(t.Type, dims, part.Data()))
		from += l
	}
	if from != int64(t.Dims[axis]) {
		return nil, fmt.Errorf("split: lengths %v add up to %d, axis %d of dims %v has %d", lengths, from, axis, t.Dims, t.Dims[axis])
	}
	return out, nil
}

func buildOptional(n *nodeInfo) (operator, error) {
	n.ignore("type")
	return sequenceOp(func(c *call, in []*value) (*value, error) {
		if len(in) == 0 || in[0] == nil {
			return &value{kind: kindNone}, nil
		}
		c.trace(c.output(0), c.input(0))
		return in[0], nil
	}), nil
}

func buildOptionalHasElement(n *nodeInfo) (operator, error) {
	return sequenceOp(func(_ *call, in []*value) (*value, error) {
		has := len(in) > 0 && in[0] != nil && in[0].kind != kindNone
		return &value{tensor: newTensor(onnx.Bool, []int{}, []bool{has})}, nil
	}), nil
}

func buildOptionalGetElement(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return sequenceOp(func(c *call, in []*value) (*value, error) {
		if in[0].kind == kindNone {
			return nil, fmt.Errorf("the optional is empty")
		}
		c.trace(c.output(0), c.input(0))
		return in[0], nil
	}), nil
}
