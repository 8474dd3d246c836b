package onnx

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// unpacked writes the elements of a packed field one by one, as writers of proto2 do.
func unpacked(number protowire.Number, typ protowire.Type, packed []byte) []byte {
	var out []byte
	for len(packed) > 0 {
		n := protowire.ConsumeFieldValue(number, typ, packed)
		out = append(protowire.AppendTag(out, number, typ), packed[:n]...)
		packed = packed[n:]
	}
	return out
}

// TestTensorArray decodes every element type from raw_data and from its typed field, packed, unpacked and split. The
// expected values follow the comments of TensorProto in onnx-ml.proto.
func TestTensorArray(t *testing.T) {
	pb := func(typ DataType, dims ...int64) *onnxpb.TensorProto {
		return &onnxpb.TensorProto{DataType: proto.Int32(int32(typ)), Dims: dims}
	}
	raw := func(p *onnxpb.TensorProto, b ...byte) *onnxpb.TensorProto { p.RawData = b; return p }
	ints := func(p *onnxpb.TensorProto, v ...int32) *onnxpb.TensorProto { p.Int32Data = v; return p }
	floats := func(p *onnxpb.TensorProto, v ...float32) *onnxpb.TensorProto { p.FloatData = v; return p }
	doubles := func(p *onnxpb.TensorProto, v ...float64) *onnxpb.TensorProto { p.DoubleData = v; return p }
	longs := func(p *onnxpb.TensorProto, v ...int64) *onnxpb.TensorProto { p.Int64Data = v; return p }
	unsigned := func(p *onnxpb.TensorProto, v ...uint64) *onnxpb.TensorProto { p.Uint64Data = v; return p }
	words := func(p *onnxpb.TensorProto, v ...string) *onnxpb.TensorProto {
		for _, s := range v {
			p.StringData = append(p.StringData, []byte(s))
		}
		return p
	}
	for _, c := range []struct {
		p    *onnxpb.TensorProto
		want any
	}{
		{raw(pb(Float, 2), 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0), []float32{1, -2}},
		{floats(pb(Float, 2), 1, -2), []float32{1, -2}},
		{floats(pb(Float), 3), []float32{3}},
		{raw(pb(Float, 0)), []float32{}},
		{pb(Float, 4, 0), []float32{}},
		{raw(pb(Double, 1), 0, 0, 0, 0, 0, 0, 0xf0, 0xbf), []float64{-1}},
		{doubles(pb(Double, 1), -1), []float64{-1}},
		{raw(pb(Int8, 2), 1, 0xff), []int8{1, -1}},
		{ints(pb(Int8, 2), 127, -128), []int8{127, -128}},
		{raw(pb(Uint8, 2), 1, 0xff), []uint8{1, 255}},
		{ints(pb(Uint8, 2), 1, 255), []uint8{1, 255}},
		{raw(pb(Int16, 1), 0xfe, 0xff), []int16{-2}},
		{ints(pb(Int16, 1), -2), []int16{-2}},
		{raw(pb(Uint16, 1), 0x01, 0x80), []uint16{0x8001}},
		{ints(pb(Uint16, 1), 65535), []uint16{65535}},
		{raw(pb(Int32, 1), 0xfe, 0xff, 0xff, 0xff), []int32{-2}},
		{ints(pb(Int32, 2, 1), -2, 5), []int32{-2, 5}},
		{raw(pb(Uint32, 1), 0, 0, 0, 0x80), []uint32{1 << 31}},
		{unsigned(pb(Uint32, 1), 1<<31), []uint32{1 << 31}},
		{raw(pb(Int64, 1), 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), []int64{-2}},
		{longs(pb(Int64, 2), -2, 1<<40), []int64{-2, 1 << 40}},
		{raw(pb(Uint64, 1), 0, 0, 0, 0, 0, 0, 0, 0x80), []uint64{1 << 63}},
		{unsigned(pb(Uint64, 1), 1<<63), []uint64{1 << 63}},
		{raw(pb(Bool, 3), 0, 1, 2), []bool{false, true, true}},
		{ints(pb(Bool, 3), 0, 1, 1), []bool{false, true, true}},
		{words(pb(String, 2), "a", "\xff"), []string{"a", "\xff"}},
		{raw(pb(Float16, 2), 0, 0x3c, 0, 0xc0), []uint16{0x3c00, 0xc000}},
		{ints(pb(Float16, 2), 0x3c00, 0xc000), []uint16{0x3c00, 0xc000}},
		{raw(pb(BFloat16, 1), 0x80, 0x3f), []uint16{0x3f80}},
		{ints(pb(BFloat16, 1), 0x3f80), []uint16{0x3f80}},
		{raw(pb(Complex64, 1), 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0), []complex64{1 - 2i}},
		{floats(pb(Complex64, 2), 1, -2, 3, 4), []complex64{1 - 2i, 3 + 4i}},
		{raw(pb(Complex128, 1), 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf), []complex128{1 - 1i}},
		{doubles(pb(Complex128, 1), 1, -2), []complex128{1 - 2i}},
		{raw(pb(Float8E4M3FN, 1), 0x38), []uint8{0x38}},
		{ints(pb(Float8E5M2, 1), 0xbc), []uint8{0xbc}},
		{raw(pb(Uint4, 3), 0x21, 0x0f), []uint8{1, 2, 15}},
		{ints(pb(Uint4, 3), 0x21, 0x0f), []uint8{1, 2, 15}},
		{raw(pb(Int4, 3), 0xf7, 0x08), []int8{7, -1, -8}},
		{ints(pb(Int4, 3), 0xf7, 0x08), []int8{7, -1, -8}},
		{raw(pb(Float4E2M1, 2), 0x97), []uint8{7, 9}},
		{raw(pb(Uint2, 5), 0b11_10_01_00, 0b01), []uint8{0, 1, 2, 3, 1}},
		{ints(pb(Uint2, 5), 0b11_10_01_00, 0b01), []uint8{0, 1, 2, 3, 1}},
		{raw(pb(Int2, 4), 0b11_10_01_00), []int8{0, 1, -2, -1}},
	} {
		b, err := proto.Marshal(c.p)
		if err != nil {
			t.Fatal(err)
		}
		forms := map[string][]byte{"as marshalled": b}
		for number, typ := range map[protowire.Number]protowire.Type{4: protowire.Fixed32Type, 5: protowire.VarintType, 7: protowire.VarintType,
			10: protowire.Fixed64Type, 11: protowire.VarintType} {
			var form []byte
			for rest := b; len(rest) > 0; {
				num, _, n := protowire.ConsumeField(rest)
				if num == number {
					_, _, tag := protowire.ConsumeTag(rest)
					packed, _ := protowire.ConsumeBytes(rest[tag:])
					form = append(form, unpacked(number, typ, packed)...)
					forms["unpacked"] = form
				} else {
					form = append(form, rest[:n]...)
				}
				rest = rest[n:]
			}
			if forms["unpacked"] != nil {
				forms["unpacked"] = form
				break
			}
		}
		for name, form := range forms {
			x, err := DecodeTensor("t.pb", form)
			if err != nil {
				t.Errorf("%v %s: %v", c.p, name, err)
				continue
			}
			a, err := x.Array()
			if err != nil {
				t.Errorf("%v %s: %v", c.p, name, err)
				continue
			}
			if !reflect.DeepEqual(a.Data, c.want) || a.Elements() != int(x.Elements()) {
				t.Errorf("%v %s: %v, want %v", c.p, name, a.Data, c.want)
			}
			if c.p.RawData != nil && x.Bytes() != int64(len(c.p.RawData)) {
				t.Errorf("%v: Bytes is %d", c.p, x.Bytes())
			}
			checkRemade(t, a)
		}
	}
}

