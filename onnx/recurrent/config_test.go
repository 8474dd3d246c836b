package recurrent

import (
	"errors"
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

// node builds a node in an empty graph.
func node(op string, attrs ...*onnx.Attribute) *onnx.Node {
	g := &onnx.Graph{}
	n := &onnx.Node{OpType: op, Name: "cell", Inputs: []string{"x", "W", "R"}, Outputs: []string{"Y"}, Attributes: attrs, Graph: g}
	g.Nodes = []*onnx.Node{n}
	return n
}

func intAttr(name string, v int64) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrInt, I: v}
}

func floatAttr(name string, v float32) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrFloat, F: v}
}

func stringAttr(name, v string) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrString, S: []byte(v)}
}

func floatsAttr(name string, v ...float32) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrFloats, Floats: v}
}

func stringsAttr(name string, v ...string) *onnx.Attribute {
	a := &onnx.Attribute{Name: name, Type: onnx.AttrStrings}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

// schema is what onnx/defs/rnn/defs.cc and old.cc register; the versions in between change nothing.
var schema = []struct {
	op         string
	since      int64
	attributes string
	inputs     string
	outputs    int
}{
	{"LSTM", 1, "activation_alpha activation_beta activations clip direction hidden_size input_forget output_sequence", "X W R B sequence_lens initial_h initial_c P", 3},
	{"LSTM", 7, "activation_alpha activation_beta activations clip direction hidden_size input_forget", "X W R B sequence_lens initial_h initial_c P", 3},
	{"LSTM", 14, "activation_alpha activation_beta activations clip direction hidden_size input_forget layout", "X W R B sequence_lens initial_h initial_c P", 3},
	{"LSTM", 22, "activation_alpha activation_beta activations clip direction hidden_size input_forget layout", "X W R B sequence_lens initial_h initial_c P", 3},
	{"GRU", 1, "activation_alpha activation_beta activations clip direction hidden_size output_sequence", "X W R B sequence_lens initial_h", 2},
	{"GRU", 3, "activation_alpha activation_beta activations clip direction hidden_size linear_before_reset output_sequence", "X W R B sequence_lens initial_h", 2},
	{"GRU", 7, "activation_alpha activation_beta activations clip direction hidden_size linear_before_reset", "X W R B sequence_lens initial_h", 2},
	{"GRU", 14, "activation_alpha activation_beta activations clip direction hidden_size layout linear_before_reset", "X W R B sequence_lens initial_h", 2},
	{"GRU", 22, "activation_alpha activation_beta activations clip direction hidden_size layout linear_before_reset", "X W R B sequence_lens initial_h", 2},
	{"RNN", 1, "activation_alpha activation_beta activations clip direction hidden_size output_sequence", "X W R B sequence_lens initial_h", 2},
	{"RNN", 7, "activation_alpha activation_beta activations clip direction hidden_size", "X W R B sequence_lens initial_h", 2},
	{"RNN", 14, "activation_alpha activation_beta activations clip direction hidden_size layout", "X W R B sequence_lens initial_h", 2},
	{"RNN", 22, "activation_alpha activation_beta activations clip direction hidden_size layout", "X W R B sequence_lens initial_h", 2},
}

// Every attribute of the schema changes the configuration, or is refused by name where the version does not know it.
func TestParseConfigHonoursEveryAttribute(t *testing.T) {
	samples := map[string]struct {
		attrs []*onnx.Attribute
		check func(Config) bool
	}{
		"activation_alpha":    {[]*onnx.Attribute{floatsAttr("activation_alpha", 0.25)}, func(c Config) bool { return c.Activations[0].Alpha == 0.25 }},
		"activation_beta":     {[]*onnx.Attribute{floatsAttr("activation_beta", 0.75)}, func(c Config) bool { return c.Activations[0].Beta == 0.75 }},
		"activations":         {nil, func(c Config) bool { return c.Activations[0].Name == "HardSigmoid" }},
		"clip":                {[]*onnx.Attribute{floatAttr("clip", 3)}, func(c Config) bool { return c.Clip == 3 }},
		"direction":           {[]*onnx.Attribute{stringAttr("direction", "reverse")}, func(c Config) bool { return c.Direction == Reverse }},
		"hidden_size":         {nil, func(c Config) bool { return c.Hidden == 5 }},
		"input_forget":        {[]*onnx.Attribute{intAttr("input_forget", 1)}, func(c Config) bool { return c.InputForget }},
		"layout":              {[]*onnx.Attribute{intAttr("layout", 1)}, func(c Config) bool { return c.Layout == 1 }},
		"linear_before_reset": {[]*onnx.Attribute{intAttr("linear_before_reset", 1)}, func(c Config) bool { return c.LinearBeforeReset }},
		"output_sequence":     {[]*onnx.Attribute{intAttr("output_sequence", 1)}, func(c Config) bool { return c.OutputSequence }},
	}
	for _, s := range schema {
		has := map[string]bool{}
		for _, a := range strings.Fields(s.attributes) {
			has[a] = true
		}
		names := make([]string, 0, len(samples))
		for a := range samples {
			names = append(names, a)
		}
		sort.Strings(names)
		for _, a := range names {
			acts := make([]string, len(cells[Op(s.op)].activations))
			for k := range acts {
				acts[k] = "Tanh"
			}
			acts[0] = "HardSigmoid"
			n := node(s.op, append([]*onnx.Attribute{intAttr("hidden_size", 5), stringsAttr("activations", acts...)}, samples[a].attrs...)...)
			c, err := ParseConfig(n, s.since)
			switch {
			case has[a] && err != nil:
				t.Errorf("%s-%d %s: %v", s.op, s.since, a, err)
			case has[a] && !samples[a].check(c):
				t.Errorf("%s-%d %s: not honoured: %+v", s.op, s.since, a, c)
			case !has[a]:
				var u *UnsupportedError
				if !errors.As(err, &u) || u.Attribute != a {
					t.Errorf("%s-%d %s: got error %v, want *UnsupportedError that names the attribute", s.op, s.since, a, err)
				}
			}
		}
		for _, a := range strings.Fields(s.attributes) {
			if _, tested := samples[a]; !tested {
				t.Errorf("%s-%d: attribute %s has no sample", s.op, s.since, a)
			}
		}
	}
}

// Every optional input of the schema is seen, and one beyond the schema is refused.
func TestParseConfigSeesEveryInput(t *testing.T) {
	seen := map[string]func(Config) bool{
		"B":             func(c Config) bool { return c.HasBias },
		"sequence_lens": func(c Config) bool { return c.HasSequenceLens },
		"initial_h":     func(c Config) bool { return c.HasInitialH },
		"initial_c":     func(c Config) bool { return c.HasInitialC },
		"P":             func(c Config) bool { return c.HasPeepholes },
	}
	for _, s := range schema {
		inputs := strings.Fields(s.inputs)
		for k, name := range inputs {
			if slotNames[k] != name {
				t.Fatalf("slot %d is %q, the specification says %q", k, slotNames[k], name)
			}
			n := node(s.op, intAttr("hidden_size", 5))
			n.Inputs = append([]string{"x", "W", "R"}, make([]string, len(inputs)-3)...)
			if k <= SlotR {
				n.Inputs[k] = ""
				if _, err := ParseConfig(n, s.since); err == nil || !strings.Contains(err.Error(), "input "+name) {
					t.Errorf("%s-%d without %s: got %v", s.op, s.since, name, err)
				}
				continue
			}
			n.Inputs[k] = "value"
			c, err := ParseConfig(n, s.since)
			if err != nil || !seen[name](c) {
				t.Errorf("%s-%d with %s: %+v, %v", s.op, s.since, name, c, err)
			}
			for other, get := range seen {
				if other != name && get(c) {
					t.Errorf("%s-%d with %s alone reports %s", s.op, s.since, name, other)
				}
			}
		}
		n := node(s.op, intAttr("hidden_size", 5))
		n.Inputs = append(append([]string{"x", "W", "R"}, make([]string, len(inputs)-3)...), "more")
		if _, err := ParseConfig(n, s.since); err == nil {
			t.Errorf("%s-%d accepts input %d", s.op, s.since, len(inputs))
		}
		n = node(s.op, intAttr("hidden_size", 5))
		n.Outputs = append(make([]string, s.outputs), "more")
		if _, err := ParseConfig(n, s.since); err == nil {
			t.Errorf("%s-%d accepts output %d", s.op, s.since, s.outputs)
		}
	}
}

func TestParseConfigActivations(t *testing.T) {
	act := func(name string, ab ...float32) Activation {
		a := Activation{Name: name}
		if len(ab) > 0 {
			a.Alpha = ab[0]
		}
		if len(ab) > 1 {
			a.Beta = ab[1]
		}
		return a
	}
	for _, c := range []struct {
		name  string
		op    string
		attrs []*onnx.Attribute
		want  []Activation
	}{
		{"LSTM defaults", "LSTM", nil, []Activation{act("Sigmoid"), act("Tanh"), act("Tanh")}},
		{"GRU defaults", "GRU", nil, []Activation{act("Sigmoid"), act("Tanh")}},
		{"RNN defaults", "RNN", nil, []Activation{act("Tanh")}},
		{"defaults of both directions", "GRU", []*onnx.Attribute{stringAttr("direction", "bidirectional")},
			[]Activation{act("Sigmoid"), act("Tanh"), act("Sigmoid"), act("Tanh")}},
		{"lower case", "LSTM", []*onnx.Attribute{stringsAttr("activations", "sigmoid", "TANH", "hardsigmoid")},
			[]Activation{act("Sigmoid"), act("Tanh"), act("HardSigmoid", 0.2, 0.5)}},
		{"defaults of the functions", "LSTM", []*onnx.Attribute{stringsAttr("activations", "LeakyRelu", "ThresholdedRelu", "Elu")},
			[]Activation{act("LeakyRelu", 0.01), act("ThresholdedRelu", 1), act("Elu", 1)}},
		{"functions without parameters", "LSTM", []*onnx.Attribute{stringsAttr("activations", "Relu", "Softsign", "Softplus")},
			[]Activation{act("Relu"), act("Softsign"), act("Softplus")}},
		{"consumed in order by those that take them", "LSTM", []*onnx.Attribute{
			stringsAttr("activations", "Sigmoid", "LeakyRelu", "ScaledTanh"), floatsAttr("activation_alpha", 0.3, 2), floatsAttr("activation_beta", 0.5)},
			[]Activation{act("Sigmoid"), act("LeakyRelu", 0.3), act("ScaledTanh", 2, 0.5)}},
		{"list shorter than the functions", "LSTM", []*onnx.Attribute{
			stringsAttr("activations", "HardSigmoid", "HardSigmoid", "Affine"), floatsAttr("activation_alpha", 1, 2, 3), floatsAttr("activation_beta", 4, 5, 6)},
			[]Activation{act("HardSigmoid", 1, 4), act("HardSigmoid", 2, 5), act("Affine", 3, 6)}},
		{"one value per function, both readings agree", "LSTM", []*onnx.Attribute{
			stringsAttr("activations", "HardSigmoid", "Tanh", "Tanh"), floatsAttr("activation_alpha", 0.3, 0, 0), floatsAttr("activation_beta", 0.4, 0, 0)},
			[]Activation{act("HardSigmoid", 0.3, 0.4), act("Tanh"), act("Tanh")}},
	} {
		n := node(c.op, append(c.attrs, intAttr("hidden_size", 2))...)
		got, err := ParseConfig(n, 14)
		if err != nil || !reflect.DeepEqual(got.Activations, c.want) {
			t.Errorf("%s: got %v, %v; want %v", c.name, got.Activations, err, c.want)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	h := intAttr("hidden_size", 2)
	for _, c := range []struct {
		name   string
		node   *onnx.Node
		opset  int64
		format bool // FormatError, else UnsupportedError
		want   []string
	}{
		{"hidden_size missing", node("LSTM"), 14, true, []string{`"hidden_size"`, "missing"}},
		{"hidden_size 0", node("LSTM", intAttr("hidden_size", 0)), 14, true, []string{`"hidden_size"`, "is 0"}},
		{"hidden_size negative", node("LSTM", intAttr("hidden_size", -3)), 14, true, []string{"is -3"}},
		{"hidden_size absurd", node("LSTM", intAttr("hidden_size", 1<<40)), 14, true, []string{"1099511627776"}},
		{"hidden_size of another type", node("LSTM", floatAttr("hidden_size", 2)), 14, true, []string{`"hidden_size"`, "type 1", "2"}},
		{"attribute twice", node("LSTM", h, intAttr("hidden_size", 4)), 14, true, []string{"twice", "2 and 4"}},
		{"direction unknown", node("GRU", h, stringAttr("direction", "side\x1bways")), 14, true, []string{`"side\x1bways"`, "bidirectional"}},
		{"layout 2", node("GRU", h, intAttr("layout", 2)), 14, true, []string{`"layout" is 2`}},
		{"input_forget 2", node("LSTM", h, intAttr("input_forget", 2)), 14, true, []string{`"input_forget" is 2`}},
		{"clip 0", node("RNN", h, floatAttr("clip", 0)), 14, true, []string{`"clip" is 0`}},
		{"clip negative", node("RNN", h, floatAttr("clip", -1)), 14, true, []string{`"clip" is -1`}},
		{"activations too few", node("LSTM", h, stringsAttr("activations", "Tanh")), 14, true, []string{"has 1 names", "takes 3"}},
		{"activations for one direction", node("LSTM", h, stringAttr("direction", "bidirectional"), stringsAttr("activations", "Sigmoid", "Tanh", "Tanh")), 14, true, []string{"has 3 names", "takes 6"}},
		{"no opset", node("LSTM", h), 0, true, []string{"opset_import"}},
		{"activation unknown", node("RNN", h, stringsAttr("activations", "Swish")), 14, false, []string{`activations="Swish"`}},
		{"ScaledTanh without parameters", node("RNN", h, stringsAttr("activations", "ScaledTanh")), 14, false, []string{"ScaledTanh", "no defaults"}},
		{"alpha that nobody takes", node("RNN", h, floatsAttr("activation_alpha", 1, 2)), 14, false, []string{"activation_alpha=[1 2]", "take 0"}},
		{"alpha by position", node("LSTM", h, stringsAttr("activations", "Tanh", "HardSigmoid", "Tanh"), floatsAttr("activation_alpha", 9, 0.2, 9)), 14, false, []string{"activation_alpha=[9 0.2 9]"}},
		{"layout before it existed", node("LSTM", h, intAttr("layout", 0)), 13, false, []string{"layout=0", "opset 13", "from opset 14"}},
		{"output_sequence after it went", node("LSTM", h, intAttr("output_sequence", 1)), 7, false, []string{"output_sequence=1", "opsets 1 to 6"}},
		{"attribute of another operator", node("GRU", h, intAttr("input_forget", 0)), 14, false, []string{"input_forget=0", "not an attribute of GRU"}},
		{"attribute of nobody", node("LSTM", h, intAttr("cells", 0)), 14, false, []string{"cells=0"}},
		{"set by the caller of a function", node("LSTM", &onnx.Attribute{Name: "hidden_size", Type: onnx.AttrInt, RefName: "h"}), 14, false, []string{"hidden_size", "caller"}},
		{"another operator", node("Conv", h), 14, false, []string{"Conv"}},
		{"custom domain", &onnx.Node{OpType: "LSTM", Domain: "com.example", Graph: &onnx.Graph{}}, 14, false, []string{`"com.example"`}},
	} {
		_, err := ParseConfig(c.node, c.opset)
		var f *onnx.FormatError
		var u *UnsupportedError
		if errors.As(err, &f) != c.format || errors.As(err, &u) == c.format {
			t.Errorf("%s: error %T %v", c.name, err, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", c.name, err, w)
			}
		}
	}
}
