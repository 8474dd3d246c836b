package matrices

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// model has an initializer of elements 0, 1, 2, … for each name with dims.
func model(t *testing.T, nodes []*onnxpb.NodeProto, dims map[string][]int64, change func(*onnxpb.GraphProto)) *onnx.Model {
	t.Helper()
	g := &onnxpb.GraphProto{Name: proto.String("g"), Node: nodes}
	for _, name := range []string{"A", "B", "C"} {
		d, ok := dims[name]
		if !ok {
			continue
		}
		n := int64(1)
		for _, x := range d {
			n *= x
		}
		data := make([]float32, n)
		for k := range data {
			data[k] = float32(k)
		}
		g.Initializer = append(g.Initializer, &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Float)), Dims: d, FloatData: data})
	}
	for _, name := range []string{"x", "i"} {
		g.Input = append(g.Input, &onnxpb.ValueInfoProto{Name: proto.String(name)})
	}
	for _, n := range nodes {
		for _, out := range n.Output {
			g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: proto.String(out)})
		}
	}
	if change != nil {
		change(g)
	}
	b, err := proto.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(7), OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(13)}}, Graph: g})
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Decode("m", b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func node(op string, inputs []string, out string, attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String("n"), Input: inputs, Output: []string{out}, Attribute: attrs}
}

