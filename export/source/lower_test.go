package source_test

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/csource"
	"github.com/trconvert/trconvert/export/gosource"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/export/source/sourcetest"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// chain is a model of unary nodes with the given operators and names.
func chain(t *testing.T, input string, nodes ...[3]string) *onnx.Model {
	t.Helper()
	value := func(name string) *onnxpb.ValueInfoProto {
		return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
			ElemType: proto.Int32(int32(onnx.Float)), Shape: &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{
				{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 3}}}}}}}}
	}
	g := &onnxpb.GraphProto{Name: proto.String("g"), Input: []*onnxpb.ValueInfoProto{value(input)}}
	last := input
	for _, n := range nodes {
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String(n[0]), Name: proto.String(n[1]), Input: []string{last}, Output: []string{n[2]}})
		last = n[2]
	}
	g.Output = []*onnxpb.ValueInfoProto{value(last)}
	m, err := onnx.FromProto("test", &onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: g, OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(14)}}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNamesStayOutOfTheCode(t *testing.T) {
	hostile := []string{
		"*/ int evil(void); /*", "x\n#error evil\n", "??/\n#error evil", "//\\", "int", "func", "a\"; evil(); \"", "\u2028evil()", "9lives", "", strings.Repeat("long", 100),
		"*\u200b/", "/*/ evil */", "in", "out", "none",
	}
	for _, name := range hostile {
		t.Run("", func(t *testing.T) {
			m := chain(t, "input "+name, [3]string{"Relu", name, "mid " + name}, [3]string{"Tanh", name, "output " + name})
			c, err := csource.Write(context.Background(), m, csource.Options{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			g, err := gosource.Write(context.Background(), m, gosource.Options{Name: name}) // is parsed by go/format
			if err != nil {
				t.Fatal(err)
			}
			for file, text := range c {
				if strings.HasSuffix(file, ".c") || strings.HasSuffix(file, ".h") {
					if code := withoutComments(t, string(text)); strings.Contains(strings.ReplaceAll(code, "\"input_", ""), "evil(") || strings.Contains(code, "#error") {
						t.Errorf("%s has %q in its code:\n%s", file, name, code)
					}
				}
			}
			for file, text := range g {
				for line := range strings.Lines(string(text)) {
					if at := strings.Index(line, "evil("); strings.HasSuffix(file, ".go") && at >= 0 && !strings.Contains(line[:at], "//") {
						t.Errorf("%s has %q in its code: %s", file, name, line)
					}
				}
			}
		})
	}
}

// TestImportsAreUsed gives nodes names of packages, as TensorFlow does: code that imports what only a comment names does not compile.
func TestImportsAreUsed(t *testing.T) {
	m := chain(t, "x", [3]string{"Relu", "tf.math.relu fmt.Print bytes.x", "y"})
	files, err := gosource.Write(context.Background(), m, gosource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	code, err := parser.ParseFile(token.NewFileSet(), "model.go", files["model.go"], 0)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	ast.Inspect(code, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				used[x.Name] = true
			}
		}
		return true
	})
	for _, i := range code.Imports {
		if path := strings.Trim(i.Path.Value, `"`); i.Name == nil && !used[path[strings.LastIndex(path, "/")+1:]] {
			t.Errorf("%s is imported and not used", path)
		}
	}
}

// withoutComments drops comments as translation phases 1 to 3 of C99 do: trigraphs, line splices, then comments.
func withoutComments(t *testing.T, text string) string {
	text = strings.ReplaceAll(text, "??/", "\\")
	text = strings.ReplaceAll(text, "\\\n", "")
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "/*")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		var comment string
		if comment, text, found = strings.Cut(rest, "*/"); !found {
			t.Fatalf("a comment does not end: %q", rest)
		}
		if strings.Contains(comment, "/*") {
			t.Errorf("a comment opens another: %q", comment)
		}
	}
}

