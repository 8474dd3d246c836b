package finetune

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// A checkpoint file is, with all numbers little-endian:
//
//	magic        8 bytes
//	version      uint32
//	identity     count, then pairs of strings
//	state        fixed fields, the losses of trials, the figures of the epochs that ran
//	arrays       five lists (parameters, optimizer, average, best, last good): count, then type, elements and the elements
//	sha256       32 bytes, of all before
//
// counts and lengths are uint32, elements of an array are counted in uint64.
const (
	checkpointMagic   = "trcFTckp"
	checkpointVersion = 1
)

// checkpoint is a decoded file.
type checkpoint struct {
	identity identity
	state    state
	arrays   [][]*onnx.Array
}

// encodeCheckpoint writes a checkpoint: the same state gives the same bytes. Times are left out.
func encodeCheckpoint(to io.Writer, id identity, s *state) error {
	sum := sha256.New()
	w := &ckptWriter{to: bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<16)}
	w.raw([]byte(checkpointMagic))
	w.u32(checkpointVersion)
	w.u32(len(id))
	for _, f := range id {
		w.text(f.name)
		w.text(f.value)
	}
	for _, v := range []int{s.start, s.epoch, s.batch, s.backOffs, s.plateau.waited, s.best.number} {
		w.u32(v)
	}
	w.reals(s.scale, s.partial.Sum, s.partial.Weight, s.partial.Hits, s.partial.Seen, s.partial.Square, s.partial.Target, s.plateau.best, s.plateau.factor)
	w.evaluation(s.before)
	w.evaluation(s.best.result)
	w.u32(len(s.trials))
	w.reals(s.trials...)
	w.u32(len(s.history))
	for _, e := range s.history {
		w.reals(e.TrainLoss, e.ValLoss, e.Metric)
	}
	good := s.good
	if s.batch == 0 { // the beginning of an epoch is good by itself
		good = nil
	}
	for _, list := range [][]*onnx.Array{s.values, s.moments, s.average, s.best.values, good} {
		w.u32(len(list))
		for _, a := range list {
			if err := w.array(a); err != nil {
				return err
			}
		}
	}
	if err := w.to.Flush(); err != nil { // which repeats the first error of all writes
		return err
	}
	_, err := to.Write(sum.Sum(nil))
	return err
}

// ckptWriter writes fields; errors stay with the buffer.
type ckptWriter struct {
	to      *bufio.Writer
	scratch [8]byte
}

func (w *ckptWriter) raw(b []byte) { _, _ = w.to.Write(b) }

func (w *ckptWriter) u32(v int) { w.raw(binary.LittleEndian.AppendUint32(w.scratch[:0], uint32(v))) }

func (w *ckptWriter) u64(v uint64) { w.raw(binary.LittleEndian.AppendUint64(w.scratch[:0], v)) }

func (w *ckptWriter) text(s string) {
	w.u32(len(s))
	w.raw([]byte(s))
}

func (w *ckptWriter) reals(v ...float64) {
	for _, x := range v {
		w.u64(math.Float64bits(x))
	}
}

func (w *ckptWriter) evaluation(e Evaluation) {
	w.reals(e.Loss, e.Metric)
	w.text(string(e.Kind))
	w.u32(e.Samples)
}

func (w *ckptWriter) array(a *onnx.Array) error {
	b, err := a.Bytes()
	w.u32(int(a.Type))
	w.u64(uint64(a.Elements()))
	w.raw(b)
	return err
}

