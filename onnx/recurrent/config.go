package recurrent

import (
	"fmt"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
)

// Config is everything the attributes and optional inputs of a recurrent node say.
type Config struct {
	Op                Op
	Direction         Direction
	Hidden            int
	Layout            int          // 0: [T,B,I]; 1: [B,T,I]
	Clip              float32      // 0: none. Bounds the input of activations
	InputForget       bool         // LSTM
	LinearBeforeReset bool         // GRU
	Activations       []Activation // per direction: f,g,h for LSTM; f,g for GRU; f for RNN

	// OutputSequence is an attribute of opsets 1 to 6: with it, Y must be named; without it, Y may still be. Either way the node
	// computes the outputs it names, so it changes nothing.
	OutputSequence bool

	HasBias, HasSequenceLens, HasInitialH bool
	HasInitialC, HasPeepholes             bool // LSTM
}

// Slots of the operands in a node's inputs; the last two are LSTM's only.
const (
	SlotX = iota
	SlotW
	SlotR
	SlotB
	SlotSequenceLens
	SlotInitialH
	SlotInitialC
	SlotP
)

var slotNames = [...]string{"X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"}

// maxHidden keeps products of dimensions far from overflow; no real layer comes near it.
const maxHidden = 1 << 24

// cell is what the ONNX schema says about one operator.
type cell struct {
	gates, inputs, outputs int
	activations            []string // defaults of one direction
	attributes             map[string]span
}

// span is the range of opset versions that know an attribute; last 0 means to this day.
type span struct{ first, last int64 }

func (s span) has(opset int64) bool { return opset >= s.first && (s.last == 0 || opset <= s.last) }

var cells = map[Op]cell{
	LSTM: {4, 8, 3, []string{"Sigmoid", "Tanh", "Tanh"}, attributes(map[string]span{"input_forget": {first: 1}})},
	GRU:  {3, 6, 2, []string{"Sigmoid", "Tanh"}, attributes(map[string]span{"linear_before_reset": {first: 3}})},
	RNN:  {1, 6, 2, []string{"Tanh"}, attributes(nil)},
}

// attributes adds an operator's own attributes to those that all three have.
func attributes(own map[string]span) map[string]span {
	all := map[string]span{
		"activation_alpha": {first: 1},
		"activation_beta":  {first: 1},
		"activations":      {first: 1},
		"clip":             {first: 1},
		"direction":        {first: 1},
		"hidden_size":      {first: 1},
		"layout":           {first: 14},
		"output_sequence":  {first: 1, last: 6},
	}
	for name, s := range own {
		all[name] = s
	}
	return all
}

// ParseConfig reads the configuration from a node alone, as the given version of the default operator domain defines it (opsets
// 1 to 22 and later). A value that contradicts the specification is an [*onnx.FormatError]; one that is understood but not
// supported, or an attribute that this version does not know, is an [*UnsupportedError]. Nothing is ignored.
//
// Activation names are compared without regard to case, as ONNX Runtime does. The lists activation_alpha and activation_beta are
// consumed in the order of the activation functions (ONNX Operators.md, LSTM), each function taking only the parameters it has;
// defaults are those of the ONNX operators of the same name, and Affine and ScaledTanh, for which ONNX has no such operator any
// more, must be given theirs.
func ParseConfig(n *onnx.Node, opset int64) (Config, error) {
	op := Op(n.OpType)
	spec, known := cells[op]
	if !known {
		return Config{}, unsupported(n, "op_type", strconv.Quote(n.OpType), "is not LSTM, GRU or RNN")
	}
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return Config{}, unsupported(n, "domain", strconv.Quote(n.Domain), "is a custom operator; only the default domain's is understood")
	}
	if opset < 1 {
		return Config{}, broken(n, "the default operator domain is not imported (add ai.onnx to opset_import)")
	}
	p := parser{node: n, opset: opset, spec: spec, seen: map[string]*onnx.Attribute{}}
	if err := p.collect(); err != nil {
		return Config{}, err
	}
	c := Config{Op: op}
	steps := []func(*Config) error{p.operands, p.direction, p.hidden, p.flags, p.clip, p.activations}
	for _, step := range steps {
		if err := step(&c); err != nil {
			return Config{}, err
		}
	}
	return c, nil
}

// parser holds one node's attributes by name.
type parser struct {
	node  *onnx.Node
	opset int64
	spec  cell
	seen  map[string]*onnx.Attribute
}

var attributeTypes = map[string]onnx.AttributeType{
	"activation_alpha":    onnx.AttrFloats,
	"activation_beta":     onnx.AttrFloats,
	"activations":         onnx.AttrStrings,
	"clip":                onnx.AttrFloat,
	"direction":           onnx.AttrString,
	"hidden_size":         onnx.AttrInt,
	"input_forget":        onnx.AttrInt,
	"layout":              onnx.AttrInt,
	"linear_before_reset": onnx.AttrInt,
	"output_sequence":     onnx.AttrInt,
}

