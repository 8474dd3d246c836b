package dataset

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// value declares an input: a positive dim is fixed, a negative one symbolic, 0 unknown.
func value(name string, t onnx.DataType, dims ...int64) *onnx.ValueInfo {
	info := &onnx.TypeInfo{Kind: "tensor", Elem: t, HasShape: true, Shape: []onnx.Dim{}}
	for _, d := range dims {
		switch {
		case d > 0:
			info.Shape = append(info.Shape, onnx.Dim{Known: true, Value: d})
		case d < 0:
			info.Shape = append(info.Shape, onnx.Dim{Param: string(rune('N' - 1 - d))})
		default:
			info.Shape = append(info.Shape, onnx.Dim{})
		}
	}
	return &onnx.ValueInfo{Name: name, Type: info}
}

func model(inputs ...*onnx.ValueInfo) *onnx.Model {
	return &onnx.Model{Graph: &onnx.Graph{Inputs: inputs, Outputs: []*onnx.ValueInfo{value("y", onnx.Float), value("hN", onnx.Float)}}}
}

// ramp is an array of float32 0, 1, 2, …
func ramp(dims ...int) *onnx.Array {
	n := size(dims)
	d := make([]float32, n)
	for i := range d {
		d[i] = float32(i)
	}
	return &onnx.Array{Type: onnx.Float, Dims: dims, Data: d}
}

func ints(dims []int, v ...int64) *onnx.Array {
	return &onnx.Array{Type: onnx.Int64, Dims: dims, Data: v}
}

