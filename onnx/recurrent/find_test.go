package recurrent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"google.golang.org/protobuf/proto"
)

func TestFindPlain(t *testing.T) {
	tiny := newTiny(1)
	sites := tiny.find(t)
	if len(sites) != 1 {
		t.Fatalf("%d sites, want 1", len(sites))
	}
	s := sites[0]
	if s.Name != "cell" || !s.Decomposable || s.Input != tinyInput || s.Hidden != tinyHidden || s.Elem != onnx.Float || s.Rows() != 12 {
		t.Errorf("site %+v", s)
	}
	if s.WParameters() != 48 || s.RParameters() != 36 || s.Ceiling() != 84.0/36 {
		t.Errorf("w %d, r %d, ceiling %g; want 48, 36, %g", s.WParameters(), s.RParameters(), s.Ceiling(), 84.0/36)
	}
	w, err := s.Weight(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	raw := tiny.init("W").RawData
	for k, x := range w.Data {
		if want := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*k:])); x != want {
			t.Fatalf("W[%d] = %g, want %g", k, x, want)
		}
	}
}

// Names: the node's own, else the first output, after the owners' names; a name that stands before is numbered.
func TestFindNames(t *testing.T) {
	tiny := newTiny(1)
	again := proto.Clone(tiny.lstm).(*onnxpb.NodeProto)
	again.Output = []string{"", "Y2"}
	anonymous := proto.Clone(again).(*onnxpb.NodeProto)
	anonymous.Name, anonymous.Output = nil, []string{"", "Y3"}
	branch := func(name string) *onnxpb.GraphProto {
		n := proto.Clone(tiny.lstm).(*onnxpb.NodeProto)
		n.Output = []string{name}
		return &onnxpb.GraphProto{Name: &name, Node: []*onnxpb.NodeProto{n}, Output: []*onnxpb.ValueInfoProto{valueInfo(name, onnx.Float, -1, 1, -1, 3)}}
	}
	iff := op("If", []string{"c"}, "Yif", attrGraph("then_branch", branch("a")), attrGraph("else_branch", branch("b")))
	tiny.Graph.Node = append(tiny.Graph.Node, again, anonymous, iff)
	tiny.Graph.Input = append(tiny.Graph.Input, valueInfo("c", onnx.Bool))
	var got []string
	for _, s := range tiny.find(t) {
		got = append(got, s.Name)
	}
	want := "cell|cell#2|Y3|Yif.then_branch/cell|Yif.else_branch/cell"
	if strings.Join(got, "|") != want {
		t.Errorf("names %q, want %q", strings.Join(got, "|"), want)
	}
}