// checkRemade makes a tensor from an array, encodes and decodes it, and compares.
func checkRemade(t *testing.T, a *Array) {
	t.Helper()
	x, err := NewTensor("new", a)
	if err != nil {
		t.Error(err)
		return
	}
	b, err := EncodeTensor(x)
	if err != nil {
		t.Error(err)
		return
	}
	if err := proto.Unmarshal(b, &onnxpb.TensorProto{}); err != nil {
		t.Errorf("the generated types refuse it: %v", err)
	}
	y, err := DecodeTensor("new", b)
	if err != nil {
		t.Error(err)
		return
	}
	for _, x := range []*Tensor{x, y} {
		got, err := x.Array()
		if err != nil {
			t.Error(err)
			continue
		}
		if x.Name != "new" || !reflect.DeepEqual(got, a) && a.Elements() > 0 {
			t.Errorf("%v became %v", a, got)
		}
	}
}

// TestTensorRefused lists payloads that decode as bytes but not as values.
func TestTensorRefused(t *testing.T) {
	typ := func(typ DataType, n uint64, fields ...[]byte) []byte {
		return rawModel(append([][]byte{varintField(1, n), varintField(2, uint64(typ)), bytesField(8, []byte("W\n"))}, fields...)...)
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"int8 out of range", typ(Int8, 1, varintField(5, 200)), `value 200 at index 0 does not fit int8`},
		{"uint8 out of range", typ(Uint8, 2, bytesField(5, []byte{1, 0x80, 0x02})), `value 256 at index 1 does not fit uint8`},
		{"uint32 out of range", typ(Uint32, 1, varintField(11, 1<<32)), `does not fit uint32`},
		{"float16 out of range", typ(Float16, 1, varintField(5, 1<<16)), `does not fit float16`},
		{"int4 pair out of range", typ(Int4, 2, varintField(5, 256)), `does not fit int4`},
		{"too few varints", typ(Int64, 3, bytesField(7, []byte{1, 0x80, 0x01})), `int64_data holds 2 values, dims [3] of int64 need 3`},
		{"cut varint", typ(Int64, 1, bytesField(7, []byte{1, 0x80})), `truncated inside a varint`},
		{"segment", typ(Float, 4, bytesField(3), bytesField(9, make([]byte, 4))), "segment"},
		{"undefined", typ(Undefined, 1, bytesField(9, make([]byte, 4))), "data_type is undefined"},
		{"unknown type", typ(99, 1, bytesField(9, make([]byte, 4))), "data type 99 is unknown"},
	} {
		x, err := DecodeTensor("t.pb", c.data)
		if err == nil {
			_, err = x.Array()
		}
		var f *FormatError
		var u *UnsupportedError
		if !errors.As(err, &f) && !errors.As(err, &u) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `tensor "W\n"`) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestArrayHelpers covers construction, checks and conversions.
