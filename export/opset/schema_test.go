package opset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/source/sourcetest"
	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// The oracle of the versions that python3-onnx does not know is ONNX Runtime, which carries ONNX's schemas of every opset and checks each node of a model that it loads
// against the schema in force: the operator, its attributes, the number of its inputs and their element types.

// firstByHand is the first version that schemas.py has from a list of its own.
const firstByHand = 18

// specimen is a node that one operator takes. Its inputs are words: a capital letter is a type parameter whose types are tried, float where nothing else is said ("T:int8"), others
// are types that stay ("int64"). A bar stands between inputs that are tried one after the other.
type specimen struct {
	inputs     string
	attributes []*onnxpb.AttributeProto
	outputs    int // 0 means 1
}

func attributes(list ...*onnxpb.AttributeProto) []*onnxpb.AttributeProto { return list }

var attribute = sourcetest.Attribute

// specimens are those that no shape of commonInputs suits; nothing says why an operator is not tried.
var specimens = map[string]specimen{
	"AffineGrid":            {inputs: "T int64"},
	"GroupNormalization":    {inputs: "T T T", attributes: attributes(attribute("num_groups", 1))},
	"LRN":                   {inputs: "T", attributes: attributes(attribute("size", 3))},
	"MaxUnpool":             {inputs: "T int64", attributes: attributes(attribute("kernel_shape", []int64{2, 2}))},
	"AveragePool":           {inputs: "T", attributes: attributes(attribute("kernel_shape", []int64{2, 2}))},
	"BitShift":              {inputs: "T:uint8 T:uint8", attributes: attributes(attribute("direction", "LEFT"))},
	"Cast":                  {inputs: "T", attributes: attributes(attribute("to", 1))},
	"CastLike":              {inputs: "T U"},
	"Col2Im":                {inputs: "T int64 int64"},
	"Concat":                {inputs: "T T", attributes: attributes(attribute("axis", 0))},
	"DFT":                   {inputs: "T L:int64"},
	"DeformConv":            {inputs: "T T T"},
	"DepthToSpace":          {inputs: "T", attributes: attributes(attribute("blocksize", 2))},
	"DequantizeLinear":      {inputs: "T:int8 S T:int8"},
	"Einsum":                {inputs: "T", attributes: attributes(attribute("equation", "ij->i"))},
	"GRU":                   {inputs: "T T T", attributes: attributes(attribute("hidden_size", 2))},
	"LSTM":                  {inputs: "T T T", attributes: attributes(attribute("hidden_size", 2))},
	"RNN":                   {inputs: "T T T", attributes: attributes(attribute("hidden_size", 2))},
	"ImageDecoder":          {inputs: "T:uint8"},
	"LpPool":                {inputs: "T", attributes: attributes(attribute("kernel_shape", []int64{2, 2}))},
	"MaxPool":               {inputs: "T", attributes: attributes(attribute("kernel_shape", []int64{2, 2}))},
	"MaxRoiPool":            {inputs: "T T", attributes: attributes(attribute("pooled_shape", []int64{2, 2}))},
	"Multinomial":           {inputs: "T", attributes: attributes(attribute("sample_size", 2))},
	"Pad":                   {inputs: "T int64 T"},
	"QLinearConv":           {inputs: "T:int8 float T:int8 W:int8 float W:int8 float Y:int8"},
	"QLinearMatMul":         {inputs: "T:int8 S T:int8 W:int8 S W:int8 S Y:int8"},
	"QuantizeLinear":        {inputs: "T T Y:int8 | X float Y:int8"}, // from 19 to 22 scales are of the type of what they divide
	"Range":                 {inputs: "T T T"},
	"RegexFullMatch":        {inputs: "T:string", attributes: attributes(attribute("pattern", "a"))},
	"Resize":                {inputs: "T U float"},
	"RoiAlign":              {inputs: "T T int64"},
	"Scatter":               {inputs: "T int64 T"},
	"SpaceToDepth":          {inputs: "T", attributes: attributes(attribute("blocksize", 2))},
	"Split":                 {inputs: "T int64", outputs: 2},
	"StringConcat":          {inputs: "T:string T:string"},
	"StringSplit":           {inputs: "T:string", outputs: 2},
	"Transpose":             {inputs: "T"},
	"TfIdfVectorizer":       {inputs: "T:int64", attributes: attributes(attribute("max_gram_length", 1), attribute("max_skip_count", 0), attribute("min_gram_length", 1), attribute("mode", "TF"), attribute("ngram_counts", []int64{0}), attribute("ngram_indexes", []int64{0}))},
	"TopK":                  {inputs: "T int64", outputs: 2},
	"CenterCropPad":         {inputs: "T I:int64"},
	"MatMulInteger":         {inputs: "T:int8 U:int8"},
	"ConvInteger":           {inputs: "T:int8 U:int8"},
	"DynamicQuantizeLinear": {inputs: "T", outputs: 3},
	"STFT":                  {inputs: "T I:int64"},
	"MelWeightMatrix":       {inputs: "I:int64 I:int64 I:int64 F F"},
	"Unsqueeze":             {inputs: "T int64"},
	"Squeeze":               {inputs: "T int64"},
	"OneHot":                {inputs: "T:int64 U:int64 V"},
	"Where":                 {inputs: "bool T T"},
	"BatchNormalization":    {inputs: "T U U V V"},
	"Upsample":              {inputs: "T float"},
}