// Operands whose known dims or types contradict the specification, each with what the message must say.
func TestFindRefusesBrokenOperands(t *testing.T) {
	f := func(n int) []float32 { return make([]float32, n) }
	for _, c := range []struct {
		name   string
		breaks func(*tinyModel)
		want   []string
	}{
		{"W of another direction count", func(m *tinyModel) { m.init("W").Dims = []int64{2, 6, 4} }, []string{`W "W" is [2, 6, 4]`, "[1, 12, ?]"}},
		{"W of rank 2", func(m *tinyModel) { m.init("W").Dims = []int64{12, 4} }, []string{`W "W" is [12, 4]`}},
		{"W without columns", func(m *tinyModel) { m.init("W").Dims, m.init("W").RawData = []int64{1, 12, 0}, nil }, []string{`[1, 12, 0]`}},
		{"hidden_size against R", func(m *tinyModel) {
			m.lstm.Attribute[0].I = proto.Int64(4)
			m.init("W").Dims, m.init("W").RawData = []int64{1, 16, 4}, make([]byte, 256)
		}, []string{`R "R" is [1, 12, 3]`, "hidden_size 4", "[1, 16, 4]"}},
		{"W columns against X", func(m *tinyModel) { m.Graph.Input[0] = valueInfo("x", onnx.Float, -1, -1, 5) }, []string{`X "x" is [?, ?, 5]`, "[?, ?, 4]"}},
		{"X of rank 2", func(m *tinyModel) { m.Graph.Input[0] = valueInfo("x", onnx.Float, -1, 4) }, []string{`X "x" is [?, 4]`}},
		{"bidirectional with one direction's W", func(m *tinyModel) {
			m.lstm.Attribute = append(m.lstm.Attribute, attrString("direction", "bidirectional"))
		}, []string{"bidirectional", "[2, 12, ?]"}},
		{"B", func(m *tinyModel) {
			m.lstm.Input = append(m.lstm.Input, "B")
			m.Graph.Initializer = append(m.Graph.Initializer, floatTensor("B", []int64{1, 12}, f(12)))
		}, []string{`B "B" is [1, 12]`, "[1, 24]"}},
		{"P", func(m *tinyModel) {
			m.lstm.Input = append(m.lstm.Input, "", "", "", "", "P")
			m.Graph.Initializer = append(m.Graph.Initializer, floatTensor("P", []int64{1, 12}, f(12)))
		}, []string{`P "P" is [1, 12]`, "[1, 9]"}},
		{"initial_h", func(m *tinyModel) {
			m.lstm.Input = append(m.lstm.Input, "", "", "h")
			m.Graph.Input = append(m.Graph.Input, valueInfo("h", onnx.Float, 2, -1, 3))
		}, []string{`initial_h "h" is [2, ?, 3]`, "[1, ?, 3]"}},
		{"initial_c of layout 1", func(m *tinyModel) {
			m.lstm.Attribute = append(m.lstm.Attribute, attrInt("layout", 1))
			m.lstm.Input = append(m.lstm.Input, "", "", "", "c")
			m.Graph.Input = append(m.Graph.Input, valueInfo("c", onnx.Float, 1, 5, 3))
			m.Graph.Input[0] = valueInfo("x", onnx.Float, 5, -1, 4)
		}, []string{`initial_c "c" is [1, 5, 3]`, "[5, 1, 3]", "layout 1"}},
		{"sequence_lens of another batch", func(m *tinyModel) {
			m.lstm.Input = append(m.lstm.Input, "", "n")
			m.Graph.Input[0] = valueInfo("x", onnx.Float, -1, 6, 4)
			m.Graph.Input = append(m.Graph.Input, valueInfo("n", onnx.Int32, 5))
		}, []string{`sequence_lens "n" is [5]`, "[6]"}},
		{"sequence_lens of another type", func(m *tinyModel) {
			m.lstm.Input = append(m.lstm.Input, "", "n")
			m.Graph.Input = append(m.Graph.Input, valueInfo("n", onnx.Int64, -1))
		}, []string{"sequence_lens", "int64", "int32"}},
		{"R of another type", func(m *tinyModel) {
			m.init("R").DataType, m.init("R").RawData = proto.Int32(int32(onnx.Double)), make([]byte, 8*36)
		}, []string{"element type float,", "R has double"}},
		{"W of integers", func(m *tinyModel) {
			m.init("W").DataType, m.init("W").RawData = proto.Int32(int32(onnx.Int32)), make([]byte, 4*48)
		}, []string{`W "W"`, "int32"}},
		{"hidden_size missing", func(m *tinyModel) { m.lstm.Attribute = nil }, []string{"hidden_size", "missing"}},
	} {
		tiny := newTiny(1)
		c.breaks(tiny)
		_, err := Find(context.Background(), tiny.decode(t))
		var f *onnx.FormatError
		if !errors.As(err, &f) {
			t.Errorf("%s: got %v, want *onnx.FormatError", c.name, err)
			continue
		}
		if !strings.Contains(f.Path, `"cell"`) {
			t.Errorf("%s: path %q does not name the node", c.name, f.Path)
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", c.name, err, w)
			}
		}
	}
}

