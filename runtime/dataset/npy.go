package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// The format of .npy is described in NumPy's NEP 1 and numpy/lib/format.py: the magic string, a version, the length of the
// header, the header (a Python dict literal with descr, fortran_order and shape) and the elements.
const (
	npyMagic = "\x93NUMPY"
	// maxNPYHeader bounds the header; NumPy writes at most a few hundred bytes for plain arrays.
	maxNPYHeader = 64 << 10
	// maxNPYDims is NumPy 2's own limit.
	maxNPYDims = 64
	// readChunk is how many bytes are taken from a stream at once, so that a lying shape cannot make us allocate
	// much more than what has really been read.
	readChunk = 1 << 20
)

// ReadNPY reads one array of format version 1.0, 2.0 or 3.0 and leaves r just behind its last element; name stands for the array
// in errors. Float16 keeps its bits in []uint16. Fortran order is turned into C order and big-endian elements into native ones.
// Object arrays (pickles), structured, string, date and long double types are refused. Memory grows with the bytes read, not with the shape
// the header declares.
func ReadNPY(r io.Reader, name string) (*onnx.Array, error) { return readNPY(r, name, -1) }

// ReadNPYFile is ReadNPY for a regular file, which must hold the array and nothing behind it.
func ReadNPYFile(path string) (*onnx.Array, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readNPY(f, path, size)
}

// readNPY is ReadNPY for a stream that holds have bytes (-1: unknown), which the header's shape must then fill exactly.
func readNPY(r io.Reader, name string, have int64) (*onnx.Array, error) {
	h, used, err := readNPYHeader(r)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", quote(name), err)
	}
	if have >= 0 {
		if err := h.checkSize(name, have-used); err != nil {
			return nil, err
		}
	}
	a := &onnx.Array{Type: h.typ, Dims: h.dims}
	if a.Data, err = h.read(r, have >= 0); err != nil {
		return nil, fmt.Errorf("dataset: %s: shape %s of %s needs %d bytes: %w", quote(name), shapeString(h.dims), h.dtype, h.bytes, err)
	}
	return a, nil
}

// checkSize compares the shape with the bytes that follow the header.
func (h *npyHeader) checkSize(name string, have int64) error {
	if h.bytes != have {
		return fmt.Errorf("dataset: %s: shape %s of %s needs %d bytes, the file holds %d after its header", quote(name), shapeString(h.dims), h.dtype, h.bytes, have)
	}
	return nil
}

// npyHeader is what a header says, checked.
type npyHeader struct {
	dtype   string // as written, for errors
	typ     onnx.DataType
	size    int // bytes of an element
	big     bool
	fortran bool
	dims    []int
	count   int
	bytes   int64
}

// readNPYHeader also returns how many bytes magic, version and header take.
func readNPYHeader(r io.Reader) (*npyHeader, int64, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:8]); err != nil {
		return nil, 0, fmt.Errorf("the .npy magic string: %w", shortRead(err))
	}
	if string(head[:6]) != npyMagic {
		return nil, 0, fmt.Errorf("begins with %q instead of the .npy magic string", head[:6])
	}
	lengthBytes := 4
	switch head[6] {
	case 1:
		lengthBytes = 2
	case 2, 3:
	default:
		return nil, 0, fmt.Errorf(".npy format version %d.%d is not known (1.0, 2.0 and 3.0 are)", head[6], head[7])
	}
	if _, err := io.ReadFull(r, head[8:8+lengthBytes]); err != nil {
		return nil, 0, fmt.Errorf("the header's length: %w", shortRead(err))
	}
	n := int64(binary.LittleEndian.Uint16(head[8:]))
	if lengthBytes == 4 {
		n = int64(binary.LittleEndian.Uint32(head[8:]))
	}
	if n > maxNPYHeader {
		return nil, 0, fmt.Errorf("the header declares %d bytes, more than the limit of %d", n, maxNPYHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, 0, fmt.Errorf("a header of %d bytes: %w", n, shortRead(err))
	}
	h, err := parseNPYHeader(string(text))
	return h, int64(8+lengthBytes) + n, err
}

