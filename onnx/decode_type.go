package onnx

import "google.golang.org/protobuf/encoding/protowire"

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
