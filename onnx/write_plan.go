package onnx

import (
	"fmt"
	"io"
	"path/filepath"
)

const (
	dataSuffix     = ".data"
	dataAlignment  = 4096 // so that data files can be mapped, as onnx-ml.proto asks
	minExternal    = 1024 // smaller payloads stay in the model
	maxDataPadding = dataAlignment - 1
)

// filePlan is what a model file and its data file will hold.
type filePlan struct {
	model encoder
	size  int64
	data  []dataPiece
}

// dataPiece is one payload in the data file.
type dataPiece struct {
	offset  int64
	payload payload
}

// planFile decides where every payload goes: into the model file, or above the limit into a data file beside it.
func (m *Model) planFile(path string, limit int64) (*filePlan, error) {
	if limit <= 0 || limit > externalAbove {
		limit = externalAbove
	}
	p := &filePlan{}
	p.model.origin, p.model.replaced = m.origin, make(map[*Tensor][]field)
	var err error
	m.tensors(func(t *Tensor) {
		if t.External == nil || err != nil {
			return
		}
		var kept []field
		if kept, err = t.fieldsWithoutPayload(); err == nil {
			size, _ := t.Type.rawBytes(t.Elements())
			p.model.replaced[t] = append(kept, payloadField(tensorRaw, externalPayload{t, size}))
		}
	})
	if err != nil {
		return nil, err
	}
	if p.size = p.model.content(m); p.size <= limit {
		return p, nil
	}
	if err := p.moveOut(m, filepath.Base(path)+dataSuffix); err != nil {
		return nil, err
	}
	p.model.segments, p.model.dirty = nil, nil
	if p.size = p.model.content(m); p.size > maxModelFile {
		return nil, fmt.Errorf("the model has %d bytes without its weights, a model file at most %d", p.size, maxModelFile)
	}
	return p, nil
}

// moveOut plans the payloads of initializers into a data file, and those of other tensors that came from one. Tensors
// in attributes stay in the model otherwise, for not every runtime looks for them elsewhere.
func (p *filePlan) moveOut(m *Model, location string) error {
	if what := badLocation(location); what != "" {
		return fmt.Errorf("its weights need a data file, whose name %s %s", quote(location), what)
	}
	var end int64
	var err error
	m.tensors(func(t *Tensor) {
		if err != nil || t.Graph == nil && t.External == nil {
			return
		}
		pay := t.rawPayload()
		if pay == nil || pay.size() < minExternal {
			return
		}
		var kept []field
		if kept, err = t.fieldsWithoutPayload(); err != nil {
			return
		}
		offset := (end + maxDataPadding) &^ maxDataPadding
		end = offset + pay.size()
		p.data = append(p.data, dataPiece{offset, pay})
		p.model.replaced[t] = append(kept,
			entryField(tensorEntries, "location", location),
			entryField(tensorEntries, "offset", fmt.Sprint(offset)),
			entryField(tensorEntries, "length", fmt.Sprint(pay.size())),
			intField(tensorLocation, tensorExternal))
	})
	return err
}

func (p *filePlan) writeModel(w io.Writer) error {
	_, err := p.model.write(w)
	return err
}

func (p *filePlan) writeData(w io.Writer) error {
	var e encoder
	var at int64
	for _, piece := range p.data {
		if gap := piece.offset - at; gap > 0 {
			e.segments = append(e.segments, segment{bytes: make([]byte, gap)})
		}
		e.segments = append(e.segments, segment{payload: piece.payload})
		at = piece.offset + piece.payload.size()
	}
	_, err := e.write(w)
	return err
}

// fieldsWithoutPayload lists the fields of a tensor that say nothing about where its payload is.
func (t *Tensor) fieldsWithoutPayload() ([]field, error) {
	fields := t.src.fields
	if t.src.raw != nil {
		fields = nil
		r := &wireReader{kind: "TensorProto", buf: t.src.raw, base: t.src.offset}
		err := guardMapped(func() error {
			for r.next() {
				fields = append(fields, field{number: r.number, raw: r.raw})
			}
			return r.err
		})
		if err != nil {
			return nil, err
		}
	}
	var kept []field
	for _, f := range fields {
		switch f.number {
		case tensorRaw, tensorFloats, tensorDoubles, tensorInt32s, tensorInt64s, tensorUint64s, tensorEntries, tensorLocation:
		default:
			kept = append(kept, f)
		}
	}
	return kept, nil
}

// rawPayload is the tensor's payload in the form of raw_data, nil for strings and for what cannot be read.
func (t *Tensor) rawPayload() payload {
	size, ok := t.Type.rawBytes(t.Elements())
	switch {
	case !ok || t.data.segment || t.Type.elementBits() == 0:
		return nil
	case t.data.array != nil:
		return arrayPayload{t.data.array}
	case t.External != nil:
		return externalPayload{t, size}
	case t.data.hasRaw:
		return bytesPayload{t.model.origin, t.data.raw}
	}
	return typedPayload{t, size}
}

// bytesPayload is a payload in memory or in the mapped file.
type bytesPayload struct {
	origin *origin
	bytes  []byte
}

func (p bytesPayload) size() int64 { return int64(len(p.bytes)) }

func (p bytesPayload) writeTo(w io.Writer) error {
	return p.origin.readMapped(p.bytes, func(piece []byte) error {
		_, err := w.Write(piece)
		return err
	})
}

// typedPayload writes the values of a *_data field as raw data.
type typedPayload struct {
	tensor *Tensor
	bytes  int64
}

func (p typedPayload) size() int64 { return p.bytes }

func (p typedPayload) writeTo(w io.Writer) error {
	a, err := p.tensor.Array()
	if err != nil {
		return err
	}
	return arrayPayload{a}.writeTo(w)
}
