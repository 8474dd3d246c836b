package onnx

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// TestDecodeValue reads sequences and optionals that the generated types wrote.
func TestDecodeValue(t *testing.T) {
	encode := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sequence := &onnxpb.SequenceProto{Name: proto.String("s"), ElemType: proto.Int32(1), TensorValues: []*onnxpb.TensorProto{rawTensor("a", 2), typedTensor("b", 3)}}
	v, err := DecodeValue("s.pb", encode(sequence), &TypeInfo{Kind: "sequence", Of: &TypeInfo{Kind: "tensor"}})
	if err != nil {
		t.Fatal(err)
	}
	if v.Kind != "sequence" || v.Name != "s" || len(v.Elems) != 2 || v.Elems[1].Name != "b" || v.Elems[1].Tensor.Dims[0] != 3 {
		t.Errorf("sequence: %+v", v)
	}
	nested := &onnxpb.SequenceProto{SequenceValues: []*onnxpb.SequenceProto{sequence, {}}, ElemType: proto.Int32(3)}
	if v, err = DecodeSequence("s.pb", encode(nested)); err != nil || len(v.Elems) != 2 || len(v.Elems[0].Elems) != 2 || len(v.Elems[1].Elems) != 0 {
		t.Errorf("sequence of sequences: %+v %v", v, err)
	}
	if v, err = DecodeSequence("s.pb", nil); err != nil || len(v.Elems) != 0 {
		t.Errorf("empty sequence: %+v %v", v, err)
	}
	optional := &onnxpb.OptionalProto{Name: proto.String("o"), ElemType: proto.Int32(3), SequenceValue: sequence}
	v, err = DecodeValue("o.pb", encode(optional), &TypeInfo{Kind: "optional"})
	if err != nil || v.Kind != "optional" || v.Name != "o" || v.Of.Kind != "sequence" || len(v.Of.Elems) != 2 {
		t.Errorf("optional: %+v %v", v, err)
	}
	if v, err = DecodeOptional("o.pb", encode(&onnxpb.OptionalProto{ElemType: proto.Int32(1)})); err != nil || v.Of != nil {
		t.Errorf("empty optional: %+v %v", v, err)
	}
	v, err = DecodeOptional("o.pb", encode(&onnxpb.OptionalProto{OptionalValue: &onnxpb.OptionalProto{TensorValue: rawTensor("a", 2)}}))
	if err != nil || v.Of.Kind != "optional" || v.Of.Of.Tensor.Name != "a" {
		t.Errorf("optional of optional: %+v %v", v, err)
	}
	if v, err = DecodeValue("t.pb", encode(rawTensor("a", 2)), nil); err != nil || v.Kind != "tensor" || v.Name != "a" {
		t.Errorf("tensor: %+v %v", v, err)
	}

	deep := &onnxpb.SequenceProto{}
	for range 200 {
		deep = &onnxpb.SequenceProto{SequenceValues: []*onnxpb.SequenceProto{deep}}
	}
	for _, c := range []struct {
		message proto.Message
		kind    string
		want    string
	}{
		{&onnxpb.SequenceProto{SparseTensorValues: []*onnxpb.SparseTensorProto{{}}}, "sequence", "sparse tensors and maps"},
		{&onnxpb.OptionalProto{MapValue: &onnxpb.MapProto{}}, "optional", "sparse tensors and maps"},
		{&onnxpb.OptionalProto{TensorValue: rawTensor("a", 1), SequenceValue: sequence}, "optional", "a second value"},
		{&onnxpb.SequenceProto{TensorValues: []*onnxpb.TensorProto{{Dims: []int64{-1}}}}, "sequence", "value[0]: dim 0 is negative"},
		{deep, "sequence", "nested more than 100 deep"},
		{&onnxpb.MapProto{}, "map", `values of type "map"`},
	} {
		_, err := DecodeValue("v.pb", encode(c.message), &TypeInfo{Kind: c.kind})
		var f *FormatError
		var u *UnsupportedError
		if !errors.As(err, &f) && !errors.As(err, &u) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "v.pb") {
			t.Errorf("%s: %v, want %q", c.kind, err, c.want)
		}
	}
	if _, err := DecodeTensor("t.pb", []byte("PK\x03\x04....")); err == nil || !strings.Contains(err.Error(), "not an ONNX tensor: it looks like a zip archive") {
		t.Errorf("a zip archive as a tensor: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	p := protoModel(externalTensor("w", 2, "w.bin", "prepacked_0", "0|8|x"))
	p.TrainingInfo = []*onnxpb.TrainingInfoProto{{}}
	m, err := FromProto("m", p)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{}
	for _, w := range m.Warnings() {
		codes[w.Code] = w.Path
	}
	if len(codes) != 2 || codes["external-key"] != `graph.initializer[0] "w"` || codes["training-info"] != "training_info" {
		t.Errorf("warnings: %v", m.Warnings())
	}
	for range 2 * maxWarnings {
		m.warn("code", "", "")
	}
	if n := len(m.Warnings()); n != maxWarnings {
		t.Errorf("%d warnings are kept", n)
	}
}
