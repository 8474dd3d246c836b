package opset

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// ruleKey names a version of an operator.
type ruleKey struct {
	op    string
	since int64
}

// rule rewrites a node from the version before to this one, or back. The word it gives back says why it cannot, "" where it can.
type rule struct{ up, down func(*edit) string }

// rules are for versions that the table marks with "!". Each says the same as the text of the two versions in ONNX's docs/Changelog.md.
var rules = func() map[ruleKey]rule {
	t := map[ruleKey]rule{
		{"Squeeze", 13}:            {up: toInput("axes", 1)},
		{"Unsqueeze", 13}:          {up: toInput("axes", 1)},
		{"ReduceSum", 13}:          {up: toInput("axes", 1), down: axesToAttribute},
		{"Split", 13}:              {up: toInput("split", 1)},
		{"Split", 18}:              {up: countOutputs, down: splitGiven},
		{"Softmax", 13}:            {up: lastAxis},
		{"LogSoftmax", 13}:         {up: lastAxis},
		{"Hardmax", 13}:            {up: lastAxis},
		{"Slice", 10}:              {up: sliceInputs},
		{"TopK", 10}:               {up: toInput("k", 1)},
		{"Clip", 11}:               {up: clipInputs},
		{"Pad", 11}:                {up: padInputs},
		{"Dropout", 12}:            {up: dropRatio},
		{"BatchNormalization", 14}: {up: testOnly, down: testOnly},
	}
	for _, op := range []string{"L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"} {
		t[ruleKey{"Reduce" + op, 18}] = rule{up: toInput("axes", 1), down: axesToAttribute}
	}
	return t
}()

// setInput sets an input, with empty names before it where there are none.
func (e *edit) setInput(slot int, name string) {
	p := e.changed()
	for len(p.Input) <= slot {
		p.Input = append(p.Input, "")
	}
	p.Input[slot] = name
}

// fresh names a new value after the node's first output.
func (e *edit) fresh(what string) string { return e.patch.Fresh(e.node.Output(0) + "." + what) }

// ints adds a constant.
func (e *edit) ints(what string, values []int64) string {
	name := e.fresh(what)
	e.patch.AddInitializerArray(e.node.Graph, name, &onnx.Array{Type: onnx.Int64, Dims: []int{len(values)}, Data: values})
	return name
}

// toInput moves integers from an attribute to an input; an attribute that is not there leaves the input away.
func toInput(attribute string, slot int) func(*edit) string {
	return func(e *edit) string {
		a := e.attribute(attribute)
		if a == nil {
			return ""
		}
		values := a.GetInts()
		if a.GetType() == onnxpb.AttributeProto_INT {
			values = []int64{a.GetI()}
		}
		if len(values) == 0 && e.node.OpType != "Squeeze" {
			return fmt.Sprintf("%s is an empty list", attribute)
		}
		e.dropAttribute(attribute)
		e.setInput(slot, e.ints(attribute, values))
		return ""
	}
}

// axesToAttribute moves the axes of a reduction back.
func axesToAttribute(e *edit) string {
	if a := e.attribute("noop_with_empty_axes"); a != nil {
		if a.GetI() != 0 && e.inputs() < 2 {
			return "noop_with_empty_axes without axes"
		}
		e.dropAttribute("noop_with_empty_axes")
	}
	p := e.changed()
	if e.inputs() > 1 {
		d, ok := e.index.Resolve(e.node.Graph, p.Input[1])
		if !ok || d.Tensor == nil || d.Input != nil && e.index.Overridable(d) {
			return "its axes are no initializer"
		}
		v, err := d.Tensor.Array()
		if err != nil {
			e.err = err
			return ""
		}
		axes, err := v.Int64s()
		if err != nil || len(axes) == 0 {
			return "its axes are an empty list"
		}
		p.Attribute = append(p.Attribute, &onnxpb.AttributeProto{Name: proto.String("axes"), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: axes})
	}
	p.Input = p.Input[:1]
	return ""
}

// countOutputs says how many parts there are where their sizes are not given: before 18 that was the number of outputs.
func countOutputs(e *edit) string {
	if e.inputs() < 2 {
		p := e.changed()
		p.Attribute = append(p.Attribute, intAttribute("num_outputs", int64(len(p.Output))))
	}
	return ""
}

