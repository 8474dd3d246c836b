package main

import (
	"math"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

// Differences by hand: the largest one over the largest wanted element.
func TestRelative(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		got, want []float64
		relative  float64
	}{
		{[]float64{1, 2, 4}, []float64{1, 2, 4}, 0},
		{[]float64{1, 3, 4}, []float64{1, 2, 4}, 0.25},
		{[]float64{nan, inf, 4}, []float64{nan, inf, 4}, 0},
		{[]float64{0}, []float64{0}, 0},
	} {
		if d := relative(c.got, c.want); d != c.relative {
			t.Errorf("relative(%v, %v) is %v, want %v", c.got, c.want, d, c.relative)
		}
	}
	for _, c := range [][2][]float64{{{nan}, {1}}, {{inf}, {1}}, {{1}, {nan}}} {
		if d := relative(c[0], c[1]); d <= bound32 {
			t.Errorf("relative(%v, %v) is %v, within the bound", c[0], c[1], d)
		}
	}
}

func TestDifference(t *testing.T) {
	array := func(typ onnx.DataType, data any, dims ...int) map[string]*onnx.Array {
		return map[string]*onnx.Array{"y": {Type: typ, Dims: dims, Data: data}}
	}
	want := array(onnx.Float, []float32{1, 2}, 2)
	for name, c := range map[string]struct {
		got    map[string]*onnx.Array
		failed string
	}{
		"equal":    {want, ""},
		"missing":  {nil, "is missing"},
		"the type": {array(onnx.Double, []float64{1, 2}, 2), "wanted float"},
		"the dims": {array(onnx.Float, []float32{1, 2}, 1, 2), "wanted float [2]"},
	} {
		o := difference(c.got, want)
		if c.failed == "" && (o.failed != "" || o.difference != 0 || o.bound != bound32) || !strings.Contains(o.failed, c.failed) {
			t.Errorf("%s: %+v, want %q", name, o, c.failed)
		}
	}
	half := array(onnx.Float16, []uint16{0x3c00}, 1)
	if o := difference(half, half); boundOf(half) != bound16 || o.failed != "" {
		t.Errorf("float16: bound %v, %+v", boundOf(half), o)
	}
}

// A table of two engines and three models: what runs, what does not and why, what differs, and what is not written.
func TestTable(t *testing.T) {
	good, old := &engine{name: "good", kinds: map[kind]bool{graph: true}}, &engine{name: "old", kinds: map[kind]bool{graph: true}}
	one, two := &model{name: "one"}, &model{name: "two"}
	table := &table{models: []*model{one, two}, engines: []*engine{good, old}, cells: map[cell]outcome{}, absent: []string{"other: there is none"}}
	fine := outcome{difference: 1e-6, bound: bound32}
	for _, r := range rows() {
		if !strings.HasPrefix(r.name(), "bottleneck, ") {
			continue
		}
		for _, m := range table.models {
			f := &artifact{model: m, row: r}
			table.files = append(table.files, f)
			table.cells[cell{f, good}] = fine
			switch {
			case r.item == "int8":
				table.cells[cell{f, old}] = outcome{failed: `cannot read "` + m.name + `"`}
			case m == one:
				table.cells[cell{f, old}] = fine
			default:
				table.cells[cell{f, old}] = outcome{difference: 1, bound: bound32}
			}
			if r.item == "float16" && m == two {
				f.refused = "too small"
			}
		}
	}
	text := table.markdown()
	for _, want := range []string{
		"2 models: one, two.",
		"| | good | old |",
		"| bottleneck: float32 | 2 | **wrong**, 1 of 2 <sup>1</sup> |",
		"| bottleneck: float16 | 1 <sup>2</sup> | 1 <sup>2</sup> |",
		"| bottleneck: int8 | 2 | no <sup>3</sup> |",
		"1. **Differs by 1**, more than 0.0001 – two\n",
		"2. Not written: too small – two\n",
		"3. cannot read \"one\" – one, two\n",
		"Not there in this run: other: there is none.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	if table.agree(nil) {
		t.Error("a wrong output passes")
	}
}

func TestPlain(t *testing.T) {
	for message, want := range map[string]string{
		"Load model from /tmp/a.onnx failed:/src/core/model.cc:145 ns::Model(Proto&&, bool) Unsupported\nIR version": "Unsupported IR version",
		`onnxgo: "/tmp/a.onnx": onnx-go does not support: operator LSTM (1, first: graph.node[2] LSTM "l")`:          "onnx-go does not support: operator LSTM",
		"a | b": `a \| b`,
	} {
		if got := plain(message); got != want {
			t.Errorf("plain(%q) is %q, want %q", message, got, want)
		}
	}
}

func TestEnumerated(t *testing.T) {
	for _, c := range []struct {
		items []string
		want  string
	}{
		{[]string{""}, ""}, {[]string{"float16", "int8"}, "float16, int8"}, {[]string{"opset 13", "opset 14", "opset 15"}, "opset 13 to 15"}, {[]string{"opset 19", "opset 20"}, "opset 19, opset 20"},
	} {
		if got := enumerated(c.items); got != c.want {
			t.Errorf("%q become %q, want %q", c.items, got, c.want)
		}
	}
}
