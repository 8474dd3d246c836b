package export

import (
	"reflect"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"google.golang.org/protobuf/proto"
)

func operator(op string, out string, in ...string) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: &op, Input: in, Output: []string{out}}
}

func filled(n *onnxpb.NodeProto, value float32) *onnxpb.NodeProto {
	t := &onnxpb.TensorProto{DataType: proto.Int32(int32(onnx.Float)), Dims: []int64{1}, FloatData: []float32{value}}
	n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: t})
	return n
}

// withStates gives the layer initial states h and c that nodes compute, and the constants that these nodes want: zeros [1, 1, 8], ones [1, 1, 8] and the axes 0.
func withStates(nodes ...*onnxpb.NodeProto) *onnxpb.ModelProto {
	m := plainLayer().proto()
	cell := m.Graph.Node[0]
	cell.Input = append(cell.Input, "", "h", "c")
	ints := func(name string, v ...int64) *onnxpb.TensorProto {
		return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(onnx.Int64)), Dims: []int64{int64(len(v))}, Int64Data: v}
	}
	floats := func(name string, v float32) *onnxpb.TensorProto {
		t := &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(onnx.Float)), Dims: []int64{1, 1, 8}}
		for range 8 {
			t.FloatData = append(t.FloatData, v)
		}
		return t
	}
	m.Graph.Initializer = append(m.Graph.Initializer, ints("one", 1), ints("units", 8), ints("at", 1), ints("axis", 0), floats("zeros", 0), floats("ones", 1))
	batch := []*onnxpb.NodeProto{operator("Shape", "dims", "x"), operator("Gather", "batch", "dims", "at"), operator("Concat", "shape", "one", "batch", "units")}
	batch[2].Attribute = []*onnxpb.AttributeProto{{Name: proto.String("axis"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(0)}}
	m.Graph.Node = append(append(batch, nodes...), cell)
	return m
}

// Oracle: the ONNX specification, by which an initial state that is absent is zero. What computes one in the ways of exporters goes, any other stays.
func TestLowerDropsZeroStates(t *testing.T) {
	other := operator("Neg", "-h", "h")
	for _, tt := range []struct {
		name  string
		nodes []*onnxpb.NodeProto
		want  []string // operands 5 and 6
		left  int      // nodes beside those of the ring and the cell
	}{
		{"constant of a shape", []*onnxpb.NodeProto{operator("ConstantOfShape", "h", "shape"), operator("Identity", "c", "h")}, []string{"", ""}, 0},
		{"filled with zeros", []*onnxpb.NodeProto{filled(operator("ConstantOfShape", "h", "shape"), 0), operator("Expand", "c", "zeros", "shape")}, []string{"", ""}, 0},
		{"constants", []*onnxpb.NodeProto{operator("Identity", "h", "zeros"), operator("Identity", "c", "ones")}, []string{"", "c"}, 4}, // three were dead before and stay
		{"filled with ones", []*onnxpb.NodeProto{filled(operator("ConstantOfShape", "h", "shape"), 1), operator("Expand", "c", "ones", "shape")}, []string{"h", "c"}, 5},
		{"computed", []*onnxpb.NodeProto{operator("ConstantOfShape", "z", "shape"), operator("Neg", "h", "z"), operator("Expand", "c", "zeros", "shape")}, []string{"h", ""}, 5},
		{"read elsewhere", []*onnxpb.NodeProto{operator("ConstantOfShape", "h", "shape"), operator("Identity", "c", "h"), other}, []string{"", ""}, 5},
	} {
		p := withStates(tt.nodes...)
		if tt.nodes[len(tt.nodes)-1] == other {
			p.Graph.Output = append(p.Graph.Output, valueInfo("-h", onnx.Float, 1, -1, 8))
		}
		m := decode(t, p)
		l := plainLayer()
		f := randomFactor(1, l.rows(), l.in, []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5})
		compact := lower(t, m, []Replacement{{find(t, m), f}}, Options{MergeOutput: true})
		cell := recurrent.Nodes(compact)[0].Node
		if got := []string{cell.Input(recurrent.SlotInitialH), cell.Input(recurrent.SlotInitialC)}; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: states %q, want %q", tt.name, got, tt.want)
		}
		left := 0
		for _, n := range compact.Graph.Nodes {
			switch n.OpType {
			case "Shape", "Gather", "Concat", "ConstantOfShape", "Expand", "Neg", "Identity":
				left++
			}
		}
		if left != tt.left {
			t.Errorf("%s: %d nodes left of those that compute states, want %d", tt.name, left, tt.left)
		}
		if dense := lower(t, m, []Replacement{{find(t, m), f}}, Options{Form: Dense}); recurrent.Nodes(dense)[0].Node.Input(recurrent.SlotInitialH) != "h" {
			t.Errorf("%s: the dense form drops the state", tt.name)
		}
	}
}
