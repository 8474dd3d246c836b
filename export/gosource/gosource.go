// Package gosource prints a lowered model as a Go package without dependencies.
//
// The folder is a module of its own: go.mod, model.go, weights.bin (embedded by model.go) and model_test.go with the sample that it compares with. It needs Go 1.22 and
// its standard library. model.New makes an instance, Model.Run computes the whole model for the dims it was written for, and Model.Step one time step of a stream
// after Model.Reset; the weights are loaded once, and instances may run at the same time. Operators, numbers, int8 weights and streams are those of package csource.
//
// With MergeAtStart weights.bin holds the cores, which the first New merges: the file is smaller, memory and speed are the same. Generated Go is plain loops: three to fourteen times
// as slow as package runtime's vector kernels (gestures at 100 ×: 70 µs against 13 µs a clip; dense 470 against 33).
package gosource

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"go/format"
	"strings"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
)

//go:embed kernels.txt
var kernels string

// Options of Write.
type Options struct {
	source.Options
	// Name is the name of the package; "" means "model". It becomes an identifier.
	Name string
}

// Write gives the files of a model as a Go package, by name.
func Write(ctx context.Context, m *onnx.Model, o Options) (map[string][]byte, error) {
	p, err := source.Lower(ctx, m, o.Options)
	if err != nil {
		return nil, err
	}
	return Print(p, o)
}

// Print gives the files of a program that has been lowered with the same options.
func Print(p *source.Program, o Options) (map[string][]byte, error) {
	name := source.Identifier(o.Name, "model")
	f := &files{program: p, name: name}
	code, err := format.Source([]byte(f.code()))
	if err != nil {
		return nil, fmt.Errorf("export: Go source: %w", err)
	}
	test, err := format.Source([]byte(f.test()))
	if err != nil {
		return nil, fmt.Errorf("export: Go source: %w", err)
	}
	files := map[string][]byte{
		"go.mod":        fmt.Appendf(nil, "module example.com/%s\n\ngo 1.22\n", name), // a path without a dot may be the standard library's
		"model.go":      code,
		"model_test.go": test,
		"weights.bin":   weights(p),
	}
	if err := p.SampleFiles(files); err != nil {
		return nil, err
	}
	return files, nil
}

// files prints the parts of one program.
type files struct {
	program *source.Program
	name    string
}

// weights joins the constants, little-endian.
func weights(p *source.Program) []byte {
	var b []byte
	for _, c := range p.Consts {
		b, _ = binary.Append(b, binary.LittleEndian, c.Data) // slices of fixed-size numbers, which cannot fail
	}
	return b
}

func (f *files) code() string {
	p := f.program
	pr := &printer{used: map[string]bool{}, states: p.States}
	if len(p.Init) > 0 {
		pr.Line("// merge multiplies the cores of the weights.")
		pr.Line("func (w *weights) merge() {")
		pr.Line("m := newScratch()")
		pr.Line("_ = m")
		pr.steps(p.Init)
		pr.Line("}")
		pr.Line("")
	}
	pr.refuse = "fmt.Errorf(\"" + f.name + ": an index or a length in the inputs is out of range\")"
	f.entry(pr, "Run", "Inputs", "Outputs", "Run computes the whole model.", &p.Run)
	if p.Stream != nil {
		f.entry(pr, "Step", "StepInputs", "StepOutputs",
			"Step takes one time step of a stream: outputs with a time axis are those of this step, the others are what the whole model gives for the steps so far.", p.Stream)
	}
	var body, b strings.Builder
	for _, k := range source.Used(source.Blocks(kernels), pr.used) {
		body.WriteString(k.Text + "\n")
	}
	body.WriteString(pr.b.String())
	imports := []string{"bytes", "embed", "encoding/binary"}
	for _, i := range []string{"fmt", "math"} {
		for line := range strings.Lines(body.String()) {
			if !strings.HasPrefix(line, "//") && strings.Contains(line, i+".") { // names in comments are the model's
				imports = append(imports, i)
				break
			}
		}
	}
	f.head(&b, imports)
	b.WriteString(body.String())
	return b.String()
}

