package dataset

import (
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
	data any    // nil where the elements are elsewhere
	name string // of file and array, for errors; empty in memory

	file   io.ReaderAt // has the elements one after the other
	at     int64       // offset of the first element
	header *npyHeader

	reload func() (*onnx.Array, error) // of a file that is only read whole
}

func inMemory(a *onnx.Array) *stored { return &stored{typ: a.Type, dims: a.Dims, data: a.Data} }

// take reads spans one after the other. In memory a single span is shared.
func (s *stored) take(spans []span) (any, error) {
	if s.reload != nil {
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
	var spans spanList
	spans.whole(s.dims)
	return s.take(spans)
}

// blocks visits the elements in blocks of at most a few hundred thousand, from is the number of the first one.
func (s *stored) blocks(visit func(from int, data any) error) error {
	n, _, err := extent(s.dims, 1)
	if err != nil {
		return err
	}
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
