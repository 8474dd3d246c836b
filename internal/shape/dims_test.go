package shape

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// The wanted shapes are those of the ONNX specification's text and examples.
func TestResultShapes(t *testing.T) {
	one := func(d []int, err error) string {
		if err != nil {
			return "error: " + err.Error()
		}
		return fmt.Sprint(d)
	}
	matmul := func(a, b []int) string {
		d, inner, err := MatMulDims(a, b)
		return fmt.Sprintf("%s %d", one(d, err), inner)
	}
	i64 := func(v ...int64) []int64 { return v }
	for _, c := range []struct{ name, got, want string }{
		{"reshape copies and infers", one(ReshapeDims([]int{2, 3, 4}, i64(0, -1), false)), "[2 12]"},
		{"reshape of nothing", one(ReshapeDims([]int{0, 3}, i64(3, 0), true)), "[3 0]"},
		{"reshape to a scalar", one(ReshapeDims([]int{1, 1}, i64(), false)), "[]"},
		{"reshape twice -1", one(ReshapeDims([]int{4}, i64(-1, -1), false)), "error: target [-1 -1] has two -1"},
		{"reshape no fit", one(ReshapeDims([]int{2, 3}, i64(4, -1), false)), "error: shape [2 3] of 6 elements does not fit target [4 -1]"},
		{"reshape wrong size", one(ReshapeDims([]int{2, 3}, i64(7), false)), "error: shape [2 3] of 6 elements does not fit target [7] of 7"},
		{"reshape 0 past rank", one(ReshapeDims([]int{2}, i64(2, 0), false)), "error: target [2 0] copies dimension 1 of shape [2], which has none"},
		{"reshape 0 and -1 with allowzero", one(ReshapeDims([]int{0}, i64(0, -1), true)), "error: target [0 -1] has both 0 and -1 with allowzero"},
		{"reshape overflow", one(ReshapeDims([]int{2}, i64(1<<62, 1<<62, -1), false)), "error: shape [4611686018427387904 4611686018427387904 1] has more elements than memory can hold"},
		{"flatten", one(FlattenDims([]int{2, 3, 4}, 2)), "[6 4]"},
		{"flatten at rank", one(FlattenDims([]int{2, 3}, 2)), "[6 1]"},
		{"flatten negative", one(FlattenDims([]int{2, 3, 4}, -1)), "[6 4]"},
		{"flatten scalar", one(FlattenDims(nil, 0)), "[1 1]"},
		{"squeeze all", one(SqueezeDims([]int{1, 3, 1}, nil)), "[3]"},
		{"squeeze one", one(SqueezeDims([]int{1, 3, 1}, i64(-1))), "[1 3]"},
		{"squeeze wrong", one(SqueezeDims([]int{1, 3}, i64(1))), "error: axis 1 of shape [1 3] has size 3, not 1"},
		{"unsqueeze unsorted", one(UnsqueezeDims([]int{3, 4}, i64(3, 0))), "[1 3 4 1]"},
		{"unsqueeze twice", one(UnsqueezeDims([]int{3}, i64(0, -3))), "error: axis 0 is named twice in [0 -3]"},
		{"transpose reverses", one(TransposeDims([]int{2, 3, 4}, nil)), "[4 3 2]"},
		{"concat", one(ConcatDims(-1, []int{2, 3}, []int{2, 0}, []int{2, 4})), "[2 7]"},
		{"concat mismatch", one(ConcatDims(0, []int{2, 3}, []int{2, 4})), "error: shapes [2 3] and [2 4] differ outside axis 0"},
		{"concat overflow", one(ConcatDims(0, []int{math.MaxInt}, []int{1})), "error: axis 0 grows beyond memory"},
		{"split equal", one(SplitSizes(6, nil, 3)), "[2 2 2]"},
		{"split uneven", one(SplitSizes(7, nil, 4)), "[2 2 2 1]"},
		{"split wrong sum", one(SplitSizes(7, i64(3, 3), 0)), "error: lengths [3 3] add up to 6, the axis has size 7"},
		{"split zero parts", one(SplitSizes(7, nil, 0)), "error: 0 outputs"},
		{"expand both ways", one(ExpandDims([]int{3, 1}, i64(2, 1, 6))), "[2 3 6]"},
		{"expand no", one(ExpandDims([]int{3}, i64(2))), "error: shapes [[3] [2]] do not broadcast: 3 against 2"},
		{"broadcast zero", one(Broadcast([]int{1, 3}, []int{0, 1})), "[0 3]"},
		{"tile overflow", one(TileDims([]int{2}, i64(math.MaxInt64))), "error: repeats [9223372036854775807] of shape [2] (negative or too large)"},
		{"pad crops", one(PadDims([]int{4}, i64(-1, 2))), "[5]"},
		{"pad below zero", one(PadDims([]int{4}, i64(-3, -2))), "error: pads -3 and -2 of axis 0 do not fit its size 4"},
		{"pad huge", one(PadDims([]int{4}, i64(math.MaxInt64, math.MaxInt64))), "error: pads 9223372036854775807 and 9223372036854775807 of axis 0 do not fit its size 4"},
		{"gather", one(GatherDims([]int{5, 6}, []int{2, 3}, 1)), "[5 2 3]"},
		{"gather nd", one(GatherNDDims([]int{2, 3, 4}, []int{2, 1}, 1)), "[2 4]"},
		{"matmul 2-D", matmul([]int{2, 3}, []int{3, 4}), "[2 4] 3"},
		{"matmul vectors", matmul([]int{3}, []int{3}), "[] 3"},
		{"matmul 1-D 3-D", matmul([]int{3}, []int{5, 3, 4}), "[5 4] 3"},
		{"matmul 4-D 1-D", matmul([]int{2, 5, 4, 3}, []int{3}), "[2 5 4] 3"},
		{"matmul batches", matmul([]int{7, 1, 2, 3}, []int{5, 3, 4}), "[7 5 2 4] 3"},
		{"matmul no", matmul([]int{2, 3}, []int{4, 3}), "error: shapes [2 3] and [4 3]: 3 columns against 4 rows 0"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, c.got, c.want)
		}
	}
}