// parseNPYHeader reads {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }: the three keys in any order, nothing else.
func parseNPYHeader(text string) (*npyHeader, error) {
	p := literal{s: text}
	h := &npyHeader{}
	var seen []string
	if !p.take("{") {
		return nil, fmt.Errorf("the header %s is not a dict", clip(text))
	}
	for !p.take("}") {
		key, err := p.str()
		if err != nil {
			return nil, fmt.Errorf("the header %s: %w", clip(text), err)
		}
		if slices.Contains(seen, key) {
			return nil, fmt.Errorf("the header has %s twice", quote(key))
		}
		seen = append(seen, key)
		if !p.take(":") {
			return nil, fmt.Errorf("the header %s has no value for %s", clip(text), quote(key))
		}
		switch key {
		case "descr":
			if p.peek('[') {
				return nil, errors.New("structured types are not read (save each field as an array of its own)")
			}
			if h.dtype, err = p.str(); err == nil {
				err = h.setType()
			}
		case "fortran_order":
			switch {
			case p.take("True"):
				h.fortran = true
			case !p.take("False"):
				err = errors.New("fortran_order is neither True nor False")
			}
		case "shape":
			h.dims, err = p.tuple()
		default:
			err = fmt.Errorf("unknown key %s", quote(key))
		}
		if err != nil {
			return nil, fmt.Errorf("the header %s: %w", clip(text), err)
		}
		if !p.take(",") && !p.peek('}') {
			return nil, fmt.Errorf("the header %s lacks a comma or its closing brace", clip(text))
		}
	}
	if strings.TrimSpace(p.s) != "" {
		return nil, fmt.Errorf("the header goes on after its closing brace: %s", clip(p.s))
	}
	if len(seen) != 3 {
		return nil, fmt.Errorf("the header %s needs descr, fortran_order and shape", clip(text))
	}
	var err error
	h.count, h.bytes, err = extent(h.dims, h.size)
	return h, err
}

var npyTypes = map[string]onnx.DataType{
	"b1": onnx.Bool, "i1": onnx.Int8, "i2": onnx.Int16, "i4": onnx.Int32, "i8": onnx.Int64,
	"u1": onnx.Uint8, "u2": onnx.Uint16, "u4": onnx.Uint32, "u8": onnx.Uint64,
	"f2": onnx.Float16, "f4": onnx.Float, "f8": onnx.Double, "c8": onnx.Complex64, "c16": onnx.Complex128,
}

// setType reads dtype: byte order, kind and size.
func (h *npyHeader) setType() error {
	code := h.dtype
	if code == "?" {
		code = "|b1"
	}
	order := byte(0)
	if code != "" && strings.IndexByte("<>|=", code[0]) >= 0 {
		order, code = code[0], code[1:]
	}
	t, ok := npyTypes[code]
	if !ok {
		switch {
		case strings.HasPrefix(code, "O"):
			return errors.New("object arrays are pickles, which can run code: they are not read (save numbers)")
		case strings.HasPrefix(code, "U"), strings.HasPrefix(code, "S"), strings.HasPrefix(code, "a"):
			return fmt.Errorf("type %s is text, not numbers", quote(h.dtype))
		}
		return fmt.Errorf("type %s is not one of bool, int8 to int64, uint8 to uint64, float16 to float64, complex64 and complex128", quote(h.dtype))
	}
	h.typ = t
	h.size, _ = strconv.Atoi(code[1:])
	if h.size > 1 && order != '<' && order != '>' {
		return fmt.Errorf("type %s does not state its byte order", quote(h.dtype))
	}
	h.big = order == '>'
	return nil
}

// extent multiplies dims and the element size in int64, refusing what does not fit.
func extent(dims []int, size int) (count int, bytes int64, err error) {
	n := int64(1)
	for _, d := range dims {
		if d == 0 {
			return 0, 0, nil
		}
	}
	for _, d := range dims {
		if int64(d) > math.MaxInt64/int64(max(size, 1))/n {
			return 0, 0, fmt.Errorf("shape %s of %d-byte elements overflows", shapeString(dims), size)
		}
		n *= int64(d)
	}
	if n > math.MaxInt {
		return 0, 0, fmt.Errorf("shape %s has more elements than this machine can address", shapeString(dims))
	}
	return int(n), n * int64(size), nil
}

