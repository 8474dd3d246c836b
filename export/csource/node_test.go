package csource_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export/csource"
	"github.com/trconvert/trconvert/export/source/sourcetest"
)

// TestNodes compares with the stored outputs of the ONNX project's node tests, to 1e-4 of the largest element. All are compiled into one program.
func TestNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles some hundred files")
	}
	gcc := compiler(t)
	cases, refused := sourcetest.Cases(t, shared)
	t.Logf("%d node tests, %d are refused: %s", len(cases), len(refused), strings.Join(refused, " "))
	if len(cases) < 200 {
		t.Errorf("%d node tests are lowered, expected 200 at least", len(cases))
	}
	dir := t.TempDir()
	args := []string{"-std=c99", "-O0", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", "all", "all.c"}
	var all strings.Builder
	all.WriteString("#include <stdlib.h>\n")
	for k := range cases {
		fmt.Fprintf(&all, "int main_%d(int argc, char **argv);\n", k)
	}
	all.WriteString("int main(int argc, char **argv)\n{\n\tswitch (atoi(argv[1])) {\n")
	for k, c := range cases {
		name := fmt.Sprintf("n%d", k)
		files, err := csource.Print(context.Background(), c.Program, csource.Options{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		files["wrap.c"] = fmt.Appendf(nil, "#define main main_%d\n#include \"%s_test.c\"\n", k, name)
		folder := map[string][]byte{}
		for f, data := range files {
			folder[filepath.Join(name, f)] = data
		}
		sourcetest.Write(t, dir, folder)
		args = append(args, filepath.Join(name, name+".c"), filepath.Join(name, "wrap.c"))
		fmt.Fprintf(&all, "\tcase %d:\n\t\treturn main_%d(argc - 1, argv + 1);\n", k, k)
	}
	all.WriteString("\t}\n\treturn 2;\n}\n")
	sourcetest.Write(t, dir, map[string][]byte{"all.c": []byte(all.String())})
	cmd := exec.Command(gcc, append(args, "-lm")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%.4000s", err, out)
	}
	for k, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			name := fmt.Sprintf("n%d", k)
			cmd := exec.Command(filepath.Join(dir, "all"), fmt.Sprint(k), name+"/sample_input.bin", name+"/sample_output.bin")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %.1500s", err, out)
			}
		})
	}
}

// TestEveryOperation compares every operation with the runtime, which the node tests hold to the specification.
func TestEveryOperation(t *testing.T) {
	files, err := csource.Write(context.Background(), sourcetest.Operations(t), csource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(run(t, build(t, files), "sample_input.bin", "sample_output.bin"))
}
