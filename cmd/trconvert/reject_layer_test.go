package main

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// operand gives the layer a further input, by its place in the operator's list.
func operand(slot int, x *onnxpb.TensorProto) edit {
	return func(m *onnxpb.ModelProto) {
		n := cellOf(m)
		for len(n.Input) <= slot {
			n.Input = append(n.Input, "")
		}
		n.Input[slot] = x.GetName()
		m.Graph.Initializer = append(m.Graph.Initializer, x)
	}
}

// cellIs changes the layer's operator.
func cellIs(op string) edit {
	return func(m *onnxpb.ModelProto) { cellOf(m).OpType = &op }
}

// rows gives W and R another number of rows.
func rows(n int64) edit {
	return func(m *onnxpb.ModelProto) {
		m.Graph.Initializer = []*onnxpb.TensorProto{
			floats("W", random(int(n*layerIn)), 1, n, layerIn), floats("R", random(int(n*layerHidden)), 1, n, layerHidden),
		}
	}
}

// configRejections are groups 19 and 20: what a layer says of itself.
func configRejections() []rejection {
	columns := func(m *onnxpb.ModelProto) { initializer(m, "W").Dims = []int64{1, 48, 128} }
	hidden := func(v int64) edit { return attribute(intAttribute("hidden_size", v)) }
	all := refused([]rejection{
		{name: "19 hidden_size missing", files: broken(func(m *onnxpb.ModelProto) { cellOf(m).Attribute = nil }), says: []string{"hidden_size", "missing"}},
		{name: "19 hidden_size 0", files: broken(hidden(0)), says: []string{"hidden_size", "is 0"}},
		{name: "19 hidden_size negative", files: broken(hidden(-16)), says: []string{"hidden_size", "is -16"}},
		{name: "19 hidden_size against R", files: broken(hidden(24)), says: []string{"24", "[1, 64,", "[1, 96,"}},
		{name: "19 hidden_size that overflows", files: broken(hidden(1 << 62)), says: []string{"hidden_size", "4611686018427387904"}},
		{name: "19 rows of W of an LSTM", files: broken(columns), says: []string{`W "W" is [1, 48, 128]`, "[1, 64, ?]"}},
		{name: "19 rows of W of a GRU", files: broken(cellIs("GRU")), says: []string{`W "W" is [1, 64, 96]`, "[1, 48, ?]"}},
		{name: "19 rows of W of an RNN", files: broken(cellIs("RNN")), says: []string{`W "W" is [1, 64, 96]`, "[1, 16, ?]"}},
		{name: "19 columns of W against X", files: broken(func(m *onnxpb.ModelProto) { m.Graph.Input[0] = declare("x", 1, -1, -1, 95) }), says: []string{"95", "96"}},
		{name: "19 shape of R", files: broken(func(m *onnxpb.ModelProto) { initializer(m, "R").Dims = []int64{1, 16, 64} }), says: []string{`R "R" is [1, 16, 64]`, "[1, 64, 16]"}},
		{name: "19 shape of B", files: broken(operand(3, floats("B", random(64), 1, 64))), says: []string{`B "B" is [1, 64]`, "[1, 128]"}},
		{name: "19 shape of P", files: broken(operand(7, floats("P", random(64), 1, 64))), says: []string{`P "P" is [1, 64]`, "[1, 48]"}},
		{name: "19 shape of initial_h", files: broken(operand(5, floats("h", random(32), 2, 1, 16))), says: []string{`initial_h "h" is [2, 1, 16]`, "[1, ?, 16]"}},
		{name: "19 shape of initial_c", files: broken(operand(6, floats("c", random(15), 1, 1, 15))), says: []string{`initial_c "c" is [1, 1, 15]`, "[1, ?, 16]"}},
		{name: "19 directions", files: broken(attribute(textAttribute("direction", "bidirectional"))), says: []string{"[1, 64, 96]", "[2, 64, ?]", "bidirectional"}},
		{name: "20 layout", files: broken(attribute(intAttribute("layout", 2))), says: []string{"layout", "is 2"}},
		{name: "20 direction unknown", files: broken(attribute(textAttribute("direction", "side\x1bways"))), says: []string{`side\x1bways`, "bidirectional"}},
		{name: "20 number of activations", files: broken(attribute(textsAttribute("activations", "Tanh"))), says: []string{"activations", "1", "3"}},
		{name: "20 activation unknown", files: broken(attribute(textsAttribute("activations", "Swish", "Tanh", "Tanh"))), code: exitUnsupported, says: []string{"activations", "Swish"}},
		{name: "20 clip 0", files: broken(attribute(floatAttribute("clip", 0))), says: []string{"clip", "is 0"}},
		{name: "20 clip negative", files: broken(attribute(floatAttribute("clip", -1))), says: []string{"clip", "is -1"}},
		{name: "20 attribute of a later opset", files: broken(func(m *onnxpb.ModelProto) { m.OpsetImport[0].Version = proto.Int64(13) }, attribute(intAttribute("layout", 0))), code: exitUnsupported, says: []string{"layout", "opset 13", "14"}},
		{name: "20 attribute unknown", files: broken(attribute(intAttribute("cells", 1))), code: exitUnsupported, says: []string{"cells"}},
	})
	for i := range all {
		all[i].only = true
		all[i].says = append(all[i].says, `"cell"`)
	}
	bias := operand(3, floats("B", random(128), 1, 128))
	return append(all, accepted([]rejection{
		{name: "20 input_forget is honoured", files: broken(bias, attribute(intAttribute("input_forget", 1)))},
		{name: "20 linear_before_reset is honoured", files: broken(cellIs("GRU"), rows(48), attribute(intAttribute("linear_before_reset", 1)))},
		{name: "20 clip is honoured", files: broken(bias, attribute(floatAttribute("clip", 0.5)))},
	})...)
}

