// Package opset moves models to another version of the standard operators.
//
// Between two versions a node stays as it is where its operator did not change, or only gained what the node does not use: attributes, inputs, element types. Where the form of
// an operator changed (axes became an input, an axis got another default) the node is rewritten to mean the same; the rules stand in rules.go. Any other node is refused by name.
// What changed with which version is the table operators.txt, made from ONNX's own schemas (see schemas.py).
package opset

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// UnsupportedError lists the nodes that have no form in the opset that was asked for.
type UnsupportedError struct {
	From, To int64
	Reasons  []string // one for each node that is in the way, in file order
}

func (e *UnsupportedError) Error() string {
	const most = 8
	list := e.Reasons
	more := ""
	if len(list) > most {
		more = fmt.Sprintf("; and %d more", len(list)-most)
		list = list[:most]
	}
	return fmt.Sprintf("export: opset %d cannot become opset %d: %s%s", e.From, e.To, strings.Join(list, "; "), more)
}

// IRVersion is the version of the format that ONNX released with an opset between [Oldest] and [Newest].
func IRVersion(opset int64) int64 { return irVersions[opset-Oldest] }

// Convert is a patch that moves a model, its functions and all inner graphs to the opset to, and the format to the IR version of that opset; a model with functions gets IR 8 at
// least, the first that has them, and one with overloaded functions 10. Nodes of other domains stay as they are.
//
// Nodes that cannot follow are an [UnsupportedError]. The result means the same; compare the two to be sure.
func Convert(ctx context.Context, m *onnx.Model, to int64) (*onnx.Patch, error) {
	c := &conversion{model: m, to: to, patch: onnx.NewPatch(m), index: onnx.NewIndex(m), from: m.Opset("")}
	switch {
	case to < Oldest || to > Newest:
		return nil, fmt.Errorf("export: opset %d: only %d to %d are written", to, Oldest, Newest)
	case c.from == 0:
		return nil, &UnsupportedError{c.from, to, []string{"the model imports no standard operators"}}
	}
	ir := IRVersion(to)
	for _, g := range m.Scopes() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if g.Owner == nil && g.Opset("") != 0 {
			c.patch.SetOpset(g, "", to)
		}
		if f := g.Function; f != nil {
			ir = max(ir, 8)
			if f.Overload != "" {
				ir = max(ir, 10)
			}
		}
		for _, n := range g.Nodes {
			if err := c.node(n); err != nil {
				return nil, err
			}
		}
	}
	if len(c.reasons) > 0 {
		return nil, &UnsupportedError{c.from, to, c.reasons}
	}
	c.patch.SetIRVersion(ir)
	return c.patch, nil
}

// conversion is a call of Convert at work.
type conversion struct {
	model    *onnx.Model
	from, to int64
	patch    *onnx.Patch
	index    *onnx.Index
	elements *elements // see types
	reasons  []string
}

// types are made when they are needed.
func (c *conversion) types() *elements {
	if c.elements == nil {
		c.elements = findElements(c.model, c.index)
	}
	return c.elements
}

// node brings one node over all versions between its own and that of the new opset.
func (c *conversion) node(n *onnx.Node) error {
	if n.Domain != "" || c.index.Function(n) != nil {
		return nil
	}
	refuse := func(format string, args ...any) error {
		c.reasons = append(c.reasons, n.String()+": "+fmt.Sprintf(format, args...))
		return nil
	}
	versions := operators()[n.OpType]
	from := n.Graph.Opset("")
	switch {
	case from > Newest:
		return refuse("opset %d is newer than the versions known here, which end with %d", from, Newest)
	case len(versions) == 0:
		return refuse("no opset up to %d has this operator", Newest)
	}
	a, b := inForce(versions, from), inForce(versions, c.to)
	switch {
	case a < 0:
		return refuse("the operator came with opset %d, the model imports %d", versions[0].since, from)
	case b < 0:
		return refuse("the operator came with opset %d", versions[0].since)
	case a == b:
		return nil
	}
	e := &edit{conversion: c, node: n}
	for a != b {
		var why string
		if a < b {
			a++
			why = e.up(versions[a])
		} else {
			why = e.down(versions[a])
			a--
		}
		if e.err != nil {
			return e.err
		}
		if why != "" {
			return refuse("%s-%d and %s-%d differ: %s", n.OpType, versions[inForce(versions, from)].since, n.OpType, versions[b].since, why)
		}
	}
	return e.write()
}

