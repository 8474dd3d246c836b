package export

import (
	"reflect"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"google.golang.org/protobuf/proto"
)

// Oracle: the ONNX specification, by which the outputs of a recurrent node may be absent, and a graph's outputs and the inputs of nodes in inner graphs are readers.
func TestLowerDropsOutputs(t *testing.T) {
	inner := func(read string) *onnxpb.NodeProto {
		then := &onnxpb.GraphProto{Name: proto.String("then"), Node: []*onnxpb.NodeProto{operator("Neg", "a", read)}, Output: []*onnxpb.ValueInfoProto{valueInfo("a", onnx.Float, 1, -1, 8)}}
		other := &onnxpb.GraphProto{Name: proto.String("else"), Node: []*onnxpb.NodeProto{operator("Abs", "b", read)}, Output: []*onnxpb.ValueInfoProto{valueInfo("b", onnx.Float, 1, -1, 8)}}
		n := operator("If", "z", "c")
		n.Attribute = []*onnxpb.AttributeProto{graphAttribute("then_branch", then), graphAttribute("else_branch", other)}
		return n
	}
	for _, tt := range []struct {
		name    string
		outputs []string
		reader  *onnxpb.NodeProto
		output  string // another output of the graph
		want    []string
	}{
		{"nothing reads", []string{"Y", "Yh", "Yc"}, nil, "", []string{"Y"}},
		{"absent", []string{"Y", "", ""}, nil, "", []string{"Y"}},
		{"an output of the graph", []string{"Y", "Yh", "Yc"}, nil, "Yh", []string{"Y", "Yh"}},
		{"the last is read", []string{"Y", "Yh", "Yc"}, operator("Neg", "z", "Yc"), "z", []string{"Y", "Yh", "Yc"}},
		{"read by a node that nothing reads", []string{"Y", "Yh", "Yc"}, operator("Neg", "z", "Yh"), "", []string{"Y", "Yh"}},
		{"read in inner graphs", []string{"Y", "Yh", "Yc"}, inner("Yh"), "z", []string{"Y", "Yh"}},
	} {
		l := plainLayer()
		p := l.proto()
		p.Graph.Node[0].Output = tt.outputs
		p.Graph.Input = append(p.Graph.Input, valueInfo("c", onnx.Bool))
		if tt.reader != nil {
			p.Graph.Node = append(p.Graph.Node, tt.reader)
		}
		if tt.output != "" {
			p.Graph.Output = append(p.Graph.Output, valueInfo(tt.output, onnx.Float, 1, -1, 8))
		}
		m := decode(t, p)
		f := randomFactor(1, l.rows(), l.in, []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5})
		for _, o := range []Options{{Form: Bottleneck, Arranged: true}, {Form: Bottleneck}, {Form: Dense, Arranged: true}} {
			want := tt.outputs
			if o.Arranged && o.Form != Dense {
				want = tt.want
			}
			if got := recurrent.Nodes(lower(t, m, []Replacement{{find(t, m), f}}, o))[0].Node.Outputs; !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s, arranged %v: outputs %q, want %q", tt.name, o.Form, o.Arranged, got, want)
			}
		}
	}
}
