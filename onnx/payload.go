package onnx

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"unsafe"

	"github.com/trconvert/trconvert/internal/pages"
)

// bigEndian says whether this machine stores numbers the other way round than raw_data does.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// fixedSize is the element kinds whose memory is their little-endian raw form on most machines.
type fixedSize interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | complex64 | complex128 | bool
}

// memory is the memory of a slice as bytes.
func memory[T fixedSize](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(s[0])))
}

// swapBytes reverses every group of width bytes.
func swapBytes(b []byte, width int) {
	for ; len(b) >= width; b = b[width:] {
		slices.Reverse(b[:width])
	}
}

// littleFloats decodes packed little-endian floats.
func littleFloats(to []float32, from []byte) {
	for i := range to {
		to[i] = math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:]))
	}
}

// memoryOf is the memory of a's elements and the width of the numbers in it; nil for types that are packed or have no
// raw form.
func (a *Array) memoryOf() (b []byte, width int) {
	switch d := a.Data.(type) {
	case []float32:
		return memory(d), 4
	case []float64:
		return memory(d), 8
	case []int8:
		if a.Type == Int8 {
			return memory(d), 1
		}
	case []int16:
		return memory(d), 2
	case []int32:
		return memory(d), 4
	case []int64:
		return memory(d), 8
	case []uint8:
		if a.Type.elementBits() == 8 {
			return d, 1
		}
	case []uint16:
		return memory(d), 2
	case []uint32:
		return memory(d), 4
	case []uint64:
		return memory(d), 8
	case []bool:
		return memory(d), 1
	case []complex64:
		return memory(d), 4
	case []complex128:
		return memory(d), 8
	}
	return nil, 0
}

// Bytes returns the elements in the form of raw_data: little-endian, 4-bit and 2-bit elements packed from the low bits
// up. Strings have no such form and give an error. The result may be Data's own memory: it must not be changed.
func (a *Array) Bytes() ([]byte, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	if b, width := a.memoryOf(); width > 0 {
		if bigEndian && width > 1 {
			b = slices.Clone(b)
			swapBytes(b, width)
		}
		return b, nil
	}
	width := a.Type.elementBits()
	if width == 0 || width >= 8 {
		return nil, fmt.Errorf("onnx: array: type %s has no raw form", a.Type)
	}
	var values []uint8
	switch d := a.Data.(type) {
	case []uint8:
		values = d
	case []int8:
		values = memory(d)
	}
	return packBits(values, width), nil
}

// packBits packs the low width bits of each value, the first value into the lowest bits.
func packBits(values []uint8, width int) []byte {
	per := 8 / width
	mask := uint8(1)<<width - 1
	out := make([]byte, (len(values)+per-1)/per)
	for i, v := range values {
		out[i/per] |= v & mask << (i % per * width)
	}
	return out
}

// unpackBits undoes packBits; signed values are extended to eight bits.
func unpackBits(values []uint8, packed []byte, width int, signed bool) {
	per := 8 / width
	mask := uint8(1)<<width - 1
	for i := range values {
		v := packed[i/per] >> (i % per * width) & mask
		if signed && v>>(width-1) != 0 {
			v |= ^mask
		}
		values[i] = v
	}
}

// arrayFromBytes makes an array of n elements from its raw form, which fill brings: it is called with the memory to
// fill, at most once.
func arrayFromBytes(typ DataType, dims []int, n int, fill func(b []byte) error) (*Array, error) {
	data := makeData(typ, n)
	if data == nil {
		return nil, fmt.Errorf("type %s has no raw form", typ)
	}
	a := &Array{Type: typ, Dims: dims, Data: data}
	b, width := a.memoryOf()
	pages.Large(b)
	switch {
	case typ == Bool:
		// A byte other than 0 and 1 must not get into a Go bool.
		raw := make([]byte, n)
		if err := fill(raw); err != nil {
			return nil, err
		}
		for i, v := range raw {
			data.([]bool)[i] = v != 0
		}
		return a, nil
	case width > 0:
		if err := fill(b); err != nil {
			return nil, err
		}
		if bigEndian && width > 1 {
			swapBytes(b, width)
		}
		return a, nil
	}
	bits := typ.elementBits()
	if bits == 0 {
		return nil, fmt.Errorf("type %s has no raw form", typ)
	}
	size, _ := typ.rawBytes(int64(n))
	packed := make([]byte, size)
	if err := fill(packed); err != nil {
		return nil, err
	}
	switch d := data.(type) {
	case []uint8:
		unpackBits(d, packed, bits, false)
	case []int8:
		unpackBits(memory(d), packed, bits, true)
	}
	return a, nil
}

// arrayPayload writes an array's raw form.
type arrayPayload struct{ array *Array }

func (p arrayPayload) size() int64 {
	n, _ := p.array.Type.rawBytes(int64(p.array.Elements()))
	return n
}

func (p arrayPayload) writeTo(w io.Writer) error {
	b, err := p.array.Bytes()
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