func TestArrayHelpers(t *testing.T) {
	a, err := NewFloat32s([]int{2, 2}, []float32{1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	c := a.Clone()
	c.Data.([]float32)[0], c.Dims[0] = 9, 9
	if a.Data.([]float32)[0] != 1 || a.Dims[0] != 2 {
		t.Error("Clone shares memory")
	}
	for _, c := range []struct {
		typ  DataType
		dims []int
		data any
		want string
	}{
		{Float, []int{3}, []float32{1}, "1 elements, dims [3] need 3"},
		{Float, []int{-1}, []float32{}, "negative"},
		{Float, []int{1 << 40, 1 << 40}, []float32{}, "overflow"},
		{Float, []int{1}, []float64{1}, "does not keep its elements in a []float64"},
		{Float16, []int{1}, []float32{1}, "does not keep"},
		{Uint8, []int{1}, []int8{1}, "does not keep"},
		{Undefined, nil, nil, "does not keep"},
	} {
		if _, err := NewArray(c.typ, c.dims, c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %q", c.typ, c.dims, err, c.want)
		}
	}
	for typ := Float; typ <= Int2; typ++ {
		z, err := ZeroArray(typ, []int{3})
		if err != nil {
			t.Fatal(err)
		}
		if err := z.Check(); err != nil {
			t.Error(err)
		}
		if !reflect.DeepEqual(z.Clone(), z) {
			t.Errorf("%s: the clone differs", typ)
		}
		b, err := z.Bytes()
		if size, _ := typ.rawBytes(3); typ != String && (err != nil || int64(len(b)) != size) || typ == String && err == nil {
			t.Errorf("%s: %d bytes, %v", typ, len(b), err)
		}
		if _, err := z.Float32s(); (err != nil) != (typ == String || typ == Complex64 || typ == Complex128) {
			t.Errorf("%s as float32: %v", typ, err)
		}
		if _, err := z.Int64s(); (err == nil) != (typ.IsInteger() || typ == Bool) {
			t.Errorf("%s as int64: %v", typ, err)
		}
	}
	if _, err := ZeroArray(Undefined, nil); err == nil {
		t.Error("an array of undefined type")
	}
	floats := []struct {
		a    Array
		want []float64
	}{
		{Array{Int8, []int{2}, []int8{-1, 2}}, []float64{-1, 2}},
		{Array{Uint64, []int{1}, []uint64{1 << 63}}, []float64{1 << 63}},
		{Array{Bool, []int{2}, []bool{true, false}}, []float64{1, 0}},
		{Array{Float16, []int{1}, []uint16{0xc100}}, []float64{-2.5}},
		{Array{BFloat16, []int{1}, []uint16{0xc020}}, []float64{-2.5}},
		{Array{Float8E4M3FN, []int{1}, []uint8{0xc2}}, []float64{-2.5}},
		{Array{Int4, []int{1}, []int8{-8}}, []float64{-8}},
		{Array{Double, []int{1}, []float64{0.1}}, []float64{0.1}},
	}
	for _, c := range floats {
		got, err := c.a.Float64s()
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v %v, want %v", c.a.Type, got, err, c.want)
		}
		single, err := c.a.Float32s()
		if err != nil || single[0] != float32(c.want[0]) {
			t.Errorf("%s: %v %v, want %v", c.a.Type, single, err, c.want)
		}
	}
	ints, err := (&Array{Int32, []int{2}, []int32{-3, 4}}).Ints()
	if err != nil || ints[0] != -3 || ints[1] != 4 {
		t.Error(ints, err)
	}
	if _, err := (&Array{Uint64, []int{1}, []uint64{1 << 63}}).Ints(); err == nil {
		t.Error("2^63 as int64")
	}
}
