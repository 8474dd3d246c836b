package gosource

import (
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/export/source"
)

// test is a test of the generated package: the stored samples, whose outputs trconvert's runtime computed.
func (f *files) test() string {
	var b strings.Builder
	fmt.Fprintf(&b, `// Code generated from an ONNX model. DO NOT EDIT.

package %[1]s

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"testing"
)

// open reads a file of raw elements.
func open(t *testing.T, name string) *bytes.Reader {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(data)
}

func read(t *testing.T, r *bytes.Reader, to any) {
	t.Helper()
	if err := binary.Read(r, binary.LittleEndian, to); err != nil {
		t.Fatal(err)
	}
}

// compare allows %[2]g of the largest element.
func compare(t *testing.T, name string, got, want []float64) {
	t.Helper()
	top, off := 1e-6, 0.0
	for k, w := range want {
		if got[k] == w || got[k] != got[k] && w != w {
			continue
		}
		off = max(off, math.Abs(got[k]-w))
	}
	for _, w := range want {
		if w == w && !math.IsInf(w, 0) {
			top = max(top, math.Abs(w))
		}
	}
	t.Logf("%%s: largest relative difference %%.3g", name, off/top)
	if !(off <= %[2]g*top) {
		t.Errorf("%%s differs by %%g of %%g", name, off, top)
	}
}

func floats[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | float32](v []T) []float64 {
	f := make([]float64, len(v))
	for k, x := range v {
		f[k] = float64(x)
	}
	return f
}

func bools(v []bool) []float64 {
	f := make([]float64, len(v))
	for k, x := range v {
		if x {
			f[k] = 1
		}
	}
	return f
}

var _ = floats[int8]
var _ = bools

`, f.name, f.program.Tolerance)
	f.callTest(&b, "Run", "Inputs", "sample", &f.program.Run)
	if f.program.Stream != nil {
		f.callTest(&b, "Step", "StepInputs", "stream", f.program.Stream)
	}
	return b.String()
}

func (f *files) callTest(b *strings.Builder, call, in, file string, e *source.Entry) {
	fmt.Fprintf(b, "func Test%s(t *testing.T) {\nm := New()\ninputs, outputs := open(t, \"%s_input.bin\"), open(t, \"%s_output.bin\")\nfor range %d {\n", call, file, file, len(e.Samples))
	fmt.Fprintf(b, "in := %s{}\n", in)
	for _, p := range e.Inputs {
		fmt.Fprintf(b, "in.%[1]s = make([]%[2]s, %[3]d)\nread(t, inputs, in.%[1]s)\n", exported(p.Ident), goTypes[p.Buf.Elem], p.Buf.Len)
	}
	fmt.Fprintf(b, "out, err := m.%s(in)\nif err != nil {\nt.Fatal(err)\n}\n", call)
	for k, p := range e.Outputs {
		convert := "floats"
		if p.Buf.Elem == source.Bool {
			convert = "bools"
		}
		fmt.Fprintf(b, "want%[1]d := make([]%[2]s, %[3]d)\nread(t, outputs, want%[1]d)\ncompare(t, %[4]q, %[5]s(out.%[4]s), %[5]s(want%[1]d))\n",
			k, goTypes[p.Buf.Elem], p.Buf.Len, exported(p.Ident), convert)
	}
	b.WriteString("}\n")
	if len(e.Inputs) > 0 {
		fmt.Fprintf(b, "if _, err := m.%s(%s{}); %d > 0 && err == nil {\nt.Error(\"empty inputs are taken\")\n}\n", call, in, e.Inputs[0].Buf.Len)
	}
	b.WriteString("_ = inputs\n}\n\n")
}