// decodeCheckpoint reads the bytes of a checkpoint. Memory is bounded by their number.
func decodeCheckpoint(data []byte) (*checkpoint, error) {
	if len(data) < len(checkpointMagic) || string(data[:len(checkpointMagic)]) != checkpointMagic {
		return nil, errors.New("is no checkpoint of a fine-tuning: it begins otherwise")
	}
	r := &ckptReader{rest: data[len(checkpointMagic):]}
	if v := r.u32(); r.err == nil && v != checkpointVersion {
		return nil, fmt.Errorf("has the version %d, this program knows version %d", v, checkpointVersion)
	}
	if len(r.rest) < sha256.Size {
		return nil, fmt.Errorf("is cut off after %d bytes", len(data))
	}
	end := len(data) - sha256.Size
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:]) {
		return nil, fmt.Errorf("is damaged or cut off: its checksum does not fit its %d bytes", len(data))
	}
	r.rest = r.rest[:len(r.rest)-sha256.Size]
	c := &checkpoint{}
	for range r.count(8) {
		c.identity = append(c.identity, fact{r.text(), r.text()})
	}
	s := &c.state
	for _, to := range []*int{&s.start, &s.epoch, &s.batch, &s.backOffs, &s.plateau.waited, &s.best.number} {
		*to = r.u32()
	}
	p := &s.partial
	for _, to := range []*float64{&s.scale, &p.Sum, &p.Weight, &p.Hits, &p.Seen, &p.Square, &p.Target, &s.plateau.best, &s.plateau.factor} {
		*to = r.real()
	}
	s.before = r.evaluation()
	s.best.result = r.evaluation()
	for range r.count(8) {
		s.trials = append(s.trials, r.real())
	}
	for k := range r.count(24) {
		s.history = append(s.history, Epoch{Number: k + 1, TrainLoss: r.real(), ValLoss: r.real(), Metric: r.real()})
	}
	for range 5 {
		var list []*onnx.Array
		for range r.count(12) {
			list = append(list, r.array())
		}
		c.arrays = append(c.arrays, list)
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("has %d bytes behind its end", len(r.rest))
	}
	return c, r.err
}

// ckptReader reads fields until one does not fit what is left; everything is zero from then on.
type ckptReader struct {
	rest []byte
	err  error
}

func (r *ckptReader) bytes(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.rest)) {
		r.err = fmt.Errorf("is broken: a field of %d bytes, %d are left", n, len(r.rest))
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *ckptReader) u32() int {
	b := r.bytes(4)
	if b == nil {
		return 0
	}
	v := binary.LittleEndian.Uint32(b)
	if v > math.MaxInt32 {
		r.err = fmt.Errorf("is broken: a count of %d", v)
		return 0
	}
	return int(v)
}

// count reads the number of items that take at least size bytes each.
func (r *ckptReader) count(size int) int {
	n := r.u32()
	if r.err == nil && n > len(r.rest)/size {
		r.err = fmt.Errorf("is broken: %d items of at least %d bytes, %d bytes are left", n, size, len(r.rest))
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *ckptReader) real() float64 {
	b := r.bytes(8)
	if b == nil {
		return 0
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

func (r *ckptReader) text() string { return string(r.bytes(uint64(r.u32()))) }

func (r *ckptReader) evaluation() Evaluation {
	return Evaluation{Loss: r.real(), Metric: r.real(), Kind: MetricKind(r.text()), Samples: r.u32()}
}

func (r *ckptReader) array() *onnx.Array {
	typ := onnx.DataType(r.u32())
	b := r.bytes(8)
	if b == nil {
		return &onnx.Array{}
	}
	n := binary.LittleEndian.Uint64(b)
	if n > math.MaxInt64/8 {
		r.err = fmt.Errorf("is broken: an array of %d elements", n)
		return &onnx.Array{}
	}
	a := &onnx.Array{Type: typ, Dims: []int{int(n)}}
	switch typ {
	case onnx.Float:
		a.Data = decoded[float32](r.bytes(4*n), 4)
	case onnx.Double:
		a.Data = decoded[float64](r.bytes(8*n), 8)
	default:
		if r.err == nil {
			r.err = fmt.Errorf("is broken: an array of the type %v", typ)
		}
	}
	return a
}

// decoded reads numbers of size bytes each.
func decoded[T float32 | float64](b []byte, size int) []T {
	d := make([]T, len(b)/size)
	_, _ = binary.Decode(b, binary.LittleEndian, d) // fails where b is shorter than d alone
	return d
}

// notFinite finds the first element that is NaN or infinite.
func notFinite(a *onnx.Array) (at int, bad bool) {
	f, ok := floatsOf(a)
	if !ok {
		return 0, true
	}
	for i := range a.Elements() {
		if v := f.at(i); math.IsNaN(v) || math.IsInf(v, 0) {
			return i, true
		}
	}
	return 0, false
}