// head prints imports, types and the constructor.
func (f *files) head(b *strings.Builder, imports []string) {
	p := f.program
	arena, static := p.MemoryBytes()
	fmt.Fprintf(b, "// Code generated from an ONNX model. DO NOT EDIT.\n\n// Package %s computes one model, with its weights inside.\n//\n", f.name)
	fmt.Fprintf(b, "// Weights: %d bytes, shared by all models. A model holds %d bytes of temporary values.\n", p.ConstBytes()+static, arena)
	fmt.Fprintf(b, "package %s\n\nimport (\n", f.name)
	for _, i := range imports {
		if i == "embed" {
			b.WriteString("_ ")
		}
		fmt.Fprintf(b, "%q\n", i)
	}
	b.WriteString("\"sync\"\n)\n\n")
	f.structs(b, "", &p.Run)
	if p.Stream != nil {
		f.structs(b, "Step", p.Stream)
	}
	b.WriteString("//go:embed weights.bin\nvar weightsFile []byte\n\n// weights are shared by all models and never change.\ntype weights struct {\n")
	for _, c := range p.Consts {
		fmt.Fprintf(b, "c%d []%s\n", c.Index, goTypes[c.Elem])
	}
	for e := range source.Elems {
		if p.Static[e] > 0 {
			fmt.Fprintf(b, "merged%s []%s\n", exported(e.String()), goTypes[e])
		}
	}
	b.WriteString("}\n\nvar load = sync.OnceValue(func() *weights {\nw := &weights{\n")
	for _, c := range p.Consts {
		fmt.Fprintf(b, "c%d: make([]%s, %d),\n", c.Index, goTypes[c.Elem], c.Len)
	}
	for e := range source.Elems {
		if n := p.Static[e]; n > 0 {
			fmt.Fprintf(b, "merged%s: make([]%s, %d),\n", exported(e.String()), goTypes[e], n)
		}
	}
	b.WriteString("}\nr := bytes.NewReader(weightsFile)\nfor _, part := range []any{\n")
	for _, c := range p.Consts {
		fmt.Fprintf(b, "w.c%d,\n", c.Index)
	}
	b.WriteString("} {\nif err := binary.Read(r, binary.LittleEndian, part); err != nil {\npanic(\"" + f.name + ": weights.bin: \" + err.Error())\n}\n}\n")
	if len(p.Init) > 0 {
		b.WriteString("w.merge()\n")
	}
	b.WriteString("return w\n})\n\n// scratch holds temporary values and the state of a stream.\ntype scratch struct {\n")
	for e := range source.Elems {
		if p.Arena[e] > 0 {
			fmt.Fprintf(b, "%ss []%s\n", e, goTypes[e])
		}
	}
	if p.Stream != nil {
		b.WriteString("state struct {\n")
		for _, s := range p.States {
			fmt.Fprintf(b, "%s []float32\n", exported(s.Ident))
		}
		b.WriteString("}\n")
	}
	b.WriteString("}\n\nfunc newScratch() *scratch {\nreturn &scratch{\n")
	for e := range source.Elems {
		if n := p.Arena[e]; n > 0 {
			fmt.Fprintf(b, "%ss: make([]%s, %d),\n", e, goTypes[e], n)
		}
	}
	b.WriteString(`}
}

// Model is one instance. It may be used by one goroutine at a time; others take instances of their own, which share the weights.
type Model struct {
	w *weights
	m *scratch
}

// New makes an instance. The first one loads the weights.
func New() *Model {
	m := &Model{w: load(), m: newScratch()}
`)
	if p.Stream != nil {
		b.WriteString("m.Reset()\n")
	}
	b.WriteString("return m\n}\n\n")
	if p.Stream != nil {
		b.WriteString("// Reset begins a stream.\nfunc (model *Model) Reset() {\n")
		for _, s := range p.States {
			fmt.Fprintf(b, "model.m.state.%s = make([]float32, %d)\n", exported(s.Ident), s.Buf.Len)
			if s.Init != nil {
				fmt.Fprintf(b, "copy(model.m.state.%s, model.w.c%d)\n", exported(s.Ident), s.Init.Index)
			}
		}
		b.WriteString("}\n\n")
	}
}

// structs declares the arguments and results of an entry.
func (f *files) structs(b *strings.Builder, kind string, e *source.Entry) {
	for _, list := range []struct {
		name, text string
		ports      []source.Port
	}{{"Inputs", "are tensors in C order; values that the model holds as float16 or double are float32", e.Inputs}, {"Outputs", "are new in every call", e.Outputs}} {
		fmt.Fprintf(b, "// %s%s %s.\ntype %s%s struct {\n", kind, list.name, list.text, kind, list.name)
		for _, p := range list.ports {
			fmt.Fprintf(b, "%s []%s // %s: %s%v\n", exported(p.Ident), goTypes[p.Buf.Elem], source.Comment(p.Name), p.Type, p.Dims)
		}
		b.WriteString("}\n\n")
	}
}

func (f *files) entry(pr *printer, name, in, out, doc string, e *source.Entry) {
	pr.inputs, pr.outputs = e.Inputs, e.Outputs
	pr.Line("// %s An input of another length, and an index or a length in it that is out of range, are errors.", doc)
	pr.Line("func (model *Model) %s(in %s) (%s, error) {", name, in, out)
	pr.Line("var out %s", out)
	for _, p := range e.Inputs {
		pr.Line("if len(in.%s) != %d {", exported(p.Ident), p.Buf.Len)
		pr.Line("return out, fmt.Errorf(\"%s: %s has %%d elements, want %d\", len(in.%s))", f.name, exported(p.Ident), p.Buf.Len, exported(p.Ident))
		pr.Line("}")
	}
	for _, p := range e.Outputs {
		pr.Line("out.%s = make([]%s, %d)", exported(p.Ident), goTypes[p.Buf.Elem], p.Buf.Len)
	}
	lower := strings.ToLower(name)
	pr.Line("return out, model.%s(&in, &out)", lower)
	pr.Line("}")
	pr.Line("")
	pr.Line("func (model *Model) %s(in *%s, out *%s) error {", lower, in, out)
	pr.Line("w, m := model.w, model.m")
	pr.Line("_, _ = w, m")
	pr.steps(e.Steps)
	pr.Line("return nil")
	pr.Line("}")
	pr.Line("")
}
