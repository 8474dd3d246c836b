package onnx

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

// Value is what a data file beside a model (`input_0.pb` of the ONNX backend tests) holds: a tensor, a sequence or an
// optional, as the model's TypeProto for it says.
type Value struct {
	Kind   string // "tensor", "sequence" or "optional", as in [TypeInfo]
	Name   string
	Tensor *Tensor  // of a tensor
	Elems  []*Value // of a sequence
	Of     *Value   // of an optional, nil where it is empty
}

// DecodeTensor decodes a TensorProto held in memory; name stands for it in errors. Its payload is read by
// [Tensor.Array] and must not lie in external data.
func DecodeTensor(name string, data []byte) (*Tensor, error) {
	d := memoryDecoder(name)
	t := &Tensor{}
	d.push("tensor", t, -1)
	if err := d.tensor(t, data, 0); err != nil {
		return nil, d.notProto(err, data, "tensor")
	}
	return t, nil
}

// DecodeSequence decodes a SequenceProto held in memory. Sequences of sparse tensors and maps are refused.
func DecodeSequence(name string, data []byte) (*Value, error) {
	d := memoryDecoder(name)
	v, err := d.sequence(data, 0)
	if err != nil {
		return nil, d.notProto(err, data, "sequence")
	}
	return v, nil
}

// DecodeOptional decodes an OptionalProto held in memory. Sparse tensors and maps are refused.
func DecodeOptional(name string, data []byte) (*Value, error) {
	d := memoryDecoder(name)
	v, err := d.optional(data, 0)
	if err != nil {
		return nil, d.notProto(err, data, "optional")
	}
	return v, nil
}

// DecodeValue decodes the value of a graph input or output of type t (nil: a tensor).
func DecodeValue(name string, data []byte, t *TypeInfo) (*Value, error) {
	switch {
	case t != nil && t.Kind == "sequence":
		return DecodeSequence(name, data)
	case t != nil && t.Kind == "optional":
		return DecodeOptional(name, data)
	case t != nil && t.Kind != "tensor":
		return nil, &UnsupportedError{File: name, What: "values of type " + quote(t.Kind) + " are not read"}
	}
	tensor, err := DecodeTensor(name, data)
	if err != nil {
		return nil, err
	}
	return &Value{Kind: "tensor", Name: tensor.Name, Tensor: tensor}, nil
}

// NewTensor makes a tensor from an array, which must not change afterwards. Numbers are written as raw_data.
func NewTensor(name string, a *Array) (*Tensor, error) {
	return newArrayTensor(memoryDecoder("").model, nil, name, a)
}

// EncodeTensor returns the tensor as a TensorProto; a decoded one gives back its input bytes.
func EncodeTensor(t *Tensor) ([]byte, error) {
	var e encoder
	var b bytes.Buffer
	e.content(t)
	if _, err := e.write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// memoryDecoder decodes messages that are no model.
func memoryDecoder(name string) *decoder {
	return &decoder{model: &Model{origin: newOrigin(name)}, file: name, limit: maxWeight}
}

// notProto replaces an error by what the data looks like, where that is clear.
func (d *decoder) notProto(err error, data []byte, kind string) error {
	if what := sniff(data, kind); what != "" {
		return &FormatError{File: d.file, Offset: -1, What: what}
	}
	return err
}

func (d *decoder) sequence(data []byte, base int64) (*Value, error) {
	if err := d.enter(base); err != nil {
		return nil, err
	}
	defer func() { d.depth-- }()
	v := &Value{Kind: "sequence"}
	r := d.reader("SequenceProto", data, base)
	for r.next() {
		var err error
		switch r.number {
		case 1:
			err = d.string(r, &v.Name)
		case 3, 5, 7:
			var of *Value
			of, err = d.element(r, len(v.Elems))
			v.Elems = append(v.Elems, of)
		case 4, 6:
			err = d.unsupportedElement(r)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, d.wire(r)
}

func (d *decoder) optional(data []byte, base int64) (*Value, error) {
	if err := d.enter(base); err != nil {
		return nil, err
	}
	defer func() { d.depth-- }()
	v := &Value{Kind: "optional"}
	r := d.reader("OptionalProto", data, base)
	for r.next() {
		var err error
		switch r.number {
		case 1:
			err = d.string(r, &v.Name)
		case 3, 5, 7:
			if v.Of != nil {
				return nil, d.errorf(r.offset, "OptionalProto: a second value in field %d", r.number)
			}
			v.Of, err = d.element(r, -1)
		case 4, 6:
			err = d.unsupportedElement(r)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, d.wire(r)
}

// element decodes a tensor (field 3), sequence (5) or optional (7) inside a sequence or optional.
func (d *decoder) element(r *wireReader, pos int) (*Value, error) {
	if err := d.want(r, protowire.BytesType); err != nil {
		return nil, err
	}
	if err := d.count(r.offset, viewCost); err != nil {
		return nil, err
	}
	d.push("value", nil, pos)
	defer d.pop()
	switch r.number {
	case 5:
		return d.sequence(r.value, r.valueOffset())
	case 7:
		return d.optional(r.value, r.valueOffset())
	}
	t := &Tensor{}
	err := d.tensorField(t, r)
	return &Value{Kind: "tensor", Name: t.Name, Tensor: t}, err
}

func (d *decoder) unsupportedElement(r *wireReader) error {
	return &UnsupportedError{File: d.file, Path: d.pathString(), What: r.kind + ": sparse tensors and maps as values are not read"}
}
