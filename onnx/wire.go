package onnx

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// wireField is one field of a message as it stands in the bytes.
type wireField struct {
	number int32
	typ    protowire.Type
	raw    []byte // tag, length and value
	value  []byte // content of a length-delimited field
	bits   uint64 // value of a varint or fixed field
	offset int64  // of the tag, -1 where unknown
}

// valueOffset is where the content of a length-delimited field begins.
func (f *wireField) valueOffset() int64 {
	if f.offset < 0 {
		return -1
	}
	return f.offset + int64(len(f.raw)-len(f.value))
}

// wireReader walks the fields of one message. It reads tags and lengths only, never a payload.
type wireReader struct {
	kind string // message type, for errors
	buf  []byte
	pos  int
	base int64 // file offset of buf[0], -1 where unknown
	wireField
	err  error
	item string // what err is about, for the caller's FormatError
	at   int64
}

func (r *wireReader) offsetOf(pos int) int64 {
	if r.base < 0 {
		return -1
	}
	return r.base + int64(pos)
}

// next moves to the next field. It returns false at the end and on an error, which r.err then holds.
func (r *wireReader) next() bool {
	if r.pos >= len(r.buf) || r.err != nil {
		return false
	}
	start := r.pos
	tag, n := protowire.ConsumeVarint(r.buf[start:])
	if n < 0 {
		return r.fail(start, "field tag: %s", varintError(n))
	}
	num, typ := protowire.DecodeTag(tag)
	if num < protowire.MinValidNumber {
		return r.fail(start, "field tag 0x%x names field %d (fields count from 1)", tag, tag>>3)
	}
	r.wireField = wireField{number: int32(num), typ: typ, offset: r.offsetOf(start)}
	at := start + n
	rest := r.buf[at:]
	switch typ {
	case protowire.VarintType:
		v, m := protowire.ConsumeVarint(rest)
		if m < 0 {
			return r.fail(at, "field %d: %s", num, varintError(m))
		}
		r.bits = v
		at += m
	case protowire.Fixed32Type:
		v, m := protowire.ConsumeFixed32(rest)
		if m < 0 {
			return r.fail(at, "field %d: truncated: 4 bytes expected, %d are left", num, len(rest))
		}
		r.bits = uint64(v)
		at += m
	case protowire.Fixed64Type:
		v, m := protowire.ConsumeFixed64(rest)
		if m < 0 {
			return r.fail(at, "field %d: truncated: 8 bytes expected, %d are left", num, len(rest))
		}
		r.bits = v
		at += m
	case protowire.BytesType:
		length, m := protowire.ConsumeVarint(rest)
		if m < 0 {
			return r.fail(at, "field %d: length: %s", num, varintError(m))
		}
		if length > uint64(len(rest)-m) {
			return r.fail(at, "field %d: truncated: it declares %d bytes, %d are left", num, length, len(rest)-m)
		}
		end := at + m + int(length)
		r.value = r.buf[at+m : end : end]
		at = end
	case protowire.StartGroupType:
		m := protowire.ConsumeFieldValue(num, typ, rest)
		if m < 0 {
			return r.fail(at, "field %d: group: %v", num, protowire.ParseError(m))
		}
		at += m
	default:
		return r.fail(start, "field %d has wire type %d, which does not begin a field", num, typ)
	}
	r.raw = r.buf[start:at:at]
	r.pos = at
	return true
}

// left counts the fields that are left, up to most.
func (r *wireReader) left(most int) int {
	ahead, n := *r, 0
	for n < most && ahead.next() {
		n++
	}
	return n
}

func (r *wireReader) fail(pos int, format string, args ...any) bool {
	r.at = r.offsetOf(pos)
	r.item = r.kind + ": " + fmt.Sprintf(format, args...)
	r.err = &FormatError{Offset: r.at, What: r.item}
	return false
}

func varintError(n int) string {
	if n == -1 {
		return "truncated inside a varint"
	}
	return "varint of more than 64 bits"
}

func (f *wireField) float() float32 { return math.Float32frombits(uint32(f.bits)) }

// The append functions below make fields of new messages.

func appendTag(b []byte, number int32, typ protowire.Type) []byte {
	return protowire.AppendTag(b, protowire.Number(number), typ)
}

// stringField is a new field holding a string.
func stringField(number int32, s string) field {
	b := appendTag(nil, number, protowire.BytesType)
	return field{number: number, raw: protowire.AppendString(b, s)}
}

// intField is a new field holding an integer.
func intField(number int32, v int64) field {
	b := appendTag(nil, number, protowire.VarintType)
	return field{number: number, raw: protowire.AppendVarint(b, uint64(v))}
}

// messageField is a new field holding a message of such fields.
func messageField(number int32, parts ...field) field {
	var content []byte
	for _, p := range parts {
		content = append(content, p.raw...)
	}
	return field{number: number, raw: protowire.AppendBytes(appendTag(nil, number, protowire.BytesType), content)}
}

// entryField is a new field holding a StringStringEntryProto.
func entryField(number int32, key, value string) field {
	return messageField(number, stringField(1, key), stringField(2, value))
}

// viewField is a new field holding a view, which is encoded when the model is.
func viewField(number int32, view any) field { return field{number: number, child: view} }

// payloadField is a new length-delimited field whose content is written from p.
func payloadField(number int32, p payload) field { return field{number: number, child: p} }