func TestSizeIsChecked(t *testing.T) {
	for _, c := range []struct {
		dims  []int
		limit int
		want  int
		err   string
	}{
		{nil, 0, 1, ""},
		{[]int{2, 3}, 6, 6, ""},
		{[]int{2, 3}, 5, 0, "the limit is 5"},
		{[]int{0, math.MaxInt, math.MaxInt}, 0, 0, ""},
		{[]int{math.MaxInt, 2}, 0, 0, "more elements than memory"},
		{[]int{1 << 32, 1 << 32, 3}, 0, 0, "more elements than memory"},
		{[]int{0, -1}, 0, 0, "negative dimension -1"},
	} {
		n, err := Size(c.dims, c.limit)
		if n != c.want || (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
			t.Errorf("Size(%v, %d) = %d, %v; want %d, %q", c.dims, c.limit, n, err, c.want, c.err)
		}
	}
}

// What grows is refused before it is allocated: each of these results would take at least a terabyte.
func TestGrowthIsBounded(t *testing.T) {
	src, dims, big := []float32{1}, []int{1}, []int64{1 << 40}
	const limit = 1 << 20
	_, _, tile := Tile(src, dims, big, limit)
	_, _, expand := Expand(src, dims, big, limit)
	_, _, pad := Pad(src, dims, []int64{0, 1 << 40}, "edge", 0, limit)
	_, _, gather := Gather(make([]float32, 1<<12), []int{1, 1 << 12}, make([]int64, 1<<10), []int{1 << 10}, 0, limit)
	for name, err := range map[string]error{"Tile": tile, "Expand": expand, "Pad": pad, "Gather": gather} {
		if err == nil || !strings.Contains(err.Error(), "the limit is 1048576") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLengthsAndIndicesAreChecked(t *testing.T) {
	f, d := []float32{1, 2, 3}, []int{4}
	_, _, transpose := Transpose(f, d, nil)
	_, _, gather := Gather(f, []int{3}, []int64{3}, []int{1}, 0, 0)
	_, _, below := Gather(f, []int{3}, []int64{-4}, []int{1}, 0, 0)
	_, _, nd := GatherND(f, []int{3}, []int64{0, 0}, []int{1, 2}, 0, 0)
	_, scatter := ScatterElements(f, []int{3}, []int64{0, 1}, []int{2}, []float32{1}, 0, nil)
	_, _, step := Slice(f, []int{3}, []Range{{2, 1, 2}})
	_, zero := SliceRanges([]int{3}, []int64{0}, []int64{1}, nil, []int64{0})
	for want, err := range map[string]error{
		"3 elements do not fill shape [4]":                       transpose,
		"index 3 is outside an axis of size 3":                   gather,
		"index -4 is outside an axis of size 3":                  below,
		"address 2 axes":                                         nd,
		"1 updates for 2 indices":                                scatter,
		"2 elements from 2 in steps of 1 leave axis 0 of size 3": step,
		"step 0 on axis 0":                                       zero,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestElementsKeepTheirType(t *testing.T) {
	for _, data := range []any{
		[]float32{1, 2}, []float64{1, 2}, []int8{1, 2}, []int16{1, 2}, []int32{1, 2}, []int64{1, 2}, []uint8{1, 2}, []uint16{1, 2},
		[]uint32{1, 2}, []uint64{1, 2}, []bool{true, false}, []string{"a", "b"}, []complex64{1, 2i}, []complex128{1, 2i},
	} {
		e, err := Of(data)
		if err != nil {
			t.Fatal(err)
		}
		turned, dims, err := e.Slice([]int{2}, []Range{{1, -1, 2}})
		if err != nil || !reflect.DeepEqual(dims, []int{2}) || reflect.TypeOf(turned.Data()) != reflect.TypeOf(data) {
			t.Fatalf("%T: %v %v %v", data, turned, dims, err)
		}
		back, _, err := turned.Gather([]int{2}, []int64{1, 0}, []int{2}, 0, 0)
		if err != nil || !reflect.DeepEqual(back.Data(), data) {
			t.Errorf("%T: reversing twice gave %v, %v", data, back, err)
		}
	}
	if _, err := Of([]int{1}); err == nil {
		t.Error("a slice of plain ints is no tensor's data")
	}
	a, _ := Of([]float32{1})
	b, _ := Of([]int32{1})
	if _, _, err := a.Concat([]Elements{b}, [][]int{{1}, {1}}, 0, 0); err == nil {
		t.Error("float32 and int32 were joined")
	}
}

func TestSelection(t *testing.T) {
	// numpy.nonzero's example and the specification's first example of Compress.
	at, dims, err := NonZero([]int32{1, 0, 1, 1}, []int{2, 2})
	if err != nil || !reflect.DeepEqual(dims, []int{2, 3}) || !reflect.DeepEqual(at, []int64{0, 1, 1, 0, 0, 1}) {
		t.Errorf("NonZero: %v %v %v", at, dims, err)
	}
	kept, dims, err := Compress([]float32{1, 2, 3, 4, 5, 6}, []int{3, 2}, []bool{false, true, true}, 0, false)
	if err != nil || !reflect.DeepEqual(dims, []int{2, 2}) || !reflect.DeepEqual(kept, []float32{3, 4, 5, 6}) {
		t.Errorf("Compress: %v %v %v", kept, dims, err)
	}
	kept, dims, err = Compress([]float32{1, 2, 3, 4, 5, 6}, []int{3, 2}, []bool{false, true, false, false, true}, 0, true)
	if err != nil || !reflect.DeepEqual(dims, []int{2}) || !reflect.DeepEqual(kept, []float32{2, 5}) {
		t.Errorf("Compress without axis: %v %v %v", kept, dims, err)
	}
}

func BenchmarkTranspose(b *testing.B) {
	dims := []int{57600, 256}
	src := make([]float32, dims[0]*dims[1])
	b.SetBytes(int64(8 * len(src)))
	for b.Loop() {
		if _, _, err := Transpose(src, dims, nil); err != nil {
			b.Fatal(err)
		}
	}
}