func integer(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

// Oracle: the operators' definitions. y = W·x with W [Out, In]; the element at a stored place is its flat index.
func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		node    *onnxpb.NodeProto
		dims    []int64
		want    string // name, role, Out×In, W[1, 2]
		changed func(*onnxpb.GraphProto)
	}{
		"right operand":      {node: node("MatMul", []string{"x", "A"}, "y"), dims: []int64{20, 30}, want: "n matmul-right 30×20 61"},
		"left operand":       {node: node("MatMul", []string{"A", "x"}, "y"), dims: []int64{20, 30}, want: "n matmul-left 20×30 32"},
		"Gemm":               {node: node("Gemm", []string{"x", "A"}, "y"), dims: []int64{20, 30}, want: "n gemm 30×20 61"},
		"Gemm with transB":   {node: node("Gemm", []string{"x", "A"}, "y", integer("transB", 1)), dims: []int64{20, 30}, want: "n gemm 20×30 32"},
		"Conv":               {node: node("Conv", []string{"x", "A"}, "y"), dims: []int64{20, 30, 1, 1}, want: "n conv 20×30 32"},
		"table":              {node: node("Gather", []string{"A", "i"}, "y"), dims: []int64{20, 30}, want: "n gather 30×20 61"},
		"table, axis −2":     {node: node("Gather", []string{"A", "i"}, "y", integer("axis", -2)), dims: []int64{20, 30}, want: "n gather 30×20 61"},
		"R":                  {node: node("GRU", []string{"x", "B", "A"}, "y", integer("hidden_size", 20)), dims: []int64{2, 60, 20}, want: "n.R r 120×20 22"},
		"small":              {node: node("MatMul", []string{"x", "A"}, "y"), dims: []int64{10, 50}},
		"three axes":         {node: node("MatMul", []string{"x", "A"}, "y"), dims: []int64{2, 20, 30}},
		"a grouped Conv":     {node: node("Conv", []string{"x", "A"}, "y", integer("group", 2)), dims: []int64{20, 30, 1, 1}},
		"a Conv of 3 points": {node: node("Conv", []string{"x", "A"}, "y"), dims: []int64{20, 30, 3}},
		"columns of a table": {node: node("Gather", []string{"A", "i"}, "y", integer("axis", 1)), dims: []int64{20, 30}},
		"both constant":      {node: node("MatMul", []string{"B", "A"}, "y"), dims: []int64{20, 30}},
		"another domain": {node: func() *onnxpb.NodeProto {
			n := node("MatMul", []string{"x", "A"}, "y")
			n.Domain = proto.String("d")
			return n
		}(), dims: []int64{20, 30}},
		"read by another node": {node: node("MatMul", []string{"x", "A"}, "y"), dims: []int64{20, 30}, want: `n matmul-right 30×20 "A" is read in 2 places`, changed: func(g *onnxpb.GraphProto) {
			g.Node = append(g.Node, node("Neg", []string{"A"}, "z"))
		}},
		"an output too": {node: node("MatMul", []string{"x", "A"}, "y"), dims: []int64{20, 30}, want: `n matmul-right 30×20 "A" is read in 2 places`, changed: func(g *onnxpb.GraphProto) {
			g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: proto.String("A")})
		}},
		"an input too": {node: node("MatMul", []string{"x", "A"}, "y"), dims: []int64{20, 30}, changed: func(g *onnxpb.GraphProto) {
			g.Input = append(g.Input, &onnxpb.ValueInfoProto{Name: proto.String("A")})
		}},
		"made of smaller ones": {node: node("MatMul", []string{"x", "E"}, "y"), dims: []int64{20, 1}, want: `n#2 matmul-right 30×20 it is computed from smaller tensors`, changed: func(g *onnxpb.GraphProto) {
			g.Initializer = append(g.Initializer, &onnxpb.TensorProto{Name: proto.String("D"), DataType: proto.Int32(int32(onnx.Float)), Dims: []int64{1, 30}, FloatData: make([]float32, 30)})
			g.Node = append([]*onnxpb.NodeProto{node("MatMul", []string{"A", "D"}, "E")}, g.Node...)
		}},
		"behind a Transpose": {node: node("MatMul", []string{"x", "E"}, "y"), dims: []int64{30, 20}, want: "n#2 matmul-right 30×20 22", changed: func(g *onnxpb.GraphProto) {
			g.Node = append([]*onnxpb.NodeProto{node("Transpose", []string{"A"}, "E"), node("MatMul", []string{"x", "x"}, "F")}, g.Node...)
		}},
	} {
		m := model(t, []*onnxpb.NodeProto{c.node}, map[string][]int64{"A": c.dims, "B": {2, 60, 4}}, c.changed)
		if slices.Contains(c.node.Input, "B") && c.node.GetOpType() == "MatMul" {
			m = model(t, []*onnxpb.NodeProto{c.node}, map[string][]int64{"A": c.dims, "B": {30, 20}}, c.changed)
		}
		sites, err := Find(context.Background(), m)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range sites {
			text := fmt.Sprintf("%s %s %d×%d ", s.Name, s.Role, s.Out, s.In)
			if !s.Decomposable {
				got = append(got, text+s.Reason)
				if _, err := s.Weight(context.Background()); err == nil || !strings.Contains(err.Error(), s.Reason) {
					t.Errorf("%s: reading it: %v", name, err)
				}
				continue
			}
			w, err := s.Weight(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, text+fmt.Sprint(w.Data[s.In+2]))
			a, err := s.Array(w)
			if err != nil || !slices.Equal(a.Dims, s.Dims) {
				t.Errorf("%s: stored as %v, want %v, %v", name, a.Dims, s.Dims, err)
			}
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: found %q, want %q", name, strings.Join(got, "; "), c.want)
		}
	}
}

func TestWeightRefusesNaN(t *testing.T) {
	m := model(t, []*onnxpb.NodeProto{node("MatMul", []string{"x", "A"}, "y")}, map[string][]int64{"A": {20, 30}}, func(g *onnxpb.GraphProto) {
		g.Initializer[0].FloatData[77] = float32(math.NaN())
	})
	sites, err := Find(context.Background(), m)
	if err != nil || len(sites) != 1 {
		t.Fatal(sites, err)
	}
	if _, err := sites[0].Weight(context.Background()); err == nil || !strings.Contains(err.Error(), "element 77 is NaN") {
		t.Errorf("error %v", err)
	}
}