// Nodes that are listed but not decomposable, each with what the reason must say.
func TestFindReasons(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*tinyModel)
		want   []string
	}{
		{"graph input", func(m *tinyModel) {
			m.dropInit("W")
			m.Graph.Input = append(m.Graph.Input, valueInfo("W", onnx.Float, 1, 12, 4))
		}, []string{`graph input "W"`}},
		{"overridable initializer", func(m *tinyModel) {
			m.Graph.Input = append(m.Graph.Input, valueInfo("W", onnx.Float, 1, 12, 4))
		}, []string{`initializer "W"`, "graph input"}},
		{"computed from the input", func(m *tinyModel) {
			m.init("W").Name = proto.String("W0")
			m.prepend(op("ReduceMean", []string{"x"}, "mean"), op("Add", []string{"W0", "mean"}, "W"))
		}, []string{`graph input "x"`}},
		{"dequantised", func(m *tinyModel) {
			m.dropInit("W")
			m.Graph.Initializer = append(m.Graph.Initializer, tensorProto("Wq", onnx.Int8, []int64{1, 12, 4}, make([]byte, 48)), floatTensor("scale", nil, []float32{0.1}))
			m.prepend(op("DequantizeLinear", []string{"Wq", "scale"}, "W"))
		}, []string{"already quantised", "DequantizeLinear"}},
		{"8-bit weights cast and scaled", func(m *tinyModel) {
			m.dropInit("W")
			m.Graph.Initializer = append(m.Graph.Initializer, tensorProto("Wq", onnx.Int8, []int64{1, 12, 4}, make([]byte, 48)), floatTensor("scale", nil, []float32{0.1}))
			m.prepend(op("Cast", []string{"Wq"}, "Wf", attrInt("to", 1)), op("Mul", []string{"Wf", "scale"}, "W"))
		}, []string{"already quantised", `"Wq"`}},
		{"custom domain", func(m *tinyModel) {
			m.lstm.Domain = proto.String("com.example")
			m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("com.example"), Version: proto.Int64(1)})
		}, []string{`LSTM of domain "com.example"`, "custom"}},
		{"custom operator with control characters in its name", func(m *tinyModel) {
			m.lstm.Domain, m.lstm.OpType = proto.String("com.example"), proto.String("LSTM\x1b[31m")
			m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("com.example"), Version: proto.Int64(1)})
		}, []string{`"LSTM\x1b[31m" of domain`}},
		{"attribute with control characters in its name", func(m *tinyModel) {
			m.lstm.Attribute = append(m.lstm.Attribute, attrInt("a\x07", 1))
		}, []string{`"a\a"=1`}},
		{"DynamicQuantizeLSTM", func(m *tinyModel) {
			m.lstm.Domain, m.lstm.OpType = proto.String("com.microsoft"), proto.String("DynamicQuantizeLSTM")
			m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("com.microsoft"), Version: proto.Int64(1)})
		}, []string{"already quantised", "com.microsoft"}},
		{"attribute that cannot be honoured", func(m *tinyModel) {
			m.lstm.Attribute = append(m.lstm.Attribute, attrInt("output_sequence", 1))
		}, []string{"output_sequence=1", "opset 14"}},
	} {
		tiny := newTiny(1)
		c.change(tiny)
		sites, err := Find(context.Background(), tiny.decode(t))
		if err != nil || len(sites) != 1 {
			t.Errorf("%s: %d sites, %v", c.name, len(sites), err)
			continue
		}
		if sites[0].Decomposable {
			t.Errorf("%s: decomposable", c.name)
		}
		for _, w := range c.want {
			if !strings.Contains(sites[0].Reason, w) {
				t.Errorf("%s: reason %q does not say %q", c.name, sites[0].Reason, w)
			}
		}
		if _, err := sites[0].Weight(context.Background()); err == nil {
			t.Errorf("%s: Weight gives a matrix", c.name)
		}
	}
}

// In IR 3 every initializer is a graph input and none is meant to be overridden.
func TestFindIR3InitializersAreConstants(t *testing.T) {
	tiny := newTiny(1)
	tiny.IrVersion = proto.Int64(3)
	tiny.Graph.Input = append(tiny.Graph.Input, valueInfo("W", onnx.Float, 1, 12, 4), valueInfo("R", onnx.Float, 1, 12, 3))
	if s := tiny.find(t)[0]; !s.Decomposable {
		t.Errorf("not decomposable: %s", s.Reason)
	}
}

