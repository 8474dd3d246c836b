package onnx

import (
	"bytes"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Numbers of the fields that hold versions.
const (
	modelIR       = 1
	modelOpset    = 8
	functionOpset = 9
)

// SetOpset sets the version of an operator domain that the model imports already, or, with a function's body for root, the function. What nodes mean there is for the
// caller to keep.
func (p *Patch) SetOpset(root *Graph, domain string, version int64) {
	if !p.known("SetOpset", root, root != nil) {
		return
	}
	if root.Owner != nil {
		p.fail("SetOpset: %s is the body of a node, which imports no operators of its own", viewLabel(root))
		return
	}
	if root.Opset(domain) == 0 || version < 1 {
		p.fail("SetOpset: version %d of domain %q (it is imported at version %d)", version, domain, root.Opset(domain))
		return
	}
	p.opsets = append(p.opsets, opsetEdit{root, Opset{plainDomain(domain), version}})
}

// opsetEdit is one call of SetOpset.
type opsetEdit struct {
	root *Graph
	Opset
}

// SetIRVersion sets the version of the format. From below 4 to a later one it takes initializers out of the inputs of the main graph: before 4 every initializer had to be
// one, from 4 on such a pair says that callers may replace the value.
func (p *Patch) SetIRVersion(version int64) {
	if version < 1 || version > maxIRVersion {
		p.fail("SetIRVersion: %d (this program knows 1 to %d)", version, maxIRVersion)
		return
	}
	p.ir = version
}

// Proto decodes the node into the generated type, to be edited and put in its place.
func (n *Node) Proto() (*onnxpb.NodeProto, error) {
	var b bytes.Buffer
	e := encoder{origin: n.Graph.Model.origin}
	e.content(n)
	if _, err := e.write(&b); err != nil {
		return nil, fmt.Errorf("onnx: %v: %w", n, err)
	}
	p := &onnxpb.NodeProto{}
	if err := proto.Unmarshal(b.Bytes(), p); err != nil {
		return nil, fmt.Errorf("onnx: %v: %w", n, err)
	}
	return p, nil
}

// setVersions edits the versions of the copied model, before all other edits.
func (a *application) setVersions() {
	m := a.m
	if ir := a.p.ir; ir != 0 && ir != m.IRVersion {
		bare := m.IRVersion < 4 && ir >= 4
		m.IRVersion = ir
		for k, f := range m.src.fields {
			if f.number == modelIR {
				m.src.fields[k], m.src.raw = intField(modelIR, ir), nil
			}
		}
		if bare {
			have := map[string]bool{}
			for _, t := range m.Graph.Initializers {
				have[t.Name] = true
			}
			e := &graphEdit{g: m.Graph}
			e.dropInputs(have)
			e.write()
		}
	}
	for _, o := range a.p.opsets {
		root := a.views[o.root].(*Graph)
		src, number, list := &m.src, int32(modelOpset), &m.Opsets
		if root.Function != nil {
			src, number, list = &root.src, functionOpset, &root.Function.Opsets
		}
		*list = slices.Clone(*list)
		next := 0
		for k, f := range src.fields {
			if f.number != number {
				continue
			}
			if old := &(*list)[next]; old.Domain == o.Domain && old.Version != o.Version {
				old.Version = o.Version
				src.fields[k] = opsetField(number, o.Opset)
				touch(root)
				src.raw = nil
			}
			next++
		}
	}
}

// opsetField is a new field holding an OperatorSetIdProto.
func opsetField(number int32, o Opset) field {
	return messageField(number, stringField(1, o.Domain), intField(2, o.Version))
}
