package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// Write writes a file: tensors in the order of falling element size and, among equals, of their names, so that every one is aligned to its elements, and a header that spaces
// fill to a multiple of 8 bytes. The same content gives the same bytes, whatever the order of f.Tensors.
func Write(w io.Writer, f *File) error {
	tensors := slices.Clone(f.Tensors)
	for _, t := range tensors {
		if err := t.check(); err != nil {
			return fmt.Errorf("safetensors: tensor %s: %w", clip(t.Name), err)
		}
	}
	slices.SortFunc(tensors, func(a, b Tensor) int {
		return cmp.Or(-cmp.Compare(dtypeOf(a.Array.Type).size, dtypeOf(b.Array.Type).size), cmp.Compare(a.Name, b.Name))
	})
	for key, text := range f.Metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(text) {
			return fmt.Errorf("safetensors: metadata %s is not UTF-8", clip(key))
		}
	}
	header, err := header(f.Metadata, tensors)
	if err != nil {
		return err
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		raw, err := t.Array.Bytes()
		if err != nil {
			return fmt.Errorf("safetensors: tensor %s: %w", clip(t.Name), err)
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

func (t Tensor) check() error {
	switch {
	case t.Name == metadataKey:
		return fmt.Errorf("this name is that of the metadata")
	case !utf8.ValidString(t.Name):
		return fmt.Errorf("the name is not UTF-8")
	case dtypeOf(t.Array.Type) == nil:
		return fmt.Errorf("the format has no elements of type %v", t.Array.Type)
	}
	return t.Array.Check()
}

// header is the JSON with its padding.
func header(metadata map[string]string, tensors []Tensor) ([]byte, error) {
	var b bytes.Buffer
	put := func(key string, value any) error {
		b.WriteByte("{,"[min(b.Len(), 1)])
		for k, v := range []any{key, value} {
			text, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("safetensors: header: %w", err)
			}
			if k > 0 {
				b.WriteByte(':')
			}
			b.Write(text)
		}
		return nil
	}
	if len(metadata) > 0 {
		if err := put(metadataKey, metadata); err != nil {
			return nil, err
		}
	}
	at := 0
	seen := make(map[string]bool, len(tensors))
	for _, t := range tensors {
		if seen[t.Name] {
			return nil, fmt.Errorf("safetensors: tensor %s is there twice", clip(t.Name))
		}
		seen[t.Name] = true
		end := at + t.Array.Elements()*int(dtypeOf(t.Array.Type).size)
		dims := t.Array.Dims
		if dims == nil {
			dims = []int{}
		}
		err := put(t.Name, struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{TypeName(t.Array.Type), dims, [2]int{at, end}})
		if err != nil {
			return nil, err
		}
		at = end
	}
	if b.Len() == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > MaxHeader {
		return nil, fmt.Errorf("safetensors: a header of %d bytes, more than the limit of %d", b.Len(), MaxHeader)
	}
	return b.Bytes(), nil
}