func TestFindInLoopBody(t *testing.T) {
	tiny := newTiny(1)
	carried := proto.Clone(tiny.lstm).(*onnxpb.NodeProto)
	carried.Input[1], carried.Output[0] = "Wc", "Yc"
	outer := proto.Clone(tiny.lstm).(*onnxpb.NodeProto)
	outer.Name, outer.Output[0] = proto.String("outer"), "Yo"
	body := &onnxpb.GraphProto{
		Name:  proto.String("body"),
		Node:  []*onnxpb.NodeProto{carried, outer, op("Identity", []string{"cond"}, "cond2"), op("Identity", []string{"Wc"}, "Wd"), op("Add", []string{"Yc", "Yo"}, "Ysum")},
		Input: []*onnxpb.ValueInfoProto{valueInfo("iter", onnx.Int64), valueInfo("cond", onnx.Bool), valueInfo("Wc", onnx.Float, 1, 12, 4)},
		Output: []*onnxpb.ValueInfoProto{
			valueInfo("cond2", onnx.Bool), valueInfo("Wd", onnx.Float, 1, 12, 4), valueInfo("Ysum", onnx.Float, -1, 1, -1, 3)},
	}
	loop := op("Loop", []string{"n", "", "W"}, "Wlast", attrGraph("body", body))
	loop.Name, loop.Output = proto.String("loop"), []string{"Wlast", "Yscan"}
	tiny.Graph.Initializer = append(tiny.Graph.Initializer, intTensor("n", 2))
	tiny.init("n").Dims = nil
	tiny.Graph.Node = append(tiny.Graph.Node, loop)
	sites := tiny.find(t)
	if len(sites) != 3 {
		t.Fatalf("%d sites, want 3", len(sites))
	}
	if s := sites[1]; s.Decomposable || !strings.Contains(s.Reason, "carried") || !strings.Contains(s.Reason, "loop") {
		t.Errorf("%s: %v %q", s.Name, s.Decomposable, s.Reason)
	}
	if s := sites[2]; !s.Decomposable || len(s.SharedWith) != 1 || s.SharedWith[0] != sites[0] || !s.UsedElsewhere {
		t.Errorf("%s: decomposable %v %q, shared with %d, used elsewhere %v", s.Name, s.Decomposable, s.Reason, len(s.SharedWith), s.UsedElsewhere)
	}
}

func TestFindInFunctions(t *testing.T) {
	tiny := newTiny(1)
	constant := func(name string) *onnxpb.NodeProto {
		c := proto.Clone(tiny.init(name)).(*onnxpb.TensorProto)
		return op("Constant", nil, name, attrTensor("value", c))
	}
	inner := proto.Clone(tiny.lstm).(*onnxpb.NodeProto)
	inner.Input[0] = "fx"
	own := &onnxpb.FunctionProto{
		Name: proto.String("Own"), Domain: proto.String("local"), Input: []string{"fx"}, Output: []string{"Y"},
		Node:        []*onnxpb.NodeProto{constant("W"), constant("R"), inner},
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(13)}},
	}
	given := &onnxpb.FunctionProto{
		Name: proto.String("Given"), Domain: proto.String("local"), Input: []string{"fx", "W", "R"}, Output: []string{"Y"},
		Node:        []*onnxpb.NodeProto{inner},
		OpsetImport: own.OpsetImport,
	}
	tiny.Functions = []*onnxpb.FunctionProto{own, given}
	tiny.OpsetImport = append(tiny.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("local"), Version: proto.Int64(1)})
	a, b := op("Own", []string{"x"}, "Y1"), op("Given", []string{"x", "W", "R"}, "Y2")
	a.Domain, b.Domain = proto.String("local"), proto.String("local")
	tiny.Graph.Node = append(tiny.Graph.Node, a, b)
	sites := tiny.find(t)
	if len(sites) != 3 {
		t.Fatalf("%d sites, want 3", len(sites))
	}
	if s := sites[1]; s.Name != "function local.Own/cell" || !s.Decomposable || len(s.SharedWith) != 0 {
		t.Errorf("%q: decomposable %v %q, shared with %d (a function sees no outer names)", s.Name, s.Decomposable, s.Reason, len(s.SharedWith))
	}
	if s := sites[2]; s.Decomposable || !strings.Contains(s.Reason, "inline") {
		t.Errorf("%q: decomposable %v %q", s.Name, s.Decomposable, s.Reason)
	}
}

