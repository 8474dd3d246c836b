package onnx

import (
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Elements is the product of the dims. The decoder has checked that it does not overflow.
func (t *Tensor) Elements() int64 {
	n, _ := elements(t.Dims)
	return n
}

// Bytes is the number of payload bytes as stored.
func (t *Tensor) Bytes() int64 {
	switch {
	case t.External != nil && t.External.Length >= 0:
		return t.External.Length
	case t.External != nil, t.data.array != nil && t.Type != String:
		n, _ := t.Type.rawBytes(t.Elements())
		return n
	case t.data.hasRaw:
		return int64(len(t.data.raw))
	}
	return t.data.stored
}

// Array decodes the payload (raw or typed fields, or external data) and checks it against Dims. The caller owns the
// result. Memory is allocated only once the bytes are known to be there.
func (t *Tensor) Array() (*Array, error) {
	if t.data.array != nil {
		return t.data.array.Clone(), nil
	}
	switch {
	case t.data.segment:
		return nil, t.unsupported("it is one segment of a larger tensor (segments are not put together: save the tensor whole)")
	case t.Type == Undefined:
		return nil, t.unsupported("its data_type is undefined")
	case t.Type > Int2:
		return nil, t.unsupported(fmt.Sprintf("%s is unknown (this program knows those up to %d)", t.Type, Int2))
	}
	dims := make([]int, len(t.Dims))
	for i, v := range t.Dims {
		if v > math.MaxInt {
			return nil, t.formatError("dim %d is %d, too large for this machine", i, v)
		}
		dims[i] = int(v)
	}
	n := t.Elements()
	size, ok := t.Type.rawBytes(n)
	if !ok || size > math.MaxInt || n > math.MaxInt {
		return nil, t.formatError("dims %v of %s are too large for this machine", t.Dims, t.Type)
	}
	var a *Array
	err := guardMapped(func() error {
		var err error
		switch {
		case t.External != nil:
			a, err = t.externalArray(dims, int(n), size)
		case t.data.hasRaw:
			a, err = arrayFromBytes(t.Type, dims, int(n), func(b []byte) error {
				if len(b) != len(t.data.raw) {
					return t.formatError("raw_data holds %d bytes, dims %v of %s need %d", len(t.data.raw), t.Dims, t.Type, len(b))
				}
				return t.model.origin.readMapped(t.data.raw, func(piece []byte) error {
					b = b[copy(b, piece):]
					return nil
				})
			})
		default:
			a, err = t.typedArray(dims, int(n))
		}
		return err
	})
	if err == errFault {
		err = fmt.Errorf("onnx: %s: %s: %w", t.subject(), t, err)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (t *Tensor) externalArray(dims []int, n int, size int64) (*Array, error) {
	f, err := t.openExternal(size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return arrayFromBytes(t.Type, dims, n, func(b []byte) error {
		if _, err := io.ReadFull(io.NewSectionReader(f, t.External.Offset, size), b); err != nil {
			return t.dataError("", err)
		}
		return nil
	})
}

// typedArray decodes the values of a *_data field. They are counted before anything is allocated for them.
func (t *Tensor) typedArray(dims []int, n int) (*Array, error) {
	want := t.Type.typedValues(int64(n))
	number := t.Type.typedField()
	count, err := t.countTyped(number)
	if err != nil {
		return nil, err
	}
	if count != want {
		return nil, t.formatError("%s holds %d values, dims %v of %s need %d", tensorFieldName(number), count, t.Dims, t.Type, want)
	}
	a := &Array{Type: t.Type, Dims: dims}
	switch number {
	case tensorStrings:
		list := make([]string, 0, n)
		err = t.typedFields(number, func(r *wireReader) error {
			list = append(list, string(r.value))
			return nil
		})
		a.Data = list
		return a, err
	case tensorFloats:
		values := make([]float32, 0, want)
		err = t.typedFields(number, func(r *wireReader) error {
			if r.typ == protowire.Fixed32Type {
				values = append(values, r.float())
				return nil
			}
			at := len(values)
			values = values[:at+len(r.value)/4]
			littleFloats(values[at:], r.value)
			return nil
		})
		a.Data = values
		if t.Type == Complex64 {
			pairs := make([]complex64, n)
			for i := range pairs {
				pairs[i] = complex(values[2*i], values[2*i+1])
			}
			a.Data = pairs
		}
		return a, err
	case tensorDoubles:
		values := make([]float64, 0, want)
		err = t.typedFields(number, func(r *wireReader) error {
			if r.typ == protowire.Fixed64Type {
				values = append(values, math.Float64frombits(r.bits))
				return nil
			}
			for b := r.value; len(b) >= 8; b = b[8:] {
				v, _ := protowire.ConsumeFixed64(b)
				values = append(values, math.Float64frombits(v))
			}
			return nil
		})
		a.Data = values
		if t.Type == Complex128 {
			pairs := make([]complex128, n)
			for i := range pairs {
				pairs[i] = complex(values[2*i], values[2*i+1])
			}
			a.Data = pairs
		}
		return a, err
	}
	return a, t.varintArray(a, number, n)
}

// countTyped counts the values of a *_data field.
func (t *Tensor) countTyped(number int32) (int64, error) {
	var count int64
	err := t.typedFields(number, func(r *wireReader) error {
		switch {
		case r.typ != protowire.BytesType || number == tensorStrings:
			count++
		case number == tensorFloats:
			count += int64(len(r.value) / 4)
		case number == tensorDoubles:
			count += int64(len(r.value) / 8)
		default:
			for _, b := range r.value {
				if b < 0x80 {
					count++
				}
			}
		}
		return nil
	})
	return count, err
}

// typedFields calls visit for each field of the number. The decoder has checked wire types and lengths.
func (t *Tensor) typedFields(number int32, visit func(r *wireReader) error) error {
	r := &wireReader{kind: "TensorProto", buf: t.src.raw, base: t.src.offset}
	for r.next() {
		if r.number == number {
			if err := visit(r); err != nil {
				return err
			}
		}
	}
	if r.err != nil {
		return t.formatError("%s", r.item)
	}
	return nil
}

// varintArray fills a from int32_data, int64_data or uint64_data.
func (t *Tensor) varintArray(a *Array, number int32, n int) error {
	a.Data = makeData(a.Type, n)
	store := a.storeVarint()
	if width := a.Type.elementBits(); width < 8 {
		packed := make([]byte, a.Type.typedValues(int64(n)))
		store = func(i int, v int64) bool {
			packed[i] = byte(v)
			return v >= math.MinInt8 && v <= math.MaxUint8
		}
		defer func() {
			switch d := a.Data.(type) {
			case []uint8:
				unpackBits(d, packed, width, false)
			case []int8:
				unpackBits(memory(d), packed, width, true)
			}
		}()
	}
	i := 0
	put := func(bits uint64) error {
		v := int64(bits)
		if number == tensorInt32s {
			v = int64(int32(bits))
		}
		if !store(i, v) {
			return t.formatError("%s: value %d at index %d does not fit %s", tensorFieldName(number), v, i, t.Type)
		}
		i++
		return nil
	}
	return t.typedFields(number, func(r *wireReader) error {
		if r.typ == protowire.VarintType {
			return put(r.bits)
		}
		for b := r.value; len(b) > 0; {
			v, m := protowire.ConsumeVarint(b)
			if m < 0 {
				return t.formatError("%s: value %d: %s", tensorFieldName(number), i, varintError(m))
			}
			if err := put(v); err != nil {
				return err
			}
			b = b[m:]
		}
		return nil
	})
}

// storeVarint returns a function that stores value v at index i of a's data and says whether it fits.
func (a *Array) storeVarint() func(i int, v int64) bool {
	switch d := a.Data.(type) {
	case []int8:
		return func(i int, v int64) bool { d[i] = int8(v); return int64(d[i]) == v }
	case []int16:
		return func(i int, v int64) bool { d[i] = int16(v); return int64(d[i]) == v }
	case []int32:
		return func(i int, v int64) bool { d[i] = int32(v); return int64(d[i]) == v }
	case []int64:
		return func(i int, v int64) bool { d[i] = v; return true }
	case []uint8:
		return func(i int, v int64) bool { d[i] = uint8(v); return int64(d[i]) == v }
	case []uint16:
		return func(i int, v int64) bool { d[i] = uint16(v); return int64(d[i]) == v }
	case []uint32:
		return func(i int, v int64) bool { d[i] = uint32(v); return int64(d[i]) == v }
	case []uint64:
		return func(i int, v int64) bool { d[i] = uint64(v); return true }
	case []bool:
		return func(i int, v int64) bool { d[i] = v != 0; return true }
	}
	return func(int, int64) bool { return false }
}

func (t *Tensor) subject() string {
	if t.model == nil {
		return "tensor"
	}
	return t.model.subject()
}

func (t *Tensor) formatError(format string, args ...any) error {
	return &FormatError{File: t.subject(), Offset: t.src.offset, Path: t.String(), What: fmt.Sprintf(format, args...)}
}

func (t *Tensor) unsupported(what string) error {
	return &UnsupportedError{File: t.subject(), Path: t.String(), What: what}
}
