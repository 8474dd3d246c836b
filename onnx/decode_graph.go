package onnx

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

// copiedString is the length up to which byte strings of attributes are copied. Longer ones, such as compiled blobs of
// a vendor, stay in the mapped file.
const copiedString = 1 << 16

func (d *decoder) graph(g *Graph, data []byte, base int64) error {
	if err := d.enter(base); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	g.src = message{raw: data, offset: base}
	r := d.reader("GraphProto", data, base)
	for r.next() {
		f := field{number: r.number, raw: r.raw}
		var err error
		switch r.number {
		case 1:
			f.child, err = d.addNode(g, r)
		case 2:
			err = d.string(r, &g.Name)
		case 5:
			t := &Tensor{Graph: g}
			d.push("initializer", t, len(g.Initializers))
			g.Initializers = append(g.Initializers, t)
			err = d.tensorField(t, r)
			f.child = t
		case 11:
			f.child, err = d.addValueInfo(&g.Inputs, "input", r)
		case 12:
			f.child, err = d.addValueInfo(&g.Outputs, "output", r)
		case 13:
			f.child, err = d.addValueInfo(&g.ValueInfos, "value_info", r)
		case 15:
			s := &SparseTensor{}
			d.push("sparse_initializer", s, len(g.Sparse))
			g.Sparse = append(g.Sparse, s)
			err = d.sparse(s, r)
			f.child = s
		}
		if err == nil {
			err = d.count(r.offset, f.cost())
		}
		if err != nil {
			return err
		}
		if r.number == 5 || r.number == 15 {
			d.pop()
		}
		g.src.fields = append(g.src.fields, f)
	}
	return d.wire(r)
}

// addNode decodes a node field and appends the node to g.
func (d *decoder) addNode(g *Graph, r *wireReader) (*Node, error) {
	n := &Node{Graph: g, Index: len(g.Nodes)}
	d.push("node", n, n.Index)
	if err := d.want(r, protowire.BytesType); err != nil {
		return nil, err
	}
	if err := d.node(n, r.value, r.valueOffset()); err != nil {
		return nil, err
	}
	d.pop()
	g.Nodes = append(g.Nodes, n)
	return n, nil
}

func (d *decoder) node(n *Node, data []byte, base int64) error {
	if err := d.enter(base); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	n.src = message{raw: data, offset: base}
	r := d.reader("NodeProto", data, base)
	for r.next() {
		f := field{number: r.number, raw: r.raw}
		var err error
		switch r.number {
		case 1:
			err = d.addString(r, &n.Inputs)
		case 2:
			err = d.addString(r, &n.Outputs)
		case 3:
			err = d.string(r, &n.Name)
		case 4:
			err = d.string(r, &n.OpType)
		case 5:
			a := &Attribute{}
			n.Attributes = append(n.Attributes, a)
			err = d.attribute(a, n.Graph, n, r)
			f.child = a
		case 7:
			err = d.string(r, &n.Domain)
		case 8:
			err = d.string(r, &n.Overload)
		}
		if err == nil {
			err = d.count(r.offset, f.cost())
		}
		if err != nil {
			return err
		}
		n.src.fields = append(n.src.fields, f)
	}
	if r.err != nil {
		return d.wire(r)
	}
	n.Domain = plainDomain(n.Domain)
	for _, a := range n.Attributes {
		for _, body := range a.bodies() {
			body.OwnerAttr = a.Name
		}
	}
	return d.uniqueAttributes(n)
}

// uniqueAttributes refuses a second attribute of the same name.
func (d *decoder) uniqueAttributes(n *Node) error {
	if len(n.Attributes) < 2 {
		return nil
	}
	seen := make(map[string]bool, len(n.Attributes))
	for _, a := range n.Attributes {
		if seen[a.Name] {
			return d.errorf(a.src.offset, "attribute %s appears twice", quote(a.Name))
		}
		seen[a.Name] = true
	}
	return nil
}