// One value may reach several nodes under one name, through equal chains, or as equal copies.
func TestFindSharedWeights(t *testing.T) {
	second := func(m *tinyModel, w string) {
		n := proto.Clone(m.lstm).(*onnxpb.NodeProto)
		n.Name, n.Input[1], n.Output[0] = proto.String("second"), w, "Y2"
		m.Graph.Node = append(m.Graph.Node, n)
	}
	other := normal(rand.New(rand.NewPCG(9, 9)), 48)
	for _, c := range []struct {
		name   string
		change func(*tinyModel)
		shared bool
	}{
		{"one name", func(m *tinyModel) { second(m, "W") }, true},
		{"through Identity", func(m *tinyModel) {
			m.prepend(op("Identity", []string{"W"}, "W2"))
			second(m, "W2")
		}, true},
		{"equal chains", func(m *tinyModel) {
			m.Graph.Initializer = append(m.Graph.Initializer, intTensor("axes", 0), intTensor("axes2", 0))
			m.init("W").Name, m.init("W").Dims = proto.String("W0"), []int64{12, 4}
			m.prepend(op("Unsqueeze", []string{"W0", "axes"}, "W"), op("Unsqueeze", []string{"W0", "axes2"}, "W2"))
			second(m, "W2")
		}, true},
		{"equal copies", func(m *tinyModel) {
			c := proto.Clone(m.init("W")).(*onnxpb.TensorProto)
			c.Name, c.Dims = proto.String("W2"), []int64{1, 12, 4}
			m.Graph.Initializer = append(m.Graph.Initializer, c)
			second(m, "W2")
		}, true},
		{"chains that differ", func(m *tinyModel) {
			m.prepend(op("Neg", []string{"W"}, "W2"))
			second(m, "W2")
		}, false},
		{"other values", func(m *tinyModel) {
			m.Graph.Initializer = append(m.Graph.Initializer, floatTensor("W2", []int64{1, 12, 4}, other))
			second(m, "W2")
		}, false},
	} {
		big := newTiny(1)
		c.change(big)
		sites := big.find(t)
		if len(sites) != 2 || !sites[0].Decomposable || !sites[1].Decomposable {
			t.Errorf("%s: %d sites", c.name, len(sites))
			continue
		}
		got := len(sites[0].SharedWith) == 1 && sites[0].SharedWith[0] == sites[1] && len(sites[1].SharedWith) == 1 && sites[1].SharedWith[0] == sites[0]
		if got != c.shared {
			t.Errorf("%s: shared %v, want %v", c.name, got, c.shared)
		}
	}
}

// Every site lists all others, so their number is bounded.
func TestFindBoundsSharing(t *testing.T) {
	tiny := newTiny(1)
	for k := range maxShared {
		n := proto.Clone(tiny.lstm).(*onnxpb.NodeProto)
		n.Output[0] = fmt.Sprint("Y", k)
		tiny.Graph.Node = append(tiny.Graph.Node, n)
	}
	sites := tiny.find(t)
	if s := sites[0]; len(sites) != maxShared+1 || s.Decomposable || !strings.Contains(s.Reason, "1025 nodes") {
		t.Errorf("%d sites, decomposable %v, reason %q", len(sites), s.Decomposable, s.Reason)
	}
}

// Thousands of nodes over chains of thousands of nodes are refused before they take minutes.
func TestFindBoundsChains(t *testing.T) {
	tiny := newTiny(1)
	m := tiny.decode(t)
	for limit, refused := range map[int]bool{1: false, 0: true} {
		v := newValues(m)
		v.limit = limit + 1 // one step for W's origins, one for its readers
		_, err := find(context.Background(), v)
		var u *onnx.UnsupportedError
		if errors.As(err, &u) != refused {
			t.Errorf("limit %d: got %v", v.limit, err)
		}
	}
}