// accepted sets what the odd but good ones have in common.
func accepted(all []rejection) []rejection {
	for i := range all {
		if all[i].args == "" {
			all[i].args = decomposeArgs
		}
		all[i].says = append(all[i].says, `"kept_dense": false`)
	}
	return all
}

// computed makes W a node's output over the initializer W0.
func computed(op string, more ...string) edit {
	return func(m *onnxpb.ModelProto) {
		initializer(m, "W").Name = proto.String("W0")
		before(nodeOf(op, append([]string{"W0"}, more...), []string{"W"}))(m)
	}
}

// second adds another LSTM over x.
func second(w string) edit {
	return func(m *onnxpb.ModelProto) {
		n := proto.Clone(cellOf(m)).(*onnxpb.NodeProto)
		n.Name, n.Input[1], n.Output[0] = proto.String("second"), w, "Y2"
		m.Graph.Node = append(m.Graph.Node, n)
		m.Graph.Output = append(m.Graph.Output, declare("Y2", 1, -1, 1, -1, layerHidden))
	}
}

func domain(name string) edit {
	return func(m *onnxpb.ModelProto) {
		m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: &name, Version: proto.Int64(1)})
	}
}

// weightRejections are groups 21 and 22: where W comes from, and who else reads it.
func weightRejections() []rejection {
	foreign := func(op, name string) edit {
		return func(m *onnxpb.ModelProto) { cellOf(m).OpType, cellOf(m).Domain = &op, &name }
	}
	all := refused([]rejection{
		{name: "21 W is a graph input", files: broken(func(m *onnxpb.ModelProto) {
			removeInitializer(m, "W")
			m.Graph.Input = append(m.Graph.Input, declare("W", 1, 1, layerRows, layerIn))
		}), says: []string{`"cell"`, `graph input "W"`}},
		{name: "21 W depends on the data", files: broken(computed("Mul", "mean"), before(nodeOf("ReduceMean", []string{"x"}, []string{"mean"}))), says: []string{`"cell"`, `graph input "x"`}},
		{name: "21 W is random", files: broken(computed("RandomNormalLike")), says: []string{`"cell"`, "RandomNormalLike"}},
		{name: "22 LSTM of a custom domain", files: broken(domain("com.example"), foreign("LSTM", "com.example")), says: []string{`"cell"`, `"com.example"`}},
		{name: "22 DynamicQuantizeLSTM", files: broken(domain("com.microsoft"), foreign("DynamicQuantizeLSTM", "com.microsoft")), says: []string{`"cell"`, "already quantised"}},
		{name: "22 W is dequantised", files: broken(func(m *onnxpb.ModelProto) {
			w := initializer(m, "W")
			w.Name, w.DataType, w.RawData = proto.String("W8"), proto.Int32(3), make([]byte, layerRows*layerIn)
			m.Graph.Initializer = append(m.Graph.Initializer, floats("scale", []float32{0.1}))
			before(nodeOf("DequantizeLinear", []string{"W8", "scale"}, []string{"W"}))(m)
		}), says: []string{`"cell"`, "already quantised", "DequantizeLinear"}},
		{name: "22 cell unrolled into gates", files: own("lstm_step_gates.onnx"), says: []string{"LSTM", "export"}},
		{name: "22 cell inside a Loop", files: broken(loop(func(m *onnxpb.ModelProto) []*onnxpb.NodeProto {
			m.Graph.Initializer = append(m.Graph.Initializer, floats("U", random(1024), 16, 64))
			m.Graph.Initializer = append(m.Graph.Initializer, longs("four", []int64{4}, 16, 16, 16, 16))
			return []*onnxpb.NodeProto{
				nodeOf("MatMul", []string{"carried", "U"}, []string{"z"}), nodeOf("Split", []string{"z", "four"}, []string{"zi", "zo", "zf", "zc"}, intAttribute("axis", -1)),
				nodeOf("Sigmoid", []string{"zi"}, []string{"gi"}), nodeOf("Sigmoid", []string{"zo"}, []string{"go"}), nodeOf("Sigmoid", []string{"zf"}, []string{"gf"}), nodeOf("Tanh", []string{"zc"}, []string{"gc"}),
				nodeOf("Mul", []string{"gi", "gc"}, []string{"new"}), nodeOf("Mul", []string{"gf", "carried"}, []string{"kept"}), nodeOf("Add", []string{"new", "kept"}, []string{"cell_state"}),
				nodeOf("Tanh", []string{"cell_state"}, []string{"squashed"}), nodeOf("Mul", []string{"go", "squashed"}, []string{"next"}),
			}
		})), says: []string{"Loop", "export"}},
	})
	for i := range all {
		all[i].only = true
		all[i].code = exitUnsupported
	}
	return append(all, accepted([]rejection{
		{name: "21 R that depends on the data stays as it is", files: broken(func(m *onnxpb.ModelProto) {
			initializer(m, "R").Name = proto.String("R0")
			before(nodeOf("ReduceMean", []string{"x"}, []string{"mean"}), nodeOf("Mul", []string{"R0", "mean"}, []string{"R"}))(m)
		})},
		{name: "21 W of two layers is factored once", files: broken(second("W")), says: []string{`"shared_with": "cell"`, `"w_parameters_before": 6144`}},
		{name: "21 W with other readers keeps its dense copy", files: broken(func(m *onnxpb.ModelProto) {
			m.Graph.Node = append(m.Graph.Node, nodeOf("ReduceSum", []string{"W"}, []string{"sum"}))
			m.Graph.Output = append(m.Graph.Output, declare("sum", 1, 1, 1, 1))
		}), args: decomposeArgs + " --form dense", says: []string{`"dense-copy-kept"`, "other readers"}},
		{name: "21 W through a constant chain", files: broken(computed("Neg"))},
		{name: "22 compact file of our own", files: compact(nil), args: "decompose m.onnx -o out.onnx --rank 2 --json"},
	})...)
}

