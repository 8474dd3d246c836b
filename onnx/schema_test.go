package onnx

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// schema knows every message type that a model can hold and one way to each.
type schema struct {
	types  []protoreflect.MessageDescriptor
	parent map[protoreflect.FullName]protoreflect.FieldDescriptor // the field that leads to a type
}

func newSchema() *schema {
	s := &schema{parent: map[protoreflect.FullName]protoreflect.FieldDescriptor{}}
	queue := []protoreflect.MessageDescriptor{(&onnxpb.ModelProto{}).ProtoReflect().Descriptor()}
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		s.types = append(s.types, m)
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if f.Message() == nil || s.parent[f.Message().FullName()] != nil || f.Message() == s.types[0] {
				continue
			}
			s.parent[f.Message().FullName()] = f
			queue = append(queue, f.Message())
		}
	}
	return s
}

// base is a message of the type that is valid where it stands.
func (s *schema) base(m protoreflect.MessageDescriptor) protoreflect.Message {
	switch m.Name() {
	case "ModelProto":
		return protoModel().ProtoReflect()
	case "OperatorSetIdProto":
		return (&onnxpb.OperatorSetIdProto{Version: proto.Int64(3)}).ProtoReflect()
	case "TensorProto":
		return (&onnxpb.TensorProto{DataType: proto.Int32(7), Dims: []int64{0}}).ProtoReflect()
	}
	return newMessage(m)
}

func newMessage(m protoreflect.MessageDescriptor) protoreflect.Message {
	t, err := protoregistry.GlobalTypes.FindMessageByName(m.FullName())
	if err != nil {
		panic(err)
	}
	return t.New()
}

// sample sets a field of msg to a value that is not its default.
func (s *schema) sample(msg protoreflect.Message, f protoreflect.FieldDescriptor) {
	if t, ok := msg.Interface().(*onnxpb.TensorProto); ok {
		sampleTensor(t, string(f.Name()))
		return
	}
	var v protoreflect.Value
	switch f.Kind() {
	case protoreflect.MessageKind:
		v = protoreflect.ValueOfMessage(s.base(f.Message()))
	case protoreflect.EnumKind:
		v = protoreflect.ValueOfEnum(2) // INT
	case protoreflect.StringKind:
		v = protoreflect.ValueOfString("s\x00\xff")
	case protoreflect.BytesKind:
		v = protoreflect.ValueOfBytes([]byte("s\x00\xff"))
	case protoreflect.FloatKind:
		v = protoreflect.ValueOfFloat32(-2.5)
	case protoreflect.DoubleKind:
		v = protoreflect.ValueOfFloat64(-2.5)
	case protoreflect.Int32Kind:
		v = protoreflect.ValueOfInt32(3)
	case protoreflect.Int64Kind:
		v = protoreflect.ValueOfInt64(3)
	case protoreflect.Uint64Kind:
		v = protoreflect.ValueOfUint64(3)
	default:
		panic(f.Kind())
	}
	if !f.IsList() {
		msg.Set(f, v)
		return
	}
	list := msg.NewField(f).List()
	list.Append(v)
	if f.Message() == nil {
		list.Append(v)
	}
	msg.Set(f, protoreflect.ValueOfList(list))
}

// sampleTensor sets a field of a tensor together with what it needs to be valid.
func sampleTensor(t *onnxpb.TensorProto, field string) {
	t.Dims = []int64{2}
	set := func(typ DataType) { t.DataType = proto.Int32(int32(typ)) }
	set(Float)
	switch field {
	case "float_data":
		t.FloatData = []float32{1, 2}
	case "int32_data":
		set(Int32)
		t.Int32Data = []int32{1, -2}
	case "string_data":
		set(String)
		t.StringData = [][]byte{[]byte("a"), nil}
	case "int64_data":
		set(Int64)
		t.Int64Data = []int64{1, -2}
	case "double_data":
		set(Double)
		t.DoubleData = []float64{1, 2}
	case "uint64_data":
		set(Uint64)
		t.Uint64Data = []uint64{1, 1 << 63}
	case "external_data", "data_location":
		x := externalTensor("t", 2, "w.bin", "offset", "4096", "length", "8")
		t.ExternalData, t.DataLocation = x.ExternalData, x.DataLocation
	case "segment":
		t.Segment = &onnxpb.TensorProto_Segment{Begin: proto.Int64(0), End: proto.Int64(2)}
	default:
		t.RawData = make([]byte, 8)
		switch field {
		case "name":
			t.Name = proto.String("t")
		case "doc_string":
			t.DocString = proto.String("d")
		case "metadata_props":
			t.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: proto.String("k"), Value: proto.String("v")}}
		}
	}
}

