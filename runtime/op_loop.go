package runtime

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// buildLoop: https://onnx.ai/onnx/operators/onnx__Loop.html
func buildLoop(n *nodeInfo) (operator, error) {
	if n.inputs() < 2 {
		return nil, fmt.Errorf("node has %d inputs, want at least 2", n.inputs())
	}
	for k := 2; k < n.inputs(); k++ {
		if !n.has(k) {
			return nil, fmt.Errorf("input %d is absent, want an initial value", k)
		}
	}
	carried := n.inputs() - 2
	s, err := n.body("body", n.inputs(), 2)
	if err != nil {
		return nil, err
	}
	if len(s.outputs) < 1+carried || len(s.outputs)-1 < n.outputs() {
		return nil, fmt.Errorf("attribute \"body\": graph has %d outputs, want 1 condition and at least the %d carried values and %d outputs of the node", len(s.outputs), carried, n.outputs())
	}
	return &loopOp{body: s, carried: carried}, nil
}

type loopOp struct {
	body    *scope
	carried int
}

func (o *loopOp) run(*call, []*Tensor) ([]*Tensor, error) { return nil, errValuesOnly }

func (o *loopOp) runValues(c *call, in []*value) ([]*value, error) {
	trips := int64(math.MaxInt64)
	if in[0] != nil {
		t, err := tensorOf(in[0])
		if err != nil {
			return nil, fmt.Errorf("input M: %w", err)
		}
		if trips, err = int64Scalar(t); err != nil {
			return nil, fmt.Errorf("input M: %w", err)
		}
	}
	run := true
	if in[1] != nil {
		var err error
		if run, err = condition(in[1]); err != nil {
			return nil, fmt.Errorf("input cond: %w", err)
		}
	}
	state := append([]*value(nil), in[2:]...)
	from := make([]place, o.carried) // of each state
	for k := range from {
		from[k] = c.input(2 + k)
	}
	scans := make([]scanOutput, len(o.body.outputs)-1-o.carried)
	for i := int64(0); run && i < trips; i++ {
		if err := c.ctx.Err(); err != nil {
			return nil, err
		}
		args := append([]*value{
			{tensor: newTensor(onnx.Int64, []int{}, []int64{i})},
			{tensor: newTensor(onnx.Bool, []int{}, []bool{run})},
		}, state...)
		inner, out, err := c.runBody(o.body, args, func(inner *frame) {
			for k, p := range from {
				c.trace(inner.input(2+k), p)
			}
		})
		if err != nil {
			return nil, err
		}
		if run, err = condition(out[0]); err != nil {
			return nil, fmt.Errorf("iteration %d: condition: %w", i, err)
		}
		copy(state, out[1:])
		for k := range from {
			from[k] = inner.output(1 + k)
		}
		for k := range scans {
			if err := scans[k].add(out[1+o.carried+k], inner.output(1+o.carried+k)); err != nil {
				return nil, fmt.Errorf("iteration %d: scan output %d: %w", i, k, err)
			}
		}
	}
	for k, p := range from {
		c.trace(c.output(k), p)
	}
	for k := range scans {
		t, err := scans[k].stack(0, o.body.graph.Outputs[1+o.carried+k].Type)
		if err != nil {
			return nil, fmt.Errorf("scan output %d: %w", k, err)
		}
		state = append(state, &value{tensor: t})
		if err := c.traceJoin(c.output(o.carried+k), scans[k].from, scans[k].parts, 0, true); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// varies: a state does if the body's does or the value it begins with.
func (o *loopOp) varies(n *nodeInfo) []bool {
	v := o.body.varies()[1:]
	for k := range o.carried {
		v[k] = v[k] || n.variable[2+k]
	}
	return v
}