// own copies one of the project's models.
func own(name string) func(t *testing.T) bool {
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "models", name))
	return func(t *testing.T) bool {
		if err != nil {
			t.Fatal(err)
		}
		put(t, "m.onnx", b)
		return true
	}
}

// loop takes the layer's place: a Loop that carries a state of [1, 16] through nodes, which read "carried" and give "next".
func loop(nodes func(m *onnxpb.ModelProto) []*onnxpb.NodeProto) edit {
	return func(m *onnxpb.ModelProto) {
		m.Graph.Node = nil
		m.Graph.Initializer = append(m.Graph.Initializer, longs("trips", nil, 3), floats("start", random(16), 1, 16))
		body := &onnxpb.GraphProto{
			Name: proto.String("body"), Node: append(nodes(m), nodeOf("Identity", []string{"go_on"}, []string{"going"})),
			Input:  []*onnxpb.ValueInfoProto{declare("iteration", 7), declare("go_on", 9), declare("carried", 1, 1, 16)},
			Output: []*onnxpb.ValueInfoProto{declare("going", 9), declare("next", 1, 1, 16)},
		}
		m.Graph.Node = append(m.Graph.Node, nodeOf("Loop", []string{"trips", "", "start"}, []string{"Y"}, graphAttribute("body", body)))
		m.Graph.Output[0] = declare("Y", 1, 1, 16)
	}
}

// inIf moves the layer into both branches of an If.
func inIf(m *onnxpb.ModelProto) {
	branch := func(name string) *onnxpb.GraphProto {
		n := proto.Clone(cellOf(m)).(*onnxpb.NodeProto)
		n.Output[0] = name
		return &onnxpb.GraphProto{Name: &name, Node: []*onnxpb.NodeProto{n}, Output: []*onnxpb.ValueInfoProto{declare(name, 1, -1, 1, -1, layerHidden)}}
	}
	yes := nodeOf("If", []string{"choice"}, []string{"Y"}, graphAttribute("then_branch", branch("a")), graphAttribute("else_branch", branch("b")))
	yes.Name = proto.String("if")
	m.Graph.Node = []*onnxpb.NodeProto{yes}
	m.Graph.Input = append(m.Graph.Input, declare("choice", 9))
}