func TestFindUsedElsewhere(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*tinyModel)
		want   bool
	}{
		{"W alone", func(m *tinyModel) {}, false},
		{"read by another node", func(m *tinyModel) {
			m.Graph.Node = append(m.Graph.Node, op("ReduceMean", []string{"W"}, "mean"))
			m.Graph.Output = append(m.Graph.Output, valueInfo("mean", onnx.Float, 1, 1, 1))
		}, true},
		{"a graph output", func(m *tinyModel) { m.Graph.Output = append(m.Graph.Output, valueInfo("W", onnx.Float, 1, 12, 4)) }, true},
		{"read by a node without readers", func(m *tinyModel) { m.Graph.Node = append(m.Graph.Node, op("Neg", []string{"W"}, "dead")) }, true},
		{"its chain alone", func(m *tinyModel) {
			m.init("W").Name = proto.String("W0")
			m.prepend(op("Identity", []string{"W0"}, "W"))
		}, false},
		{"the source behind its chain", func(m *tinyModel) {
			m.init("W").Name = proto.String("W0")
			m.prepend(op("Identity", []string{"W0"}, "W"))
			m.Graph.Node = append(m.Graph.Node, op("ReduceMean", []string{"W0"}, "mean"))
			m.Graph.Output = append(m.Graph.Output, valueInfo("mean", onnx.Float, 1, 1, 1))
		}, true},
	} {
		tiny := newTiny(1)
		c.change(tiny)
		if got := tiny.find(t)[0].UsedElsewhere; got != c.want {
			t.Errorf("%s: used elsewhere %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWeightRefusesAndWarns(t *testing.T) {
	set := func(k int, x float32) func(*tinyModel) {
		return func(m *tinyModel) { binary.LittleEndian.PutUint32(m.init("W").RawData[4*k:], math.Float32bits(x)) }
	}
	for _, c := range []struct {
		name   string
		change func(*tinyModel)
		want   string // in the error, or with a leading "~" in a warning
	}{
		{"NaN", set(4*5+2, float32(math.NaN())), "W[0, 5, 2] = NaN"},
		{"Inf", set(47, float32(math.Inf(-1))), "W[0, 11, 3] = -Inf"},
		{"NaN in R", func(m *tinyModel) {
			binary.LittleEndian.PutUint32(m.init("R").RawData[4*(3*7+1):], math.Float32bits(float32(math.NaN())))
		}, "R[0, 7, 1] = NaN"},
		{"double beyond float32", func(m *tinyModel) {
			x := make([]byte, 8*48)
			binary.LittleEndian.PutUint64(x[8:], math.Float64bits(1e300))
			m.init("W").DataType, m.init("W").RawData = proto.Int32(int32(onnx.Double)), x
			m.init("R").DataType, m.init("R").RawData = proto.Int32(int32(onnx.Double)), make([]byte, 8*36)
			m.Graph.Input[0] = valueInfo("x", onnx.Double, -1, -1, 4)
		}, "W[0, 0, 1] = 1e+300 is beyond float32"},
		{"zero", func(m *tinyModel) { m.init("W").RawData = make([]byte, 4*48) }, "~all zero"},
		{"denormal", func(m *tinyModel) {
			m.init("W").RawData = make([]byte, 4*48)
			set(7, 1e-40)(m)
		}, "~denormal"},
	} {
		tiny := newTiny(1)
		c.change(tiny)
		s := tiny.find(t)[0]
		_, err := s.Weight(context.Background())
		if err == nil {
			err = s.CheckFinite(context.Background())
		}
		if warn, ok := strings.CutPrefix(c.want, "~"); ok {
			if err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], warn) {
				t.Errorf("%s: warnings %q, %v", c.name, s.Warnings, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.name, err, c.want)
		}
	}
}

func TestFindHonoursContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Find(ctx, newTiny(1).decode(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