// commonInputs are tried in turn for all other operators.
var commonInputs = []string{
	"T", "T T", "T T T", "T U T", "T:bool", "T:bool T:bool", "T:int32", "T:int64", "T:uint8", "T:string", "T:int8 T:int8", "T int64", "T U:int64 T", "T U:bool", "T int64 int64", "T:int32 T:int32", "",
}

// untried are operators whose schemas speak of bodies, sequences, optional values or types of outputs alone, which ONNX Runtime does not judge, and one that it replaces by its
// function's body before it looks.
var untried = []string{
	"ConcatFromSequence", "Constant", "ConstantOfShape", "If", "Loop", "MeanVarianceNormalization", "Optional", "OptionalGetElement", "OptionalHasElement", "RandomNormal", "RandomUniform", "Scan",
	"SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap", "SplitToSequence",
}

// elementTypes are all that a schema up to Newest may name.
var elementTypes = []onnx.DataType{
	onnx.Float, onnx.Float16, onnx.BFloat16, onnx.Double, onnx.Int8, onnx.Int16, onnx.Int32, onnx.Int64, onnx.Uint8, onnx.Uint16, onnx.Uint32, onnx.Uint64, onnx.Bool, onnx.String,
	onnx.Complex64, onnx.Complex128, onnx.Float8E4M3FN, onnx.Float8E4M3FNUZ, onnx.Float8E5M2, onnx.Float8E5M2FNUZ, onnx.Uint4, onnx.Int4,
}

// judge asks ONNX Runtime about nodes.
type judge struct {
	*testing.T
	engine *ort.Engine
	path   string
}

// refusals are how ONNX Runtime refuses a node by its schema.
var refusals = []string{
	"Type Error: Type 'tensor(", "Unrecognized attribute", "No Op registered for", "is not a registered function/op", "not in range [min=", "has been deprecated", "is deprecated", "Required attribute",
	"bound to different types",
}

// takes says whether the schema of an opset takes an operator with such inputs, and why not.
func (j *judge) takes(op string, s specimen, opset int64, varied string, elem onnx.DataType, more ...*onnxpb.AttributeProto) (bool, string) {
	j.Helper()
	n := node1(op, nil, max(s.outputs, 1), append(slices.Clone(s.attributes), more...)...)
	g := &onnxpb.GraphProto{Name: proto.String("g"), Node: []*onnxpb.NodeProto{n}}
	inputs, _, _ := strings.Cut(s.inputs, "|")
	for k, word := range strings.Fields(inputs) {
		name, typed, ok := strings.Cut(word, ":")
		switch {
		case name == varied:
			typed = elem.String()
		case !ok && name == strings.ToUpper(name):
			typed = onnx.Float.String()
		case !ok:
			typed = name
		}
		k := string(rune('a' + k))
		n.Input = append(n.Input, k)
		g.Input = append(g.Input, &onnxpb.ValueInfoProto{Name: proto.String(k), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
			TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(typeNamed(j.T, typed)))}}}})
	}
	for _, out := range n.Output {
		g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: proto.String(out)})
	}
	raw, err := proto.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(10), Graph: g, OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(opset)}}})
	if err != nil {
		j.Fatal(err)
	}
	if err := os.WriteFile(j.path, raw, 0o600); err != nil {
		j.Fatal(err)
	}
	session, err := j.engine.Load(j.Context(), j.path)
	if err == nil {
		session.Close()
		return true, ""
	}
	var me *ort.ModelError
	if !errors.As(err, &me) {
		j.Fatal(err)
	}
	if slices.ContainsFunc(refusals, func(s string) bool { return strings.Contains(me.What, s) }) {
		return false, me.What
	}
	return true, me.What // there is no kernel, or the kernel wants other values: the schema has let it pass
}

func typeNamed(t *testing.T, name string) onnx.DataType {
	t.Helper()
	for _, e := range elementTypes {
		if e.String() == name {
			return e
		}
	}
	t.Fatalf("no element type %q", name)
	return 0
}

// find gives the specimen of an operator in an opset.
func (j *judge) find(op string, opset int64) (specimen, bool) {
	j.Helper()
	if s, ok := specimens[op]; ok {
		ok, why := j.takes(op, s, opset, "", 0)
		if !ok {
			j.Logf("%s: %s", op, why)
		}
		return s, ok
	}
	for _, inputs := range commonInputs {
		s := specimen{inputs: inputs}
		if ok, _ := j.takes(op, s, opset, "", 0); ok {
			return s, true
		}
	}
	return specimen{}, false
}

