package onnx

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

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
		a.Data, err = t.typedStrings(n)
	case tensorFloats:
		a.Data, err = t.typedFloats(want)
	case tensorDoubles:
		a.Data, err = t.typedDoubles(want)
	default:
		err = t.varintArray(a, number, n)
	}
	if err != nil {
		return nil, err
	}
	switch values := a.Data.(type) {
	case []float32:
		if int64(len(values)) == want && t.Type == Complex64 {
			a.Data = complexPairs(values, func(re, im float32) complex64 { return complex(re, im) })
		}
	case []float64:
		if int64(len(values)) == want && t.Type == Complex128 {
			a.Data = complexPairs(values, func(re, im float64) complex128 { return complex(re, im) })
		}
	}
	if err := a.Check(); err != nil {
		return nil, t.formatError("%s changed while it was read: %v", tensorFieldName(number), err)
	}
	return a, nil
}

func complexPairs[R, C any](values []R, join func(re, im R) C) []C {
	pairs := make([]C, len(values)/2)
	for i := range pairs {
		pairs[i] = join(values[2*i], values[2*i+1])
	}
	return pairs
}

func (t *Tensor) typedStrings(n int) ([]string, error) {
	list := make([]string, 0, n)
	err := t.typedFields(tensorStrings, func(r *wireReader) error {
		list = append(list, string(r.value))
		return nil
	})
	return list, err
}

func (t *Tensor) typedFloats(n int64) ([]float32, error) {
	values := make([]float32, 0, n)
	err := t.typedFields(tensorFloats, func(r *wireReader) error {
		if r.typ == protowire.Fixed32Type {
			values = append(values, r.float())
			return nil
		}
		at := len(values)
		values = append(values, make([]float32, len(r.value)/4)...)
		littleFloats(values[at:], r.value)
		return nil
	})
	return values, err
}

func (t *Tensor) typedDoubles(n int64) ([]float64, error) {
	values := make([]float64, 0, n)
	err := t.typedFields(tensorDoubles, func(r *wireReader) error {
		if r.typ == protowire.Fixed64Type {
			values = append(values, math.Float64frombits(r.bits))
			return nil
		}
		for b := r.value; len(b) >= 8; b = b[8:] {
			values = append(values, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
		return nil
	})
	return values, err
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
	width := a.Type.elementBits()
	if width >= 8 {
		return t.varints(number, n, a.storeVarint())
	}
	packed := make([]byte, a.Type.typedValues(int64(n)))
	err := t.varints(number, len(packed), func(i int, v int64) bool {
		packed[i] = byte(v)
		return v >= math.MinInt8 && v <= math.MaxUint8
	})
	switch d := a.Data.(type) {
	case []uint8:
		unpackBits(d, packed, width, false)
	case []int8:
		unpackBits(memory(d), packed, width, true)
	}
	return err
}

// varints calls store for each of the n values of a field; store says whether the value fits.
func (t *Tensor) varints(number int32, n int, store func(i int, v int64) bool) error {
	i := 0
	put := func(bits uint64) error {
		v := int64(bits)
		if number == tensorInt32s {
			v = int64(int32(bits))
		}
		if i == n {
			return t.formatError("%s changed while it was read", tensorFieldName(number))
		}
		if !store(i, v) {
			return t.formatError("%s: value %d at index %d does not fit %s", tensorFieldName(number), v, i, t.Type)
		}
		i++
		return nil
	}
	err := t.typedFields(number, func(r *wireReader) error {
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
	if err == nil && i != n {
		err = t.formatError("%s changed while it was read", tensorFieldName(number))
	}
	return err
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
