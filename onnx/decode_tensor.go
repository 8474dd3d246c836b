package onnx

import (
	"fmt"
	"math"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of TensorProto that the codec refers to.
const (
	tensorDims      = 1
	tensorType      = 2
	tensorSegment   = 3
	tensorFloats    = 4
	tensorInt32s    = 5
	tensorStrings   = 6
	tensorInt64s    = 7
	tensorName      = 8
	tensorRaw       = 9
	tensorDoubles   = 10
	tensorUint64s   = 11
	tensorEntries   = 13
	tensorLocation  = 14
	tensorExternal  = 1 // value of data_location
	maxTensorDims   = 1 << 12
	maxExternalKeys = 64
)

// tensorData is where the payload of a tensor is.
type tensorData struct {
	raw     []byte // raw_data
	hasRaw  bool
	typed   int32 // number of the typed field that holds values, 0 for none
	stored  int64 // bytes of the typed fields
	values  int64 // values in the typed field, -1 where only reading them tells
	segment bool
	array   *Array // payload of a tensor made from an array
}

// elementBits is the width of an element in raw_data; 0 for types that have no raw form.
func (t DataType) elementBits() int {
	switch t {
	case Uint8, Int8, Bool, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float8E8M0:
		return 8
	case Uint16, Int16, Float16, BFloat16:
		return 16
	case Float, Int32, Uint32:
		return 32
	case Double, Int64, Uint64, Complex64:
		return 64
	case Complex128:
		return 128
	case Uint4, Int4, Float4E2M1:
		return 4
	case Uint2, Int2:
		return 2
	}
	return 0
}

// typedField is the number of the TensorProto field that holds values of type t where raw_data does not.
func (t DataType) typedField() int32 {
	switch t {
	case Float, Complex64:
		return tensorFloats
	case Double, Complex128:
		return tensorDoubles
	case Int64:
		return tensorInt64s
	case Uint32, Uint64:
		return tensorUint64s
	case String:
		return tensorStrings
	case Undefined:
		return 0
	}
	if t > Int2 {
		return 0
	}
	return tensorInt32s
}

// typedValues is how many values of its typed field n elements of type t take.
func (t DataType) typedValues(n int64) int64 {
	switch t {
	case Complex64, Complex128:
		return 2 * n
	case Uint4, Int4, Float4E2M1:
		return n/2 + n%2
	case Uint2, Int2:
		return n/4 + (n%4+3)/4
	}
	return n
}

// rawBytes is how many bytes n elements of type t take in raw_data. ok is false where that overflows.
func (t DataType) rawBytes(n int64) (size int64, ok bool) {
	hi, lo := bits.Mul64(uint64(n), uint64(t.elementBits()))
	if hi > 7 {
		return 0, false
	}
	q, r := bits.Div64(hi, lo, 8)
	if r > 0 {
		q++
	}
	return int64(q), q <= math.MaxInt64
}

// elements is the product of dims. ok is false where one is negative or the product overflows; a zero dim makes it 0
// whatever the others are.
func elements(dims []int64) (n int64, ok bool) {
	n = 1
	zero := false
	for _, v := range dims {
		if v < 0 {
			return 0, false
		}
		zero = zero || v == 0
	}
	if zero {
		return 0, true
	}
	for _, v := range dims {
		hi, lo := bits.Mul64(uint64(n), uint64(v))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, false
		}
		n = int64(lo)
	}
	return n, true
}

// tensorField decodes a field that holds a TensorProto.
func (d *decoder) tensorField(t *Tensor, r *wireReader) error {
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	return d.tensor(t, r.value, r.valueOffset())
}

