//go:build (darwin || freebsd || linux || windows) && (amd64 || arm64) && !noort

package ort

import (
	"context"
	"fmt"
	"math"
	goruntime "runtime"
	"strconv"
	"unsafe"

	"github.com/trconvert/trconvert/onnx"
)

// Session is a loaded model. Run may be called from several goroutines; Close may not be called beside it.
type Session struct {
	engine          *Engine
	model           string
	ptr             handle
	inputs, outputs []string
}

// Load loads a model from its file, so that external data beside it is found. What ONNX Runtime refuses is a *ModelError with its words.
func (e *Engine) Load(ctx context.Context, model string) (*Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var options handle
	if err := e.status(e.createOptions(&options)); err != nil {
		return nil, of(model, err)
	}
	defer e.releaseOptions(options)
	if e.threads > 0 {
		if err := e.status(e.setThreads(options, int32(min(e.threads, math.MaxInt16)))); err != nil {
			return nil, of(model, err)
		}
	}
	s := &Session{engine: e, model: model}
	path := nativePath(model)
	err := e.status(e.createSession(e.env, path, options, &s.ptr))
	goruntime.KeepAlive(path)
	if err != nil {
		return nil, of(model, err)
	}
	if s.inputs, err = s.names(e.inputCount, e.inputName); err == nil {
		s.outputs, err = s.names(e.outputCount, e.outputName)
	}
	if err != nil {
		s.Close()
		return nil, of(model, err)
	}
	return s, nil
}

// Close frees the model.
func (s *Session) Close() {
	if s.ptr != nil {
		s.engine.releaseSession(s.ptr)
		s.ptr = nil
	}
}

func (s *Session) names(count func(handle, *uintptr) handle, name func(handle, uintptr, handle, *unsafe.Pointer) handle) ([]string, error) {
	var n uintptr
	if err := s.engine.status(count(s.ptr, &n)); err != nil {
		return nil, err
	}
	out := make([]string, n)
	for k := range out {
		var p unsafe.Pointer
		if err := s.engine.status(name(s.ptr, uintptr(k), s.engine.allocator, &p)); err != nil {
			return nil, err
		}
		out[k] = cString(p)
		if err := s.engine.status(s.engine.free(s.engine.allocator, p)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Run computes all outputs. Feeds of numbers, bools, float16 and bfloat16 are taken as they are; strings and values that are no tensors are an error.
// When ctx ends, ONNX Runtime is told to stop after the operator it is in.
func (s *Session) Run(ctx context.Context, feeds map[string]*onnx.Array) (map[string]*onnx.Array, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkFeeds(s.model, s.inputs, feeds); err != nil {
		return nil, err
	}
	e := s.engine
	var pins goruntime.Pinner // the library keeps the addresses of names and feeds until Run returns
	defer pins.Unpin()
	values := make([]handle, len(s.inputs), len(s.inputs)+1)
	defer e.releaseValues(values)
	for k, name := range s.inputs {
		var err error
		if values[k], err = e.tensor(feeds[name], &pins); err != nil {
			return nil, fmt.Errorf("ort: %s: input %s: %w", strconv.Quote(s.model), strconv.Quote(name), err)
		}
	}
	var options handle
	if err := e.status(e.createRunOptions(&options)); err != nil {
		return nil, of(s.model, err)
	}
	defer e.releaseRun(options)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = e.status(e.setTerminate(options))
		close(stopped)
	})
	results := make([]handle, len(s.outputs), len(s.outputs)+1)
	defer e.releaseValues(results)
	inNames, outNames := cNames(s.inputs, &pins), cNames(s.outputs, &pins)
	err := e.status(e.run(s.ptr, options, unsafe.SliceData(inNames), unsafe.SliceData(values), uintptr(len(values)), unsafe.SliceData(outNames), uintptr(len(results)), unsafe.SliceData(results)))
	if !stop() {
		<-stopped // the options must outlive the call that stops the run
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, of(s.model, err)
	}
	out := make(map[string]*onnx.Array, len(results))
	for k, name := range s.outputs {
		a, err := e.array(results[k])
		if err != nil {
			return nil, fmt.Errorf("ort: %s: output %s: %w", strconv.Quote(s.model), strconv.Quote(name), err)
		}
		out[name] = a
	}
	return out, nil
}

func (f *functions) releaseValues(values []handle) {
	for _, v := range values {
		if v != nil {
			f.releaseValue(v)
		}
	}
}

// cNames makes C strings whose addresses stay valid until pins are released.
func cNames(names []string, pins *goruntime.Pinner) []unsafe.Pointer {
	out := make([]unsafe.Pointer, len(names), len(names)+1)
	for k, n := range names {
		b := append([]byte(n), 0)
		pins.Pin(&b[0])
		out[k] = unsafe.Pointer(&b[0])
	}
	return out
}

// tensor hands an array's own memory to the library.
func (f *functions) tensor(a *onnx.Array, pins *goruntime.Pinner) (handle, error) {
	p, n, size := elements(a.Data)
	if size == 0 {
		return nil, fmt.Errorf("elements of type %v are not passed to ONNX Runtime", a.Type)
	}
	dims := make([]int64, len(a.Dims), len(a.Dims)+1)
	want := 1
	for k, d := range a.Dims {
		dims[k] = int64(d)
		want *= d
	}
	if want != n {
		return nil, fmt.Errorf("shape %v holds %d elements", a.Dims, n)
	}
	if n == 0 {
		p = unsafe.Pointer(new([16]byte))
	}
	pins.Pin(p)
	var v handle
	err := f.status(f.createTensor(f.memory, p, uintptr(n*size), unsafe.SliceData(dims), uintptr(len(dims)), int32(a.Type), &v))
	return v, err
}

// elements returns address, number and size of the elements, size 0 for types that are not passed.
func elements(data any) (p unsafe.Pointer, n, size int) {
	switch d := data.(type) {
	case []float32:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 4
	case []float64:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 8
	case []int8:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 1
	case []int16:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 2
	case []int32:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 4
	case []int64:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 8
	case []uint8:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 1
	case []uint16:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 2
	case []uint32:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 4
	case []uint64:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 8
	case []bool:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), 1
	}
	return nil, 0, 0
}

