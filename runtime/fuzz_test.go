package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"google.golang.org/protobuf/proto"
)

// FuzzCompileAndRun decodes, compiles and runs arbitrary bytes, feeding zeros. Whatever the file, the end is outputs or an error, and no operator
// panics.
func FuzzCompileAndRun(f *testing.F) {
	add := func(g *onnxpb.GraphProto, functions ...*onnxpb.FunctionProto) {
		b, err := proto.Marshal(modelProto(g, functions...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	x := []*onnxpb.ValueInfoProto{declared("x", onnx.Float, 2, 1, 1)}
	weights := []*onnxpb.TensorProto{initFloats("w", []int64{1, 4, 1}, 1, 2, 3, 4), initFloats("r", []int64{1, 4, 1}, 1, 2, 3, 4)}
	add(graph(x, untyped("y h c"), weights, node("LSTM", "x w r", "y h c", intAttr("hidden_size", 1), stringsAttr("activations", "Relu", "Affine", "Tanh"), floatAttr("clip", 1))))
	add(graph(nil, untyped("last scan"), []*onnxpb.TensorProto{initInts("m", nil, 3), initFloats("a0", nil, 10)}, node("Loop", "m _ a0", "last scan", graphAttr("body", counting(12)))))
	add(graph(x, untyped("s y"), []*onnxpb.TensorProto{initFloats("s0", []int64{1, 1}, 0)}, node("Scan", "s0 x", "s y", intAttr("num_scan_inputs", 1), graphAttr("body", scanSum()))))
	add(graph(x, untyped("y"), nil, inDomain(node("F", "x", "y", floatAttr("slope", 2)), "test")),
		function("F", "x", "y", []string{"slope"}, node("LeakyRelu", "x", "y", refAttr("alpha", "slope", onnxpb.AttributeProto_FLOAT))))
	if paths, err := filepath.Glob(filepath.Join("..", "..", "shared", "onnx-node", "*", "model.onnx")); err == nil {
		for _, path := range paths {
			if b, err := os.ReadFile(path); err == nil {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := onnx.Decode("fuzz", b)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p, err := Compile(ctx, m, Options{})
		if err != nil {
			return
		}
		feeds := map[string]*Tensor{}
		for _, v := range p.Inputs() {
			if v.Type == nil {
				return
			}
			dims := []int{}
			for _, d := range v.Type.Shape {
				if dims = append(dims, 2); d.Known {
					dims[len(dims)-1] = int(min(d.Value, 1<<20))
				}
			}
			if n := elementsOf(dims); n < 0 || n > 1<<20 {
				return
			}
			if feeds[v.Name], err = zeros(v.Type.Elem, dims); err != nil {
				return
			}
		}
		_, err = p.Run(ctx, feeds)
		var pe *panicError
		if errors.As(err, &pe) {
			t.Fatalf("%v\n%s", err, pe.stack)
		}
	})
}

// elementsOf is the product of dims, -1 where one is negative or the product leaves 2^40.
func elementsOf(dims []int) int {
	n := 1
	for _, d := range dims {
		if d < 0 || n > 1<<20 {
			return -1
		}
		n *= d
	}
	return n
}
