package csource

import (
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/export/source"
)

// test is a program that feeds raw files to the model.
func (f *files) test() string {
	var b strings.Builder
	usage := "INPUT [EXPECTED]"
	if f.program.Stream != nil {
		usage = "[--stream] INPUT [EXPECTED]"
	}
	fmt.Fprintf(&b, `/* Runs the model on raw inputs.
 *
 * usage: %[1]s_test %[2]s
 *
 * INPUT holds the elements of all inputs, one after the other in the order of the struct, as the machine has them; a file may hold several calls.
 * Without EXPECTED the outputs are printed, one element a line. With it they are compared with the elements in that file, and the exit code is 1
 * where one differs by more than %[3]g of the largest of its tensor.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "%[1]s.h"

static double worst;

`, f.name, usage, f.program.Tolerance)
	entries := []struct {
		name  string
		entry *source.Entry
	}{{"run", &f.program.Run}}
	if f.program.Stream != nil {
		entries = append(entries, struct {
			name  string
			entry *source.Entry
		}{"step", f.program.Stream})
	}
	types := map[source.Elem]bool{}
	for _, e := range entries {
		for _, p := range e.entry.Outputs {
			types[p.Buf.Elem] = true
		}
	}
	for e := range source.Elems {
		if types[e] {
			f.checkFunction(&b, e)
		}
	}
	for _, e := range entries {
		f.callFunction(&b, e.name, e.entry)
	}
	b.WriteString(`int main(int argc, char **argv)
{
	int (*call)(FILE *, FILE *) = run;
	FILE *inputs, *expected = NULL;
	int status, calls = 0;
`)
	if f.program.Stream != nil {
		fmt.Fprintf(&b, `	if (argc > 1 && strcmp(argv[1], "--stream") == 0) {
		call = step;
		%s_reset(&state);
		argc--;
		argv++;
	}
`, f.name)
	}
	fmt.Fprintf(&b, `	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: %[1]s_test %[2]s\n");
		return 2;
	}
	inputs = fopen(argv[1], "rb");
	if (argc == 3) {
		expected = fopen(argv[2], "rb");
	}
	if (inputs == NULL || (argc == 3 && expected == NULL)) {
		perror(%[3]q);
		return 2;
	}
	while ((status = call(inputs, expected)) == 0) {
		calls++;
	}
	fclose(inputs);
	if (expected != NULL) {
		fclose(expected);
		printf("calls %%d, largest relative difference %%.3g\n", calls, worst);
	}
	if (status > 1 || calls == 0) {
		fprintf(stderr, status > 2 ? "an index or a length is out of range\n" : "a file ends too early\n");
		return 2;
	}
	return worst <= %[4]g ? 0 : 1;
}
`, f.name, usage, f.name+"_test", f.program.Tolerance)
	return b.String()
}

// checkFunction prints a tensor or compares it.
func (f *files) checkFunction(b *strings.Builder, e source.Elem) {
	fmt.Fprintf(b, `/* Returns 0 where the file of expected elements ends too early. */
static int check_%[2]s(const char *name, const %[1]s *v, long n, FILE *expected)
{
	double top = 1e-6, off = 0;
	long k;
	if (expected == NULL) {
		for (k = 0; k < n; k++) {
			printf("%%s[%%ld] %%.9g\n", name, k, (double)v[k]);
		}
		return 1;
	}
	for (k = 0; k < n; k++) {
		%[1]s want;
		double d, w, x;
		if (fread(&want, sizeof want, 1, expected) != 1) {
			return 0;
		}
		w = (double)want;
		x = (double)v[k];
		d = x == w || (x != x && w != w) ? 0 : fabs(x - w);
		if (!(d <= off)) {
			off = d;
		}
		if (fabs(w) > top && fabs(w) <= 3.5e38) {
			top = fabs(w);
		}
	}
	if (!(off / top <= worst)) {
		worst = off / top;
	}
	return 1;
}

`, cTypes[e], e)
}

// callFunction reads one call's inputs and checks its outputs: 0 done, 1 no more inputs, 2 a file ends too early, 3 refused.
func (f *files) callFunction(b *strings.Builder, name string, e *source.Entry) {
	kind := ""
	if name == "step" {
		kind = "_step"
		fmt.Fprintf(b, "static struct %s_state state;\n", f.name)
	}
	upper := f.upper() + strings.ToUpper(kind)
	for _, p := range e.Inputs {
		fmt.Fprintf(b, "static %s %s_in_%s[%s_IN_%s + 1];\n", cTypes[p.Buf.Elem], name, p.Ident, upper, strings.ToUpper(p.Ident))
	}
	for _, p := range e.Outputs {
		fmt.Fprintf(b, "static %s %s_out_%s[%s_OUT_%s + 1];\n", cTypes[p.Buf.Elem], name, p.Ident, upper, strings.ToUpper(p.Ident))
	}
	fmt.Fprintf(b, "\nstatic int %s(FILE *inputs, FILE *expected)\n{\n\tstruct %s%s_inputs in;\n\tstruct %s%s_outputs out;\n\tstatic size_t got;\n", name, f.name, kind, f.name, kind)
	b.WriteString("\tmemset(&in, 0, sizeof in);\n\tmemset(&out, 0, sizeof out);\n")
	elements := 0
	for _, p := range e.Inputs {
		if p.Buf.Len > 0 {
			n := upper + "_IN_" + strings.ToUpper(p.Ident)
			fmt.Fprintf(b, "\tgot = fread(%s_in_%s, sizeof *%s_in_%s, %s, inputs);\n", name, p.Ident, name, p.Ident, n)
			short := "2"
			if elements == 0 {
				short = "got == 0 ? 1 : 2"
			}
			fmt.Fprintf(b, "\tif (got != %s) {\n\t\treturn %s;\n\t}\n", n, short)
			elements += p.Buf.Len
		}
		fmt.Fprintf(b, "\tin.%s = %s_in_%s;\n", p.Ident, name, p.Ident)
	}
	if elements == 0 {
		b.WriteString("\t(void)inputs;\n\tif (got++ > 0) {\n\t\treturn 1;\n\t}\n")
	}
	for _, p := range e.Outputs {
		fmt.Fprintf(b, "\tout.%s = %s_out_%s;\n", p.Ident, name, p.Ident)
	}
	call := fmt.Sprintf("%s_run(&in, &out)", f.name)
	if name == "step" {
		call = fmt.Sprintf("%s_step(&state, &in, &out)", f.name)
	}
	fmt.Fprintf(b, "\tif (%s != 0) {\n\t\treturn 3;\n\t}\n", call)
	for _, p := range e.Outputs {
		fmt.Fprintf(b, "\tif (!check_%s(%q, %s_out_%s, %s_OUT_%s, expected)) {\n\t\treturn 2;\n\t}\n", p.Buf.Elem, p.Ident, name, p.Ident, upper, strings.ToUpper(p.Ident))
	}
	if len(e.Outputs) == 0 {
		b.WriteString("\t(void)expected;\n")
	}
	b.WriteString("\treturn 0;\n}\n\n")
}
