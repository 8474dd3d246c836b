package dataset

import (
	"fmt"
	"io"
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// stored is an array as it lies in memory, or in a file from which only the spans that are asked for are read.
type stored struct {
	typ  onnx.DataType
	dims []int
	data any // nil where the elements are in file

	file   io.ReaderAt
	at     int64 // offset of the first element
	header *npyHeader
	name   string // of file and array, for errors
}

func inMemory(a *onnx.Array) *stored { return &stored{typ: a.Type, dims: a.Dims, data: a.Data} }

// take reads spans one after the other. In memory a single span is shared.
func (s *stored) take(spans []span) (any, error) {
	if s.file == nil {
		return gather(s.data, spans), nil
	}
	size := int64(s.header.size)
	h := *s.header
	h.dims, h.count = nil, 0
	parts := make([]io.Reader, len(spans))
	for i, sp := range spans {
		parts[i] = io.NewSectionReader(s.file, s.at+int64(sp.lo)*size, int64(sp.hi-sp.lo)*size)
		h.count += sp.hi - sp.lo
	}
	h.bytes = int64(h.count) * size
	data, err := h.read(io.MultiReader(parts...), true)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %d bytes of its rows are wanted: %w (the file has changed since it was opened)", quote(s.name), h.bytes, err)
	}
	return data, nil
}

// all reads the whole array.
func (s *stored) all() (any, error) {
	n, _, err := extent(s.dims, 1)
	if err != nil {
		return nil, err
	}
	return s.take([]span{{0, n}})
}

// blocks visits the elements in blocks of at most a few hundred thousand, from is the number of the first one.
func (s *stored) blocks(visit func(from int, data any) error) error {
	const block = 1 << 18
	n, _, err := extent(s.dims, 1)
	if err != nil {
		return err
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
