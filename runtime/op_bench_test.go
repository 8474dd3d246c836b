package runtime

import (
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

// BenchmarkOperator: bytes are those of the first operand.
func BenchmarkOperator(b *testing.B) {
	x, image := wave(onnx.Float, 64, 256, 64), wave(onnx.Float, 1, 64, 64, 64)
	window3 := []*onnx.Attribute{{Name: "pads", Type: onnx.AttrInts, Ints: []int64{1, 1, 1, 1}}}
	window2 := []*onnx.Attribute{{Name: "kernel_shape", Type: onnx.AttrInts, Ints: []int64{2, 2}}, {Name: "strides", Type: onnx.AttrInts, Ints: []int64{2, 2}}}
	for _, c := range []struct {
		name  string
		build builder
		in    []*Tensor
		attrs []*onnx.Attribute
	}{
		{"op=Add/other=same", buildArith(opAdd), []*Tensor{x, wave(onnx.Float, 64, 256, 64)}, nil},
		{"op=Add/other=row", buildArith(opAdd), []*Tensor{x, wave(onnx.Float, 64)}, nil},
		{"op=Add/other=column", buildArith(opAdd), []*Tensor{x, wave(onnx.Float, 256, 1)}, nil},
		{"op=Add/other=scalar", buildArith(opAdd), []*Tensor{x, wave(onnx.Float, 1)}, nil},
		{"op=Relu", buildNumericMap(opRelu), []*Tensor{x}, nil},
		{"op=Sigmoid", buildFloatMap(sigmoid), []*Tensor{x}, nil},
		{"op=Softmax", buildSoftmax(softmax), []*Tensor{x}, nil},
		{"op=LayerNormalization", buildLayerNorm, []*Tensor{x, wave(onnx.Float, 64)}, nil},
		{"op=ReduceMean", buildReduce(reduceMean), []*Tensor{x}, nil},
		{"op=Transpose", buildTranspose, []*Tensor{x}, nil},
		{"op=MatMul", buildMatMul, []*Tensor{x, wave(onnx.Float, 64, 64)}, nil},
		{"op=Conv/kernel=3x3", buildConv, []*Tensor{image, wave(onnx.Float, 64, 64, 3, 3)}, window3},
		{"op=MaxPool/kernel=2x2", buildMaxPool, []*Tensor{image}, window2},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := &nodeInfo{node: &onnx.Node{}, opset: 17, attrs: map[string]*onnx.Attribute{}, asked: map[string]onnx.AttributeType{}}
			for range c.in {
				n.node.Inputs, n.given = append(n.node.Inputs, "x"), append(n.given, true)
			}
			for _, a := range c.attrs {
				n.attrs[a.Name] = a
			}
			op, err := c.build(n)
			if err != nil {
				b.Fatal(err)
			}
			call := testCall()
			call.node = n
			b.SetBytes(int64(4 * elements(c.in[0].Dims)))
			for b.Loop() {
				if _, err := op.run(call, c.in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
