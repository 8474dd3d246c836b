package export

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"google.golang.org/protobuf/proto"
)

func graphAttribute(name string, g *onnxpb.GraphProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_GRAPH.Enum(), G: g}
}

// branches puts the layer's node into both branches of an If, with weights of the outer scope; deep nests the else branch once more.
func branches(l layer, deep bool) *onnxpb.ModelProto {
	m := l.proto()
	branch := func(y string) *onnxpb.GraphProto {
		n := proto.Clone(m.Graph.Node[0]).(*onnxpb.NodeProto)
		n.Output[0] = y
		return &onnxpb.GraphProto{Name: &y, Node: []*onnxpb.NodeProto{n}, Output: []*onnxpb.ValueInfoProto{valueInfo(y, l.elem, -1, -1, -1, -1)}}
	}
	iff := func(name, y string, a, b *onnxpb.GraphProto) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{OpType: proto.String("If"), Name: &name, Input: []string{"c"}, Output: []string{y},
			Attribute: []*onnxpb.AttributeProto{graphAttribute("then_branch", a), graphAttribute("else_branch", b)}}
	}
	other := branch("Yb")
	if deep {
		other = &onnxpb.GraphProto{Name: proto.String("deep"), Node: []*onnxpb.NodeProto{iff("inner", "Yd", branch("Yb"), branch("Ye"))},
			Output: []*onnxpb.ValueInfoProto{valueInfo("Yd", l.elem, -1, -1, -1, -1)}}
	}
	m.Graph.Node = []*onnxpb.NodeProto{iff("choice", "Y", branch("Ya"), other)}
	m.Graph.Input = append(m.Graph.Input, valueInfo("c", onnx.Bool))
	return m
}

// function moves the layer's node and its weights into a model-local function of another opset than the model's.
func function(l layer, opset int64) *onnxpb.ModelProto {
	m := l.proto()
	f := &onnxpb.FunctionProto{
		Name: proto.String("Layer"), Domain: proto.String("local"), Input: []string{"x"}, Output: []string{"Y"},
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: &opset}},
	}
	for _, t := range m.Graph.Initializer {
		f.Node = append(f.Node, &onnxpb.NodeProto{OpType: proto.String("Constant"), Output: []string{t.GetName()},
			Attribute: []*onnxpb.AttributeProto{{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: t}}})
	}
	f.Node = append(f.Node, m.Graph.Node[0])
	m.Graph.Initializer = nil
	m.Graph.Node = []*onnxpb.NodeProto{{OpType: proto.String("Layer"), Domain: proto.String("local"), Input: []string{"x"}, Output: []string{"Y"}}}
	m.Functions = []*onnxpb.FunctionProto{f}
	m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("local"), Version: proto.Int64(1)})
	return m
}

// loop puts the layer's node into the body of a Loop, with weights of the outer scope.
func loop(l layer) *onnxpb.ModelProto {
	m := l.proto()
	n := m.Graph.Node[0]
	n.Output[0] = "Ys"
	body := &onnxpb.GraphProto{
		Name:   proto.String("body"),
		Node:   []*onnxpb.NodeProto{n, {OpType: proto.String("Identity"), Input: []string{"go"}, Output: []string{"on"}}},
		Input:  []*onnxpb.ValueInfoProto{valueInfo("k", onnx.Int64), valueInfo("go", onnx.Bool)},
		Output: []*onnxpb.ValueInfoProto{valueInfo("on", onnx.Bool), valueInfo("Ys", l.elem, -1, -1, -1, -1)},
	}
	m.Graph.Input = append(m.Graph.Input, valueInfo("n", onnx.Int64))
	m.Graph.Node = []*onnxpb.NodeProto{{OpType: proto.String("Loop"), Name: proto.String("loop"), Input: []string{"n", ""}, Output: []string{"Y"},
		Attribute: []*onnxpb.AttributeProto{graphAttribute("body", body)}}}
	m.Graph.Output[0] = valueInfo("Y", l.elem, -1, -1, -1, -1, -1)
	return m
}