// inBody moves the layer into a Loop that carries x through it, or a Scan over x; with carried W comes in through the loop too.
func inBody(op string, carried bool) edit {
	return func(m *onnxpb.ModelProto) {
		n := cellOf(m)
		body := &onnxpb.GraphProto{Name: proto.String("body"), Node: []*onnxpb.NodeProto{n}}
		var owner *onnxpb.NodeProto
		if op == "Scan" {
			m.Graph.Input[0] = declare("x", 1, -1, -1, -1, layerIn)
			m.Graph.Output[0] = declare("Y", 1, -1, -1, 1, -1, layerHidden)
			n.Input[0] = "slice"
			n.Output[0] = "out"
			body.Input, body.Output = []*onnxpb.ValueInfoProto{declare("slice", 1, -1, -1, layerIn)}, []*onnxpb.ValueInfoProto{declare("out", 1, -1, 1, -1, layerHidden)}
			owner = nodeOf("Scan", []string{"x"}, []string{"Y"}, intAttribute("num_scan_inputs", 1), graphAttribute("body", body))
		} else {
			n.Output[0] = "out"
			m.Graph.Initializer = append(m.Graph.Initializer, longs("trips", nil, 2))
			body.Node = append(body.Node, nodeOf("Identity", []string{"go_on"}, []string{"going"}))
			body.Input = []*onnxpb.ValueInfoProto{declare("iteration", 7), declare("go_on", 9)}
			body.Output = []*onnxpb.ValueInfoProto{declare("going", 9)}
			inputs, outputs := []string{"trips", ""}, []string{"Y"}
			if carried {
				n.Input[1] = "Wc"
				body.Node = append(body.Node, nodeOf("Identity", []string{"Wc"}, []string{"Wd"}))
				body.Input = append(body.Input, declare("Wc", 1, 1, layerRows, layerIn))
				body.Output = append(body.Output, declare("Wd", 1, 1, layerRows, layerIn))
				inputs, outputs = append(inputs, "W"), []string{"last", "Y"}
			}
			body.Output = append(body.Output, declare("out", 1, -1, 1, -1, layerHidden))
			m.Graph.Output[0] = declare("Y", 1, 2, -1, 1, -1)
			m.Graph.Output[0].GetType().GetTensorType().Shape = nil
			owner = nodeOf("Loop", inputs, outputs, graphAttribute("body", body))
		}
		owner.Name = proto.String("owner")
		m.Graph.Node = []*onnxpb.NodeProto{owner}
	}
}

// inFunction moves the layer into a function of the model; W stands in it as a constant, or comes in from the caller.
func inFunction(given bool) edit {
	return func(m *onnxpb.ModelProto) {
		m.IrVersion = proto.Int64(8)
		f := &onnxpb.FunctionProto{Name: proto.String("Layer"), Domain: proto.String("local"), Input: []string{"x"}, Output: []string{"Y"}, OpsetImport: []*onnxpb.OperatorSetIdProto{m.OpsetImport[0]}}
		call := nodeOf("Layer", []string{"x"}, []string{"Y"})
		call.Domain = proto.String("local")
		if given {
			f.Input, call.Input = []string{"x", "W", "R"}, []string{"x", "W", "R"}
		} else {
			for _, name := range []string{"W", "R"} {
				value := &onnxpb.AttributeProto{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: removeInitializer(m, name)}
				f.Node = append(f.Node, nodeOf("Constant", nil, []string{name}, value))
			}
		}
		f.Node = append(f.Node, cellOf(m))
		m.Functions = []*onnxpb.FunctionProto{f}
		m.Graph.Node = []*onnxpb.NodeProto{call}
		domain("local")(m)
	}
}

// scopeRejections are group 23: layers inside other nodes.
func scopeRejections() []rejection {
	all := refused([]rejection{
		{name: "23 W is carried by a Loop", files: broken(inBody("Loop", true)), says: []string{`cell"`, "owner", "carried"}},
		{name: "23 W comes from a function's caller", files: broken(inFunction(true)), says: []string{`cell"`, "local.Layer", "inline"}},
	})
	for i := range all {
		all[i].only, all[i].code = true, exitUnsupported
	}
	return append(all, accepted([]rejection{
		{name: "23 layer in both branches of an If", files: broken(inIf), says: []string{"if.then_branch/cell", "if.else_branch/cell"}},
		{name: "23 layer in a Loop", files: broken(inBody("Loop", false)), says: []string{"owner.body/cell"}},
		{name: "23 layer in a Scan", files: broken(inBody("Scan", false)), says: []string{"owner.body/cell"}},
		{name: "23 layer in a function", files: broken(inFunction(false)), says: []string{"function local.Layer/cell"}},
	})...)
}