// size is the number of elements of an array that is there.
func size(dims []int) int {
	n, _, _ := extent(dims, 1)
	return n
}

// read reads the elements. With sized the stream is known to hold them, so that they can be allocated at once.
func (h *npyHeader) read(r io.Reader, sized bool) (any, error) {
	le := binary.LittleEndian
	switch h.typ {
	case onnx.Bool:
		return readElems(h, r, sized, func(dst []bool, b []byte) {
			for i := range dst {
				dst[i] = b[i] != 0
			}
		})
	case onnx.Uint8:
		return readElems(h, r, sized, func(dst []uint8, b []byte) { copy(dst, b) })
	case onnx.Int8:
		return readElems(h, r, sized, func(dst []int8, b []byte) {
			for i := range dst {
				dst[i] = int8(b[i])
			}
		})
	case onnx.Uint16, onnx.Float16:
		return readElems(h, r, sized, func(dst []uint16, b []byte) {
			for i := range dst {
				dst[i] = le.Uint16(b[2*i:])
			}
		})
	case onnx.Int16:
		return readElems(h, r, sized, func(dst []int16, b []byte) {
			for i := range dst {
				dst[i] = int16(le.Uint16(b[2*i:]))
			}
		})
	case onnx.Uint32:
		return readElems(h, r, sized, func(dst []uint32, b []byte) {
			for i := range dst {
				dst[i] = le.Uint32(b[4*i:])
			}
		})
	case onnx.Int32:
		return readElems(h, r, sized, func(dst []int32, b []byte) {
			for i := range dst {
				dst[i] = int32(le.Uint32(b[4*i:]))
			}
		})
	case onnx.Float:
		return readElems(h, r, sized, func(dst []float32, b []byte) {
			for i := range dst {
				dst[i] = math.Float32frombits(le.Uint32(b[4*i:]))
			}
		})
	case onnx.Uint64:
		return readElems(h, r, sized, func(dst []uint64, b []byte) {
			for i := range dst {
				dst[i] = le.Uint64(b[8*i:])
			}
		})
	case onnx.Int64:
		return readElems(h, r, sized, func(dst []int64, b []byte) {
			for i := range dst {
				dst[i] = int64(le.Uint64(b[8*i:]))
			}
		})
	case onnx.Double:
		return readElems(h, r, sized, func(dst []float64, b []byte) {
			for i := range dst {
				dst[i] = math.Float64frombits(le.Uint64(b[8*i:]))
			}
		})
	case onnx.Complex64:
		return readElems(h, r, sized, func(dst []complex64, b []byte) {
			for i := range dst {
				dst[i] = complex(math.Float32frombits(le.Uint32(b[8*i:])), math.Float32frombits(le.Uint32(b[8*i+4:])))
			}
		})
	default:
		return readElems(h, r, sized, func(dst []complex128, b []byte) {
			for i := range dst {
				dst[i] = complex(math.Float64frombits(le.Uint64(b[16*i:])), math.Float64frombits(le.Uint64(b[16*i+8:])))
			}
		})
	}
}

// readElems reads h.count elements, chunk by chunk; fill decodes little-endian bytes.
func readElems[T any](h *npyHeader, r io.Reader, sized bool, fill func(dst []T, b []byte)) ([]T, error) {
	perChunk := readChunk / h.size
	first := h.count
	if !sized {
		first = min(first, perChunk)
	}
	out := make([]T, 0, first)
	buf := make([]byte, min(h.count, perChunk)*h.size)
	for len(out) < h.count {
		n := min(h.count-len(out), perChunk)
		b := buf[:n*h.size]
		if got, err := io.ReadFull(r, b); err != nil {
			return nil, fmt.Errorf("only %d are there: %w", len(out)*h.size+got, shortRead(err))
		}
		if h.big {
			swapBytes(b, h.size/h.parts())
		}
		out = slices.Grow(out, n)[:len(out)+n]
		fill(out[len(out)-n:], b)
	}
	if h.fortran {
		out = fromFortran(out, h.dims)
	}
	return out, nil
}