func TestIdentifiersAreUnique(t *testing.T) {
	m := chain(t, "x", [3]string{"Relu", "", "y"})
	p, err := source.Lower(context.Background(), m, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if in, out := p.Run.Inputs[0].Ident, p.Run.Outputs[0].Ident; in != "x" || out != "y" {
		t.Errorf("identifiers %q and %q, want x and y", in, out)
	}
	for name, want := range map[string]string{"model": "model", "int": "int_", "A.b/C": "a_b_c", "9": "in_9", "__x__": "x", "é": "in", "func": "func_"} {
		if got := source.Identifier(name, "in"); got != want {
			t.Errorf("Identifier(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestWhatIsMissingIsNamedAtOnce(t *testing.T) {
	m := chain(t, "x", [3]string{"NonZero", "one", "a"}, [3]string{"Identity", "", "b"}, [3]string{"IsNaN", "two", "c"}, [3]string{"Not", "", "d"})
	_, err := source.Lower(context.Background(), m, source.Options{})
	var u *source.UnsupportedError
	if !errors.As(err, &u) {
		t.Fatalf("error %v, want an *UnsupportedError", err)
	}
	for _, key := range []string{"NonZero: operator", "IsNaN: operator"} {
		if u.Counts[key] != 1 {
			t.Errorf("%v does not name %s", err, key)
		}
	}
	if files, err := csource.Write(context.Background(), m, csource.Options{}); err == nil || files != nil {
		t.Errorf("files %v, error %v", files, err)
	}
}

func TestSameBytes(t *testing.T) {
	for range 2 {
		m := chain(t, "x", [3]string{"Sigmoid", "s", "a"}, [3]string{"Softmax", "t", "b"})
		one, err := csource.Write(context.Background(), m, csource.Options{})
		if err != nil {
			t.Fatal(err)
		}
		two, err := csource.Write(context.Background(), m, csource.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for name := range one {
			if string(one[name]) != string(two[name]) {
				t.Errorf("%s differs from one call to the next", name)
			}
		}
	}
}

// stream lowers a model of ours with changes, which must be one that can be a stream.
func stream(t *testing.T, name string, o source.Options, change func(g *onnxpb.GraphProto)) *source.Program {
	t.Helper()
	var encoded bytes.Buffer
	if _, err := sourcetest.Open(t, "../../testdata/models/"+name+".onnx").Encode(&encoded); err != nil {
		t.Fatal(err)
	}
	model := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(encoded.Bytes(), model); err != nil {
		t.Fatal(err)
	}
	change(model.Graph)
	m, err := onnx.FromProto("test", model)
	if err != nil {
		t.Fatal(err)
	}
	o.Stream = true
	p, err := source.Lower(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	if p.Stream == nil {
		t.Fatalf("no stream: %s", p.NoStream)
	}
	return p
}

// TestConstantOutputsOfStreams gives a recurrent model outputs that no input reaches: they are the same after every step.
func TestConstantOutputsOfStreams(t *testing.T) {
	program := stream(t, "gru_lbr0", source.Options{}, func(g *onnxpb.GraphProto) {
		g.Initializer = append(g.Initializer, sourcetest.Initializer("two", []float32{1, 2}, 2))
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String("Neg"), Input: []string{"two"}, Output: []string{"negated"}})
		for _, name := range []string{"two", "negated"} {
			g.Output = append(g.Output, sourcetest.Port(name, onnx.Float))
		}
	})
	for step, sample := range program.Stream.Samples {
		for k, want := range [][]float32{{1, 2}, {-1, -2}} {
			if got := sample.Outputs[len(sample.Outputs)-2+k]; !slices.Equal(got.Data.([]float32), want) {
				t.Errorf("step %d: constant %d is %v, want %v", step, k, got.Data, want)
			}
		}
	}
}

// TestStatesOfStreamsThatCouldBeMerged gives a GRU of 24 units an initial state of halves that is larger than what it is made of: a reset must find its numbers among the constants.
func TestStatesOfStreamsThatCouldBeMerged(t *testing.T) {
	program := stream(t, "gru_lbr0", source.Options{MergeAtStart: true}, func(g *onnxpb.GraphProto) {
		g.Initializer = append(g.Initializer, sourcetest.Initializer("half", []float32{0.5}, 1), sourcetest.Initializer("dims", []int64{1, 1, 24}, 3))
		gru := g.Node[0]
		gru.Input = append(gru.Input, "", "h0")
		g.Node = []*onnxpb.NodeProto{{OpType: proto.String("Expand"), Input: []string{"half", "dims"}, Output: []string{"h0"}}, gru}
	})
	if len(program.States) != 1 || program.States[0].Init == nil {
		t.Fatalf("states %v, want one that begins with numbers", program.States)
	}
	halves := slices.Repeat([]float32{0.5}, 24)
	if b := program.States[0].Init; b.Space != source.Const || !slices.Equal(b.Data.([]float32), halves) || !slices.Contains(program.Consts, b) {
		t.Errorf("the stream begins with %v in space %d, want the constant %v", b.Data, b.Space, halves)
	}
	if _, err := csource.Print(context.Background(), program, csource.Options{}); err != nil {
		t.Error(err)
	}
	if _, err := gosource.Print(program, gosource.Options{}); err != nil {
		t.Error(err)
	}
}

func TestBadOptions(t *testing.T) {
	m := chain(t, "x", [3]string{"Relu", "", "y"})
	for _, tt := range []struct {
		name string
		o    source.Options
		want string
	}{
		{"dim of zero", source.Options{Dims: map[string]int{"T": 0}}, `dim "T": size 0`},
		{"unknown state", source.Options{States: map[string]string{"z": "x"}}, `state "z": the model has no such output`},
		{"unknown input of a state", source.Options{States: map[string]string{"y": "z"}}, `state "z": the model has no such input`},
		{"unknown fixed input", source.Options{Fixed: map[string]*onnx.Array{"z": {}}}, `fixed input "z": the model has no such input`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := source.Lower(context.Background(), m, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := source.Lower(ctx, m, source.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a cancelled context", err)
	}
}