func (d *decoder) tensor(t *Tensor, data []byte, base int64) error {
	if err := d.enter(base); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	t.model = d.model
	t.src = message{raw: data, offset: base}
	var typ, location int64
	var entries []KeyValue
	r := d.reader("TensorProto", data, base)
	for r.next() {
		var err error
		switch r.number {
		case tensorDims:
			err = d.addInts(r, &t.Dims)
			if err == nil && len(t.Dims) > maxTensorDims {
				err = d.errorf(r.offset, "tensor of more than %d dims", maxTensorDims)
			}
		case tensorType:
			err = d.int64(r, &typ)
		case tensorSegment:
			t.data.segment = true
		case tensorName:
			err = d.string(r, &t.Name)
		case tensorRaw:
			if err = d.want(r, protowire.BytesType); err == nil {
				t.data.raw, t.data.hasRaw = r.value, true
			}
		case tensorFloats, tensorDoubles, tensorInt32s, tensorInt64s, tensorUint64s, tensorStrings:
			err = d.typedField(t, r)
		case tensorEntries:
			err = d.keyValue(r, &entries)
			if err == nil && len(entries) > maxExternalKeys {
				err = d.errorf(r.offset, "more than %d external_data entries", maxExternalKeys)
			}
		case tensorLocation:
			err = d.int64(r, &location)
		}
		if err != nil {
			return err
		}
	}
	if r.err != nil {
		return d.wire(r)
	}
	if typ < 0 || typ > math.MaxInt32 {
		return d.errorf(base, "data_type %d is out of range", typ)
	}
	t.Type = DataType(typ)
	if location != 0 && location != tensorExternal {
		return d.errorf(base, "data_location %d is unknown (0 or 1 expected)", location)
	}
	if location == tensorExternal {
		x, err := d.external(entries, base)
		if err != nil {
			return err
		}
		t.External = x
	}
	return d.tensorChecks(t, base)
}

// typedField notes one of the *_data fields without reading its values.
func (d *decoder) typedField(t *Tensor, r *wireReader) error {
	var one int64 = -1 // values in this field
	switch r.number {
	case tensorFloats:
		one = packedCount(r, protowire.Fixed32Type, 4)
	case tensorDoubles:
		one = packedCount(r, protowire.Fixed64Type, 8)
	case tensorStrings:
		if err := d.want(r, protowire.BytesType); err != nil {
			return err
		}
		one = 1
	default:
		switch r.typ {
		case protowire.VarintType:
			one = 1
		case protowire.BytesType:
			one = -1
			if len(r.value) == 0 {
				one = 0
			}
		default:
			return d.errorf(r.offset, "%s: field %d has wire type %d, want 0 or 2", r.kind, r.number, r.typ)
		}
	}
	if one == badCount {
		return d.errorf(r.offset, "%s: field %d: wire type %d with %d bytes is no list of its numbers", r.kind, r.number, r.typ, len(r.value))
	}
	if one == 0 {
		return nil
	}
	if t.data.typed != 0 && t.data.typed != r.number {
		return d.errorf(r.offset, "%s: values in both %s and %s", r.kind, tensorFieldName(t.data.typed), tensorFieldName(r.number))
	}
	t.data.typed = r.number
	t.data.stored += int64(len(r.raw))
	if r.typ == protowire.BytesType {
		t.data.stored += int64(len(r.value)) - int64(len(r.raw))
	}
	if one < 0 || t.data.values < 0 {
		t.data.values = -1
	} else {
		t.data.values += one
	}
	return nil
}

// badCount says that a field of fixed-size numbers has the wrong wire type or length.
const badCount = math.MinInt64

func packedCount(r *wireReader, single protowire.Type, size int) int64 {
	switch {
	case r.typ == single:
		return 1
	case r.typ == protowire.BytesType && len(r.value)%size == 0:
		return int64(len(r.value) / size)
	}
	return badCount
}

func tensorFieldName(number int32) string {
	switch number {
	case tensorFloats:
		return "float_data"
	case tensorInt32s:
		return "int32_data"
	case tensorStrings:
		return "string_data"
	case tensorInt64s:
		return "int64_data"
	case tensorRaw:
		return "raw_data"
	case tensorDoubles:
		return "double_data"
	case tensorUint64s:
		return "uint64_data"
	}
	return fmt.Sprintf("field %d", number)
}

