package runtime

import (
	"fmt"

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
	s, err := n.body("body", n.inputs())
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
		xs = append(xs, t)
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
		out, err := c.runBody(o.body, args)
		if err != nil {
			return nil, err
		}
		copy(state, out)
		for k := range scans {
			if err := scans[k].add(out[o.state+k]); err != nil {
				return nil, fmt.Errorf("step %d: scan output %d: %w", i, k, err)
			}
		}
	}
	for k := range scans {
		if p := scans[k].parts; o.outBackward[k] == 1 {
			for i, j := 0, len(p)-1; i < j; i, j = i+1, j-1 {
				p[i], p[j] = p[j], p[i]
			}
		}
		t, err := scans[k].stack(int(o.outAxes[k]), o.body.graph.Outputs[o.state+k].Type)
		if err != nil {
			return nil, fmt.Errorf("scan output %d: %w", k, err)
		}
		state = append(state, &value{tensor: t})
	}
	return state, nil
}
