package runtime

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// evalNode runs one node as a model of the given opset. in belongs to the node's present inputs, in order; the result to its
// outputs.
func evalNode(opset int64, n *onnxpb.NodeProto, in ...*Tensor) ([]*Tensor, error) {
	feeds := map[string]*Tensor{}
	var inputs []*onnxpb.ValueInfoProto
	for _, name := range n.Input {
		if name == "" {
			continue
		}
		x := in[len(inputs)]
		dims := make([]int64, len(x.Dims))
		for d, v := range x.Dims {
			dims[d] = int64(v)
		}
		inputs = append(inputs, declared(name, x.Type, dims...))
		feeds[name] = x
	}
	m := modelProto(graph(inputs, untyped(strings.Join(n.Output, " ")), nil, n))
	m.OpsetImport[0].Version = proto.Int64(opset)
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	decoded, err := onnx.Decode("test", b)
	if err != nil {
		return nil, err
	}
	p, err := Compile(context.Background(), decoded, Options{})
	if err != nil {
		return nil, err
	}
	got, err := p.Run(context.Background(), feeds)
	if err != nil {
		return nil, err
	}
	var out []*Tensor
	for _, name := range n.Output {
		out = append(out, got[name])
	}
	return out, nil
}

func stringAttr(name, v string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func typedTensor[T any](typ onnx.DataType, dims []int, v ...T) *Tensor {
	return newTensor(typ, dims, append([]T{}, v...))
}

func int64List(v ...int64) *Tensor { return typedTensor(onnx.Int64, []int{len(v)}, v...) }

// iota32 is a float tensor that counts from 1.
func iota32(dims ...int) *Tensor {
	v := make([]float32, elements(dims))
	for i := range v {
		v[i] = float32(i + 1)
	}
	return newTensor(onnx.Float, dims, v)
}

// TestOperatorSemantics: the oracle is the text of the ONNX operator specification, worked out by hand; most cases are such as
// neither the node tests nor ONNX Runtime decide, or where ONNX Runtime departs from the text.
func TestOperatorSemantics(t *testing.T) {
	half := func(dims []int, v ...float32) *Tensor { return narrowHalf(f32(dims, v...), onnx.Float16) }
	brain := func(dims []int, v ...float32) *Tensor { return narrowHalf(f32(dims, v...), onnx.BFloat16) }
	for _, c := range []struct {
		name  string
		opset int64
		node  *onnxpb.NodeProto
		in    []*Tensor
		want  []*Tensor
	}{
		{"integers wrap around", 14, node("Add", "a b", "y"),
			[]*Tensor{typedTensor[int8](onnx.Int8, []int{2}, 127, -128), typedTensor[int8](onnx.Int8, []int{1}, 1)},
			[]*Tensor{typedTensor[int8](onnx.Int8, []int{2}, -128, -127)}},
		{"division by zero and of the smallest integer", 14, node("Div", "a b", "y"),
			[]*Tensor{typedTensor[int32](onnx.Int32, []int{3}, 5, -2147483648, -7), typedTensor[int32](onnx.Int32, []int{3}, 0, -1, 2)},
			[]*Tensor{typedTensor[int32](onnx.Int32, []int{3}, 0, -2147483648, -3)}},
		{"modulus by zero and of the smallest integer", 13, node("Mod", "a b", "y"),
			[]*Tensor{typedTensor[int64](onnx.Int64, []int{3}, 5, -9223372036854775808, -7), typedTensor[int64](onnx.Int64, []int{3}, 0, -1, 4)},
			[]*Tensor{typedTensor[int64](onnx.Int64, []int{3}, 0, 0, 1)}},
		{"broadcast along an axis below opset 7", 6, node("Add", "a b", "y", intAttr("broadcast", 1), intAttr("axis", 1)),
			[]*Tensor{iota32(2, 3, 2), f32([]int{3}, 10, 20, 30)},
			[]*Tensor{f32([]int{2, 3, 2}, 11, 12, 23, 24, 35, 36, 17, 18, 29, 30, 41, 42)}},
		{"clip with min above max gives max", 13, node("Clip", "x lo hi", "y"),
			[]*Tensor{f32([]int{3}, -5, 0, 5), scalar(3), scalar(1)}, []*Tensor{f32([]int{3}, 1, 1, 1)}},
		{"clip of int64 keeps 53 bits and more", 12, node("Clip", "x lo", "y"),
			[]*Tensor{int64List(9007199254740993, 1), scalarInt(2)}, []*Tensor{int64List(9007199254740993, 2)}},
		{"float16 is rounded once, to even", 14, node("Sum", "a b c", "y"),
			// In float16 steps: 2048 + 1 = 2048, + 1 = 2048. With one rounding: 2050.
			[]*Tensor{half([]int{1}, 2048), half([]int{1}, 1), half([]int{1}, 1)}, []*Tensor{half([]int{1}, 2050)}},
		{"bfloat16 matrices are summed in float32", 13, node("MatMul", "a b", "y"),
			[]*Tensor{brain([]int{1, 3}, 256, 1, 1), brain([]int{3, 1}, 1, 1, 1)}, []*Tensor{brain([]int{1, 1}, 258)}},
		{"comparison of float16 gives booleans", 13, node("Less", "a b", "y"),
			[]*Tensor{half([]int{2}, 1, 2), half([]int{1}, 1.5)}, []*Tensor{typedTensor(onnx.Bool, []int{2}, true, false)}},
		{"softmax below opset 13 normalises the flattened rest", 11, node("Softmax", "x", "y", intAttr("axis", 1)),
			[]*Tensor{f32([]int{1, 2, 2}, 0, 0, 0, 0)}, []*Tensor{f32([]int{1, 2, 2}, .25, .25, .25, .25)}},
		{"softmax from opset 13 normalises one axis", 13, node("Softmax", "x", "y", intAttr("axis", 1)),
			[]*Tensor{f32([]int{1, 2, 2}, 0, 0, 0, 0)}, []*Tensor{f32([]int{1, 2, 2}, .5, .5, .5, .5)}},
		{"no axes with noop still squares", 18, node("ReduceSumSquare", "x", "y", intAttr("noop_with_empty_axes", 1)),
			[]*Tensor{f32([]int{2}, -2, 3)}, []*Tensor{f32([]int{2}, 4, 9)}},
		{"log-sum-exp of large numbers does not overflow", 13, node("ReduceLogSumExp", "x", "y", intAttr("keepdims", 0)),
			[]*Tensor{f32([]int{2}, 1000, 1000)}, []*Tensor{newTensor(onnx.Float, []int{}, []float32{1000.6931471805599})}},
		{"mean of int8 divides by more than int8 holds", 13, node("ReduceMean", "x", "y", intAttr("keepdims", 0)),
			[]*Tensor{newTensor(onnx.Int8, []int{200}, make([]int8, 200))}, []*Tensor{typedTensor[int8](onnx.Int8, []int{}, 0)}},
		{"casts of floats beyond an integer's range", 13, node("Cast", "x", "y", intAttr("to", int64(onnx.Int32))),
			[]*Tensor{f32([]int{4}, 3e9, -3e9, float32(math.NaN()), -1.9)}, []*Tensor{typedTensor[int32](onnx.Int32, []int{4}, 2147483647, -2147483648, 0, -1)}},
		{"cast to a named type below opset 6", 5, node("Cast", "x", "y", stringAttr("to", "INT64")),
			[]*Tensor{f32([]int{1}, 2.5)}, []*Tensor{int64List(2)}},
		{"cast of text to numbers", 13, node("Cast", "x", "y", intAttr("to", int64(onnx.Float))),
			[]*Tensor{typedTensor(onnx.String, []int{3}, "1.5", "-2e3", "INF")}, []*Tensor{f32([]int{3}, 1.5, -2000, float32(math.Inf(1)))}},
		{"SAME padding of a dilated pooling", 12, node("MaxPool", "x", "y", intsAttr("kernel_shape", 2), intsAttr("dilations", 2), stringAttr("auto_pad", "SAME_UPPER")),
			// ceil(4/1) outputs of windows {i−1, i+1}; ONNX Runtime forgets the dilation and gives 3.
			[]*Tensor{f32([]int{1, 1, 4}, 4, 1, 2, 3)}, []*Tensor{f32([]int{1, 1, 4}, 1, 4, 3, 2)}},
		{"SAME transposed convolution with a kernel below its stride", 11, node("ConvTranspose", "x w", "y", intsAttr("strides", 3), stringAttr("auto_pad", "SAME_UPPER")),
			// The text gives input·stride = 6 outputs; ONNX Runtime gives 4.
			[]*Tensor{f32([]int{1, 1, 2}, 5, 7), f32([]int{1, 1, 1}, 2)}, []*Tensor{f32([]int{1, 1, 6}, 10, 0, 0, 14, 0, 0)}},
		{"tile of opset 1", 1, node("Tile", "x n axis", "y"),
			[]*Tensor{f32([]int{1, 2}, 1, 2), scalar(2), scalar(1)}, []*Tensor{f32([]int{1, 4}, 1, 2, 1, 2)}},
		{"dropout at rest passes the data, its mask is true", 10, node("Dropout", "x", "y m"),
			[]*Tensor{f32([]int{2}, 1, 2)}, []*Tensor{f32([]int{2}, 1, 2), typedTensor(onnx.Bool, []int{2}, true, true)}},
		{"slice of int32 bounds clamps", 11, node("Slice", "x s e", "y"),
			[]*Tensor{iota32(4), typedTensor[int32](onnx.Int32, []int{1}, -100), typedTensor[int32](onnx.Int32, []int{1}, 100)}, []*Tensor{iota32(4)}},
		{"squeeze with an empty list of axes keeps the shape", 13, node("Squeeze", "x a", "y"),
			[]*Tensor{iota32(1, 2), int64List()}, []*Tensor{iota32(1, 2)}},
		{"strings move", 13, node("Gather", "x i", "y"),
			[]*Tensor{typedTensor(onnx.String, []int{3}, "a", "b", "c"), int64List(2, -3)}, []*Tensor{typedTensor(onnx.String, []int{2}, "c", "a")}},
		{"prelu of opset 6 with a slope for each channel", 6, node("PRelu", "x s", "y"),
			[]*Tensor{f32([]int{1, 2, 2}, -1, -1, -1, 1), f32([]int{2}, 2, 3)}, []*Tensor{f32([]int{1, 2, 2}, -2, -2, -3, 1)}},
		{"group normalisation of opset 18 scales groups", 18, node("GroupNormalization", "x s b", "y", intAttr("num_groups", 1), floatAttr("epsilon", 0)),
			[]*Tensor{f32([]int{1, 2, 1}, 1, 3), f32([]int{1}, 2), f32([]int{1}, 5)}, []*Tensor{f32([]int{1, 2, 1}, 3, 7)}},
		{"batch normalisation of float16 with float32 statistics", 15, node("BatchNormalization", "x s b m v", "y rm rv", intAttr("training_mode", 1), floatAttr("momentum", 0.5), floatAttr("epsilon", 0)),
			[]*Tensor{half([]int{2, 1}, 1, 3), half([]int{1}, 2), half([]int{1}, 5), f32([]int{1}, 10), f32([]int{1}, 3)},
			[]*Tensor{half([]int{2, 1}, 3, 7), f32([]int{1}, 6), f32([]int{1}, 2)}},
		{"range over all of int64", 11, node("Range", "a b d", "y"),
			[]*Tensor{scalarInt(-1 << 63), scalarInt(1<<63 - 1), scalarInt(1 << 62)}, []*Tensor{int64List(-1<<63, -1<<62, 0, 1<<62)}},
		{"the zeros of float16 have two signs", 13, node("NonZero", "x", "y"),
			[]*Tensor{half([]int{3}, float32(math.Copysign(0, -1)), 0, 1)}, []*Tensor{typedTensor[int64](onnx.Int64, []int{1, 1}, 2)}},
		{"dequantisation in blocks of the last axis", 21, node("DequantizeLinear", "x s", "y", intAttr("axis", 1), intAttr("block_size", 2)),
			[]*Tensor{typedTensor[int8](onnx.Int8, []int{2, 3}, 1, 2, 3, 4, 5, 6), f32([]int{2, 2}, 1, 10, 100, 1000)},
			[]*Tensor{f32([]int{2, 3}, 1, 2, 30, 400, 500, 6000)}},
		{"dequantisation in blocks of the first axis", 21, node("DequantizeLinear", "x s z", "y", intAttr("axis", 0), intAttr("block_size", 2)),
			[]*Tensor{typedTensor[uint8](onnx.Uint8, []int{3, 2}, 1, 2, 3, 4, 5, 6), f32([]int{2, 2}, 1, 10, 100, 1000), typedTensor[uint8](onnx.Uint8, []int{2, 2}, 1, 1, 5, 5)},
			[]*Tensor{f32([]int{3, 2}, 0, 10, 2, 30, 0, 1000)}},
		{"Fourier transform along the default axis of opset 20", 20, node("DFT", "x", "y"),
			[]*Tensor{iota32(1, 4, 1)}, []*Tensor{f32([]int{1, 4, 2}, 10, 0, -2, 2, -2, 0, -2, -2)}},
		{"root mean square normalisation", 23, node("RMSNormalization", "x s", "y", floatAttr("epsilon", 0)),
			[]*Tensor{f32([]int{1, 2}, 3, 4), f32([]int{2}, 1, 2)}, []*Tensor{f32([]int{1, 2}, 0.8485281374, 2.2627416998)}},
		{"swish", 24, node("Swish", "x", "y", floatAttr("alpha", 2)),
			[]*Tensor{f32([]int{2}, 0, 1)}, []*Tensor{f32([]int{2}, 0, 0.880797078)}},
		{"gather of nothing", 13, node("Gather", "x i", "y"),
			[]*Tensor{iota32(2, 3), int64List()}, []*Tensor{f32([]int{0, 3})}},
		{"product with an inner dim of 0 is 0", 13, node("MatMul", "a b", "y"),
			[]*Tensor{f32([]int{2, 0}), f32([]int{0, 1})}, []*Tensor{f32([]int{2, 1}, 0, 0)}},
		{"einsum broadcasts a dim of 1 under the ellipsis", 12, node("Einsum", "a b", "y", stringAttr("equation", "...i,...i->...")),
			[]*Tensor{iota32(1, 2), iota32(2, 2)}, []*Tensor{f32([]int{2}, 5, 11)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := evalNode(c.opset, c.node, c.in...)
			if err != nil {
				t.Fatal(err)
			}
			for k, want := range c.want {
				if isFloat(want.Type) {
					if err := nodeClose(got[k], want); err != nil {
						t.Errorf("output %d: %v", k, err)
					}
				} else if got[k].Type != want.Type || !sameDims(got[k].Dims, want.Dims) || !reflect.DeepEqual(got[k].Data, want.Data) {
					t.Errorf("output %d is %v%v %v, want %v%v %v", k, got[k].Type, got[k].Dims, got[k].Data, want.Type, want.Dims, want.Data)
				}
			}
		})
	}
}

// TestOperatorErrors: what does not fit is an error that names both sides, and what would take the machine's memory is refused.
func TestOperatorErrors(t *testing.T) {
	huge := int64(1) << 40
	for _, c := range []struct {
		name string
		node *onnxpb.NodeProto
		in   []*Tensor
		want []string
	}{
		{"broadcast", node("Add", "a b", "y"), []*Tensor{iota32(2, 3), iota32(4)}, []string{"[2 3]", "[4]"}},
		{"types", node("Add", "a b", "y"), []*Tensor{iota32(2), int64List(1, 2)}, []string{"float", "int64"}},
		{"matrices", node("MatMul", "a b", "y"), []*Tensor{iota32(2, 3), iota32(4, 5)}, []string{"[2 3]", "[4 5]"}},
		{"gemm", node("Gemm", "a b c", "y"), []*Tensor{iota32(2, 3), iota32(3, 5), iota32(4)}, []string{"[4]", "[2 5]"}},
		{"channels", node("Conv", "x w", "y"), []*Tensor{iota32(1, 3, 5), iota32(2, 2, 3)}, []string{"[1 3 5]", "[2 2 3]"}},
		{"window", node("Conv", "x w", "y"), []*Tensor{iota32(1, 1, 2), iota32(1, 1, 5)}, []string{"5", "[2]"}},
		{"reshape", node("Reshape", "x s", "y"), []*Tensor{iota32(2, 3), int64List(4, -1)}, []string{"[2 3]", "[4 -1]"}},
		{"concat", node("Concat", "a b", "y", intAttr("axis", 0)), []*Tensor{iota32(2, 3), iota32(2, 4)}, []string{"[2 3]", "[2 4]"}},
		{"index", node("Gather", "x i", "y"), []*Tensor{iota32(3), int64List(3)}, []string{"index 3", "size 3"}},
		{"axis", node("ReduceSum", "x a", "y"), []*Tensor{iota32(3), int64List(1)}, []string{"axis 1", "rank 1"}},
		{"scale", node("LayerNormalization", "x s", "y"), []*Tensor{iota32(2, 3), iota32(2, 2)}, []string{"[2 3]", "[2 2]"}},
		{"k", node("TopK", "x k", "v i"), []*Tensor{iota32(3), int64List(4)}, []string{"k = 4", "3"}},
		{"einsum", node("Einsum", "a b", "y", stringAttr("equation", "ij,jk->ik")), []*Tensor{iota32(2, 3), iota32(4, 5)}, []string{"4", "3"}},
		{"constant too large", node("ConstantOfShape", "s", "y"), []*Tensor{int64List(huge)}, []string{fmt.Sprint(huge), fmt.Sprint(maxElements)}},
		{"shape that overflows", node("Expand", "x s", "y"), []*Tensor{iota32(1), int64List(huge, huge)}, []string{fmt.Sprint(huge)}},
		{"tile too large", node("Tile", "x r", "y"), []*Tensor{iota32(2), int64List(huge)}, []string{fmt.Sprint(maxElements)}},
		{"padding too large", node("Pad", "x p", "y"), []*Tensor{iota32(2), int64List(0, huge)}, []string{fmt.Sprint(maxElements)}},
		{"range too long", node("Range", "a b d", "y"), []*Tensor{scalarInt(0), scalarInt(huge), scalarInt(1)}, []string{fmt.Sprint(huge), fmt.Sprint(maxElements)}},
		{"range without end", node("Range", "a b d", "y"), []*Tensor{scalarInt(0), scalarInt(5), scalarInt(0)}, []string{"delta is 0"}},
		{"depth too large", node("OneHot", "i d v", "y"), []*Tensor{int64List(1), scalarInt(huge), iota32(2)}, []string{fmt.Sprint(huge)}},
		{"resize too large", node("Resize", "x _ s", "y", stringAttr("mode", "linear")), []*Tensor{iota32(1, 1), f32([]int{2}, 1e6, 1e6)}, []string{fmt.Sprint(maxElements)}},
		{"outer product too large", node("Einsum", "a b c d", "y", stringAttr("equation", "i,j,k,l->ijkl")),
			[]*Tensor{iota32(999), iota32(999), iota32(999), iota32(999)}, []string{fmt.Sprint(maxElements)}},
		{"window padding too large", node("MaxPool", "x", "y", intsAttr("kernel_shape", 1<<27), intsAttr("pads", 1<<27, 1<<27)), []*Tensor{iota32(9, 9, 2)}, []string{fmt.Sprint(maxElements)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := evalNode(18, c.node, c.in...)
			if err == nil {
				t.Fatalf("no error, result %v", out[0].Dims)
			}
			for _, w := range append(c.want, c.node.GetOpType()) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

// drawBroadcast draws shapes that broadcast, and their common shape.
func drawBroadcast(t *rapid.T, n int) (shapes [][]int, dims []int) {
	dims = rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "dims")
	for range n {
		s := append([]int{}, dims[rapid.IntRange(0, len(dims)).Draw(t, "rank"):]...)
		for k := range s {
			if rapid.IntRange(0, 2).Draw(t, "one") == 0 {
				s[k] = 1
			}
		}
		shapes = append(shapes, s)
	}
	dims, _ = shape.Broadcast(shapes...)
	return shapes, dims
}

// TestBroadcastDefinition: the oracle is the definition, out[i] = f(a[i mod its dims], b[i mod its dims]), index by index.
func TestBroadcastDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shapes, dims := drawBroadcast(t, 2)
		var in [2]*Tensor
		for k, s := range shapes {
			v := make([]int64, elements(s))
			for i := range v {
				v[i] = int64(100*k + i + 1)
			}
			in[k] = newTensor(onnx.Int64, s, v)
		}
		got, err := arith(opSub, in[0], in[1])
		if err != nil {
			t.Fatal(err)
		}
		if !sameDims(got.Dims, dims) {
			t.Fatalf("%v of shapes %v, want %v", got.Dims, shapes, dims)
		}
		at := func(x *Tensor, index []int) int64 {
			offset := 0
			for d, size := range x.Dims {
				i := index[len(index)-len(x.Dims)+d]
				offset = offset*size + i%size
			}
			return x.Data.([]int64)[offset]
		}
		index := make([]int, len(dims))
		for i, v := range got.Data.([]int64) {
			if want := at(in[0], index) - at(in[1], index); v != want {
				t.Fatalf("element %d of shapes %v is %d, want %d", i, shapes, v, want)
			}
			increment(index, dims)
		}
	})
}

// TestLongRows: rows longer than a block of copies, on either side.
func TestLongRows(t *testing.T) {
	n := 3*rowBlock + 5
	x := iota32(2, n)
	for _, swap := range []bool{false, true} {
		a, b := x, f32([]int{2, 1}, 1, 2)
		if swap {
			a, b = b, a
		}
		got, err := arith(opSub, a, b)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got.Data.([]float32) {
			want := float32(i+1) - float32(i/n+1)
			if swap {
				want = -want
			}
			if v != want {
				t.Fatalf("swap %v: element %d is %v, want %v", swap, i, v, want)
			}
		}
	}
}