// wrap puts the encoded message into a model and returns the model's bytes.
func (s *schema) wrap(m protoreflect.MessageDescriptor, content []byte) []byte {
	for m != s.types[0] {
		f := s.parent[m.FullName()]
		outer := s.base(f.ContainingMessage())
		outer.Clear(f)
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(outer.Interface())
		if err != nil {
			panic(err)
		}
		b = protowire.AppendTag(b, f.Number(), protowire.BytesType)
		content = protowire.AppendBytes(b, content)
		m = f.ContainingMessage()
	}
	return content
}

// TestEveryField decodes and encodes a model with each field that the schema knows, with unknown fields in every
// message, and with the fields in reverse order; the oracle for what goes in is the generated types' encoder.
func TestEveryField(t *testing.T) {
	s := newSchema()
	if len(s.types) < 25 {
		t.Fatalf("only %d message types found", len(s.types))
	}
	fields := 0
	for _, m := range s.types {
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			msg := s.base(m)
			s.sample(msg, f)
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg.Interface())
			if err != nil {
				t.Fatal(err)
			}
			if len(b) == 0 {
				t.Errorf("%s: the sample is empty", f.FullName())
			}
			checkRoundTrip(t, string(f.FullName()), s.wrap(m, b))
			checkRoundTrip(t, string(f.FullName())+" reversed", s.wrap(m, reverseFields(b)))
			fields++
		}
		for name, unknown := range map[string][]byte{
			"varint":  protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1<<63),
			"fixed32": protowire.AppendFixed32(protowire.AppendTag(nil, 1000, protowire.Fixed32Type), 7),
			"fixed64": protowire.AppendFixed64(protowire.AppendTag(nil, 1000, protowire.Fixed64Type), 7),
			"bytes":   protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), []byte("unknown")),
			"group": protowire.AppendTag(append(protowire.AppendTag(nil, 1000, protowire.StartGroupType), 0x08, 0x01),
				1000, protowire.EndGroupType),
			"long tag":    {0x80 | 0x42, 0xbe, 0x80, 0x00, 0x01, 'u'}, // field 1000, with more bytes than it needs
			"long varint": append(protowire.AppendTag(nil, 1000, protowire.VarintType), 0x81, 0x80, 0x80, 0x00),
		} {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.base(m).Interface())
			if err != nil {
				t.Fatal(err)
			}
			checkRoundTrip(t, string(m.FullName())+" with an unknown "+name, s.wrap(m, append(slices.Clone(unknown), b...)))
			checkRoundTrip(t, string(m.FullName())+" with an unknown "+name, s.wrap(m, append(b, unknown...)))
		}
	}
	t.Logf("%d fields of %d message types", fields, len(s.types))
}

// reverseFields puts the fields of a message in reverse order.
func reverseFields(b []byte) []byte {
	var fields [][]byte
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		fields = append(fields, b[:n])
		b = b[n:]
	}
	slices.Reverse(fields)
	return bytes.Join(fields, nil)
}

// checkRoundTrip decodes a model and encodes it untouched, and again with every message made anew.
func checkRoundTrip(t *testing.T, name string, data []byte) {
	t.Helper()
	m, err := Decode(name, data)
	if err != nil {
		t.Error(err)
		return
	}
	checkEncodes(t, name, m, data)
	derived, _ := m.derive()
	for _, g := range derived.Scopes() {
		touch(g)
		for _, n := range g.Nodes {
			n.src.raw = nil
		}
	}
	checkEncodes(t, name+" (touched)", derived, data)
}