// The cores stand once, in the outermost scope that all sites see, and every site has its own projection beside it.
func TestLowerInScopes(t *testing.T) {
	l := plainLayer()
	for _, c := range []struct {
		name  string
		model *onnxpb.ModelProto
		sites []string
	}{
		{"two branches", branches(l, false), []string{"choice.then_branch/cell", "choice.else_branch/cell"}},
		{"nested branches", branches(l, true), []string{"choice.then_branch/cell", "choice.else_branch/inner.then_branch/cell", "choice.else_branch/inner.else_branch/cell"}},
		{"loop body", loop(l), []string{"loop.body/cell"}},
		{"function", function(l, 14), []string{"function local.Layer/cell"}},
		{"function of an older opset", function(l, 9), []string{"function local.Layer/cell"}},
	} {
		for _, o := range allForms() {
			m := decode(t, c.model)
			sites := find(t, m)
			f := randomFactor(1, l.rows(), l.in, []int{5, 5}, []int{4, 8}, []int{2, 3, 4, 5})
			compact := lower(t, m, []Replacement{{sites, f}}, o)
			for _, s := range find(t, compact) {
				x, w := s.Node.Input(0), s.Node.Input(1)
				if o.Form != Dense && x == "x" {
					t.Errorf("%s, %s: %s still reads x", c.name, o.Form, s.Name)
				}
				got := constant(t, compact, s.Node.Graph, w)
				want := f.Reconstruct()
				if o.Form != Dense {
					want, _ = f.Sides()
				}
				if o.Arranged { // the columns of r_n are slow
					turned := make([]float32, 0, len(want.Data))
					for row := range len(want.Data) / 8 {
						for b := range 4 {
							for a := range 2 {
								turned = append(turned, want.Data[row*8+a*4+b])
							}
						}
					}
					want.Data = turned
				}
				if e := distance(wide(floats(t, got)), wide(want.Data)); !(e <= 1e-6) {
					t.Errorf("%s, %s: %s: W differs by %.2g", c.name, o.Form, s.Name, e)
				}
			}
			if o.Form == Dense {
				continue
			}
			records, err := Records(compact)
			if err != nil || len(records) != 1 {
				t.Errorf("%s, %s: %d records, %v", c.name, o.Form, len(records), err)
				continue
			}
			if !reflect.DeepEqual(records[0].Sites, c.sites) {
				t.Errorf("%s: sites %q, want %q", c.name, records[0].Sites, c.sites)
			}
			dense, err := Expand(context.Background(), compact)
			if err != nil {
				t.Errorf("%s, %s: %v", c.name, o.Form, err)
				continue
			}
			for _, s := range find(t, dense) {
				w, err := s.Weight(context.Background())
				if err != nil || s.Node.Input(0) != "x" || (!o.MergeOutput && !reflect.DeepEqual(w.Data, f.Reconstruct().Data)) {
					t.Errorf("%s, %s: %s is not as before: X %q, %v", c.name, o.Form, s.Name, s.Node.Input(0), err)
				}
			}
		}
	}
}

// Sites of the main graph and of a function see no common scope.
func TestLowerRefusesSharingAcrossFunctions(t *testing.T) {
	l := plainLayer()
	m := function(l, 14)
	main := l.proto()
	n := main.Graph.Node[0]
	n.Output[0] = "Y0"
	m.Graph.Initializer = main.Graph.Initializer
	m.Graph.Node = append(m.Graph.Node, n)
	model := decode(t, m)
	f := randomFactor(1, l.rows(), l.in, []int{24}, []int{32}, []int{1, 2})
	_, err := Lower(context.Background(), model, []Replacement{{find(t, model), f}}, Options{})
	if err == nil || !strings.Contains(err.Error(), "no scope is seen by both") {
		t.Errorf("error %v", err)
	}
}

// A node's name that is not UTF-8 does not survive JSON as it stands, but its site is found again.
func TestRecordsOfANameThatIsNotUTF8(t *testing.T) {
	l := plainLayer()
	p := l.proto()
	p.Graph.Node[0].Name = proto.String("cell\xff")
	m := decode(t, p)
	f := randomFactor(1, l.rows(), l.in, []int{24}, []int{32}, []int{1, 2})
	compact := lower(t, m, []Replacement{{find(t, m), f}}, Options{})
	if r, err := Records(compact); err != nil || len(r) != 1 || r[0].Sites[0] != "cell\uFFFD" {
		t.Errorf("%v, %v", r, err)
	}
}

// Rings of many large ranks are recorded without their product overflowing.
func TestRecordsOfALargeRing(t *testing.T) {
	l := plainLayer()
	l.in, l.hidden = 256, 8
	m := decode(t, l.proto())
	ranks := make([]int, 13)
	for k := range ranks {
		ranks[k] = 40
	}
	f := randomFactor(1, l.rows(), l.in, []int{2, 2, 2, 2, 2, 2, 2, 2}, []int{2, 2, 2, 2, 2}, ranks)
	compact := lower(t, m, []Replacement{{find(t, m), f}}, Options{})
	records, err := Records(compact)
	if err != nil || len(records) != 1 || records[0].Params() != f.Params() {
		t.Errorf("%v, %v", records, err)
	}
}

// What a recurrent node does not use of the lowering stays: operands, attributes and outputs.
func TestLowerLeavesOperandsAlone(t *testing.T) {
	l := plainLayer()
	p := l.proto()
	n := p.Graph.Node[0]
	n.Input = append(n.Input, "lens", "h", "c", "P")
	n.Output = []string{"Y", "", "Yc"}
	p.Graph.Input = append(p.Graph.Input, valueInfo("lens", onnx.Int32, -1), valueInfo("h", onnx.Float, 1, -1, 8), valueInfo("c", onnx.Float, 1, -1, 8), valueInfo("P", onnx.Float, 1, 24))
	p.Graph.Output = append(p.Graph.Output, valueInfo("Yc", onnx.Float, 1, -1, 8))
	n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: proto.String("clip"), Type: onnxpb.AttributeProto_FLOAT.Enum(), F: proto.Float32(2)})
	m := decode(t, p)
	f := randomFactor(1, l.rows(), l.in, []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5})
	for _, o := range allForms() {
		compact := lower(t, m, []Replacement{{find(t, m), f}}, o)
		got := recurrent.Nodes(compact)[0].Node
		if want := []string{"R", "B", "lens", "h", "c", "P"}; !reflect.DeepEqual(got.Inputs[2:], want) {
			t.Errorf("%s: operands %q, want %q", o.Form, got.Inputs[2:], want)
		}
		if want := []string{"Y", "", "Yc"}; !reflect.DeepEqual(got.Outputs, want) || len(got.Attributes) != 3 || got.Attr("clip").F != 2 {
			t.Errorf("%s: outputs %q, attributes %d", o.Form, got.Outputs, len(got.Attributes))
		}
	}
}