// edit is a node on its way.
type edit struct {
	*conversion
	node   *onnx.Node
	proto  *onnxpb.NodeProto   // its new form, nil while it is unchanged
	before []*onnxpb.NodeProto // nodes that make its new inputs
	after  []*onnxpb.NodeProto // nodes that finish its outputs
	err    error
}

// changed is the node to be edited.
func (e *edit) changed() *onnxpb.NodeProto {
	if e.proto == nil {
		p, err := e.node.Proto()
		if err != nil {
			e.err, p = err, &onnxpb.NodeProto{}
		}
		e.proto = p
	}
	return e.proto
}

// attribute finds an attribute of the node as it stands now.
func (e *edit) attribute(name string) *onnxpb.AttributeProto {
	list := e.changed().Attribute
	if k := slices.IndexFunc(list, func(a *onnxpb.AttributeProto) bool { return a.GetName() == name }); k >= 0 {
		return list[k]
	}
	return nil
}

func (e *edit) dropAttribute(name string) {
	p := e.changed()
	p.Attribute = slices.DeleteFunc(p.Attribute, func(a *onnxpb.AttributeProto) bool { return a.GetName() == name })
}

// has says whether the node has an attribute, without a copy of it.
func (e *edit) has(name string) bool {
	if e.proto == nil {
		return e.node.Attr(name) != nil
	}
	return e.attribute(name) != nil
}

// equals says whether an attribute has the integer that a mark names.
func (e *edit) equals(name, value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	a := e.attribute(name)
	return err == nil && a.GetType() == onnxpb.AttributeProto_INT && a.GetI() == n
}

// inputs is the number of inputs up to the last that is there.
func (e *edit) inputs() int {
	list := e.node.Inputs
	if e.proto != nil {
		list = e.proto.Input
	}
	for k := len(list); k > 0; k-- {
		if list[k-1] != "" {
			return k
		}
	}
	return 0
}

// up goes from the version before v to v. It says why not where that changes the meaning.
func (e *edit) up(v version) string {
	for _, m := range v.marks {
		switch {
		case m.kind == '!':
			if r := rules[ruleKey{e.node.OpType, v.since}]; r.up != nil {
				return r.up(e)
			}
			return fmt.Sprintf("what changed with %d has no equivalent here", v.since)
		case m.kind == '-' && e.has(m.name):
			if m.value != "*" && !e.equals(m.name, m.value) {
				return fmt.Sprintf("attribute %q is gone", m.name)
			}
			e.dropAttribute(m.name)
		case m.kind == '^' && e.types().may(e.node, m.name):
			return fmt.Sprintf("elements of type %s are gone", m.name)
		}
	}
	return ""
}

// down goes from v to the version before it.
func (e *edit) down(v version) string {
	for _, m := range v.marks {
		switch m.kind {
		case '!':
			if r := rules[ruleKey{e.node.OpType, v.since}]; r.down != nil {
				return r.down(e)
			}
			return fmt.Sprintf("what changed with %d has no equivalent before", v.since)
		case '+':
			if !e.has(m.name) {
				continue
			}
			if m.value == "" || !e.equals(m.name, m.value) {
				return fmt.Sprintf("attribute %q came with %d", m.name, v.since)
			}
			e.dropAttribute(m.name)
		case '~':
			if a := e.node.Attr(m.name); a != nil && string(a.S) == m.value {
				return fmt.Sprintf("%s %q came with %d", m.name, m.value, v.since)
			}
		case '#':
			if most, err := strconv.Atoi(m.name); err == nil && e.inputs() > most {
				return fmt.Sprintf("input %d came with %d", most, v.since)
			}
		case '@':
			if e.types().may(e.node, m.name) {
				return fmt.Sprintf("elements of type %s came with %d", m.name, v.since)
			}
		}
	}
	return ""
}

// write puts the new form in the place of the node.
func (e *edit) write() error {
	if e.err != nil || e.proto == nil {
		return e.err
	}
	for _, p := range append(append(slices.Clone(e.before), e.proto), e.after...) {
		e.patch.InsertBefore(e.node, p)
	}
	e.patch.RemoveNode(e.node)
	return nil
}
