package onnx

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"syscall"

	"google.golang.org/protobuf/encoding/protowire"
)

// payload is the content of a length-delimited field that is not held as bytes: an array, or a range of a data file.
type payload interface {
	size() int64
	writeTo(w io.Writer) error
}

// segment is a run of output: bytes in memory (or in the mapped file), or else a payload.
type segment struct {
	bytes   []byte
	payload payload
}

// encoder turns views into segments. Messages whose raw bytes are known are emitted as they are unless they hold a
// replaced tensor; the tags and lengths of the others are made anew, around the fields in their recorded order.
type encoder struct {
	origin   *origin // of the mapped bytes
	segments []segment
	replaced map[*Tensor][]field // tensors to be written with other fields than their own
	dirty    map[any]bool        // whether a view holds a replaced tensor
}

// messageOf returns what a view is encoded from.
func messageOf(view any) *message {
	switch v := view.(type) {
	case *Model:
		return &v.src
	case *Graph:
		return &v.src
	case *Function:
		return &v.Body.src
	case *Node:
		return &v.src
	case *Attribute:
		return &v.src
	case *Tensor:
		return &v.src
	case *SparseTensor:
		return &v.src
	case *ValueInfo:
		return &v.src
	}
	panic(fmt.Sprintf("onnx: %T is not a view", view))
}

// touched says whether the view or one below it must be written with new fields.
func (e *encoder) touched(view any) bool {
	if len(e.replaced) == 0 {
		return false
	}
	if t, ok := view.(*Tensor); ok {
		_, ok := e.replaced[t]
		return ok
	}
	if known, ok := e.dirty[view]; ok {
		return known
	}
	found := false
	for _, f := range messageOf(view).fields {
		if _, ok := f.child.(payload); f.child != nil && !ok && e.touched(f.child) {
			found = true
			break
		}
	}
	if e.dirty == nil {
		e.dirty = make(map[any]bool)
	}
	e.dirty[view] = found
	return found
}

// content appends the content of a view, without tag and length, and returns its size.
func (e *encoder) content(view any) int64 {
	src := messageOf(view)
	touched := e.touched(view)
	if src.raw != nil && !touched {
		e.segments = append(e.segments, segment{bytes: src.raw})
		return int64(len(src.raw))
	}
	fields := src.fields
	if t, ok := view.(*Tensor); ok && touched {
		fields = e.replaced[t]
	}
	return e.fields(fields)
}

// fields appends fields one after the other and returns their size.
func (e *encoder) fields(fields []field) int64 {
	var total int64
	for _, f := range fields {
		if f.child == nil {
			e.segments = append(e.segments, segment{bytes: f.raw})
			total += int64(len(f.raw))
			continue
		}
		if p, ok := f.child.(payload); ok {
			head := appendTag(nil, f.number, protowire.BytesType)
			head = protowire.AppendVarint(head, uint64(p.size()))
			e.segments = append(e.segments, segment{bytes: head}, segment{payload: p})
			total += int64(len(head)) + p.size()
			continue
		}
		if f.raw != nil && messageOf(f.child).raw != nil && !e.touched(f.child) {
			e.segments = append(e.segments, segment{bytes: f.raw})
			total += int64(len(f.raw))
			continue
		}
		at := len(e.segments)
		e.segments = append(e.segments, segment{})
		size := e.content(f.child)
		head := appendTag(nil, f.number, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(size))
		e.segments[at].bytes = head
		total += int64(len(head)) + size
	}
	return total
}

// write writes the segments in order.
func (e *encoder) write(w io.Writer) (int64, error) {
	counted := &countingWriter{w: w}
	buffered := bufio.NewWriterSize(counted, 1<<18)
	err := guardMapped(func() error {
		for _, s := range e.segments {
			var err error
			if s.payload != nil {
				err = s.payload.writeTo(buffered)
			} else {
				err = e.origin.readMapped(s.bytes, func(piece []byte) error {
					_, err := buffered.Write(piece)
					return err
				})
			}
			if err != nil {
				return err
			}
		}
		return buffered.Flush()
	})
	if errors.Is(err, syscall.EFAULT) {
		err = errFault // the system met the fault while it copied from the mapping
	}
	return counted.n, err
}

// countingWriter counts the bytes that reached w.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Encode writes the model; an unpatched model gives back its input bytes. References to external data are written as
// they stand: [Model.WriteFile] takes the data along.
func (m *Model) Encode(w io.Writer) (int64, error) {
	e := encoder{origin: m.origin}
	e.content(m)
	n, err := e.write(w)
	if err != nil {
		return n, fmt.Errorf("onnx: %s: encode: %w", m.subject(), err)
	}
	return n, nil
}

// Size is the number of bytes Encode writes.
func (m *Model) Size() int64 {
	var e encoder
	return e.content(m)
}
