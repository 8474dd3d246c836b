package source

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// elemOf is the type that elements of an ONNX type are held in.
func elemOf(t onnx.DataType) (Elem, error) {
	switch t {
	case onnx.Float, onnx.Float16, onnx.BFloat16, onnx.Double:
		return Float32, nil
	case onnx.Int8:
		return Int8, nil
	case onnx.Int16:
		return Int16, nil
	case onnx.Int32:
		return Int32, nil
	case onnx.Int64:
		return Int64, nil
	case onnx.Uint8:
		return Uint8, nil
	case onnx.Uint16:
		return Uint16, nil
	case onnx.Uint32:
		return Uint32, nil
	case onnx.Bool:
		return Bool, nil
	}
	return 0, lacksf("type %v", t)
}

func newBuffer(a *onnx.Array, space Space) (*Buffer, error) {
	e, err := elemOf(a.Type)
	if err != nil {
		return nil, err
	}
	if n := a.Elements(); n > maxElements {
		return nil, lacksf("a value of %d elements (at most %d)", n, maxElements)
	}
	return &Buffer{Elem: e, Len: a.Elements(), Space: space}, nil
}

// elements converts an array to the slice that buffers of its type hold.
func elements(a *onnx.Array) (any, error) {
	switch a.Type {
	case onnx.Float16, onnx.BFloat16, onnx.Double:
		return a.Float32s()
	}
	return a.Data, nil
}

// share returns the constant of the same content if there is one already.
func (l *lowerer) share(b *Buffer) *Buffer {
	h := sha256.New()
	fmt.Fprint(h, b.Elem, b.Len, " ")
	_ = binary.Write(h, binary.LittleEndian, b.Data) // a hash takes everything, and the slices are of fixed-size numbers
	key := string(h.Sum(nil))
	if old := l.pool[key]; old != nil {
		return old
	}
	l.pool[key] = b
	return b
}

// sampleFeeds gives every input a value: options' own, or numbers of a fixed sequence, in [−1, 1) for floats and in 0…3 for integers. Fixed inputs are added.
func sampleFeeds(inputs []*onnx.ValueInfo, o Options) (map[string]*onnx.Array, error) {
	feeds := map[string]*onnx.Array{}
	maps.Copy(feeds, o.Fixed)
	for k, v := range inputs {
		if a := o.Feeds[v.Name]; a != nil {
			feeds[v.Name] = a
			continue
		}
		if v.Type == nil || v.Type.Kind != "tensor" && v.Type.Kind != "" || !v.Type.HasShape {
			return nil, fmt.Errorf("export: source code: input %q: the model gives it no type and rank", v.Name)
		}
		dims := make([]int, len(v.Type.Shape))
		total := 1
		for i, d := range v.Type.Shape {
			dims[i] = 1
			if d.Known {
				dims[i] = int(d.Value)
			} else if n := o.Dims[d.Param]; n > 0 {
				dims[i] = n
			}
			if dims[i] < 0 || dims[i] > maxElements || total*dims[i] > maxElements {
				return nil, fmt.Errorf("export: source code: input %q: dims %v have more than %d elements", v.Name, dims, maxElements)
			}
			total *= dims[i]
		}
		a, err := sampleArray(v.Type.Elem, dims, uint32(k))
		if err != nil {
			return nil, unsupportedInput(v.Name, err)
		}
		feeds[v.Name] = a
	}
	return feeds, nil
}

func sampleArray(t onnx.DataType, dims []int, seed uint32) (*onnx.Array, error) {
	a, err := onnx.ZeroArray(t, dims)
	if err != nil {
		return nil, err
	}
	state := seed*2654435769 + 12345
	next := func() uint32 { // Numerical Recipes' linear congruential generator, its upper bits
		state = state*1664525 + 1013904223
		return state >> 8
	}
	float := func() float64 { return float64(next())/(1<<23) - 1 }
	switch d := a.Data.(type) {
	case []float32:
		for i := range d {
			d[i] = float32(float())
		}
	case []float64:
		for i := range d {
			d[i] = float()
		}
	case []uint16:
		for i := range d {
			switch t {
			case onnx.Float16:
				d[i] = onnx.Float64ToFloat16(float())
			case onnx.BFloat16:
				d[i] = onnx.Float64ToBFloat16(float())
			default:
				d[i] = uint16(next() >> 22)
			}
		}
	case []int8:
		fill(d, next)
	case []int16:
		fill(d, next)
	case []int32:
		fill(d, next)
	case []int64:
		fill(d, next)
	case []uint8:
		fill(d, next)
	case []uint32:
		fill(d, next)
	case []bool:
		for i := range d {
			d[i] = next()>>23 == 1
		}
	default:
		return nil, lacksf("type %v", t)
	}
	return a, nil
}

func fill[T int8 | int16 | int32 | int64 | uint8 | uint32](d []T, next func() uint32) {
	for i := range d {
		d[i] = T(next() >> 22)
	}
}

// quantize holds the rows of a matrix as int8: scale = max|w|/127, q = round(w/scale), so that every weight is off by at most half a scale. It returns the
// values as used too.
func quantize(w []float32, rows int) (q []int8, scale, used []float32) {
	n := len(w) / max(1, rows)
	q, scale, used = make([]int8, len(w)), make([]float32, rows), make([]float32, len(w))
	for r := range rows {
		row := w[r*n : (r+1)*n]
		var top float64
		for _, v := range row {
			top = math.Max(top, math.Abs(float64(v)))
		}
		s := float32(top / 127)
		scale[r] = s
		if s == 0 {
			continue
		}
		for k, v := range row {
			c := math.Max(-127, math.Min(127, math.RoundToEven(float64(v)/float64(s))))
			q[r*n+k] = int8(c)
			used[r*n+k] = float32(c) * s
		}
	}
	return q, scale, used
}
