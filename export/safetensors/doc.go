// Package safetensors reads and writes the file format of the same name: a header that names tensors, and their elements.
//
//	8 bytes   n, the length of the header, little-endian
//	n bytes   JSON in UTF-8 that begins with { and may end in spaces:
//	          {"__metadata__": {"key": "text", …}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, …}
//	rest      the elements, little-endian, in C order; offsets count from here
//
// Its rules are those of the format's description (https://huggingface.co/docs/safetensors, "Format"): a header of at most 100 MB, no key twice,
// metadata that map strings to strings, ranges that fill the rest of the file without holes and overlaps, lengths that are the product of shape and
// element size. Shapes may be empty (a scalar) or hold zeros. What numbers mean is not the format's matter: NaN is allowed.
package safetensors

import (
	"fmt"
	"math"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
)

// MaxHeader is the longest header in bytes that readers of the format accept.
const MaxHeader = 100_000_000

// metadataKey is the one key of the header that names no tensor.
const metadataKey = "__metadata__"

// File is the content of a file.
type File struct {
	Metadata map[string]string
	Tensors  []Tensor // readers give them in the order of their bytes
}

// Tensor is a named array.
type Tensor struct {
	Name  string
	Array *onnx.Array
}

// Tensor finds a tensor by its name, nil where there is none.
func (f *File) Tensor(name string) *onnx.Array {
	for _, t := range f.Tensors {
		if t.Name == name {
			return t.Array
		}
	}
	return nil
}

// FormatError says where and how a file breaks the rules of the format.
type FormatError struct {
	File   string
	Tensor string // "" where the file as a whole is meant
	What   string
}

func (e *FormatError) Error() string {
	s := "safetensors: " + strconv.Quote(e.File) + ": "
	if e.Tensor != "" {
		s += "tensor " + clip(e.Tensor) + ": "
	}
	return s + e.What
}

// dtype is an element type of the format.
type dtype struct {
	name string
	typ  onnx.DataType
	size uint64
}

// dtypes are the element types that ONNX has too, in whole bytes.
var dtypes = []dtype{
	{"BOOL", onnx.Bool, 1}, {"U8", onnx.Uint8, 1}, {"I8", onnx.Int8, 1}, {"F8_E5M2", onnx.Float8E5M2, 1}, {"F8_E4M3", onnx.Float8E4M3FN, 1},
	{"U16", onnx.Uint16, 2}, {"I16", onnx.Int16, 2}, {"F16", onnx.Float16, 2}, {"BF16", onnx.BFloat16, 2},
	{"U32", onnx.Uint32, 4}, {"I32", onnx.Int32, 4}, {"F32", onnx.Float, 4},
	{"U64", onnx.Uint64, 8}, {"I64", onnx.Int64, 8}, {"F64", onnx.Double, 8},
}

// TypeName is the format's name of an element type, or ONNX's where it has none.
func TypeName(t onnx.DataType) string {
	if d := dtypeOf(t); d != nil {
		return d.name
	}
	return t.String()
}

func dtypeOf(t onnx.DataType) *dtype {
	for k := range dtypes {
		if dtypes[k].typ == t {
			return &dtypes[k]
		}
	}
	return nil
}

func dtypeNamed(name string) *dtype {
	for k := range dtypes {
		if dtypes[k].name == name {
			return &dtypes[k]
		}
	}
	return nil
}

// extent is the number of bytes of a shape.
func extent(shape []uint64, size uint64) (uint64, error) {
	n := size
	for _, d := range shape {
		if d == 0 {
			return 0, nil
		}
	}
	for _, d := range shape {
		if n > math.MaxInt64/d {
			return 0, fmt.Errorf("shape %v takes more than 2⁶³ bytes", shape)
		}
		n *= d
	}
	return n, nil
}

// clip quotes a text from a file, shortened where it is long.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