// attribute decodes an attribute field of node n (nil for a function's default) in scope g.
func (d *decoder) attribute(a *Attribute, g *Graph, n *Node, r *wireReader) error {
	d.push("attribute", a, -1)
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	if err := d.enter(r.offset); err != nil {
		return err
	}
	data, base := r.value, r.valueOffset()
	a.src = message{raw: data, offset: base}
	typ := int64(0)
	var held attributeFields
	in := d.reader("AttributeProto", data, base)
	runStart := 0
	for in.next() {
		var child any
		var err error
		held.add(in.number)
		switch in.number {
		case 1:
			err = d.string(in, &a.Name)
		case 2:
			if err = d.want(in, protowire.Fixed32Type); err == nil {
				a.F = in.float()
			}
		case 3:
			err = d.int64(in, &a.I)
		case 4:
			if err = d.want(in, protowire.BytesType); err == nil {
				a.S = ownBytes(in.value)
			}
		case 5:
			if a.T != nil {
				return d.errorf(in.offset, "AttributeProto: a second tensor in field t")
			}
			a.T = &Tensor{}
			child, err = a.T, d.attributeTensor(a.T, "t", -1, in)
		case 6:
			if a.G != nil {
				return d.errorf(in.offset, "AttributeProto: a second graph in field g")
			}
			a.G = &Graph{Model: d.model, Owner: n}
			child, err = a.G, d.attributeGraph(a.G, "g", -1, in)
		case 7:
			err = d.addFloats(in, &a.Floats)
		case 8:
			err = d.addInts(in, &a.Ints)
		case 9:
			if err = d.want(in, protowire.BytesType); err == nil {
				a.Strings = append(a.Strings, ownBytes(in.value))
				err = d.count(in.offset, 1)
			}
		case 10:
			t := &Tensor{}
			a.Tensors = append(a.Tensors, t)
			child, err = t, d.attributeTensor(t, "tensors", len(a.Tensors)-1, in)
		case 11:
			body := &Graph{Model: d.model, Owner: n}
			a.Graphs = append(a.Graphs, body)
			child, err = body, d.attributeGraph(body, "graphs", len(a.Graphs)-1, in)
		case 20:
			err = d.int64(in, &typ)
		case 21:
			err = d.string(in, &a.RefName)
		case 22:
			if a.Sparse != nil {
				return d.errorf(in.offset, "AttributeProto: a second tensor in field sparse_tensor")
			}
			a.Sparse = &SparseTensor{}
			child, err = a.Sparse, d.attributeSparse(a.Sparse, "sparse_tensor", -1, in)
		case 23:
			s := &SparseTensor{}
			a.Sparses = append(a.Sparses, s)
			child, err = s, d.attributeSparse(s, "sparse_tensors", len(a.Sparses)-1, in)
		}
		if err != nil {
			return err
		}
		if child != nil {
			// Fields between those with a view are kept as one run: they are never edited one by one.
			start := in.pos - len(in.raw)
			if start > runStart {
				a.src.fields = append(a.src.fields, field{raw: data[runStart:start:start]})
			}
			a.src.fields = append(a.src.fields, field{number: in.number, raw: in.raw, child: child})
			runStart = in.pos
		}
	}
	if in.err != nil {
		return d.wire(in)
	}
	if runStart < len(data) {
		a.src.fields = append(a.src.fields, field{raw: data[runStart:]})
	}
	if err := d.attributeType(a, typ, held); err != nil {
		return err
	}
	d.depth--
	d.pop()
	return nil
}

func ownBytes(b []byte) []byte {
	if len(b) > copiedString {
		return b
	}
	return bytes.Clone(b)
}

func (d *decoder) attributeTensor(t *Tensor, name string, pos int, r *wireReader) error {
	d.push(name, t, pos)
	if err := d.tensorField(t, r); err != nil {
		return err
	}
	d.pop()
	return d.count(r.offset, viewCost)
}

func (d *decoder) attributeSparse(s *SparseTensor, name string, pos int, r *wireReader) error {
	d.push(name, s, pos)
	if err := d.sparse(s, r); err != nil {
		return err
	}
	d.pop()
	return d.count(r.offset, viewCost)
}

func (d *decoder) attributeGraph(g *Graph, name string, pos int, r *wireReader) error {
	d.push(name, g, pos)
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	if err := d.graph(g, r.value, r.valueOffset()); err != nil {
		return err
	}
	d.pop()
	return d.count(r.offset, viewCost)
}

// attributeFields is the set of value fields that an attribute holds.
type attributeFields uint32

func (s *attributeFields) add(number int32) {
	if number > 0 && number < 32 {
		*s |= 1 << number
	}
}

func (s attributeFields) has(number int32) bool { return s&(1<<number) != 0 }

// attributeTypes lists, for each type, the field that holds its value.
var attributeTypes = [...]struct {
	typ   AttributeType
	field int32
}{
	{AttrFloat, 2}, {AttrInt, 3}, {AttrString, 4}, {AttrTensor, 5}, {AttrGraph, 6}, {AttrFloats, 7}, {AttrInts, 8}, {AttrStrings, 9},
	{AttrTensors, 10}, {AttrGraphs, 11}, {AttrSparse, 22}, {AttrSparses, 23}, {AttrType, 14}, {AttrTypes, 15},
}

// attributeType sets a.Type from the type field, or from the field that is set where an old writer left it out.
func (d *decoder) attributeType(a *Attribute, typ int64, held attributeFields) error {
	if typ < 0 || typ > int64(AttrTypes) {
		return d.errorf(a.src.offset, "attribute type %d is unknown", typ)
	}
	a.Type = AttributeType(typ)
	if a.Type == AttrUndefined {
		for _, t := range attributeTypes {
			if held.has(t.field) {
				a.Type = t.typ
				break
			}
		}
	}
	if a.RefName != "" {
		return nil
	}
	// A number or list at its default may have been left out by a writer of proto3; a message cannot.
	switch {
	case a.Type == AttrTensor && a.T == nil, a.Type == AttrGraph && a.G == nil, a.Type == AttrSparse && a.Sparse == nil:
		return d.errorf(a.src.offset, "attribute type %d promises a value that is not there", typ)
	}
	return nil
}

