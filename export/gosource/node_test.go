package gosource_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export/gosource"
	"github.com/trconvert/trconvert/export/source/sourcetest"
)

// harness calls Run of every package with the raw elements of its sample and prints the names of those whose outputs differ from the stored ones by more than
// 1e-4 of the largest element.
const harness = `
import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"reflect"
)

func check(dir string, model any) {
	run := reflect.ValueOf(model).MethodByName("Run")
	in := reflect.New(run.Type().In(0)).Elem()
	fields := func(v reflect.Value, file string, f func(field reflect.Value, r *bytes.Reader)) {
		data, err := os.ReadFile(dir + "/" + file)
		if err != nil {
			panic(err)
		}
		r := bytes.NewReader(data)
		for k := range v.NumField() {
			f(v.Field(k), r)
		}
		if r.Len() > 0 {
			fmt.Println("FAIL", dir, file, "is too long")
		}
	}
	read := func(f reflect.Value, r *bytes.Reader) {
		if err := binary.Read(r, binary.LittleEndian, f.Interface()); err != nil {
			panic(err)
		}
	}
	sizes := lengths(dir)
	k := 0
	fields(in, "sample_input.bin", func(f reflect.Value, r *bytes.Reader) {
		f.Set(reflect.MakeSlice(f.Type(), sizes[k], sizes[k]))
		k++
		read(f, r)
	})
	result := run.Call([]reflect.Value{in})
	if !result[1].IsNil() {
		fmt.Println("FAIL", dir, result[1])
		return
	}
	fields(result[0], "sample_output.bin", func(f reflect.Value, r *bytes.Reader) {
		want := reflect.MakeSlice(f.Type(), f.Len(), f.Len())
		read(want, r)
		top, off := 1e-6, 0.0
		for i := range f.Len() {
			a, b := number(f.Index(i)), number(want.Index(i))
			if a != b && !(a != a && b != b) {
				off = math.Max(off, math.Abs(a-b))
			}
			if !math.IsInf(b, 0) && b == b {
				top = math.Max(top, math.Abs(b))
			}
		}
		if !(off <= 1e-4*top) {
			fmt.Println("FAIL", dir, off, top)
		}
	})
}

func number(v reflect.Value) float64 {
	switch {
	case v.CanFloat():
		return v.Float()
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	case v.Bool():
		return 1
	}
	return 0
}

func main() {
`

// TestNodes compares with the stored outputs of the ONNX project's node tests. All packages are compiled into one program.
func TestNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles some hundred packages")
	}
	cases, refused := sourcetest.Cases(t, shared)
	t.Logf("%d node tests, %d are refused", len(cases), len(refused))
	dir := t.TempDir()
	var imports, calls, lengths strings.Builder
	for k, c := range cases {
		name := fmt.Sprintf("n%d", k)
		files, err := gosource.Print(c.Program, gosource.Options{Name: name})
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		delete(files, "go.mod")
		delete(files, "model_test.go")
		folder := map[string][]byte{}
		for f, data := range files {
			folder[filepath.Join(name, f)] = data
		}
		sourcetest.Write(t, dir, folder)
		fmt.Fprintf(&imports, "import %q\n", "nodes/"+name)
		fmt.Fprintf(&calls, "\tcheck(%q, %s.New())\n", name, name)
		var sizes []string
		for _, p := range c.Program.Run.Inputs {
			sizes = append(sizes, fmt.Sprint(p.Buf.Len))
		}
		fmt.Fprintf(&lengths, "\t\t%q: {%s},\n", name, strings.Join(sizes, ", "))
	}
	main := "package main\n\n" + imports.String() + harness + calls.String() + "}\n\nfunc lengths(name string) []int {\n\treturn map[string][]int{\n" + lengths.String() + "\t}[name]\n}\n"
	sourcetest.Write(t, dir, map[string][]byte{"go.mod": []byte("module nodes\n\ngo 1.22\n"), "main.go": []byte(main)})
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%.4000s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		k := -1
		fmt.Sscanf(line, "FAIL n%d", &k)
		if k >= 0 && k < len(cases) {
			t.Errorf("%s: %s", cases[k].Name, strings.TrimSpace(line))
		} else {
			t.Errorf("%s", line)
		}
	}
}

// TestEveryOperation compares every operation with the runtime, which the node tests hold to the specification.
func TestEveryOperation(t *testing.T) {
	files, err := gosource.Write(context.Background(), sourcetest.Operations(t), gosource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	test(t, files)
}