func writeNPZ(t *testing.T, arrays map[string]*onnx.Array) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data.npz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteNPZ(f, arrays); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The rules for axes, each with the elements of a feed written out by hand.
func TestFeedsFollowTheAxisRules(t *testing.T) {
	type want struct {
		len, steps, max int
		from, to, step  int
		dims            []int
		first           []float32 // the first elements of the feed
	}
	tests := map[string]struct {
		input *onnx.ValueInfo
		array *onnx.Array
		opts  Options
		want  want
	}{
		"rank + 1":                     {value("x", onnx.Float, 1, 2, 3), ramp(4, 1, 2, 3), Options{}, want{4, 1, 1, 2, 3, 0, []int{1, 2, 3}, []float32{12, 13, 14, 15, 16, 17}}},
		"rank + 1, symbolic batch":     {value("x", onnx.Float, -1, 2), ramp(4, 1, 2), Options{}, want{4, 1, 1, 3, 4, 0, []int{1, 2}, []float32{6, 7}}},
		"rank + 1, joined":             {value("x", onnx.Float, 2, -1, 2), ramp(3, 2, 1, 2), Options{BatchAxis: map[string]int{"x": 1}}, want{3, 1, 3, 1, 3, 0, []int{2, 2, 2}, []float32{4, 5, 8, 9, 6, 7, 10, 11}}},
		"rank + 1, batch fixed":        {value("x", onnx.Float, 2, 1, 2), ramp(3, 2, 1, 2), Options{BatchAxis: map[string]int{"x": 1}}, want{3, 1, 1, 1, 2, 0, []int{2, 1, 2}, []float32{4, 5, 6, 7}}},
		"equal rank, symbolic axis 0":  {value("x", onnx.Float, -1, 2), ramp(4, 2), Options{}, want{4, 1, 4, 1, 3, 0, []int{2, 2}, []float32{2, 3, 4, 5}}},
		"equal rank, unnamed axis 0":   {value("x", onnx.Float, 0, 0), ramp(4, 2), Options{}, want{4, 1, 4, 3, 4, 0, []int{1, 2}, []float32{6, 7}}},
		"equal rank, differing axis 0": {value("x", onnx.Float, 1, 2), ramp(4, 2), Options{}, want{4, 1, 1, 3, 4, 0, []int{1, 2}, []float32{6, 7}}},
		"batch fixed at 2":             {value("x", onnx.Float, 2, 2), ramp(6, 2), Options{}, want{6, 1, 2, 2, 4, 0, []int{2, 2}, []float32{4, 5, 6, 7}}},
		"batch fixed, filled up":       {value("x", onnx.Float, 2, 2), ramp(3, 2), Options{}, want{3, 1, 2, 2, 3, 0, []int{2, 2}, []float32{4, 5, 0, 1}}},
		"constant":                     {value("x", onnx.Float, 2, 2), ramp(2, 2), Options{}, want{1, 1, 1, 0, 1, 0, []int{2, 2}, []float32{0, 1, 2, 3}}},
		"scalar":                       {value("x", onnx.Float), ramp(), Options{}, want{1, 1, 1, 0, 1, 0, []int{}, []float32{0}}},
		"time-major":                   {value("x", onnx.Float, -1, -2, 2), ramp(2, 3, 2), Options{BatchAxis: map[string]int{"x": 1}}, want{3, 1, 3, 1, 3, 0, []int{2, 2, 2}, []float32{2, 3, 4, 5, 8, 9, 10, 11}}},
		"no declared shape":            {&onnx.ValueInfo{Name: "x", Type: &onnx.TypeInfo{Kind: "tensor", Elem: onnx.Float}}, ramp(4, 2), Options{}, want{4, 1, 4, 2, 4, 0, []int{2, 2}, []float32{4, 5, 6, 7}}},
		"streams":                      {value("x", onnx.Float, 1, 2), ramp(3, 4, 1, 2), Options{States: map[string]string{"hN": "h"}}, want{3, 4, 1, 1, 2, 2, []int{1, 2}, []float32{12, 13}}},
		"streams, joined":              {value("x", onnx.Float, -1, 2), ramp(3, 4, 1, 2), Options{States: map[string]string{"hN": "h"}, BatchAxis: map[string]int{"x": 0}}, want{3, 4, 3, 0, 3, 3, []int{3, 2}, []float32{6, 7, 14, 15, 22, 23}}},
		"constant beside streams":      {value("x", onnx.Float, 2), ramp(2), Options{States: map[string]string{"hN": "h"}}, want{1, 1, 1, 0, 1, 0, []int{2}, []float32{0, 1}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := model(tt.input, value("h", onnx.Float, 1, 8))
			arrays := map[string]*onnx.Array{"x": tt.array, "unused": ramp(7)}
			if tt.opts.States == nil {
				arrays["h"] = ramp(1, 8)
			}
			for from, d := range open(t, m, writeNPZ(t, arrays), tt.opts) {
				if got := [3]int{d.Len(), d.Steps(), d.MaxBatch()}; got != [3]int{tt.want.len, tt.want.steps, tt.want.max} {
					t.Errorf("from %s: Len, Steps, MaxBatch are %v, want %v", from, got, [3]int{tt.want.len, tt.want.steps, tt.want.max})
				}
				feeds, err := d.Feeds(tt.want.from, tt.want.to, tt.want.step)
				if err != nil {
					t.Fatal(err)
				}
				x := feeds["x"]
				if diff := cmp.Diff(&onnx.Array{Type: onnx.Float, Dims: tt.want.dims, Data: tt.want.first}, x); diff != "" {
					t.Errorf("from %s: feed (-want +got):\n%s", from, diff)
				}
				if _, stated := feeds["h"]; stated != (tt.opts.States == nil) {
					t.Errorf("from %s: feeds hold the state: %v", from, stated)
				}
				for _, bad := range [][3]int{{-1, 1, 0}, {0, 0, 0}, {0, d.MaxBatch() + 1, 0}, {d.Len(), d.Len() + 1, 0}, {0, 1, d.Steps()}, {0, 1, -1}} {
					if _, err := d.Feeds(bad[0], bad[1], bad[2]); err == nil {
						t.Errorf("from %s: Feeds%v gave no error", from, bad)
					}
				}
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	x := func(dims ...int64) *onnx.ValueInfo { return value("x", onnx.Float, dims...) }
	state := Options{States: map[string]string{"hN": "h"}}
	tests := map[string]struct {
		inputs []*onnx.ValueInfo
		arrays map[string]*onnx.Array
		opts   Options
		want   []string
	}{
		"shape":            {[]*onnx.ValueInfo{x(-1, 3)}, map[string]*onnx.Array{"x": ramp(4, 5)}, Options{}, []string{"data.npz: x", "[4, 5]", "[N, 3]", "axis 1 differs"}},
		"rank":             {[]*onnx.ValueInfo{x(-1, 3)}, map[string]*onnx.Array{"x": ramp(3)}, Options{}, []string{"[3]", "rank 2, or 3 with a sample axis"}},
		"sample shape":     {[]*onnx.ValueInfo{x(1, 3)}, map[string]*onnx.Array{"x": ramp(5, 1, 4)}, Options{}, []string{"[5, 1, 4]", "[1, 3]", "axis 2 of the array and axis 1 of the input"}},
		"zero samples":     {[]*onnx.ValueInfo{x(-1, 3)}, map[string]*onnx.Array{"x": ramp(0, 3)}, Options{}, []string{"axis 0 is empty"}},
		"zero steps":       {[]*onnx.ValueInfo{x(-1, -2, 3)}, map[string]*onnx.Array{"x": ramp(2, 0, 3)}, Options{}, []string{"axis 1 is empty"}},
		"batch unknown":    {[]*onnx.ValueInfo{x(2, -1, 8)}, map[string]*onnx.Array{"x": ramp(2, 5, 8)}, Options{}, []string{"--batch-axis x=K"}},
		"no multiple":      {[]*onnx.ValueInfo{x(4, 2), value("l", onnx.Float, 2)}, map[string]*onnx.Array{"x": ramp(6, 2), "l": ramp(3, 2)}, Options{}, []string{"6 rows", "fixed batch of 4"}},
		"missing":          {[]*onnx.ValueInfo{x(-1)}, map[string]*onnx.Array{"X": ramp(1)}, Options{}, []string{`no array for the input "x" (there are "X")`}},
		"samples disagree": {[]*onnx.ValueInfo{x(-1, 2), value("l", onnx.Float, -1)}, map[string]*onnx.Array{"x": ramp(4, 2), "l": ramp(3)}, Options{}, []string{"has 4 samples (shape [4, 2])", "has 3 (shape [3])"}},
		"steps disagree":   {[]*onnx.ValueInfo{x(1), value("l", onnx.Float, 1), value("h", onnx.Float, 1)}, map[string]*onnx.Array{"x": ramp(2, 5, 1), "l": ramp(2, 4, 1)}, state, []string{"has 5 steps", "has 4"}},
		"no step axis":     {[]*onnx.ValueInfo{x(-1, 2), value("h", onnx.Float, 1)}, map[string]*onnx.Array{"x": ramp(4, 2)}, state, []string{"sample and step axes in front"}},
		"state output":     {[]*onnx.ValueInfo{x(1), value("h", onnx.Float, 1)}, nil, Options{States: map[string]string{"z": "h"}}, []string{`no output "z" (it has "y", "hN")`}},
		"state input":      {[]*onnx.ValueInfo{x(1)}, nil, Options{States: map[string]string{"hN": "h"}}, []string{`no input "h"`}},
		"state twice":      {[]*onnx.ValueInfo{x(1), value("h", onnx.Float, 1)}, nil, Options{States: map[string]string{"hN": "h", "y": "h"}}, []string{"two states"}},
		"all are states":   {[]*onnx.ValueInfo{value("h", onnx.Float, 1)}, nil, state, []string{"no inputs besides its states"}},
		"axis of no input": {[]*onnx.ValueInfo{x(1)}, nil, Options{BatchAxis: map[string]int{"z": 0}}, []string{`"z"`, "no such input"}},
		"axis too large":   {[]*onnx.ValueInfo{x(1)}, nil, Options{BatchAxis: map[string]int{"x": 1}}, []string{"batch axis 1", "[1]"}},
		"labels missing":   {[]*onnx.ValueInfo{x(-1)}, map[string]*onnx.Array{"x": ramp(1)}, Options{Labels: "label"}, []string{`labels "label"`}},
		"labels disagree":  {[]*onnx.ValueInfo{x(-1)}, map[string]*onnx.Array{"x": ramp(2), "label": ramp(3)}, Options{Labels: "label"}, []string{"shape [3]", "2 samples"}},
		"labels, constant": {[]*onnx.ValueInfo{x(2, 3)}, map[string]*onnx.Array{"x": ramp(2, 3), "label": ramp(2)}, Options{Labels: "label"}, []string{"shape [2]", "constant", "--batch-axis x=K"}},
		"no such axis":     {[]*onnx.ValueInfo{{Name: "x", Type: &onnx.TypeInfo{Kind: "tensor", Elem: onnx.Float}}}, map[string]*onnx.Array{"x": ramp(2, 3)}, Options{BatchAxis: map[string]int{"x": 2}}, []string{"[2, 3]", "no axis 2"}},
		"out of range":     {[]*onnx.ValueInfo{value("x", onnx.Uint8, -1, 2)}, map[string]*onnx.Array{"x": ints([]int{2, 2}, 0, 1, 256, 3)}, Options{}, []string{"at [1, 0]", "value 256"}},
		"negative":         {[]*onnx.ValueInfo{value("x", onnx.Uint64, -1)}, map[string]*onnx.Array{"x": ints([]int{1}, -1)}, Options{}, []string{"value -1"}},
		"fraction":         {[]*onnx.ValueInfo{value("x", onnx.Int64, -1)}, map[string]*onnx.Array{"x": {Type: onnx.Float, Dims: []int{1}, Data: []float32{1.5}}}, Options{}, []string{"value 1.5"}},
		"float16 overflow": {[]*onnx.ValueInfo{value("x", onnx.Float16, -1)}, map[string]*onnx.Array{"x": {Type: onnx.Float, Dims: []int{1}, Data: []float32{65520}}}, Options{}, []string{"value 65520"}},
		"float overflow":   {[]*onnx.ValueInfo{value("x", onnx.Float, -1)}, map[string]*onnx.Array{"x": {Type: onnx.Double, Dims: []int{1}, Data: []float64{1e39}}}, Options{}, []string{"value 1e+39"}},
		"2 as bool":        {[]*onnx.ValueInfo{value("x", onnx.Bool, -1)}, map[string]*onnx.Array{"x": ints([]int{1}, 2)}, Options{}, []string{"value 2"}},
		"string input":     {[]*onnx.ValueInfo{value("x", onnx.String, -1)}, map[string]*onnx.Array{"x": ramp(1)}, Options{}, []string{"not converted"}},
		"complex":          {[]*onnx.ValueInfo{x(-1)}, map[string]*onnx.Array{"x": {Type: onnx.Complex64, Dims: []int{1}, Data: []complex64{1}}}, Options{}, []string{"not converted"}},
		"sequence input":   {[]*onnx.ValueInfo{{Name: "x", Type: &onnx.TypeInfo{Kind: "sequence"}}}, nil, Options{}, []string{"not a tensor"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Open(context.Background(), writeNPZ(t, tt.arrays), model(tt.inputs...), tt.opts)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestOpenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Open(ctx, writeNPZ(t, map[string]*onnx.Array{"x": ramp(4, 2)}), model(value("x", onnx.Float, -1, 2)), Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestInitializersAreNoInputs(t *testing.T) {
	m := model(value("x", onnx.Float, -1), value("w", onnx.Float, 2))
	m.Graph.Initializers = []*onnx.Tensor{{Name: "w"}}
	d, err := Open(context.Background(), writeNPZ(t, map[string]*onnx.Array{"x": ramp(3)}), m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := d.Feeds(0, 3, 0); err != nil || len(f) != 1 {
		t.Errorf("feeds %v, %v", f, err)
	}
}

// Each pair holds a value at the edge of the type; float16 storage is widened feed by feed.
func TestCastEdges(t *testing.T) {
	tests := []struct {
		from, to onnx.DataType
		in, want any
	}{
		{onnx.Float16, onnx.Float, []uint16{0x3c00, 0xfbff, 0x0001}, []float32{1, -65504, 5.9604644775390625e-08}},
		{onnx.Float16, onnx.Uint8, []uint16{0x5bf8}, []uint8{255}},
		{onnx.Float, onnx.Float16, []float32{65504, 65519}, []uint16{0x7bff, 0x7bff}},
		{onnx.Float, onnx.BFloat16, []float32{1.5}, []uint16{0x3fc0}},
		{onnx.Double, onnx.Float, []float64{3.4028234e38}, []float32{3.4028234e38}},
		{onnx.Int64, onnx.Int8, []int64{-128, 127}, []int8{-128, 127}},
		{onnx.Uint64, onnx.Int64, []uint64{1<<63 - 1}, []int64{1<<63 - 1}},
		{onnx.Int64, onnx.Uint64, []int64{1<<63 - 1}, []uint64{1<<63 - 1}},
		{onnx.Double, onnx.Int64, []float64{-9223372036854775808}, []int64{-1 << 63}},
		{onnx.Bool, onnx.Float, []bool{true, false}, []float32{1, 0}},
		{onnx.Uint8, onnx.Bool, []uint8{1, 0}, []bool{true, false}},
		{onnx.Int32, onnx.Double, []int32{-7}, []float64{-7}},
	}
	for _, tt := range tests {
		got, err := cast(tt.in, tt.from, tt.to)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("cast %v from %v to %v: %v, %v, want %v", tt.in, tt.from, tt.to, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		from, to onnx.DataType
		in       any
	}{
		{onnx.Double, onnx.Int64, []float64{9223372036854775808}},
		{onnx.Double, onnx.Uint64, []float64{18446744073709551616}},
		{onnx.Uint64, onnx.Int64, []uint64{1 << 63}},
		{onnx.Float, onnx.Int32, []float32{2147483648}},
	} {
		var ve *valueError
		if got, err := cast(tt.in, tt.from, tt.to); !errors.As(err, &ve) {
			t.Errorf("cast %v to %v: %v, %v, want an error", tt.in, tt.to, got, err)
		}
	}
}

func TestLabels(t *testing.T) {
	path := writeNPZ(t, map[string]*onnx.Array{"x": ramp(3, 2), "label": ints([]int{3, 2}, 0, 1, 2, 3, 4, 5)})
	d, err := Open(context.Background(), path, model(value("x", onnx.Float, -1, 2)), Options{Labels: "label"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ints([]int{2, 2}, 2, 3, 4, 5), d.Labels(1, 3)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestCSV(t *testing.T) {
	tests := map[string]struct {
		input   *onnx.ValueInfo
		content string
		opts    Options
		len     int
		dims    []int // of the first feed
		first   []float32
		labels  *onnx.Array
	}{
		"samples":                 {value("x", onnx.Float, -1, 2), "1,2\n3,4\n5,6\n", Options{}, 3, []int{1, 2}, []float32{1, 2}, nil},
		"header":                  {value("x", onnx.Float, -1, 2), "\ufeffa,b\n1,2\n", Options{}, 1, []int{1, 2}, []float32{1, 2}, nil},
		"labels":                  {value("x", onnx.Float, -1, 2), "a,label,b\n1,7,2\n3,8,4\n", Options{Labels: "label"}, 2, []int{1, 2}, []float32{1, 2}, ints([]int{2}, 7, 8)},
		"frames, batch first":     {value("x", onnx.Float, -1, -2, 2), "1,2\n3,4\n5,6\n", Options{}, 1, []int{1, 3, 2}, []float32{1, 2, 3, 4, 5, 6}, nil},
		"frames, time first":      {value("x", onnx.Float, -1, -2, 2), "1,2\n3,4\n", Options{BatchAxis: map[string]int{"x": 1}}, 1, []int{2, 1, 2}, []float32{1, 2, 3, 4}, nil},
		"frames, batch of 1":      {value("x", onnx.Float, -1, 1, 2), "1,2\n3,4\n", Options{}, 1, []int{2, 1, 2}, []float32{1, 2, 3, 4}, nil},
		"frames of fixed length":  {value("x", onnx.Float, -1, 2, 2), "1,2\n3,4\n5,6\n7,8\n", Options{}, 2, []int{1, 2, 2}, []float32{1, 2, 3, 4}, nil},
		"labels of frames":        {value("x", onnx.Float, -1, 2, 1), "l,v\n0,1\n1,2\n2,3\n3,4\n", Options{Labels: "l"}, 2, []int{1, 2, 1}, []float32{1, 2}, ints([]int{2, 2}, 0, 1, 2, 3)},
		"flat samples":            {value("x", onnx.Float, 1, 2, 2), "1,2,3,4\n5,6,7,8\n", Options{}, 2, []int{1, 2, 2}, []float32{1, 2, 3, 4}, nil},
		"no batch axis":           {value("x", onnx.Float, 2), "1,2\n3,4\n", Options{}, 2, []int{2}, []float32{1, 2}, nil},
		"quoted, spaces":          {value("x", onnx.Float, -1, 2), "\"1\", 2\n", Options{}, 1, []int{1, 2}, []float32{1, 2}, nil},
		"exponent":                {value("x", onnx.Float, -1, 1), "1e2\n", Options{}, 1, []int{1, 1}, []float32{100}, nil},
		"steps of a stream":       {value("x", onnx.Float, 1, 1, 2), "1,2\n3,4\n", Options{States: map[string]string{"hN": "h"}}, 1, []int{1, 1, 2}, []float32{1, 2}, nil},
		"steps, symbolic batch 1": {value("x", onnx.Float, -1, 2), "1,2\n3,4\n", Options{States: map[string]string{"hN": "h"}}, 1, []int{1, 2}, []float32{1, 2}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := model(tt.input)
			if tt.opts.States != nil {
				m = model(tt.input, value("h", onnx.Float, 1))
			}
			for from, d := range open(t, m, writeFile(t, "data.csv", tt.content), tt.opts) {
				f, err := d.Feeds(0, 1, 0)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(&onnx.Array{Type: onnx.Float, Dims: tt.dims, Data: tt.first}, f["x"]); diff != "" || d.Len() != tt.len {
					t.Errorf("from %s: %d samples, want %d; feed (-want +got):\n%s", from, d.Len(), tt.len, diff)
				}
				if tt.labels != nil {
					if diff := cmp.Diff(tt.labels, d.Labels(0, d.Len())); diff != "" {
						t.Errorf("from %s: labels (-want +got):\n%s", from, diff)
					}
				}
			}
		})
	}
}

func TestCSVRefuses(t *testing.T) {
	in := value("x", onnx.Float, -1, 2)
	tests := map[string]struct {
		content string
		opts    Options
		want    string
	}{
		"ragged":           {"1,2\n3\n", Options{}, "line 2 has 1 columns, the first line has 2"},
		"NaN":              {"1,2\n3,NaN\n", Options{}, `line 2, column 3 (field 2): "NaN"`},
		"infinite":         {"1,2\n3,1e999\n", Options{}, "not a finite number"},
		"hole":             {"1,2\n,4\n", Options{}, `"" is not a finite number`},
		"text":             {"a,b\n1,\x1b[31m\n", Options{}, `"\x1b[31m"`},
		"columns":          {"1,2,3\n", Options{}, "1 rows of 3 columns"},
		"empty":            {"", Options{}, "no numbers"},
		"header alone":     {"a,b\n", Options{}, "no numbers"},
		"no label column":  {"a,b\n1,2\n", Options{Labels: "label"}, `it has "a", "b"`},
		"labels, no names": {"1,2\n", Options{Labels: "label"}, "no header line"},
		"quote":            {"\"1,2\n", Options{}, "extraneous or missing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Open(context.Background(), writeFile(t, "data.csv", tt.content), model(in), tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "data.csv") {
				t.Errorf("error %v does not say %q", err, tt.want)
			}
		})
	}
	if _, err := Open(context.Background(), writeFile(t, "d.csv", "1\n"), model(in, value("z", onnx.Float, -1)), Options{}); err == nil || !strings.Contains(err.Error(), "2 inputs") {
		t.Errorf("two inputs: %v", err)
	}
}

func TestOpenTellsTheKindByContent(t *testing.T) {
	m := model(value("x", onnx.Float, -1, 3, 4))
	d, err := Open(context.Background(), "testdata/v1.npy", m, Options{})
	if err != nil || d.Len() != 2 {
		t.Fatalf("npy: %v, %v", d, err)
	}
	for name, content := range map[string]string{"x.npz": "<html>", "x.npy": "PK", "x.txt": "1,2\n"} {
		if _, err := Open(context.Background(), writeFile(t, name, content), m, Options{}); err == nil {
			t.Errorf("%s holding %q was accepted", name, content)
		}
	}
	if _, err := Open(context.Background(), "testdata/v1.npy", model(value("x", onnx.Float, 1), value("z", onnx.Float, 1)), Options{}); err == nil || !strings.Contains(err.Error(), "2 inputs") {
		t.Errorf("npy for two inputs: %v", err)
	}
}

func TestTestDataSetFolders(t *testing.T) {
	const root = "../../testdata/models"
	m, err := onnx.OpenFile(context.Background(), root+"/if_outer_w.onnx", onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, path := range []string{root + "/if_outer_w", root + "/if_outer_w/test_data_set_0"} {
		d, err := Open(context.Background(), path, m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := d.Feeds(0, 1, 0)
		if err != nil || d.Len() != 1 || d.MaxBatch() != 1 {
			t.Fatalf("%d samples, batch %d, %v", d.Len(), d.MaxBatch(), err)
		}
		// The whole feed, although axis 0 is symbolic: 7 steps of 3 sequences.
		if x := f["x"]; !reflect.DeepEqual(x.Dims, []int{7, 3, 96}) || f["forward"].Type != onnx.Bool {
			t.Errorf("feeds %v, %v", x.Dims, f["forward"])
		}
	}
	for _, tt := range []struct {
		path, want string
		opts       Options
	}{
		{root, "neither input_0.pb nor", Options{}},
		{root + "/gestures", "[3, 12, 1024]", Options{}},
		{root + "/if_outer_w", "no labels", Options{Labels: "label"}},
		{root + "/if_outer_w", "whole feeds", Options{BatchAxis: map[string]int{"x": 1}}},
	} {
		if _, err := Open(context.Background(), tt.path, m, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v does not say %q", tt.path, err, tt.want)
		}
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "input_0.pb"), []byte("PK\x03\x04"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), broken, m, Options{}); err == nil || !strings.Contains(err.Error(), "input_0.pb") {
		t.Errorf("a broken tensor: %v", err)
	}
}

func TestOpenOwnData(t *testing.T) {
	m, err := onnx.OpenFile(context.Background(), "../../testdata/models/gestures.onnx", onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d, err := Open(context.Background(), "../../testdata/models/gestures.npz", m, Options{Labels: "label"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Feeds(8, 24, 0)
	if err != nil {
		t.Fatal(err)
	}
	if x := f["frames"]; d.Len() != 160 || d.MaxBatch() != 160 || x.Type != onnx.Float || !reflect.DeepEqual(x.Dims, []int{16, 12, 1024}) {
		t.Errorf("%d samples, batches of %d, feed of %v %v", d.Len(), d.MaxBatch(), x.Type, x.Dims)
	}
	if l := d.Labels(8, 12); !reflect.DeepEqual(l.Data, []int64{0, 1, 2, 3}) {
		t.Errorf("labels %v", l)
	}
}

// Files in the form the data rules describe, made with NumPy by others.
func TestOpenSharedData(t *testing.T) {
	const root = "../../../shared"
	if _, err := os.Stat(root + "/data"); err != nil {
		t.Skip("no folder ../shared/data")
	}
	type want struct{ len, steps, max int }
	tests := []struct {
		model, data string
		opts        Options
		want        want
		input       string
		dims        []int
	}{
		{"models/visible/dtln_model_1/model.onnx", "data/speech/dtln_model_1-heldback.npz", Options{States: map[string]string{"tf_op_layer_stack_2": "input_3"}}, want{8, 400, 1}, "input_2", []int{1, 1, 257}},
		{"models/visible/silero_vad_v6/model.onnx", "data/speech/silero-heldback.npz", Options{States: map[string]string{"stateN": "state"}}, want{8, 100, 1}, "input", []int{1, 576}},
		{"models/visible/keras2onnx_test_model_1/model.onnx", "data/speech/blocks512-heldback.npz", Options{}, want{800, 1, 1}, "input_1", []int{1, 1, 512}},
		{"models/visible/byte_sb_bidi_lstm/model.onnx", "data/text/byte_sb-heldback.npz", Options{}, want{139, 1, 139}, "input", []int{1, 128}},
		{"data/holistic/dense_lstm64.onnx", "data/holistic/test.npz", Options{Labels: "label"}, want{90, 1, 90}, "x", []int{1, 30, 1662}},
		{"data/fsdd/dense_lstm128.onnx", "data/fsdd/test.npz", Options{Labels: "label"}, want{300, 1, 300}, "x", []int{1, 12, 1032}},
	}
	for _, tt := range tests {
		m, err := onnx.OpenFile(context.Background(), filepath.Join(root, tt.model), onnx.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(context.Background(), filepath.Join(root, tt.data), m, tt.opts)
		if err != nil {
			t.Errorf("%s: %v", tt.data, err)
			continue
		}
		f, err := d.Feeds(0, 1, d.Steps()-1)
		if err != nil {
			t.Fatal(err)
		}
		if got := (want{d.Len(), d.Steps(), d.MaxBatch()}); got != tt.want || !reflect.DeepEqual(f[tt.input].Dims, tt.dims) {
			t.Errorf("%s: %+v, want %+v; feed %v, want %v", tt.data, got, tt.want, f[tt.input].Dims, tt.dims)
		}
	}
}

// writeTensor writes a TensorProto.
func writeTensor(t *testing.T, path, name string, a *onnx.Array) {
	t.Helper()
	raw, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	p := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(a.Type)), RawData: raw}
	for _, d := range a.Dims {
		p.Dims = append(p.Dims, int64(d))
	}
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// All 65536 of them, against the conversion that onnx tests; NaNs keep their bits.
func TestHalfToFloat(t *testing.T) {
	for h := range 1 << 16 {
		got, want := math.Float32bits(halfToFloat(uint16(h))), math.Float32bits(onnx.Float16ToFloat32(uint16(h)))
		if got != want {
			t.Fatalf("%#04x is %#08x, want %#08x", h, got, want)
		}
	}
}
