package onnx_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// A model is made from the generated types, written, and opened again.
func Example() {
	ctx := context.Background()
	model, err := onnx.FromProto("doubler", &onnxpb.ModelProto{
		IrVersion:   proto.Int64(8),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
		Graph: &onnxpb.GraphProto{
			Name:        proto.String("doubler"),
			Input:       []*onnxpb.ValueInfoProto{{Name: proto.String("x")}},
			Output:      []*onnxpb.ValueInfoProto{{Name: proto.String("y")}},
			Initializer: []*onnxpb.TensorProto{{Name: proto.String("two"), DataType: proto.Int32(int32(onnx.Float)), FloatData: []float32{2}}},
			Node: []*onnxpb.NodeProto{
				{Name: proto.String("double"), OpType: proto.String("Mul"), Input: []string{"x", "two"}, Output: []string{"y"}},
			},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "doubler.onnx")
	if err := model.WriteFile(ctx, path, onnx.WriteOptions{}); err != nil {
		fmt.Println(err)
		return
	}

	opened, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer opened.Close()
	for _, n := range opened.Graph.Nodes {
		fmt.Println(n, n.Inputs, n.Outputs)
	}
	two, err := opened.Graph.Initializers[0].Array()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(two.Type, two.Dims, two.Data)
	// Output:
	// graph.node[0] Mul "double" [x two] [y]
	// float [] [2]
}
