//go:build (darwin || freebsd || linux || windows) && (amd64 || arm64) && !noort

package ort

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/trconvert/trconvert/onnx"
)

// apiVersion is the version of the C interface that is asked for. All functions used here are of version 1, and every library since 1.11 (2022)
// grants 11; older ones read too few operator sets to judge today's models.
const apiVersion = 11

// Places of the functions in struct OrtApi (onnxruntime_c_api.h; "the order of these functions is part of the ABI").
const (
	fnGetErrorCode        = 1
	fnGetErrorMessage     = 2
	fnCreateEnv           = 3
	fnCreateSession       = 7
	fnRun                 = 9
	fnCreateOptions       = 10
	fnSetIntraThreads     = 24
	fnInputCount          = 30
	fnOutputCount         = 31
	fnInputName           = 36
	fnOutputName          = 37
	fnCreateRunOptions    = 39
	fnSetTerminate        = 46
	fnCreateTensor        = 49
	fnTensorData          = 51
	fnElementType         = 60
	fnDimensionsCount     = 61
	fnDimensions          = 62
	fnTensorTypeAndShape  = 65
	fnValueType           = 67
	fnCreateCPUMemoryInfo = 69
	fnAllocatorFree       = 76
	fnDefaultAllocator    = 78
	fnReleaseStatus       = 93
	fnReleaseSession      = 95
	fnReleaseValue        = 96
	fnReleaseRunOptions   = 97
	fnReleaseShapeInfo    = 99
	fnReleaseOptions      = 100
	fnCount               = 101
)

// handle is an opaque pointer of the library.
type handle = unsafe.Pointer

// Engine is ONNX Runtime, opened. It is safe for concurrent use.
type Engine struct {
	path, version string
	threads       int
	*functions
}

// functions are the parts of one library that engines share.
type functions struct {
	version string

	getErrorCode     func(status handle) int32
	getErrorMessage  func(status handle) unsafe.Pointer
	releaseStatus    func(status handle)
	createEnv        func(level int32, id string, out *handle) handle
	createOptions    func(out *handle) handle
	setThreads       func(options handle, n int32) handle
	releaseOptions   func(options handle)
	createSession    func(env handle, path unsafe.Pointer, options handle, out *handle) handle
	releaseSession   func(session handle)
	inputCount       func(session handle, out *uintptr) handle
	outputCount      func(session handle, out *uintptr) handle
	inputName        func(session handle, k uintptr, allocator handle, out *unsafe.Pointer) handle
	outputName       func(session handle, k uintptr, allocator handle, out *unsafe.Pointer) handle
	free             func(allocator handle, p unsafe.Pointer) handle
	defaultAllocator func(out *handle) handle
	cpuMemory        func(allocator, kind int32, out *handle) handle
	createRunOptions func(out *handle) handle
	setTerminate     func(options handle) handle
	releaseRun       func(options handle)
	createTensor     func(memory handle, data unsafe.Pointer, bytes uintptr, dims *int64, rank uintptr, elem int32, out *handle) handle
	run              func(session, options handle, names *unsafe.Pointer, values *handle, n uintptr, outNames *unsafe.Pointer, m uintptr, out *handle) handle
	valueType        func(value handle, out *int32) handle
	typeAndShape     func(value handle, out *handle) handle
	releaseShape     func(info handle)
	elementType      func(info handle, out *int32) handle
	dimensionsCount  func(info handle, out *uintptr) handle
	dimensions       func(info handle, out *int64, n uintptr) handle
	tensorData       func(value handle, out *unsafe.Pointer) handle
	releaseValue     func(value handle)

	env, allocator, memory handle
}

var (
	openMu sync.Mutex
	opened = map[string]*functions{}
)

// Open opens the library. A library that is missing, of the wrong kind or too old is a *LibraryError. A newer one than this package knows is fine:
// ONNX Runtime keeps its old interfaces.
func Open(o Options) (*Engine, error) {
	path, err := FindLibrary(o.Library)
	if err != nil {
		return nil, err
	}
	openMu.Lock()
	defer openMu.Unlock()
	f := opened[path]
	if f == nil {
		if f, err = load(path); err != nil {
			return nil, err
		}
		opened[path] = f
	}
	return &Engine{path: path, version: f.version, threads: o.Threads, functions: f}, nil
}

// Version is the library's own, for instance "1.30.0".
func (e *Engine) Version() string { return e.version }

