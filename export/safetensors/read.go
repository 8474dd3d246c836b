package safetensors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/trconvert/trconvert/onnx"
)

// entry is a tensor of the header.
type entry struct {
	name       string
	dtype      *dtype
	shape      []uint64
	begin, end uint64
}

// ReadFile reads a regular file.
func ReadFile(ctx context.Context, path string) (*File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, &FormatError{File: path, What: "is not a regular file"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	defer f.Close()
	if st, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	return Read(ctx, f, st.Size(), path)
}

// Read reads a file of size bytes; name stands for it in errors. The header is checked as a whole, against the size too, before any element is read, so
// that memory grows with the bytes that are there: a few times the header's, and the elements'. What breaks a rule of the format is a *FormatError.
func Read(ctx context.Context, r io.ReaderAt, size int64, name string) (*File, error) {
	fail := func(format string, args ...any) (*File, error) {
		return nil, &FormatError{File: name, What: fmt.Sprintf(format, args...)}
	}
	if size < 8 {
		return fail("%d bytes, too few for the length of a header (8)", size)
	}
	var head [8]byte
	if err := readAt(r, head[:], 0); err != nil {
		return nil, fmt.Errorf("safetensors: %q: %w", name, err)
	}
	n := binary.LittleEndian.Uint64(head[:])
	switch {
	case n > MaxHeader:
		return fail("the header declares %d bytes, more than the limit of %d%s", n, MaxHeader, looksLike(head[:]))
	case n > uint64(size-8):
		return fail("the header declares %d bytes, the file holds %d after its length", n, size-8)
	}
	text := make([]byte, n)
	if err := readAt(r, text, 8); err != nil {
		return nil, fmt.Errorf("safetensors: %q: header: %w", name, err)
	}
	out := &File{}
	entries, err := parseHeader(name, text, out)
	if err != nil {
		return nil, err
	}
	if err := checkRanges(name, entries, uint64(size-8)-n); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		raw := make([]byte, e.end-e.begin)
		if err := readAt(r, raw, 8+int64(n)+int64(e.begin)); err != nil {
			return nil, fmt.Errorf("safetensors: %q: tensor %s: %w", name, clip(e.name), err)
		}
		a, err := e.array(raw)
		if err != nil {
			return nil, &FormatError{File: name, Tensor: e.name, What: err.Error()}
		}
		out.Tensors = append(out.Tensors, Tensor{e.name, a})
	}
	return out, nil
}

// readAt fills a buffer; readers may tell of the end of the file with the last bytes.
func readAt(r io.ReaderAt, buffer []byte, at int64) error {
	if n, err := r.ReadAt(buffer, at); n < len(buffer) {
		return ended(err)
	}
	return nil
}

// looksLike says what a file is that is none of ours, by its first bytes.
func looksLike(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return " (it looks like a zip archive, which .npz files and PyTorch's are)"
	case bytes.HasPrefix(head, []byte("version ")):
		return " (it looks like a git-LFS pointer: fetch the file itself)"
	case bytes.HasPrefix(head, []byte("<")):
		return " (it looks like HTML)"
	case bytes.HasPrefix(head, []byte("\x80\x02")):
		return " (it looks like a pickle, which can run code and is not read)"
	}
	return ""
}

