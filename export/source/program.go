// Package source lowers a whole ONNX model with fixed dims to loops over flat arrays: what source code in a language without tensors is printed from
// (packages csource and gosource).
//
// Lower runs the model once in package runtime to learn the type and dims of every value, folds what depends on constants, and rewrites every
// other node as a few kinds of steps: nests of loops around one expression, reductions, products with constant rows, lookups and recurrent
// scans. Buffers of temporary values are laid out in one arena per element type, reused once a value has been read for the last time.
package source

import (
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// Elem is the type of the elements of a buffer.
type Elem int

// Element types. Values of float16, bfloat16 and double are held, and passed, as Float32.
const (
	Float32 Elem = iota
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Bool
	Elems // number of element types
)

var elemNames = [Elems]string{"float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool"}

func (e Elem) String() string { return elemNames[e] }

// Bytes is the size of an element.
func (e Elem) Bytes() int { return [Elems]int{4, 1, 2, 4, 8, 1, 2, 4, 1}[e] }

// Space says where a buffer lives.
type Space int

// Spaces of buffers.
const (
	Arena  Space = iota // temporary, at Offset of the arena of its type
	Const               // read-only data
	Merged              // written once by the Init steps, at Offset of the static memory of its type
	Input               // given by the caller of the entry
	Output              // memory of the caller that the entry fills
	State               // kept by the caller from one step of a stream to the next
)

// Buffer is a flat array.
type Buffer struct {
	Elem   Elem
	Len    int
	Space  Space
	Index  int // of the constant, input, output or state
	Offset int // in elements, of Arena and Merged
	Data   any // of a constant: []float32, []int8, …, []bool

	first, last int // steps that write and read it
}

// Ref is a walk through a buffer: element Offset + Σ index·stride, one stride per loop.
type Ref struct {
	Buf     *Buffer
	Offset  int
	Strides []int
}

// Expr is an expression of one element of each operand: an operation by name, with parameters.
type Expr struct {
	Op     string
	Params []float32
}

// Step is one of the structs below.
type Step interface {
	// buffers lists what the step writes and reads.
	buffers() (out, in []*Buffer)
}

// Note is a comment: the node of the model that the next steps compute.
type Note struct{ Text string }

// Nest computes Out[…] = Expr(In[…]…) for every index of Dims.
type Nest struct {
	Dims []int
	Out  Ref
	In   []Ref
	Expr Expr
}

// Reduce computes, for every index of the first Outer dims, Out[…] = Finish(Combine over the other dims of Expr(In[…]…)). Combine is
// "sum", "prod", "max" or "min".
type Reduce struct {
	Dims    []int
	Outer   int
	Out     Ref
	In      []Ref
	Expr    Expr
	Combine string
	Finish  Expr
}

// Weight is a matrix [N, K] of constant rows: float32, or int8 with a scale for every row.
type Weight struct {
	Buf    *Buffer
	Offset int
	Scale  *Buffer // of int8 rows
}

// Rows computes Out[m, n] = Σ_k X[m, k]·W[n, k] + Bias[n]; Bias may be nil.
type Rows struct {
	M, K, N int
	Out, X  *Buffer
	W       Weight
	Bias    *Buffer
}

// Lookup computes Out[o, j, i] = Data[o, Index[j], i] for Outer × Count × Inner elements; an index outside [−Axis, Axis) is an error of the caller. Scale, one
// number per entry of the axis, belongs to int8 data.
type Lookup struct {
	Outer, Axis, Inner, Count int
	Out, Data, Index          *Buffer
	Scale                     *Buffer
}

// Arg computes the index of the largest (or smallest) element along an axis, the first of equal ones, or the last.
type Arg struct {
	Outer, Axis, Inner int
	Out, In            *Buffer
	Min, Last          bool
}

// Running computes sums along an axis up to each element, or before it (Exclusive), from the front or the back.
type Running struct {
	Outer, Axis, Inner int
	Out, In            *Buffer
	Exclusive, Reverse bool
}

// Recurrent runs a whole LSTM, GRU or RNN node. Strides are in elements; absent operands are nil.
type Recurrent struct {
	Config                        recurrent.Config
	Steps, Batch, Inputs          int
	X, Y, YH, YC, H0, C0, P, Lens *Buffer
	W, R                          []Weight  // by direction: [G·H, I] and [G·H, H]
	Bias, HiddenBias              []*Buffer // by direction: [G·H] that is added to X·Wᵀ, and [H] inside the reset of a GRU with linear_before_reset
	Gates, Hidden, Cell, Scratch  *Buffer   // [G·H], [H], [H] and, for a GRU, [H]
	XStep, XBatch                 int
	YStep, YBatch, YDirection     int
	StateBatch, StateDirection    int
}

func refs(list []Ref) (b []*Buffer) {
	for _, r := range list {
		b = append(b, r.Buf)
	}
	return b
}

func (s *Note) buffers() (out, in []*Buffer)   { return nil, nil }
func (s *Nest) buffers() (out, in []*Buffer)   { return []*Buffer{s.Out.Buf}, refs(s.In) }
func (s *Reduce) buffers() (out, in []*Buffer) { return []*Buffer{s.Out.Buf}, refs(s.In) }
func (s *Rows) buffers() (out, in []*Buffer) {
	return []*Buffer{s.Out}, []*Buffer{s.X, s.W.Buf, s.W.Scale, s.Bias}
}
func (s *Lookup) buffers() (out, in []*Buffer) {
	return []*Buffer{s.Out}, []*Buffer{s.Data, s.Index, s.Scale}
}
func (s *Arg) buffers() (out, in []*Buffer)     { return []*Buffer{s.Out}, []*Buffer{s.In} }
func (s *Running) buffers() (out, in []*Buffer) { return []*Buffer{s.Out}, []*Buffer{s.In} }
func (s *Recurrent) buffers() (out, in []*Buffer) {
	in = []*Buffer{s.X, s.H0, s.C0, s.P, s.Lens}
	for d := range s.W {
		in = append(in, s.W[d].Buf, s.W[d].Scale, s.R[d].Buf, s.R[d].Scale, s.Bias[d], s.HiddenBias[d])
	}
	return []*Buffer{s.Y, s.YH, s.YC, s.Gates, s.Hidden, s.Cell, s.Scratch}, in
}

// Port is an input, an output or a state.
type Port struct {
	Name  string // in the model; not for code
	Ident string // in lower case, valid in C and Go and unique among the ports of its struct
	Type  onnx.DataType
	Dims  []int
	Buf   *Buffer
	Init  *Buffer // of a state: what it starts from, nil for zeros
}

// Entry is a function of the generated code.
type Entry struct {
	Inputs, Outputs []Port
	Steps           []Step
	// Sample inputs and what the model's outputs are for them, by port; of a stream, one after the other.
	Samples []Sample
}

// Sample is a call of an entry with the outputs that package runtime computes.
type Sample struct{ Inputs, Outputs []*onnx.Array }

// Program is a lowered model.
type Program struct {
	Run    Entry
	Stream *Entry // one step of a stream, nil where the model cannot be one
	// NoStream says why Stream is nil.
	NoStream string
	States   []Port
	Init     []Step // merges cores
	Consts   []*Buffer
	Arena    [Elems]int // elements of temporary values
	Static   [Elems]int // elements of merged weights
	// Quantized lists the operands of Run that are held as int8 with their values as used. The outputs of samples are computed with them.
	Quantized []runtime.Override
	// Tolerance is how far outputs may be from those of the samples, relative to the largest element of a tensor: 1e-4, or several roundings of the type
	// where the model computes with float16 (2e-3) or bfloat16 (1.6e-2), which the program does not round to.
	Tolerance float64
}

// ConstBytes is the size of all constants.
func (p *Program) ConstBytes() int {
	n := 0
	for _, c := range p.Consts {
		n += c.Len * c.Elem.Bytes()
	}
	return n
}

// MemoryBytes is the size of the temporary values and of merged weights.
func (p *Program) MemoryBytes() (arena, static int) {
	for e := range Elems {
		arena += p.Arena[e] * e.Bytes()
		static += p.Static[e] * e.Bytes()
	}
	return arena, static
}

// UnsupportedError lists everything a model needs that generated code lacks.
type UnsupportedError struct{ onnx.Lacks }

func (e *UnsupportedError) Error() string { return "export: source code: unsupported: " + e.String() }

// SampleFiles adds the sample calls to files: sample_input.bin and sample_output.bin, stream_input.bin and stream_output.bin. They hold one call after the other: the
// elements of all inputs in order, and of all outputs, little-endian.
func (p *Program) SampleFiles(files map[string][]byte) error {
	if err := p.Run.sampleFiles("sample", files); err != nil || p.Stream == nil {
		return err
	}
	return p.Stream.sampleFiles("stream", files)
}

func (e *Entry) sampleFiles(name string, files map[string][]byte) (err error) {
	var in, out []byte
	for _, s := range e.Samples {
		for k, a := range s.Inputs {
			if in, err = appendRaw(in, a, e.Inputs[k].Buf.Elem); err != nil {
				return err
			}
		}
		for k, a := range s.Outputs {
			if out, err = appendRaw(out, a, e.Outputs[k].Buf.Elem); err != nil {
				return err
			}
		}
	}
	files[name+"_input.bin"], files[name+"_output.bin"] = in, out
	return nil
}

func appendRaw(to []byte, a *onnx.Array, e Elem) ([]byte, error) {
	if e == Float32 && a.Type != onnx.Float {
		f, err := a.Float32s()
		if err != nil {
			return nil, err
		}
		if a, err = onnx.NewFloat32s(a.Dims, f); err != nil {
			return nil, err
		}
	}
	raw, err := a.Bytes()
	return append(to, raw...), err
}
