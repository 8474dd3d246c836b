package runtime

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
)

// buildScan: https://onnx.ai/onnx/operators/onnx__Scan.html, opset 9 on.
func buildScan(n *nodeInfo) (operator, error) {
	scans := int(n.int("num_scan_inputs", 0))
	if scans < 1 || scans > n.inputs() {
		return nil, fmt.Errorf("attribute \"num_scan_inputs\" is %d, want 1 to the %d inputs", scans, n.inputs())
	}
	if err := requireInputs(n, n.inputs(), -1); err != nil {
		return nil, err
	}
	s, err := n.body("body", n.inputs(), 0)
	if err != nil {
		return nil, err
	}
	o := &scanOp{body: s, state: n.inputs() - scans}
	if len(s.outputs) < o.state || len(s.outputs) < n.outputs() {
		return nil, fmt.Errorf("attribute \"body\": graph has %d outputs, want at least the %d state values and %d outputs of the node", len(s.outputs), o.state, n.outputs())
	}
	outs := len(s.outputs) - o.state
	for _, a := range []struct {
		name string
		want int
		to   *[]int64
	}{
		{"scan_input_axes", scans, &o.inAxes},
		{"scan_input_directions", scans, &o.inBackward},
		{"scan_output_axes", outs, &o.outAxes},
		{"scan_output_directions", outs, &o.outBackward},
	} {
		if *a.to = n.ints(a.name, make([]int64, a.want)); len(*a.to) != a.want {
			return nil, fmt.Errorf("attribute %q has %d entries, want %d", a.name, len(*a.to), a.want)
		}
	}
	return o, nil
}

type scanOp struct {
	body                    *scope
	state                   int // number of state values
	inAxes, outAxes         []int64
	inBackward, outBackward []int64 // 1: from the end
}

func (o *scanOp) run(*call, []*Tensor) ([]*Tensor, error) { return nil, errValuesOnly }

func (o *scanOp) runValues(c *call, in []*value) ([]*value, error) {
	state := append([]*value(nil), in[:o.state]...)
	var xs []*Tensor
	var axes []int // of the steps in each of xs
	steps := -1
	for k, v := range in[o.state:] {
		t, err := tensorOf(v)
		if err != nil {
			return nil, fmt.Errorf("scan input %d: %w", k, err)
		}
		axis, err := shape.Axis(o.inAxes[k], len(t.Dims))
		if err != nil {
			return nil, fmt.Errorf("scan input %d: %w", k, err)
		}
		if steps >= 0 && t.Dims[axis] != steps {
			return nil, fmt.Errorf("scan input %d: has %d steps, input 0 has %d", k, t.Dims[axis], steps)
		}
		steps = t.Dims[axis]
		xs, axes = append(xs, t), append(axes, axis)
	}
	from := make([]place, o.state) // of each state
	for k := range from {
		from[k] = c.input(k)
	}
	scans := make([]scanOutput, len(o.body.outputs)-o.state)
	for i := range steps {
		if err := c.ctx.Err(); err != nil {
			return nil, err
		}
		args := append([]*value(nil), state...)
		for k, t := range xs {
			at := i
			if o.inBackward[k] == 1 {
				at = steps - 1 - i
			}
			x, err := take(t, o.inAxes[k], at)
			if err != nil {
				return nil, fmt.Errorf("scan input %d: %w", k, err)
			}
			args = append(args, &value{tensor: x})
		}
		inner, out, err := c.runBody(o.body, args, func(inner *frame) {
			for k, p := range from {
				c.trace(inner.input(k), p)
			}
			for k, t := range xs {
				at := i
				if o.inBackward[k] == 1 {
					at = steps - 1 - i
				}
				c.traceTake(inner.input(o.state+k), c.input(o.state+k), t, axes[k], at, 1)
			}
		})
		if err != nil {
			return nil, err
		}
		copy(state, out)
		for k := range from {
			from[k] = inner.output(k)
		}
		for k := range scans {
			if err := scans[k].add(out[o.state+k], inner.output(o.state+k)); err != nil {
				return nil, fmt.Errorf("step %d: scan output %d: %w", i, k, err)
			}
		}
	}
	for k, p := range from {
		c.trace(c.output(k), p)
	}
	for k := range scans {
		if o.outBackward[k] == 1 {
			slices.Reverse(scans[k].parts)
			slices.Reverse(scans[k].from)
		}
		t, err := scans[k].stack(int(o.outAxes[k]), o.body.graph.Outputs[o.state+k].Type)
		if err != nil {
			return nil, fmt.Errorf("scan output %d: %w", k, err)
		}
		state = append(state, &value{tensor: t})
		if err := c.traceJoin(c.output(o.state+k), scans[k].from, scans[k].parts, o.outAxes[k], true); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// varies: a state does if the body's does or the value it begins with.
func (o *scanOp) varies(n *nodeInfo) []bool {
	v := o.body.varies()
	for k := range o.state {
		v[k] = v[k] || n.variable[k]
	}
	return v
}