// splitGiven needs the sizes of the parts: without them 18 lets the last part be smaller, which 13 does not.
func splitGiven(e *edit) string {
	if e.inputs() < 2 {
		return "parts of equal size, the last of which may be smaller since 18"
	}
	return ""
}

// lastAxis: up to 12, Softmax and its relatives work over all axes from axis on together. That is one axis for the last; for others the axes are flattened around it.
func lastAxis(e *edit) string {
	axis := int64(1)
	if a := e.attribute("axis"); a != nil {
		axis = a.GetI()
	}
	p := e.changed()
	e.dropAttribute("axis")
	p.Attribute = append(p.Attribute, intAttribute("axis", -1))
	if axis == -1 || e.rank() > 0 && axis == int64(e.rank())-1 {
		return ""
	}
	x, y := p.Input[0], p.Output[0]
	shape, flat, soft := e.fresh("shape"), e.fresh("flat"), e.fresh("soft")
	e.before = append(e.before, newNode("Shape", []string{x}, shape), newNode("Flatten", []string{x}, flat, intAttribute("axis", axis)))
	p.Input[0], p.Output[0] = flat, soft
	e.after = append(e.after, newNode("Reshape", []string{soft, shape}, y))
	return ""
}

// rank is that of the node's first input or output where the model declares it, else 0.
func (e *edit) rank() int {
	for _, name := range []string{e.node.Input(0), e.node.Output(0)} {
		for _, list := range [][]*onnx.ValueInfo{e.node.Graph.ValueInfos, e.node.Graph.Inputs, e.node.Graph.Outputs} {
			for _, v := range list {
				if v.Name == name && v.Type != nil && v.Type.HasShape {
					return len(v.Type.Shape)
				}
			}
		}
	}
	return 0
}

// sliceInputs moves starts, ends and axes.
func sliceInputs(e *edit) string {
	for slot, name := range []string{"starts", "ends", "axes"} {
		if why := toInput(name, slot+1)(e); why != "" {
			return why
		}
	}
	return ""
}

// clipInputs moves the bounds, scalars of the type of the input, which must be float.
func clipInputs(e *edit) string {
	for slot, name := range []string{"min", "max"} {
		a := e.attribute(name)
		if a == nil {
			continue
		}
		bound, why := e.scalar(name, a.GetF())
		if why != "" {
			return why
		}
		e.dropAttribute(name)
		e.setInput(slot+1, bound)
	}
	return ""
}

// padInputs moves the pads and the value.
func padInputs(e *edit) string {
	if why := toInput("pads", 1)(e); why != "" {
		return why
	}
	a := e.attribute("value")
	if a == nil {
		return ""
	}
	value, why := e.scalar("value", a.GetF())
	if why != "" {
		return why
	}
	e.dropAttribute("value")
	e.setInput(2, value)
	return ""
}

// scalar adds a constant of the type of the node's first input.
func (e *edit) scalar(what string, v float32) (name, why string) {
	if t := e.types().of(e.node.Graph, e.node.Input(0)); t != onnx.Float {
		return "", fmt.Sprintf("%s becomes an input of the type of the data, which is %v and not float", what, t)
	}
	name = e.fresh(what)
	e.patch.AddInitializerArray(e.node.Graph, name, &onnx.Array{Type: onnx.Float, Dims: []int{}, Data: []float32{v}})
	return name, ""
}

// dropRatio: outside of training, which both versions must be told of, Dropout gives back its input whatever the ratio.
func dropRatio(e *edit) string {
	if e.has("ratio") {
		e.dropAttribute("ratio")
	}
	return ""
}

// testOnly: outside of training, only the first output is there, and it is the same in both versions.
func testOnly(e *edit) string {
	if a := e.node.Attr("training_mode"); a != nil && a.I != 0 || len(e.node.Outputs) > 1 {
		return "statistics of training"
	}
	if e.has("training_mode") {
		e.dropAttribute("training_mode")
	}
	return ""
}

func intAttribute(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

func newNode(op string, inputs []string, output string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(op), Input: inputs, Output: []string{output}, Attribute: attributes}
}