func (d *decoder) addFloats(r *wireReader, to *[]float32) error {
	if r.typ == protowire.Fixed32Type {
		*to = append(*to, r.float())
		return nil
	}
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	if len(r.value)%4 != 0 {
		return d.errorf(r.offset, "%s: field %d: %d bytes of packed floats are not a multiple of 4", r.kind, r.number, len(r.value))
	}
	at := len(*to)
	*to = append(*to, make([]float32, len(r.value)/4)...)
	littleFloats((*to)[at:], r.value)
	return nil
}

// addValueInfo decodes a value_info, input or output field and appends it to list.
func (d *decoder) addValueInfo(list *[]*ValueInfo, name string, r *wireReader) (*ValueInfo, error) {
	v := &ValueInfo{}
	d.push(name, v, len(*list))
	if err := d.want(r, protowire.BytesType); err != nil {
		return nil, err
	}
	if err := d.valueInfo(v, r.value, r.valueOffset()); err != nil {
		return nil, err
	}
	d.pop()
	*list = append(*list, v)
	return v, nil
}

func (d *decoder) valueInfo(v *ValueInfo, data []byte, base int64) error {
	if err := d.enter(base); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	v.src = message{raw: data, offset: base}
	r := d.reader("ValueInfoProto", data, base)
	for r.next() {
		var err error
		switch r.number {
		case 1:
			err = d.string(r, &v.Name)
		case 2:
			if v.Type == nil {
				v.Type = &TypeInfo{}
			}
			err = d.typeInfo(v.Type, r)
		}
		if err != nil {
			return err
		}
	}
	return d.wire(r)
}

// typeInfo decodes a TypeProto into t; a second one is merged, as protobuf has it.
func (d *decoder) typeInfo(t *TypeInfo, r *wireReader) error {
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	if err := d.enter(r.offset); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	if err := d.count(r.offset, viewCost); err != nil {
		return err
	}
	in := d.reader("TypeProto", r.value, r.valueOffset())
	for in.next() {
		kind := ""
		switch in.number {
		case 1:
			kind = "tensor"
		case 4:
			kind = "sequence"
		case 5:
			kind = "map"
		case 7:
			kind = "opaque"
		case 8:
			kind = "sparse"
		case 9:
			kind = "optional"
		default:
			continue
		}
		if err := d.want(in, protowire.BytesType); err != nil {
			return err
		}
		if kind != t.Kind {
			*t = TypeInfo{Kind: kind}
		}
		if err := d.typeMember(t, in); err != nil {
			return err
		}
	}
	return d.wire(in)
}

// typeMember decodes the member of a TypeProto that is set.
func (d *decoder) typeMember(t *TypeInfo, r *wireReader) error {
	in := d.reader("TypeProto."+t.Kind, r.value, r.valueOffset())
	for in.next() {
		var err error
		switch {
		case t.Kind == "opaque":
		case in.number == 1 && (t.Kind == "sequence" || t.Kind == "optional"), in.number == 2 && t.Kind == "map":
			if t.Of == nil {
				t.Of = &TypeInfo{}
			}
			err = d.typeInfo(t.Of, in)
		case in.number == 1:
			var elem int64
			err = d.int64(in, &elem)
			t.Elem = DataType(elem)
		case in.number == 2 && (t.Kind == "tensor" || t.Kind == "sparse"):
			t.HasShape = true
			err = d.shape(t, in)
		}
		if err != nil {
			return err
		}
	}
	return d.wire(in)
}

func (d *decoder) shape(t *TypeInfo, r *wireReader) error {
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	in := d.reader("TensorShapeProto", r.value, r.valueOffset())
	for in.next() {
		if in.number != 1 {
			continue
		}
		if err := d.want(in, protowire.BytesType); err != nil {
			return err
		}
		if err := d.count(in.offset, 1); err != nil {
			return err
		}
		var dim Dim
		dr := d.reader("TensorShapeProto.Dimension", in.value, in.valueOffset())
		for dr.next() {
			var err error
			switch dr.number {
			case 1:
				// Some writers put a negative value where the dimension is not known.
				err = d.int64(dr, &dim.Value)
				dim.Known, dim.Param = dim.Value >= 0, ""
				if !dim.Known {
					dim.Value = 0
				}
			case 2:
				err = d.string(dr, &dim.Param)
				dim.Known, dim.Value = false, 0
			}
			if err != nil {
				return err
			}
		}
		if dr.err != nil {
			return d.wire(dr)
		}
		t.Shape = append(t.Shape, dim)
	}
	return d.wire(in)
}