func load(path string) (*functions, error) {
	address, err := openLibrary(path, "OrtGetApiBase")
	if err != nil {
		return nil, &LibraryError{path, "cannot be opened as ONNX Runtime for this system: " + err.Error() + " (" + howToGet + ")"}
	}
	var apiBase func() *[2]uintptr // GetApi, GetVersionString
	purego.RegisterFunc(&apiBase, address)
	base := apiBase()
	var getVersion func() unsafe.Pointer
	var getAPI func(version uint32) unsafe.Pointer
	purego.RegisterFunc(&getAPI, base[0])
	purego.RegisterFunc(&getVersion, base[1])
	f := &functions{version: cString(getVersion())}
	if majorMinor(f.version) < 1_011 {
		return nil, &LibraryError{path, fmt.Sprintf("ONNX Runtime %s is too old, 1.11 is the first that can be used", f.version)}
	}
	table := getAPI(apiVersion)
	if table == nil {
		return nil, &LibraryError{path, fmt.Sprintf("ONNX Runtime %s does not offer version %d of its C interface", f.version, apiVersion)}
	}
	f.register(unsafe.Slice((*uintptr)(table), fnCount))
	if err := f.status(f.createEnv(3, "trconvert", &f.env)); err != nil { // 3: errors only
		return nil, &LibraryError{path, err.Error()}
	}
	if err := f.status(f.defaultAllocator(&f.allocator)); err != nil {
		return nil, &LibraryError{path, err.Error()}
	}
	if err := f.status(f.cpuMemory(0, 0, &f.memory)); err != nil { // OrtDeviceAllocator, OrtMemTypeDefault
		return nil, &LibraryError{path, err.Error()}
	}
	return f, nil
}

func (f *functions) register(table []uintptr) {
	for _, r := range []struct {
		fn any
		at int
	}{
		{&f.getErrorCode, fnGetErrorCode}, {&f.getErrorMessage, fnGetErrorMessage}, {&f.releaseStatus, fnReleaseStatus},
		{&f.createEnv, fnCreateEnv}, {&f.createOptions, fnCreateOptions}, {&f.setThreads, fnSetIntraThreads}, {&f.releaseOptions, fnReleaseOptions},
		{&f.createSession, fnCreateSession}, {&f.releaseSession, fnReleaseSession}, {&f.inputCount, fnInputCount}, {&f.outputCount, fnOutputCount},
		{&f.inputName, fnInputName}, {&f.outputName, fnOutputName}, {&f.free, fnAllocatorFree}, {&f.defaultAllocator, fnDefaultAllocator},
		{&f.cpuMemory, fnCreateCPUMemoryInfo}, {&f.createRunOptions, fnCreateRunOptions}, {&f.setTerminate, fnSetTerminate}, {&f.releaseRun, fnReleaseRunOptions},
		{&f.createTensor, fnCreateTensor}, {&f.run, fnRun}, {&f.valueType, fnValueType}, {&f.typeAndShape, fnTensorTypeAndShape}, {&f.releaseShape, fnReleaseShapeInfo},
		{&f.elementType, fnElementType}, {&f.dimensionsCount, fnDimensionsCount}, {&f.dimensions, fnDimensions}, {&f.tensorData, fnTensorData},
		{&f.releaseValue, fnReleaseValue},
	} {
		purego.RegisterFunc(r.fn, table[r.at])
	}
}

// majorMinor turns "1.30.0" into 1030, 0 where it cannot be read.
func majorMinor(version string) int {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return 0
	}
	return major*1000 + minor
}

// status turns an OrtStatus into an error and releases it.
func (f *functions) status(s handle) error {
	if s == nil {
		return nil
	}
	err := &ModelError{Code: int(f.getErrorCode(s)), What: strings.TrimSpace(cString(f.getErrorMessage(s)))}
	f.releaseStatus(s)
	return err
}

// of names the model in a ModelError.
func of(model string, err error) error {
	if me, ok := err.(*ModelError); ok {
		me.Model = model
	}
	return err
}

// Run loads a model and runs it once.
func (e *Engine) Run(ctx context.Context, model string, feeds map[string]*onnx.Array) (map[string]*onnx.Array, error) {
	s, err := e.Load(ctx, model)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Run(ctx, feeds)
}

// cString copies a C string.
func cString(p unsafe.Pointer) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}
