package dataset

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// stored is an array as it lies in memory, or in a file from which only the spans that are asked for are read.
type stored struct {
	typ  onnx.DataType
	dims []int
	data any    // nil where the elements are in file
	name string // of file and array, for errors

	file   io.ReaderAt // has the elements one after the other
	at     int64       // offset of the first element
	header *npyHeader

	reload func() (*onnx.Array, error) // of a file that is only read whole; data is an empty slice of its elements then
}

func inMemory(a *onnx.Array, name string) *stored {
	return &stored{typ: a.Type, dims: a.Dims, data: a.Data, name: name}
}

// take reads spans one after the other. In memory a single span is shared.
func (s *stored) take(spans []span) (any, error) {
	if s.reload != nil && len(spans) > 0 {
		a, err := s.reload()
		if err == nil && (a.Type != s.typ || !slices.Equal(a.Dims, s.dims)) {
			err = fmt.Errorf("dataset: %s: type %v and shape %s were type %v and shape %s when the data set was opened", quote(s.name), a.Type, shapeString(a.Dims), s.typ, shapeString(s.dims))
		}
		if err != nil {
			return nil, err
		}
		return gather(a.Data, spans), nil
	}
	if s.file == nil {
		return gather(s.data, spans), nil
	}
	h, r := s.rows(spans)
	data, err := h.read(r, true)
	return data, s.changed(h, err)
}

// rows is a header and a reader for spans of the file.
func (s *stored) rows(spans []span) (*npyHeader, io.Reader) {
	size := int64(s.header.size)
	h := *s.header
	h.dims, h.count = nil, 0
	parts := make([]io.Reader, len(spans))
	for i, sp := range spans {
		parts[i] = io.NewSectionReader(s.file, s.at+int64(sp.lo)*size, int64(sp.hi-sp.lo)*size)
		h.count += sp.hi - sp.lo
	}
	h.bytes = int64(h.count) * size
	return &h, io.MultiReader(parts...)
}

func (s *stored) changed(h *npyHeader, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("dataset: %s: %d bytes of its rows are wanted: %w (the file has changed since it was opened)", quote(s.name), h.bytes, err)
}

// takeAs is take and cast. Float16 becomes float32 without a copy between.
func (s *stored) takeAs(spans []span, to onnx.DataType) (any, error) {
	if s.typ == onnx.Float16 && to == onnx.Float {
		return s.takeHalves(spans)
	}
	data, err := s.take(spans)
	if err != nil {
		return nil, err
	}
	if data, err = cast(data, s.typ, to); err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", quote(s.name), err)
	}
	return data, nil
}

func (s *stored) takeHalves(spans []span) (any, error) {
	if s.file != nil {
		h, r := s.rows(spans)
		data, err := readElems(h, r, true, func(dst []float32, b []byte) {
			for i := range dst {
				dst[i] = halfToFloat(binary.LittleEndian.Uint16(b[2*i:]))
			}
		})
		return data, s.changed(h, err)
	}
	data := s.data
	if s.reload != nil {
		var err error
		if data, err = s.take(spans); err != nil {
			return nil, err
		}
		spans = []span{{0, len(data.([]uint16))}}
	}
	n := 0
	for _, sp := range spans {
		n += sp.hi - sp.lo
	}
	dst := make([]float32, n)
	at := dst
	for _, sp := range spans {
		for i, h := range data.([]uint16)[sp.lo:sp.hi] {
			at[i] = halfToFloat(h)
		}
		at = at[sp.hi-sp.lo:]
	}
	return dst, nil
}

// halfToFloat is onnx.Float16ToFloat32 in a form that is inlined and has no branch for numbers: the exponent, moved in place, is 112 too small, for subnormals too.
func halfToFloat(h uint16) float32 {
	bits := uint32(h&0x7fff) << 13
	v := math.Float32bits(math.Float32frombits(bits) * 0x1p112)
	if bits >= 0x7c00<<13 {
		v = bits | 0x7f800000
	}
	return math.Float32frombits(v | uint32(h&0x8000)<<16)
}

// all reads the whole array.
func (s *stored) all() (any, error) {
	var spans spanList
	spans.whole(s.dims)
	return s.take(spans)
}

// blocks visits the elements in blocks of at most a few hundred thousand, from is the number of the first one.
func (s *stored) blocks(visit func(from int, data any) error) error {
	n := size(s.dims)
	block := 1 << 18
	if s.reload != nil {
		block = max(n, 1)
	}
	for lo := 0; lo < n; lo += block {
		data, err := s.take([]span{{lo, min(lo+block, n)}})
		if err != nil {
			return err
		}
		if err := visit(lo, data); err != nil {
			return err
		}
	}
	return nil
}

// nonFinite is the place of the first element that is NaN or infinite, -1 where there is none.
func nonFinite(a *onnx.Array) int {
	switch d := a.Data.(type) {
	case []float32:
		return firstNonFinite(d)
	case []float64:
		return firstNonFinite(d)
	case []uint16:
		var exponent uint16
		switch a.Type {
		case onnx.Float16:
			exponent = 0x7c00
		case onnx.BFloat16:
			exponent = 0x7f80
		default:
			return -1
		}
		for i, h := range d {
			if h&exponent == exponent {
				return i
			}
		}
	}
	return -1
}

func firstNonFinite[T float32 | float64](d []T) int {
	for i, v := range d {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

// element is one element as a float64, for messages.
func element(a *onnx.Array, i int) float64 {
	data, err := cast(gather(a.Data, []span{{i, i + 1}}), a.Type, onnx.Double)
	if v, ok := data.([]float64); ok && err == nil {
		return v[0]
	}
	return math.NaN()
}