// array copies a result out of the library's memory.
func (f *functions) array(v handle) (*onnx.Array, error) {
	var kind int32
	if err := f.status(f.valueType(v, &kind)); err != nil {
		return nil, err
	}
	if kind != 1 { // ONNX_TYPE_TENSOR
		return nil, fmt.Errorf("is no tensor (ONNXType %d)", kind)
	}
	var info handle
	if err := f.status(f.typeAndShape(v, &info)); err != nil {
		return nil, err
	}
	defer f.releaseShape(info)
	var elem int32
	var rank uintptr
	if err := f.status(f.elementType(info, &elem)); err != nil {
		return nil, err
	}
	if err := f.status(f.dimensionsCount(info, &rank)); err != nil {
		return nil, err
	}
	dims := make([]int64, rank, rank+1)
	if err := f.status(f.dimensions(info, unsafe.SliceData(dims), rank)); err != nil {
		return nil, err
	}
	a := &onnx.Array{Type: onnx.DataType(elem), Dims: make([]int, rank)}
	n := 1
	for k, d := range dims {
		a.Dims[k] = int(d)
		n *= int(d)
	}
	var p unsafe.Pointer
	if err := f.status(f.tensorData(v, &p)); err != nil {
		return nil, err
	}
	switch a.Type {
	case onnx.Float:
		a.Data = copyOut[float32](p, n)
	case onnx.Double:
		a.Data = copyOut[float64](p, n)
	case onnx.Int8:
		a.Data = copyOut[int8](p, n)
	case onnx.Int16:
		a.Data = copyOut[int16](p, n)
	case onnx.Int32:
		a.Data = copyOut[int32](p, n)
	case onnx.Int64:
		a.Data = copyOut[int64](p, n)
	case onnx.Uint8:
		a.Data = copyOut[uint8](p, n)
	case onnx.Uint16, onnx.Float16, onnx.BFloat16:
		a.Data = copyOut[uint16](p, n)
	case onnx.Uint32:
		a.Data = copyOut[uint32](p, n)
	case onnx.Uint64:
		a.Data = copyOut[uint64](p, n)
	case onnx.Bool:
		a.Data = copyOut[bool](p, n)
	default:
		return nil, fmt.Errorf("elements of type %v are not read from ONNX Runtime", a.Type)
	}
	return a, nil
}

func copyOut[T any](p unsafe.Pointer, n int) []T {
	out := make([]T, n)
	if n > 0 {
		copy(out, unsafe.Slice((*T)(p), n))
	}
	return out
}
