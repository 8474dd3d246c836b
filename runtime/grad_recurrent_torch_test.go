package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// torchArray is a tensor that PyTorch wrote.
type torchArray struct {
	Dims []int64
	Data []float64
}

// torchCase is an entry of testdata/torch/gradients.json, which testdata/torch/generate.py writes and explains.
type torchCase struct {
	Name, Op  string
	Tensors   map[string]torchArray
	C, Y      torchArray
	Gradients map[string]torchArray
}

// mergedSide gives the nodes that merge the cores side.core0, side.core1, … with the given dims as trconvert writes them, from the last to the first, into
// side.merged [r_first, modes of the side, r_last], and the shapes they read.
func mergedSide(side string, cores [][3]int) (nodes []*onnxpb.NodeProto, shapes []*onnxpb.TensorProto) {
	last := ""
	for k, dims := range slices.Backward(cores) {
		core := fmt.Sprintf("%s.core%d", side, k)
		if last != "" {
			shapes = append(shapes, initInts(core+".row", []int64{2}, int64(dims[2]), -1))
			nodes = append(nodes, node("Reshape", last+" "+core+".row", core+".right"), node("MatMul", core+" "+core+".right", core+".merged"))
			core += ".merged"
		}
		last = core
	}
	shapes = append(shapes, initInts(side+".closed", []int64{3}, int64(cores[0][0]), -1, int64(cores[len(cores)-1][2])))
	return append(nodes, node("Reshape", last+" "+side+".closed", side+".merged")), shapes
}

// mergedRing gives the nodes between the cores of a ring and an LSTM whose input is Z = X·R.all and whose W is L, and the shapes they read.
func mergedRing(in, out [][3]int) (nodes []*onnxpb.NodeProto, shapes []*onnxpb.TensorProto) {
	width := int64(in[0][0] * out[0][0])
	left, leftShapes := mergedSide("L", out)
	right, rightShapes := mergedSide("R", in)
	nodes = append(left, node("Transpose", "L.merged", "L.rows", intsAttr("perm", 1, 2, 0)), node("Reshape", "L.rows L.dims", "L"))
	nodes = append(append(nodes, right...), node("Transpose", "R.merged", "R.rows", intsAttr("perm", 1, 0, 2)), node("Reshape", "R.rows R.dims", "R.all"), node("MatMul", "X R.all", "Z"))
	shapes = append(leftShapes, rightShapes...)
	return nodes, append(shapes, initInts("R.dims", []int64{2}, -1, width), initInts("L.dims", []int64{3}, 1, -1, width))
}

// model is the case as an ONNX model without inputs.
func (c *torchCase) model(t *testing.T) *onnx.Model {
	var inits []*onnxpb.TensorProto
	sides := map[string][][3]int{}
	for _, name := range slices.Sorted(maps.Keys(c.Tensors)) {
		a := c.Tensors[name]
		inits = append(inits, &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Double)), Dims: a.Dims, DoubleData: a.Data})
		if side, _, isCore := strings.Cut(name, ".core"); isCore {
			sides[side] = append(sides[side], [3]int{int(a.Dims[0]), int(a.Dims[1]), int(a.Dims[2])})
		}
	}
	var nodes []*onnxpb.NodeProto
	x, w := "X", "W"
	if len(sides) > 0 {
		merge, shapes := mergedRing(sides["R"], sides["L"])
		nodes, inits = merge, append(inits, shapes...)
		x, w = "Z", "L"
	}
	r := c.Tensors["R"].Dims
	attrs := []*onnxpb.AttributeProto{intAttr("hidden_size", r[2])}
	if r[0] == 2 {
		attrs = append(attrs, stringAttr("direction", "bidirectional"))
	}
	if c.Op == "GRU" {
		attrs = append(attrs, intAttr("linear_before_reset", 1))
	}
	nodes = append(nodes, node(c.Op, x+" "+w+" R B", "Y", attrs...))
	return buildModel(t, graph(nil, untyped("Y"), inits, nodes...))
}

// TestGradientsOfPyTorch compares outputs and gradients of dense layers, a tensor train and a tensor ring with those PyTorch 1.13 found.
func TestGradientsOfPyTorch(t *testing.T) {
	ctx := context.Background()
	data, err := os.ReadFile("testdata/torch/gradients.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []*torchCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 7 {
		t.Fatalf("%d cases, want 7", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			m := c.model(t)
			var parameters []*onnx.Tensor
			for _, init := range m.Graph.Initializers {
				if init.Type == onnx.Double {
					parameters = append(parameters, init)
				}
			}
			training, err := CompileTraining(ctx, m, parameters, Options{})
			if err != nil {
				t.Fatal(err)
			}
			pass, err := training.Forward(ctx, nil, PassOptions{})
			if err != nil {
				t.Fatal(err)
			}
			y := pass.Outputs["Y"]
			near(t, "Y", y.Data.([]float64), c.Y.Data, 1e-12)
			if err := pass.Backward(ctx, map[string]*Tensor{"Y": newTensor(onnx.Double, y.Dims, c.C.Data)}); err != nil {
				t.Fatal(err)
			}
			if len(training.Parameters()) != len(c.Gradients) {
				t.Fatalf("%d parameters, PyTorch has gradients of %d", len(training.Parameters()), len(c.Gradients))
			}
			for _, p := range training.Parameters() {
				near(t, "gradient of "+p.Tensor.Name, p.Grad.Data.([]float64), c.Gradients[p.Tensor.Name].Data, 1e-12)
			}
		})
	}
}
