package onnx

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// The functions here build small models for tests.

// nodePB makes a node: nodePB("a b -> Add -> c", attributes…). "_" stands for an empty name.
func nodePB(text string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	parts := strings.Split(text, "->")
	names := func(s string) []string {
		list := strings.Fields(s)
		for i, v := range list {
			if v == "_" {
				list[i] = ""
			}
		}
		return list
	}
	op := strings.TrimSpace(parts[1])
	n := &onnxpb.NodeProto{Input: names(parts[0]), Output: names(parts[2]), Attribute: attributes}
	if domain, name, ok := strings.Cut(op, ":"); ok {
		n.Domain, op = proto.String(domain), name
	}
	n.OpType = proto.String(op)
	return n
}

func intsPB(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

func intPB(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

func graphAttrPB(name string, g *onnxpb.GraphProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_GRAPH.Enum(), G: g}
}

func tensorAttrPB(name string, t *onnxpb.TensorProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: t}
}

func floatsPB(name string, dims []int64, v ...float32) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(Float)), Dims: dims, FloatData: v}
}

func int64sPB(name string, v ...int64) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(Int64)), Dims: []int64{int64(len(v))}, Int64Data: v}
}

func valuePB(name string, dims ...any) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case string:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(Float)), Shape: shape}}}}
}

// graphPB makes a graph: inputs and outputs are lists of names, of shape [n] with n unknown.
func graphPB(inputs, outputs string, nodes []*onnxpb.NodeProto, initializers ...*onnxpb.TensorProto) *onnxpb.GraphProto {
	g := &onnxpb.GraphProto{Name: proto.String("g"), Node: nodes, Initializer: initializers}
	for _, name := range strings.Fields(inputs) {
		g.Input = append(g.Input, valuePB(name, "n"))
	}
	for _, name := range strings.Fields(outputs) {
		g.Output = append(g.Output, valuePB(name, "n"))
	}
	return g
}

func modelPB(ir int64, g *onnxpb.GraphProto, functions ...*onnxpb.FunctionProto) *onnxpb.ModelProto {
	m := &onnxpb.ModelProto{IrVersion: proto.Int64(ir), Graph: g, Functions: functions,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(17)}}}
	if len(functions) > 0 {
		m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("local"), Version: proto.Int64(1)})
	}
	return m
}

func functionPB(name, inputs, outputs string, nodes ...*onnxpb.NodeProto) *onnxpb.FunctionProto {
	return &onnxpb.FunctionProto{Name: proto.String(name), Domain: proto.String("local"), Input: strings.Fields(inputs), Output: strings.Fields(outputs), Node: nodes,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(17)}, {Domain: proto.String("local"), Version: proto.Int64(1)}}}
}

// dump writes everything the views of a model say, payloads included, one scope after the other.
func dump(t testing.TB, m *Model) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, "model", m.IRVersion, m.Opsets, m.ProducerName, m.ProducerVersion, m.Domain, m.ModelVersion, m.Doc, m.Metadata)
	for _, g := range m.Scopes() {
		fmt.Fprintf(&b, "graph %q %q\n", g.Path(), g.Name)
		for _, list := range [][]*ValueInfo{g.Inputs, g.Outputs, g.ValueInfos} {
			for _, v := range list {
				fmt.Fprintf(&b, " value %q %s\n", v.Name, typeText(v.Type))
			}
		}
		for _, tensor := range g.Initializers {
			if tensor.Graph != g {
				t.Fatalf("%s: initializer %q belongs to another scope", g.Path(), tensor.Name)
			}
			fmt.Fprintf(&b, " initializer %s\n", tensorText(tensor))
		}
		for k, n := range g.Nodes {
			if n.Graph != g || n.Index != k || g.Model != m {
				t.Fatalf("%s: node %d has index %d, or belongs to another scope or model", g.Path(), k, n.Index)
			}
			fmt.Fprintf(&b, " node %q %q %q %q %q %q\n", n.Name, n.OpType, n.Domain, n.Overload, n.Inputs, n.Outputs)
			for _, a := range n.Attributes {
				fmt.Fprintf(&b, "  attribute %q %d %q %v %v %q %v %v %q\n", a.Name, a.Type, a.RefName, a.F, a.I, a.S, a.Floats, a.Ints, a.Strings)
				if a.T != nil {
					fmt.Fprintf(&b, "   %s\n", tensorText(a.T))
				}
				for _, body := range a.bodies() {
					if body.Owner != n || body.OwnerAttr != a.Name {
						t.Fatalf("%s: a body does not know its node", n)
					}
				}
			}
		}
	}
	return b.String()
}

func typeText(v *TypeInfo) string {
	if v == nil {
		return "none"
	}
	return fmt.Sprint(v.Kind, v.Elem, v.HasShape, v.Shape, typeText(v.Of))
}

func tensorText(t *Tensor) string {
	a, err := t.Array()
	if err != nil {
		return fmt.Sprintf("%q %s %v: %v", t.Name, t.Type, t.Dims, err)
	}
	if len(a.Dims) > 1 { // many values: their bytes stand for them
		b, err := a.Bytes()
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%q %s %v sha256 %x", t.Name, t.Type, t.Dims, sha256.Sum256(b))
	}
	return fmt.Sprintf("%q %s %v %v", t.Name, t.Type, t.Dims, a.Data)
}

func encoded(t testing.TB, m *Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := m.Encode(&b); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != m.Size() {
		t.Fatalf("Encode wrote %d bytes, Size said %d", b.Len(), m.Size())
	}
	return b.Bytes()
}

// agree fails unless a model and what its own bytes decode to say the same.
func agree(t testing.TB, m *Model) {
	t.Helper()
	again, err := Decode(m.subject(), encoded(t, m))
	if err != nil {
		t.Fatal(err)
	}
	again.origin.path = m.origin.path // where external data lies
	if x, y := dump(t, m), dump(t, again); x != y {
		t.Errorf("the views of the patched model:\n%s\nand what its bytes say:\n%s", x, y)
	}
}
