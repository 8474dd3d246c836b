package csource

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
)

//go:embed kernels.txt
var kernels string

// Options of Write.
type Options struct {
	source.Options
	// Name begins every exported name and file name; "" means "model". It becomes an identifier.
	Name string
}

// Write gives the files of a model as C source, by name.
func Write(ctx context.Context, m *onnx.Model, o Options) (map[string][]byte, error) {
	p, err := source.Lower(ctx, m, o.Options)
	if err != nil {
		return nil, err
	}
	return Print(ctx, p, o)
}

// Print gives the files of a program that has been lowered with the same options.
func Print(ctx context.Context, p *source.Program, o Options) (map[string][]byte, error) {
	name := source.Identifier(o.Name, "model")
	f := &files{program: p, name: name}
	weights, err := f.weights(ctx)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		name + ".h":         []byte(f.header()),
		name + ".c":         []byte(f.body()),
		name + "_weights.h": weights,
		name + "_test.c":    []byte(f.test()),
		"Makefile":          []byte(f.makefile()),
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

func (f *files) upper() string { return strings.ToUpper(f.name) }

// structs declares the arguments of an entry.
func (f *files) structs(b *strings.Builder, kind string, e *source.Entry) {
	upper := f.upper() + strings.ToUpper(kind)
	for _, list := range []struct {
		name, qualifier string
		ports           []source.Port
	}{{"inputs", "const ", e.Inputs}, {"outputs", "", e.Outputs}} {
		fmt.Fprintf(b, "\nstruct %s%s_%s {\n", f.name, kind, list.name)
		for _, p := range list.ports {
			fmt.Fprintf(b, "\t%s%s *%s; /* %s: %s%s */\n", list.qualifier, cTypes[p.Buf.Elem], p.Ident, source.Comment(p.Name), p.Type, dims(p.Dims))
		}
		if len(list.ports) == 0 {
			b.WriteString("\tchar none;\n")
		}
		b.WriteString("};\n")
	}
	b.WriteString("\n/* Numbers of elements. */\n")
	for _, list := range []struct {
		name  string
		ports []source.Port
	}{{"IN", e.Inputs}, {"OUT", e.Outputs}} {
		for _, p := range list.ports {
			fmt.Fprintf(b, "#define %s_%s_%s %d\n", upper, list.name, strings.ToUpper(p.Ident), p.Buf.Len)
		}
	}
}

func dims(d []int) string {
	s := make([]string, len(d))
	for k, n := range d {
		s[k] = strconv.Itoa(n)
	}
	return "[" + strings.Join(s, ", ") + "]"
}

func (f *files) header() string {
	var b strings.Builder
	p := f.program
	arena, static := p.MemoryBytes()
	fmt.Fprintf(&b, `/* Generated from an ONNX model. C99, no allocation; link with the mathematical library (-lm).
 *
 * Constants: %d bytes. Static memory: %d bytes (temporary values %d, merged weights %d).
 * Functions use that memory, so that only one may run at a time.
 */
#ifndef %s_H
#define %s_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
`, p.ConstBytes(), arena+static, arena, static, f.upper(), f.upper())
	f.structs(&b, "", &p.Run)
	fmt.Fprintf(&b, `
/* Runs the whole model. Tensors are in C order; bool is 0 or 1 in a uint8_t; values that the model holds as float16 or double are float.
 * Returns 0, or 1 where an index or a length in the inputs is out of range. */
int %s_run(const struct %s_inputs *in, const struct %s_outputs *out);
`, f.name, f.name, f.name)
	if len(p.Init) > 0 {
		fmt.Fprintf(&b, `
/* Merges the cores of the weights into static memory. The first call of another function does so if it has not been called. */
void %s_init(void);
`, f.name)
	}
	if p.Stream != nil {
		f.structs(&b, "_step", p.Stream)
		fmt.Fprintf(&b, "\n/* What a stream remembers from one step to the next. */\nstruct %s_state {\n", f.name)
		for _, s := range p.States {
			fmt.Fprintf(&b, "\tfloat %s[%d];\n", s.Ident, s.Buf.Len)
		}
		fmt.Fprintf(&b, `};

/* Begins a stream. */
void %s_reset(struct %s_state *state);

/* Takes one time step of a stream: outputs with a time axis are those of this step, the others are what the whole model gives for the steps so far. */
int %s_step(struct %s_state *state, const struct %s_step_inputs *in, const struct %s_step_outputs *out);
`, f.name, f.name, f.name, f.name, f.name, f.name)
	}
	fmt.Fprintf(&b, "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n")
	return b.String()
}

// body is the .c file.
func (f *files) body() string {
	p := f.program
	pr := &printer{used: map[string]bool{}, states: p.States, refuse: "return;"}
	if len(p.Init) > 0 {
		pr.Line("static int merged;")
		pr.Line("")
		pr.Line("void %s_init(void)", f.name)
		pr.Line("{")
		pr.steps(p.Init)
		pr.Line("merged = 1;")
		pr.Line("}")
		pr.Line("")
	}
	pr.refuse = "return 1;"
	f.entry(pr, &p.Run, fmt.Sprintf("int %s_run(const struct %s_inputs *in, const struct %s_outputs *out)", f.name, f.name, f.name))
	if p.Stream != nil {
		pr.Line("")
		f.reset(pr)
		f.entry(pr, p.Stream, fmt.Sprintf("int %s_step(struct %s_state *state, const struct %s_step_inputs *in, const struct %s_step_outputs *out)", f.name, f.name, f.name, f.name))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#include \"%s.h\"\n\n#include <math.h>\n\n#include \"%s_weights.h\"\n\n", f.name, f.name)
	for e := range source.Elems {
		if n := p.Arena[e]; n > 0 {
			fmt.Fprintf(&b, "static %s arena_%s[%d];\n", cTypes[e], e, n)
		}
		if n := p.Static[e]; n > 0 {
			fmt.Fprintf(&b, "static %s merged_%s[%d];\n", cTypes[e], e, n)
		}
	}
	b.WriteString("\n")
	for _, k := range source.Used(source.Blocks(kernels), pr.used) {
		b.WriteString(k.Text + "\n")
	}
	b.WriteString(pr.b.String())
	return b.String()
}

func (f *files) entry(pr *printer, e *source.Entry, signature string) {
	pr.inputs, pr.outputs = e.Inputs, e.Outputs
	pr.Line("%s", signature)
	pr.Line("{")
	if len(f.program.Init) > 0 {
		pr.Line("if (!merged) {")
		pr.Line("%s_init();", f.name)
		pr.Line("}")
	}
	at := pr.b.Len()
	pr.steps(e.Steps)
	for _, name := range []string{"in", "out", "state"} {
		if strings.Contains(signature, "*"+name) && !strings.Contains(pr.b.String()[at:], name+"->") {
			pr.Line("(void)%s;", name)
		}
	}
	pr.Line("return 0;")
	pr.Line("}")
}

func (f *files) reset(pr *printer) {
	pr.Line("void %s_reset(struct %s_state *state)", f.name, f.name)
	pr.Line("{")
	pr.Line("int32_t k;")
	for _, s := range f.program.States {
		value := "0.0f"
		if s.Init != nil {
			value = fmt.Sprintf("w%d[k]", s.Init.Index)
		}
		pr.Line("for (k = 0; k < %d; k++) {", s.Buf.Len)
		pr.Line("state->%s[k] = %s;", s.Ident, value)
		pr.Line("}")
	}
	pr.Line("}")
	pr.Line("")
}

// weights is the header of constants.
func (f *files) weights(ctx context.Context) ([]byte, error) {
	var b []byte
	for _, c := range f.program.Consts {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("export: C source: %w", err)
		}
		b = fmt.Appendf(b, "static const %s w%d[%d] = {", cTypes[c.Elem], c.Index, max(1, c.Len))
		write := func(k int, number []byte) {
			if k%12 == 0 {
				b = append(b, "\n\t"...)
			} else {
				b = append(b, ' ')
			}
			b = append(append(b, number...), ',')
		}
		if err := eachNumber(c.Data, write); err != nil {
			return nil, err
		}
		if c.Len == 0 {
			b = append(b, '0')
		}
		b = append(b, "\n};\n"...)
	}
	return b, nil
}

func eachNumber(data any, write func(k int, number []byte)) error {
	var space []byte
	switch d := data.(type) {
	case []float32:
		for k, v := range d {
			write(k, append(space[:0], float(v)...))
		}
	case []bool:
		for k, v := range d {
			n := "0"
			if v {
				n = "1"
			}
			write(k, []byte(n))
		}
	case []int8:
		integers(d, write)
	case []int16:
		integers(d, write)
	case []int32:
		integers(d, write)
	case []int64:
		integers(d, write)
	case []uint8:
		integers(d, write)
	case []uint16:
		integers(d, write)
	case []uint32:
		integers(d, write)
	default:
		return fmt.Errorf("export: C source: constants of %T", data)
	}
	return nil
}

func integers[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](d []T, write func(k int, number []byte)) {
	for k, v := range d {
		n := strconv.FormatInt(int64(v), 10)
		switch {
		case int64(v) == -1<<63:
			n = "INT64_MIN"
		case int64(v) == -1<<31:
			n = "INT32_MIN"
		}
		write(k, []byte(n))
	}
}

func (f *files) makefile() string {
	return fmt.Sprintf(`CFLAGS ?= -std=c99 -O2 -Wall -Wextra -Werror -pedantic

test: %[1]s_test
	./%[1]s_test sample_input.bin sample_output.bin

%[1]s_test: %[1]s.c %[1]s_test.c %[1]s.h %[1]s_weights.h
	$(CC) $(CFLAGS) -o $@ %[1]s.c %[1]s_test.c -lm

.PHONY: test
`, f.name)
}
