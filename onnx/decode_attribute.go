package onnx

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

// copiedString is the length up to which byte strings of attributes are copied. Longer ones, such as compiled blobs of
// a vendor, stay in the mapped file.
const copiedString = 1 << 16

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

// attribute decodes an attribute field of node n (nil for a function's default).
func (d *decoder) attribute(a *Attribute, n *Node, r *wireReader) error {
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
	run := 0 // where the fields since the last view begin: they are kept as one, for they are never edited one by one
	in := d.reader("AttributeProto", data, base)
	for in.next() {
		held.add(in.number)
		if in.number == 20 {
			if err := d.int64(in, &typ); err != nil {
				return err
			}
			continue
		}
		view, err := d.attributeView(a, n, in)
		if err == nil && view == nil {
			err = d.attributeValue(a, in)
		}
		if err != nil {
			return err
		}
		if view == nil {
			continue
		}
		if start := in.pos - len(in.raw); start > run {
			a.src.fields = append(a.src.fields, field{raw: data[run:start:start]})
		}
		a.src.fields = append(a.src.fields, field{number: in.number, raw: in.raw, child: view})
		run = in.pos
	}
	if in.err != nil {
		return d.wire(in)
	}
	if run < len(data) {
		a.src.fields = append(a.src.fields, field{raw: data[run:]})
	}
	if err := d.attributeType(a, typ, held); err != nil {
		return err
	}
	d.depth--
	d.pop()
	return nil
}

// attributeValue decodes a field that holds a name, numbers or strings.
func (d *decoder) attributeValue(a *Attribute, r *wireReader) error {
	switch r.number {
	case 1:
		return d.string(r, &a.Name)
	case 2:
		a.F = r.float()
		return d.want(r, protowire.Fixed32Type)
	case 3:
		return d.int64(r, &a.I)
	case 4:
		a.S = ownBytes(r.value)
		return d.want(r, protowire.BytesType)
	case 7:
		return d.addFloats(r, &a.Floats)
	case 8:
		return d.addInts(r, &a.Ints)
	case 9:
		if err := d.want(r, protowire.BytesType); err != nil {
			return err
		}
		a.Strings = append(a.Strings, ownBytes(r.value))
		return d.count(r.offset, 1)
	case 21:
		return d.string(r, &a.RefName)
	}
	return nil
}

// attributeView decodes a field that holds a tensor or graph; view is nil for other fields.
func (d *decoder) attributeView(a *Attribute, n *Node, r *wireReader) (view any, err error) {
	twice := false
	switch r.number {
	case 5:
		twice = a.T != nil
		a.T = &Tensor{}
		view, err = a.T, d.attributeTensor(a.T, "t", -1, r)
	case 6:
		twice = a.G != nil
		a.G = &Graph{Model: d.model, Owner: n}
		view, err = a.G, d.attributeGraph(a.G, "g", -1, r)
	case 10:
		t := &Tensor{}
		a.Tensors = append(a.Tensors, t)
		view, err = t, d.attributeTensor(t, "tensors", len(a.Tensors)-1, r)
	case 11:
		body := &Graph{Model: d.model, Owner: n}
		a.Graphs = append(a.Graphs, body)
		view, err = body, d.attributeGraph(body, "graphs", len(a.Graphs)-1, r)
	case 22:
		twice = a.Sparse != nil
		a.Sparse = &SparseTensor{}
		view, err = a.Sparse, d.attributeSparse(a.Sparse, "sparse_tensor", -1, r)
	case 23:
		s := &SparseTensor{}
		a.Sparses = append(a.Sparses, s)
		view, err = s, d.attributeSparse(s, "sparse_tensors", len(a.Sparses)-1, r)
	}
	if twice {
		// Protobuf would merge the two, which no writer of ONNX means.
		return nil, d.errorf(r.offset, "AttributeProto: field %d, which holds one value, appears twice", r.number)
	}
	return view, err
}

// ownBytes copies a byte string unless it is long.
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
