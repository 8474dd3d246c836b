package dataset

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// WriteNPY writes one array in format version 1.0, little-endian and in C order. Bfloat16, which NumPy lacks, is written as
// float32; strings and 8-bit floats are an error.
func WriteNPY(w io.Writer, a *onnx.Array) error {
	code, data, err := npyCode(a)
	if err != nil {
		return err
	}
	shape := strings.Trim(shapeString(a.Dims), "[]")
	if len(a.Dims) == 1 {
		shape += ","
	}
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", code, shape)
	// Spaces fill the header so that the elements begin at a multiple of 64 bytes.
	dict += strings.Repeat(" ", 63-(10+len(dict))%64) + "\n"
	if len(dict) > math.MaxUint16 {
		return fmt.Errorf("dataset: a shape of %d dimensions does not fit the header of .npy", len(a.Dims))
	}
	b := bufio.NewWriterSize(w, 1<<16)
	b.WriteString(npyMagic + "\x01\x00")
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(dict))))
	b.WriteString(dict)
	if err := binary.Write(b, binary.LittleEndian, data); err != nil {
		return err
	}
	return b.Flush()
}

// npyCode returns NumPy's name of the type and the elements to write, having checked that there are as many as the shape says.
func npyCode(a *onnx.Array) (code string, data any, err error) {
	var n int
	switch d := a.Data.(type) {
	case []bool:
		code, n = "|b1", len(d)
	case []int8:
		code, n = "|i1", len(d)
	case []uint8:
		code, n = "|u1", len(d)
	case []int16:
		code, n = "<i2", len(d)
	case []uint16:
		code, n = "<u2", len(d)
	case []int32:
		code, n = "<i4", len(d)
	case []uint32:
		code, n = "<u4", len(d)
	case []int64:
		code, n = "<i8", len(d)
	case []uint64:
		code, n = "<u8", len(d)
	case []float32:
		code, n = "<f4", len(d)
	case []float64:
		code, n = "<f8", len(d)
	case []complex64:
		code, n = "<c8", len(d)
	case []complex128:
		code, n = "<c16", len(d)
	default:
		return "", nil, fmt.Errorf("dataset: elements of type %v cannot be written as .npy", a.Type)
	}
	data = a.Data
	switch a.Type {
	case onnx.Float16:
		code = "<f2"
	case onnx.BFloat16:
		bits, _ := a.Data.([]uint16)
		wide := make([]float32, len(bits))
		for i, b := range bits {
			wide[i] = onnx.BFloat16ToFloat32(b)
		}
		code, data = "<f4", wide
	case onnx.Float8E4M3FN, onnx.Float8E4M3FNUZ, onnx.Float8E5M2, onnx.Float8E5M2FNUZ, onnx.Float8E8M0:
		return "", nil, fmt.Errorf("dataset: elements of type %v cannot be written as .npy", a.Type)
	}
	if want, _, err := extent(a.Dims, 1); err != nil || want != n {
		return "", nil, fmt.Errorf("dataset: an array of shape %s holds %d elements", shapeString(a.Dims), n)
	}
	return code, data, nil
}

// WriteNPZ writes arrays under their names, sorted, uncompressed and without times: the same arrays give the same bytes.
func WriteNPZ(w io.Writer, arrays map[string]*onnx.Array) error {
	names := make([]string, 0, len(arrays))
	for name := range arrays {
		if err := checkMemberName(name); err != nil {
			return fmt.Errorf("dataset: array %s: %w", quote(name), err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	z := zip.NewWriter(w)
	for _, name := range names {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		if err != nil {
			return fmt.Errorf("dataset: array %s: %w", quote(name), err)
		}
		if err := WriteNPY(f, arrays[name]); err != nil {
			return fmt.Errorf("dataset: array %s: %w", quote(name), err)
		}
	}
	return z.Close()
}