func (p *parser) collect() error {
	for _, a := range p.node.Attributes {
		versions, known := p.spec.attributes[a.Name]
		switch {
		case a.RefName != "":
			return unsupported(p.node, a.Name, "@"+strconv.Quote(a.RefName), "is set by the function's caller (inline the function before converting)")
		case !known:
			return unsupported(p.node, a.Name, describe(a), "is not an attribute of "+p.node.OpType)
		case !versions.has(p.opset):
			return unsupported(p.node, a.Name, describe(a), fmt.Sprintf("is not an attribute of %s at opset %d (%s)", p.node.OpType, p.opset, versions))
		case a.Type != attributeTypes[a.Name]:
			return broken(p.node, fmt.Sprintf("attribute %q has type %d, the specification says %d", a.Name, a.Type, attributeTypes[a.Name]))
		case p.seen[a.Name] != nil:
			return broken(p.node, fmt.Sprintf("attribute %q stands twice: %s and %s", a.Name, describe(p.seen[a.Name]), describe(a)))
		}
		p.seen[a.Name] = a
	}
	return nil
}

func (s span) String() string {
	if s.last == 0 {
		return fmt.Sprintf("it exists from opset %d on", s.first)
	}
	return fmt.Sprintf("it exists in opsets %d to %d", s.first, s.last)
}

func (p *parser) operands(c *Config) error {
	n := p.node
	for k := SlotX; k <= SlotR; k++ {
		if n.Input(k) == "" {
			return broken(n, "required input "+slotNames[k]+" is absent")
		}
	}
	for k := p.spec.inputs; k < len(n.Inputs); k++ {
		if n.Inputs[k] != "" {
			return broken(n, fmt.Sprintf("input %d is %q, but %s has %d inputs", k, n.Inputs[k], n.OpType, p.spec.inputs))
		}
	}
	for k := p.spec.outputs; k < len(n.Outputs); k++ {
		if n.Outputs[k] != "" {
			return broken(n, fmt.Sprintf("output %d is %q, but %s has %d outputs", k, n.Outputs[k], n.OpType, p.spec.outputs))
		}
	}
	c.HasBias = n.Input(SlotB) != ""
	c.HasSequenceLens = n.Input(SlotSequenceLens) != ""
	c.HasInitialH = n.Input(SlotInitialH) != ""
	c.HasInitialC = n.Input(SlotInitialC) != ""
	c.HasPeepholes = n.Input(SlotP) != ""
	return nil
}

func (p *parser) direction(c *Config) error {
	c.Direction = Forward
	if a := p.seen["direction"]; a != nil {
		c.Direction = Direction(a.S)
	}
	switch c.Direction {
	case Forward, Reverse, Bidirectional:
		return nil
	}
	return broken(p.node, fmt.Sprintf("attribute \"direction\" is %q (expected forward, reverse or bidirectional)", string(c.Direction)))
}

func (p *parser) hidden(c *Config) error {
	a := p.seen["hidden_size"]
	if a == nil {
		return broken(p.node, "attribute \"hidden_size\" is missing (set it to the last dimension of R)")
	}
	if a.I < 1 || a.I > maxHidden {
		return broken(p.node, fmt.Sprintf("attribute \"hidden_size\" is %d (expected 1 to %d)", a.I, maxHidden))
	}
	c.Hidden = int(a.I)
	return nil
}

// flags reads the attributes that are 0 or 1.
func (p *parser) flags(c *Config) error {
	layout := false
	for _, f := range []struct {
		name string
		to   *bool
	}{
		{"input_forget", &c.InputForget},
		{"linear_before_reset", &c.LinearBeforeReset},
		{"layout", &layout},
		{"output_sequence", &c.OutputSequence},
	} {
		a := p.seen[f.name]
		if a == nil {
			continue
		}
		if a.I != 0 && a.I != 1 {
			return broken(p.node, fmt.Sprintf("attribute %q is %d (expected 0 or 1)", f.name, a.I))
		}
		*f.to = a.I == 1
	}
	if layout {
		c.Layout = 1
	}
	return nil
}

func (p *parser) clip(c *Config) error {
	a := p.seen["clip"]
	if a == nil {
		return nil
	}
	if !(a.F > 0) {
		return broken(p.node, fmt.Sprintf("attribute \"clip\" is %v (expected a threshold above 0; leave it out for none)", a.F))
	}
	c.Clip = a.F
	return nil
}

// describe prints an attribute's value for a message.
func describe(a *onnx.Attribute) string {
	switch a.Type {
	case onnx.AttrInt:
		return strconv.FormatInt(a.I, 10)
	case onnx.AttrFloat:
		return strconv.FormatFloat(float64(a.F), 'g', -1, 32)
	case onnx.AttrString:
		return strconv.Quote(string(a.S))
	case onnx.AttrInts:
		return fmt.Sprint(a.Ints)
	case onnx.AttrFloats:
		return fmt.Sprint(a.Floats)
	case onnx.AttrStrings:
		return fmt.Sprintf("%q", a.Strings)
	}
	return "(a value)"
}

// broken says that a node contradicts the specification.
func broken(n *onnx.Node, what string) error {
	return &onnx.FormatError{File: fileOf(n), Offset: -1, Path: n.String(), What: what}
}

// unsupported says that a node is valid, or may be, but cannot be honoured.
func unsupported(n *onnx.Node, attribute, value, what string) error {
	return &UnsupportedError{Site: n.String(), Attribute: plain(attribute), Value: value, What: what}
}

// plain quotes a name from the file unless it is safe to print as it stands.
func plain(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}

func fileOf(n *onnx.Node) string {
	if n.Graph == nil || n.Graph.Model == nil {
		return ""
	}
	return n.Graph.Model.File()
}