// parts is how many numbers an element is: two for a complex one.
func (h *npyHeader) parts() int {
	if h.typ == onnx.Complex64 || h.typ == onnx.Complex128 {
		return 2
	}
	return 1
}

// swapBytes turns big-endian numbers into little-endian ones.
func swapBytes(b []byte, size int) {
	for ; len(b) >= size; b = b[size:] {
		slices.Reverse(b[:size])
	}
}

// fromFortran reorders elements whose first index runs fastest into C order.
func fromFortran[T any](src []T, dims []int) []T {
	if len(dims) < 2 || len(src) == 0 {
		return src
	}
	dst := make([]T, len(src))
	stride := make([]int, len(dims)) // in src
	for k, s := 0, 1; k < len(dims); k++ {
		stride[k] = s
		s *= dims[k]
	}
	index := make([]int, len(dims))
	from := 0
	for i := range dst {
		dst[i] = src[from]
		for k := len(dims) - 1; k >= 0; k-- {
			index[k]++
			from += stride[k]
			if index[k] < dims[k] {
				break
			}
			from -= stride[k] * dims[k]
			index[k] = 0
		}
	}
	return dst
}

// literal is the rest of a Python literal being read.
type literal struct{ s string }

func (p *literal) take(token string) bool {
	p.s = strings.TrimLeft(p.s, " \t\n")
	rest, ok := strings.CutPrefix(p.s, token)
	if ok {
		p.s = rest
	}
	return ok
}

func (p *literal) peek(c byte) bool {
	p.s = strings.TrimLeft(p.s, " \t\n")
	return p.s != "" && p.s[0] == c
}

// str reads a quoted string without escapes, which no key and no plain type needs.
func (p *literal) str() (string, error) {
	if !p.peek('\'') && !p.peek('"') {
		return "", fmt.Errorf("expected a string at %s", clip(p.s))
	}
	end := strings.IndexByte(p.s[1:], p.s[0])
	if end < 0 {
		return "", fmt.Errorf("the string at %s does not end", clip(p.s))
	}
	s := p.s[1 : 1+end]
	p.s = p.s[2+end:]
	if strings.ContainsRune(s, '\\') {
		return "", fmt.Errorf("the string %s has an escape", quote(s))
	}
	return s, nil
}

// tuple reads (), (3,), (3, 4) and Python 2's (3L, 4L).
func (p *literal) tuple() ([]int, error) {
	if !p.take("(") {
		return nil, fmt.Errorf("expected the shape's tuple at %s", clip(p.s))
	}
	dims := []int{}
	for !p.take(")") {
		n := 0
		for n < len(p.s) && (p.s[n] == '-' || p.s[n] >= '0' && p.s[n] <= '9') {
			n++
		}
		d, err := strconv.ParseInt(p.s[:n], 10, strconv.IntSize)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return nil, fmt.Errorf("the dimension %s overflows", p.s[:n])
		case err != nil:
			return nil, fmt.Errorf("expected a dimension at %s", clip(p.s))
		case d < 0:
			return nil, fmt.Errorf("the dimension %d is negative", d)
		case len(dims) == maxNPYDims:
			return nil, fmt.Errorf("the shape has more than %d dimensions", maxNPYDims)
		}
		p.s = p.s[n:]
		p.take("L")
		dims = append(dims, int(d))
		comma := p.take(",")
		if !comma && (!p.peek(')') || len(dims) == 1) {
			return nil, fmt.Errorf("the shape lacks a comma or its closing parenthesis at %s", clip(p.s))
		}
		p.peek(')')
	}
	return dims, nil
}

func shortRead(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the data end too early")
	}
	return err
}

// quote makes names of files and arrays safe to print.
func quote(s string) string { return strconv.Quote(s) }

// clip quotes at most the first 80 bytes.
func clip(s string) string {
	if len(s) > 80 {
		return strconv.Quote(s[:80]) + "…"
	}
	return strconv.Quote(s)
}

// shapeString prints dims as [24, 400, 257].
func shapeString(dims []int) string {
	var b strings.Builder
	b.WriteByte('[')
	for k, d := range dims {
		if k > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(d))
	}
	b.WriteByte(']')
	return b.String()
}
