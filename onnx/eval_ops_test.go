package onnx

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

func floatPB(name string, v float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_FLOAT.Enum(), F: proto.Float32(v)}
}

func stringPB(name, v string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func attrPB(name string, t onnxpb.AttributeProto_AttributeType, fill func(a *onnxpb.AttributeProto)) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: proto.String(name), Type: t.Enum()}
	fill(a)
	return a
}

// What the node tests leave out. The wanted values follow from the operators' specifications by hand; arrays are those that a model's
// initializers a, b, c, … hold.
func TestEvalFollowsTheSpecification(t *testing.T) {
	f32 := func(dims []int, v ...float32) *Array { return &Array{Float, dims, v} }
	i64 := func(v ...int64) *Array { return &Array{Int64, []int{len(v)}, v} }
	scalar := func(v int64) *Array { return &Array{Int64, nil, []int64{v}} }
	d := func(v ...int) []int { return v }
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	halves := func(v ...float32) []uint16 {
		return filled(len(v), func(i int) uint16 { return Float32ToFloat16(v[i]) })
	}
	for _, c := range []struct {
		node   *onnxpb.NodeProto
		opset  int64
		inputs []*Array
		want   any // *Array, or part of an error
	}{
		// Cast truncates, holds what does not fit within the range, and wraps integers.
		{nodePB("a -> Cast -> y", intPB("to", int64(Int8))), 13, []*Array{f32(d(6), 1.9, -1.9, 300, -300, inf, nan)}, &Array{Int8, d(6), []int8{1, -1, 127, -128, 127, 0}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Uint8))), 13, []*Array{f32(d(3), -1, 255.5, 256)}, &Array{Uint8, d(3), []uint8{0, 255, 255}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Uint64))), 13, []*Array{f32(d(3), -1, 1<<40, inf)}, &Array{Uint64, d(3), []uint64{0, 1 << 40, math.MaxUint64}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Int64))), 13, []*Array{f32(d(3), -2.5, inf, -inf)}, &Array{Int64, d(3), []int64{-2, math.MaxInt64, math.MinInt64}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Int16))), 13, []*Array{i64(65537, -1)}, &Array{Int16, d(2), []int16{1, -1}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Uint16))), 13, []*Array{i64(65537, -1)}, &Array{Uint16, d(2), []uint16{1, 65535}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Uint32))), 13, []*Array{i64(-1)}, &Array{Uint32, d(1), []uint32{math.MaxUint32}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Int32))), 13, []*Array{{Uint64, d(2), []uint64{1 << 32, 1<<64 - 1}}}, &Array{Int32, d(2), []int32{0, -1}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Float))), 13, []*Array{{Uint64, d(1), []uint64{1<<64 - 1}}}, f32(d(1), 1<<64)},
		{nodePB("a -> Cast -> y", intPB("to", int64(Double))), 13, []*Array{{Bool, d(2), []bool{true, false}}}, &Array{Double, d(2), []float64{1, 0}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Bool))), 13, []*Array{f32(d(3), 0.5, 0, nan)}, &Array{Bool, d(3), []bool{true, false, true}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Float16))), 13, []*Array{f32(d(3), 65519, 65520, -1)}, &Array{Float16, d(3), []uint16{0x7bff, 0x7c00, 0xbc00}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(BFloat16))), 13, []*Array{f32(d(2), 1, -3.140625)}, &Array{BFloat16, d(2), []uint16{0x3f80, 0xc049}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Float))), 13, []*Array{{BFloat16, d(2), []uint16{0x3f80, 0xc049}}}, f32(d(2), 1, -3.140625)},
		{nodePB("a -> Cast -> y", intPB("to", int64(Float8E4M3FN))), 19, []*Array{f32(d(3), 448, 1000, nan)}, &Array{Float8E4M3FN, d(3), []uint8{0x7e, 0x7e, 0x7f}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Float8E4M3FN)), intPB("saturate", 0)), 19, []*Array{f32(d(1), 1000)}, &Array{Float8E4M3FN, d(1), []uint8{0x7f}}},
		{nodePB("a -> Cast -> y", intPB("to", int64(Float))), 19, []*Array{{Float8E5M2, d(2), []uint8{0x3c, 0xc0}}}, f32(d(2), 1, -2)},
		{nodePB("a -> Cast -> y", intPB("to", int64(String))), 13, []*Array{i64(1)}, "a cast from int64 to string is not evaluated"},
		{nodePB("a -> Cast -> y", stringPB("to", "FLOAT")), 5, []*Array{i64(1)}, "graph.node[0] Cast in opset 5, before 6"},
		{nodePB("a b c -> Tile -> y"), 5, []*Array{i64(1), scalar(2), scalar(0)}, "graph.node[0] Tile in opset 5, before 6"},
		{nodePB("-> Constant -> y", attrPB("sparse_value", onnxpb.AttributeProto_SPARSE_TENSOR, func(a *onnxpb.AttributeProto) {
			a.SparseTensor = &onnxpb.SparseTensorProto{Values: floatsPB("", []int64{1}, 1), Indices: int64sPB("", 0), Dims: []int64{2}}
		})), 13, nil, "the sparse value of graph.node[0] Constant"},
		{nodePB("a b -> CastLike -> y"), 15, []*Array{i64(3, 4), {Float16, d(1), []uint16{0}}}, &Array{Float16, d(2), halves(3, 4)}},

		// Constant, in all its forms.
		{nodePB("-> Constant -> y", floatPB("value_float", 2.5)), 13, nil, f32(nil, 2.5)},
		{nodePB("-> Constant -> y", intPB("value_int", -7)), 13, nil, scalar(-7)},
		{nodePB("-> Constant -> y", stringPB("value_string", "hé")), 13, nil, &Array{String, nil, []string{"hé"}}},
		{nodePB("-> Constant -> y", intsPB("value_ints", 1, 2)), 13, nil, i64(1, 2)},
		{nodePB("-> Constant -> y", attrPB("value_floats", onnxpb.AttributeProto_FLOATS, func(a *onnxpb.AttributeProto) { a.Floats = []float32{1, 2} })), 13, nil, f32(d(2), 1, 2)},
		{nodePB("-> Constant -> y", attrPB("value_strings", onnxpb.AttributeProto_STRINGS, func(a *onnxpb.AttributeProto) { a.Strings = [][]byte{{'a'}, {}} })), 13, nil, &Array{String, d(2), []string{"a", ""}}},
		{nodePB("-> Constant -> y"), 13, nil, "has 0 attributes (want one value)"},
		{nodePB("a -> ConstantOfShape -> y", tensorAttrPB("value", int64sPB("", 5))), 13, []*Array{i64(1, 2)}, &Array{Int64, d(1, 2), []int64{5, 5}}},
		{nodePB("a -> ConstantOfShape -> y"), 13, []*Array{{Int64, d(0), []int64{}}}, f32(nil, 0)},
		{nodePB("a -> ConstantOfShape -> y", tensorAttrPB("value", int64sPB("", 5, 6))), 13, []*Array{i64(2)}, "is not a tensor of one element"},

		// Arguments that were attributes in older opsets.
		{nodePB("a -> Slice -> y", intsPB("starts", 1), intsPB("ends", 1000), intsPB("axes", 1)), 9, []*Array{f32(d(2, 3), 1, 2, 3, 4, 5, 6)}, f32(d(2, 2), 2, 3, 5, 6)},
		{nodePB("a b c _ d -> Slice -> y"), 13, []*Array{i64(1, 2, 3, 4), i64(-1), i64(math.MinInt64), i64(-2)}, i64(4, 2)},
		{nodePB("a -> Squeeze -> y", intsPB("axes", 0)), 11, []*Array{f32(d(1, 1, 2), 1, 2)}, f32(d(1, 2), 1, 2)},
		{nodePB("a -> Unsqueeze -> y", intsPB("axes", 0, 2)), 11, []*Array{f32(d(2), 1, 2)}, f32(d(1, 2, 1), 1, 2)},
		{nodePB("a -> Unsqueeze -> y"), 13, []*Array{i64(1)}, "no axes are given"},
		{nodePB("a -> Split -> _ y", intsPB("split", 1, 2)), 11, []*Array{i64(1, 2, 3)}, i64(2, 3)},
		{nodePB("a -> Split -> _ y"), 13, []*Array{i64(1, 2, 3)}, "an axis of size 3 does not split into 2 equal parts"},
		{nodePB("a -> Split -> _ y", intPB("num_outputs", 2)), 18, []*Array{i64(1, 2, 3)}, i64(3)},
		{nodePB("a -> Reshape -> y", intsPB("shape", 0, -1)), 1, []*Array{f32(d(2, 1, 2), 1, 2, 3, 4)}, f32(d(2, 2), 1, 2, 3, 4)},
		{nodePB("a b -> Concat -> y"), 1, []*Array{f32(d(1, 1), 1), f32(d(1, 1), 2)}, f32(d(1, 2), 1, 2)},
		{nodePB("a b -> Concat -> y"), 4, []*Array{f32(d(1, 1), 1), f32(d(1, 1), 2)}, `attribute "axis" is missing`},
		{nodePB("a b -> Concat -> y", intPB("axis", 0)), 13, []*Array{f32(d(1), 1), i64(2)}, "inputs 0 and 1 have types"},
		{nodePB("a -> ReduceSum -> y", intsPB("axes", -1), intPB("keepdims", 0)), 11, []*Array{f32(d(2, 2), 1, 2, 3, 4)}, f32(d(2), 3, 7)},
		{nodePB("a b -> Add -> y", intPB("axis", 0), intPB("broadcast", 1)), 6, []*Array{f32(d(2, 2), 1, 2, 3, 4), f32(d(2), 1, 2)}, "as before opset 7"},

		{nodePB("a -> Pad -> y", intsPB("pads", 1, 0), floatPB("value", 9)), 10, []*Array{f32(d(2), 1, 2)}, f32(d(3), 9, 1, 2)},
		{nodePB("a b c -> Pad -> y"), 13, []*Array{{Float16, d(1), halves(1)}, i64(0, 1), {Float16, nil, halves(5)}}, &Array{Float16, d(2), halves(1, 5)}},
		{nodePB("a b _ c -> Pad -> y", stringPB("mode", "edge")), 18, []*Array{i64(1, 2, 3), i64(2, -1), i64(-1)}, i64(1, 1, 1, 2)},
		{nodePB("a b _ c -> Pad -> y"), 18, []*Array{f32(d(1, 2), 1, 2), i64(0, 1), i64(1)}, f32(d(1, 3), 1, 2, 0)},
		{nodePB("a b -> Pad -> y", stringPB("mode", "mirror")), 18, []*Array{i64(1), i64(1, 1)}, `mode "mirror" cannot extend`},
		{nodePB("a b c -> Pad -> y"), 18, []*Array{i64(1), i64(1, 1), f32(nil, 1)}, "operands of types []int64 and []float32"},
		{nodePB("a b -> GatherND -> y", intPB("batch_dims", 1)), 13, []*Array{{Int64, d(2, 2), []int64{1, 2, 3, 4}}, {Int64, d(2, 1), []int64{1, 0}}}, i64(2, 3)},
		{nodePB("a b -> Gather -> y"), 13, []*Array{i64(5, 6), {Int32, nil, []int32{-1}}}, scalar(6)},
		{nodePB("a b -> Gather -> y"), 13, []*Array{i64(5, 6), f32(nil, 1)}, "input 1 has type float (want int32 or int64)"},
		{nodePB("a b -> Gather -> y"), 13, []*Array{i64(5, 6), scalar(2)}, "index 2 is outside an axis of size 2"},

		// Arithmetic of every kind of type.
		{nodePB("a b -> Add -> y"), 14, []*Array{{Float16, d(2), halves(1, 2048)}, {Float16, nil, halves(1)}}, &Array{Float16, d(2), halves(2, 2048)}},
		{nodePB("a b -> Mul -> y"), 14, []*Array{{BFloat16, d(1), []uint16{0x4000}}, {BFloat16, nil, []uint16{0x4040}}}, &Array{BFloat16, d(1), []uint16{0x40c0}}},
		{nodePB("a b -> Div -> y"), 14, []*Array{i64(-7, 7), i64(2)}, i64(-3, 3)},
		{nodePB("a b -> Div -> y"), 14, []*Array{i64(1, 2), i64(1, 0)}, "integer division by zero"},
		{nodePB("a b -> Div -> y"), 14, []*Array{i64(math.MinInt64), i64(-1)}, i64(math.MinInt64)},
		{nodePB("a b -> Pow -> y"), 15, []*Array{i64(2, -3), f32(nil, 3)}, i64(8, -27)},
		{nodePB("a b -> Pow -> y"), 15, []*Array{{Int32, d(1), []int32{10}}, i64(100)}, &Array{Int32, d(1), []int32{math.MaxInt32}}},
		{nodePB("a b c -> Sum -> y"), 13, []*Array{f32(d(2, 1), 1, 2), f32(d(2), 10, 20), f32(nil, 100)}, f32(d(2, 2), 111, 121, 112, 122)},
		{nodePB("a b -> Sub -> y"), 14, []*Array{{Uint8, d(1), []uint8{1}}, {Uint8, d(1), []uint8{2}}}, &Array{Uint8, d(1), []uint8{255}}},
		{nodePB("a b -> Add -> y"), 14, []*Array{i64(1), f32(d(1), 1)}, "inputs 0 and 1 have types int64 and float"},
		{nodePB("a -> Abs -> y"), 13, []*Array{{Int8, d(2), []int8{-3, 4}}}, &Array{Int8, d(2), []int8{3, 4}}},
		{nodePB("a -> Relu -> y"), 14, []*Array{{Int32, d(2), []int32{-3, 4}}}, &Array{Int32, d(2), []int32{0, 4}}},
		{nodePB("a -> Neg -> y"), 13, []*Array{{Float16, d(1), halves(3)}}, &Array{Float16, d(1), halves(-3)}},
		{nodePB("a -> Not -> y"), 1, []*Array{{Bool, d(2), []bool{true, false}}}, &Array{Bool, d(2), []bool{false, true}}},
		{nodePB("a -> Not -> y"), 1, []*Array{i64(1)}, "operand of type int64 (want bool)"},
		{nodePB("a b -> Xor -> y"), 7, []*Array{{Bool, d(2), []bool{true, false}}, {Bool, nil, []bool{true}}}, &Array{Bool, d(2), []bool{false, true}}},
		{nodePB("a b -> Equal -> y"), 19, []*Array{{String, d(2), []string{"a", "b"}}, {String, nil, []string{"b"}}}, &Array{Bool, d(2), []bool{false, true}}},
		{nodePB("a b -> Equal -> y"), 13, []*Array{{Bool, d(2), []bool{true, false}}, {Bool, nil, []bool{false}}}, &Array{Bool, d(2), []bool{false, true}}},
		{nodePB("a b -> Less -> y"), 13, []*Array{{Float16, d(2), halves(-1, 1)}, {Float16, nil, halves(0)}}, &Array{Bool, d(2), []bool{true, false}}},
		{nodePB("a b c -> Range -> y"), 11, []*Array{scalar(5), scalar(0), scalar(-2)}, i64(5, 3, 1)},
		{nodePB("a b c -> Range -> y"), 11, []*Array{scalar(5), scalar(5), scalar(1)}, &Array{Int64, d(0), []int64{}}},
		{nodePB("a b c -> Range -> y"), 11, []*Array{scalar(5), scalar(0), scalar(0)}, "delta is 0"},
		{nodePB("a b -> MatMul -> y"), 13, []*Array{{Int32, d(1, 2), []int32{1, 2}}, {Int32, d(2, 1), []int32{3, 4}}}, &Array{Int32, d(1, 1), []int32{11}}},
		{nodePB("a b -> MatMul -> y"), 13, []*Array{{Float16, d(1, 2), halves(1, 2)}, {Float16, d(2), halves(3, 4)}}, &Array{Float16, d(1), halves(11)}},
		{nodePB("a b -> MatMul -> y"), 13, []*Array{f32(d(0, 2)), f32(d(2, 3), 1, 2, 3, 4, 5, 6)}, f32(d(0, 3))},
		{nodePB("a b -> MatMul -> y"), 13, []*Array{f32(d(1, 0)), f32(d(0, 2))}, f32(d(1, 2), 0, 0)},
		{nodePB("a b c -> Gemm -> y", intPB("transA", 1), floatPB("alpha", 2), floatPB("beta", 0.5)), 13, []*Array{f32(d(2, 1), 1, 2), f32(d(2, 2), 1, 2, 3, 4), f32(d(2), 10, 20)}, f32(d(1, 2), 19, 30)},
		{nodePB("a b c -> Gemm -> y"), 13, []*Array{f32(d(1, 2), 1, 2), f32(d(2, 1), 1, 2), f32(d(3), 1, 2, 3)}, "does not broadcast"},
		{nodePB("a -> ReduceMean -> y", intPB("keepdims", 0)), 13, []*Array{{Int32, d(3), []int32{1, 2, 5}}}, &Array{Int32, nil, []int32{2}}},
		{nodePB("a b -> ReduceProd -> y", intPB("noop_with_empty_axes", 1)), 18, []*Array{i64(2, 3), {Int64, d(0), []int64{}}}, i64(2, 3)},
		{nodePB("a -> ReduceMax -> y", intPB("keepdims", 0)), 13, []*Array{{Uint8, d(0), []uint8{}}}, &Array{Uint8, nil, []uint8{0}}},

		// DequantizeLinear: per tensor, per axis, per block.
		{nodePB("a b c -> DequantizeLinear -> y"), 13, []*Array{{Uint8, d(2), []uint8{0, 130}}, f32(nil, 0.5), {Uint8, nil, []uint8{128}}}, f32(d(2), -64, 1)},
		{nodePB("a b -> DequantizeLinear -> y", intPB("axis", 0)), 13, []*Array{{Int8, d(2, 2), []int8{1, 2, 3, 4}}, f32(d(2), 1, 10)}, f32(d(2, 2), 1, 2, 30, 40)},
		{nodePB("a b c -> DequantizeLinear -> y", intPB("axis", 1), intPB("block_size", 2)), 21, []*Array{{Int8, d(1, 3), []int8{1, 2, 3}}, f32(d(1, 2), 1, 10), {Int8, d(1, 2), []int8{1, 0}}}, f32(d(1, 3), 0, 1, 30)},
		{nodePB("a b -> DequantizeLinear -> y", intPB("axis", 0)), 13, []*Array{{Int8, d(2, 2), []int8{1, 2, 3, 4}}, f32(d(3), 1, 10, 100)}, "3 scales for axis 0 of size 2"},
		{nodePB("a b -> DequantizeLinear -> y"), 19, []*Array{{Int8, d(1), []int8{2}}, {Float16, nil, halves(0.5)}}, &Array{Float16, d(1), halves(1)}},
	} {
		t.Run(fmt.Sprintf("%s opset %d", c.node.GetOpType(), c.opset), func(t *testing.T) {
			pb := modelPB(8, graphPB("", "y", []*onnxpb.NodeProto{c.node}))
			pb.OpsetImport[0].Version = &c.opset
			for k, a := range c.inputs {
				tensor, err := NewTensor(string(rune('a'+k)), a)
				if err != nil {
					t.Fatal(err)
				}
				data, err := EncodeTensor(tensor)
				if err != nil {
					t.Fatal(err)
				}
				var init onnxpb.TensorProto
				if err := proto.Unmarshal(data, &init); err != nil {
					t.Fatal(err)
				}
				pb.Graph.Initializer = append(pb.Graph.Initializer, &init)
			}
			m := decodeProto(t, pb)
			if err := Check(m); err != nil {
				t.Fatal(err)
			}
			got, err := NewEvaluator(m, NewIndex(m), 0).Eval(t.Context(), m.Graph, "y")
			want, ok := c.want.(*Array)
			switch {
			case !ok:
				if err == nil || !strings.Contains(err.Error(), c.want.(string)) {
					t.Errorf("got %v, %v; want the error %q", got, err, c.want)
				}
			case err != nil:
				t.Error(err)
			case got.Type != want.Type || fmt.Sprint(got.Dims) != fmt.Sprint(want.Dims) || (got.Elements() > 0 && !reflect.DeepEqual(got.Data, want.Data)):
				t.Errorf("got  %s %v %v\nwant %s %v %v", got.Type, got.Dims, got.Data, want.Type, want.Dims, want.Data)
			}
		})
	}
}