// schema is what an opset takes: the types of each parameter as "@T float", attributes as "+name", and another input as "#n".
func (j *judge) schema(op string, s specimen, opset int64) map[string]bool {
	j.Helper()
	all := map[string]bool{}
	add := func(what string, s specimen, varied string, elem onnx.DataType, more ...*onnxpb.AttributeProto) {
		if ok, _ := j.takes(op, s, opset, varied, elem, more...); ok {
			all[what] = true
		}
	}
	for inputs := range strings.SplitSeq(s.inputs, "|") {
		one := s
		one.inputs = inputs
		words := strings.Fields(inputs)
		params := map[string]bool{}
		for _, word := range words {
			if name, _, _ := strings.Cut(word, ":"); name == strings.ToUpper(name) {
				params[name] = true
			}
		}
		for p := range params {
			for _, elem := range elementTypes {
				add("@"+p+" "+elem.String(), one, p, elem)
			}
		}
		for name, a := range laterAttributes() {
			add("+"+name, one, "", 0, a)
		}
		for _, further := range []string{" int64", " float"} {
			more := one
			more.inputs += further
			add(fmt.Sprintf("#%d", len(words)), more, "", 0)
		}
	}
	return all
}

// laterAttributes are those that came with a version of firstByHand or later, each tried on every operator.
var laterAttributes = sync.OnceValue(func() map[string]*onnxpb.AttributeProto {
	list := map[string]*onnxpb.AttributeProto{
		"axes": attribute("axes", []int64{0}), "dilations": attribute("dilations", []int64{1, 1}), "keep_aspect_ratio_policy": attribute("keep_aspect_ratio_policy", "stretch"),
		"num_outputs": attribute("num_outputs", 2), "stash_type": attribute("stash_type", 1), "noop_with_empty_axes": attribute("noop_with_empty_axes", 0), // of versions marked "!"
	}
	for _, versions := range operators() {
		for _, v := range versions {
			for _, m := range v.marks {
				if m.kind == '+' && v.since >= firstByHand && list[m.name] == nil {
					list[m.name] = attribute(m.name, 0)
				}
			}
		}
	}
	return list
})

// changesBetween lists in the words of the table what the later of two schemas takes newly, and no longer.
func changesBetween(before, now map[string]bool) []string {
	var list []string
	for key := range now {
		if !before[key] {
			what, elem, ok := strings.Cut(key, " ")
			if ok {
				what = "@" + elem
			}
			list = append(list, what)
		}
	}
	for key := range before {
		if !now[key] {
			what, elem, ok := strings.Cut(key, " ")
			if ok {
				what = "^" + elem
			}
			list = append(list, "no longer "+what)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// listed is what the table says of a version in the same words, without values of attributes: no schema restricts those.
func listed(v version) []string {
	var list []string
	for _, m := range v.marks {
		switch m.kind {
		case '@', '+', '#':
			list = append(list, string(m.kind)+m.name)
		case '-', '^':
			list = append(list, "no longer "+string(m.kind)+m.name)
		}
	}
	slices.Sort(list)
	return list
}

// TestTableOfLaterVersions compares the versions of the table that are listed by hand with the schemas in ONNX Runtime: from one opset to the next an operator takes exactly those
// element types, attributes and inputs more that the table says. Of versions marked "!" it sees only that they are there; values of attributes are none of a schema's business.
func TestTableOfLaterVersions(t *testing.T) {
	if os.Getenv(ort.LibraryVariable) == "" {
		t.Skip(ort.LibraryVariable + " is not set")
	}
	e, err := ort.Open(ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	tried := 0
	for op, versions := range operators() {
		if slices.Contains(untried, op) {
			continue
		}
		tried++
		t.Run(op, func(t *testing.T) {
			j := &judge{t, e, path}
			first := max(versions[0].since, firstByHand-1)
			s, ok := j.find(op, first)
			if !ok {
				if at := inForce(versions, first); at >= 0 && at == len(versions)-1 && slices.ContainsFunc(versions[at].marks, func(m mark) bool { return m.kind == '!' }) {
					return // deprecated, as Scatter and Upsample are
				}
				t.Fatalf("no specimen of %s-%d is taken", op, first)
			}
			if first > firstByHand-1 {
				if taken, _ := j.takes(op, s, first-1, "", 0); taken {
					t.Errorf("the operator is there before %d", first)
				}
			}
			before := j.schema(op, s, first)
			for opset := first + 1; opset <= Newest; opset++ {
				var v version
				if at := inForce(versions, opset); versions[at].since == opset {
					v = versions[at]
				}
				now := j.schema(op, s, opset)
				if !slices.ContainsFunc(v.marks, func(m mark) bool { return m.kind == '!' }) {
					if got, want := changesBetween(before, now), listed(v); !slices.Equal(got, want) {
						t.Errorf("%d changes %v, the table says %v", opset, got, want)
					}
				}
				before = now
			}
		})
	}
	if tried+len(untried) != len(operators()) {
		t.Errorf("%d operators tried and %d not, of %d", tried, len(untried), len(operators()))
	}
}