// tensorChecks compares what the tensor declares with the bytes that are there, without reading them.
func (d *decoder) tensorChecks(t *Tensor, base int64) error {
	for i, v := range t.Dims {
		if v < 0 {
			return d.errorf(base, "dim %d is negative: %d", i, v)
		}
	}
	n, ok := elements(t.Dims)
	size := int64(0)
	if ok {
		size, ok = t.Type.rawBytes(n)
	}
	if !ok {
		return d.errorf(base, "dims %v of %s overflow 64 bits", t.Dims, t.Type)
	}
	data := &t.data
	if data.hasRaw && len(data.raw) == 0 && (data.typed != 0 || t.External != nil) {
		data.hasRaw = false // an empty raw_data beside values says nothing
	}
	switch {
	case data.hasRaw && data.typed != 0:
		return d.errorf(base, "values in both raw_data and %s", tensorFieldName(data.typed))
	case t.External != nil && (data.hasRaw || data.typed != 0):
		return d.errorf(base, "values both inside the file and in external data %s", quote(t.External.Location))
	case data.segment || t.Type == Undefined || t.Type > Int2:
		return nil // refused when it is read
	case t.Type == String && (data.hasRaw || t.External != nil):
		return d.errorf(base, "a tensor of strings keeps them in string_data, not in raw_data or external data")
	case t.External != nil:
		if x := t.External; x.Length >= 0 && x.Length != size {
			return d.errorf(base, "external data: length is %d, dims %v of %s need %d bytes", x.Length, t.Dims, t.Type, size)
		}
	case data.hasRaw:
		if int64(len(data.raw)) != size {
			return d.errorf(base, "raw_data holds %d bytes, dims %v of %s need %d", len(data.raw), t.Dims, t.Type, size)
		}
	case data.typed == 0:
		if n > 0 {
			return d.errorf(base, "dims %v declare %d elements and there is no data", t.Dims, n)
		}
	case data.typed != t.Type.typedField():
		return d.errorf(base, "values in %s, but type %s keeps them in %s", tensorFieldName(data.typed), t.Type, tensorFieldName(t.Type.typedField()))
	default:
		want := t.Type.typedValues(n)
		if data.values >= 0 && data.values != want || data.values < 0 && data.stored < want {
			has := data.values
			if has < 0 {
				has = data.stored // at most one value per byte
			}
			return d.errorf(base, "%s holds %d values, dims %v of %s need %d", tensorFieldName(data.typed), has, t.Dims, t.Type, want)
		}
	}
	return nil
}

// sparse decodes a field that holds a SparseTensorProto.
func (d *decoder) sparse(s *SparseTensor, r *wireReader) error {
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	if err := d.enter(r.offset); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	data := r.value
	s.src = message{raw: data, offset: r.valueOffset()}
	in := d.reader("SparseTensorProto", data, r.valueOffset())
	for in.next() {
		f := field{number: in.number, raw: in.raw}
		switch in.number {
		case 1, 2:
			t := &Tensor{}
			at := &s.Values
			if in.number == 2 {
				at = &s.Indices
			}
			if *at != nil {
				return d.errorf(in.offset, "SparseTensorProto: field %d appears twice", in.number)
			}
			*at, f.child = t, t
			if err := d.tensorField(t, in); err != nil {
				return err
			}
		case 3:
			if err := d.addInts(in, &s.Dims); err != nil {
				return err
			}
			if len(s.Dims) > maxTensorDims {
				return d.errorf(in.offset, "tensor of more than %d dims", maxTensorDims)
			}
		}
		if err := d.count(in.offset, f.cost()); err != nil {
			return err
		}
		s.src.fields = append(s.src.fields, f)
	}
	if in.err != nil {
		return d.wire(in)
	}
	if s.Values != nil {
		s.Name, s.Type = s.Values.Name, s.Values.Type
	}
	if _, ok := elements(s.Dims); !ok {
		return d.errorf(in.base, "dims %v are negative or overflow 64 bits", s.Dims)
	}
	return nil
}