// parseHeader reads the header's JSON. Numbers are non-negative integers in digits, as the format's own reader has them.
func parseHeader(file string, text []byte, out *File) ([]entry, error) {
	fail := func(tensor, format string, args ...any) ([]entry, error) {
		return nil, &FormatError{File: file, Tensor: tensor, What: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(text) == 0 || text[0] != '{':
		return fail("", "the header does not begin with {: %s", clip(string(text[:min(len(text), 40)])))
	case !utf8.Valid(text):
		return fail("", "the header is not UTF-8")
	}
	trimmed := bytes.TrimRight(text, " ")
	p := parser{json.NewDecoder(bytes.NewReader(trimmed))}
	p.UseNumber()
	var (
		entries []entry
		seen    = map[string]bool{}
	)
	err := p.object(func(key string) error {
		if seen[key] {
			return fmt.Errorf("the key %s is there twice", clip(key))
		}
		seen[key] = true
		if key == metadataKey {
			m, err := p.metadata()
			out.Metadata = m
			return err
		}
		e, err := p.entry(key)
		if err != nil {
			return &FormatError{File: file, Tensor: key, What: err.Error()}
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		if _, ok := err.(*FormatError); ok {
			return nil, err
		}
		return fail("", "the header: %v", err)
	}
	if rest := trimmed[p.InputOffset():]; len(rest) > 0 {
		return fail("", "the header goes on after its closing brace: %s", clip(string(rest)))
	}
	return entries, nil
}

// checkRanges holds the ranges to fill the elements' bytes one after the other, and puts the entries in this order.
func checkRanges(file string, entries []entry, have uint64) error {
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := uint64(0)
	for k, e := range entries {
		fail := func(format string, args ...any) error {
			return &FormatError{File: file, Tensor: e.name, What: fmt.Sprintf(format, args...)}
		}
		want, err := extent(e.shape, e.dtype.size)
		switch {
		case err != nil:
			return fail("%v", err)
		case e.end < e.begin:
			return fail("data_offsets [%d, %d] end before they begin", e.begin, e.end)
		case e.end > have:
			return fail("data_offsets [%d, %d] lie beyond the %d bytes of elements that the file holds", e.begin, e.end, have)
		case e.end-e.begin != want:
			return fail("shape %v of %s takes %d bytes, data_offsets [%d, %d] span %d", e.shape, e.dtype.name, want, e.begin, e.end, e.end-e.begin)
		case e.begin < at:
			return fail("data_offsets [%d, %d] overlap those of tensor %s, which end at %d", e.begin, e.end, clip(entries[k-1].name), at)
		case e.begin > at:
			return fail("data_offsets [%d, %d] leave a hole after %d: every byte must belong to a tensor", e.begin, e.end, at)
		}
		at = e.end
	}
	if at != have {
		return &FormatError{File: file, What: fmt.Sprintf("the tensors take %d bytes, the file holds %d after its header", at, have)}
	}
	return nil
}

// array decodes elements.
func (e entry) array(raw []byte) (*onnx.Array, error) {
	dims := make([]int, len(e.shape))
	for k, d := range e.shape {
		dims[k] = int(d)
		if dims[k] < 0 || uint64(dims[k]) != d {
			return nil, fmt.Errorf("dim %d does not fit this system's integers", d)
		}
	}
	a, err := onnx.ZeroArray(e.dtype.typ, dims)
	if err != nil {
		return nil, err
	}
	if flags, ok := a.Data.([]bool); ok {
		for k, b := range raw {
			if b > 1 {
				return nil, fmt.Errorf("element %d is %d, want 0 or 1", k, b)
			}
			flags[k] = b == 1
		}
		return a, nil
	}
	_, err = binary.Decode(raw, binary.LittleEndian, a.Data)
	return a, err
}

// parser walks JSON token by token, so that keys that are there twice show.
type parser struct{ *json.Decoder }

// object reads an object; value reads what stands behind a key.
func (p parser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	for p.More() {
		key, err := p.text()
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p parser) delim(want json.Delim) error {
	t, err := p.Token()
	if err != nil {
		return ended(err)
	}
	if t != want {
		return fmt.Errorf("%s stands where %v is wanted", clip(fmt.Sprint(t)), want)
	}
	return nil
}

func (p parser) text() (string, error) {
	t, err := p.Token()
	if err != nil {
		return "", ended(err)
	}
	s, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("%s stands where a string is wanted", clip(fmt.Sprint(t)))
	}
	return s, nil
}

func (p parser) numbers() ([]uint64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	all := []uint64{}
	for p.More() {
		t, err := p.Token()
		if err != nil {
			return nil, ended(err)
		}
		digits, _ := t.(json.Number)
		n, err := strconv.ParseUint(string(digits), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s stands where an integer from 0 to 2⁶⁴−1 is wanted", clip(fmt.Sprint(t)))
		}
		all = append(all, n)
	}
	return all, p.delim(']')
}

func (p parser) metadata() (map[string]string, error) {
	m := map[string]string{}
	err := p.object(func(key string) error {
		if _, ok := m[key]; ok {
			return fmt.Errorf("%s has the key %s twice", metadataKey, clip(key))
		}
		s, err := p.text()
		if err != nil {
			return fmt.Errorf("%s: %s: %w", metadataKey, clip(key), err)
		}
		m[key] = s
		return nil
	})
	return m, err
}

// maxRank bounds the number of dims: beyond it no library has tensors.
const maxRank = 64

func (p parser) entry(name string) (entry, error) {
	e := entry{name: name}
	var seen []string
	err := p.object(func(key string) error {
		if slices.Contains(seen, key) {
			return fmt.Errorf("the key %s is there twice", clip(key))
		}
		seen = append(seen, key)
		var err error
		switch key {
		case "dtype":
			var text string
			if text, err = p.text(); err != nil {
				return fmt.Errorf("dtype: %w", err)
			}
			if e.dtype = dtypeNamed(text); e.dtype == nil {
				return fmt.Errorf("dtype %s is not known", clip(text))
			}
		case "shape":
			if e.shape, err = p.numbers(); err != nil {
				return fmt.Errorf("shape: %w", err)
			}
			if len(e.shape) > maxRank {
				return fmt.Errorf("shape has %d dims, more than the limit of %d", len(e.shape), maxRank)
			}
		case "data_offsets":
			var ends []uint64
			if ends, err = p.numbers(); err != nil {
				return fmt.Errorf("data_offsets: %w", err)
			}
			if len(ends) != 2 {
				return fmt.Errorf("data_offsets has %d numbers, want 2", len(ends))
			}
			e.begin, e.end = ends[0], ends[1]
		default:
			return fmt.Errorf("unknown key %s (dtype, shape and data_offsets are known)", clip(key))
		}
		return nil
	})
	if err == nil && len(seen) != 3 {
		err = fmt.Errorf("has %d of the keys dtype, shape and data_offsets", len(seen))
	}
	return e, err
}

// ended words the end of the text inside JSON.
func ended(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
