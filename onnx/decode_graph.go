package onnx

import "google.golang.org/protobuf/encoding/protowire"

func (d *decoder) graph(g *Graph, data []byte, base int64) error {
	if err := d.enter(base); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	g.src = message{raw: data, offset: base}
	r := d.reader("GraphProto", data, base)
	fields, err := d.room(r)
	if err != nil {
		return err
	}
	g.src.fields = fields
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
			err = d.count(r.offset, f.cost()-1)
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
	fields, err := d.room(r)
	if err != nil {
		return err
	}
	n.src.fields = fields
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
			err = d.attribute(a, n, r)
			f.child = a
		case 7:
			err = d.string(r, &n.Domain)
		case 8:
			err = d.string(r, &n.Overload)
		}
		if err == nil {
			err = d.count(r.offset, f.cost()-1)
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
