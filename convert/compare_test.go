package convert

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

func vector(v ...float32) map[string]*onnx.Array {
	return map[string]*onnx.Array{"y": {Type: onnx.Float, Dims: []int{len(v)}, Data: v}}
}

// The expected figures follow by hand from ‖a−b‖_F/‖b‖_F.
func TestComparer(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name          string
		a, b          map[string]*onnx.Array
		relative, max float64
	}{
		{"equal", vector(1, 2), vector(1, 2), 0, 0},
		{"3-4-5", vector(3, 4), vector(0, 5), math.Sqrt(9+1) / 5, 3},
		{"NaN on both sides is left out", vector(nan, 3), vector(nan, 4), 0.25, 1},
		{"NaN on one side", vector(nan, 3), vector(1, 3), math.Inf(1), math.Inf(1)},
		{"the same infinity", vector(inf, 3), vector(inf, 4), 0.25, 1},
		{"opposite infinities", vector(inf), vector(-inf), math.Inf(1), math.Inf(1)},
		{"infinite on one side", vector(inf), vector(1), math.Inf(1), math.Inf(1)},
		{"both zero", vector(0, 0), vector(0, 0), 0, 0},
		{"reference zero", vector(0, 2), vector(0, 0), 1, 2},
		{"no elements", vector(), vector(), 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmp := newComparer()
			if err := cmp.add(c.a, c.b, nil); err != nil {
				t.Fatal(err)
			}
			r := cmp.result("go")
			if math.Abs(float64(r.Relative)-c.relative) > 1e-15 || float64(r.MaxAbs) != c.max {
				if !(math.IsInf(c.relative, 1) && math.IsInf(float64(r.Relative), 1)) {
					t.Errorf("got relative %v, max %v; want %v, %v", r.Relative, r.MaxAbs, c.relative, c.max)
				}
			}
		})
	}
}

func TestComparerAccumulatesInputsAndTakesTheWorstOutput(t *testing.T) {
	cmp := newComparer()
	for _, p := range [][2]map[string]*onnx.Array{
		{two(vector(1), 8), two(vector(1), 8)},
		{two(vector(3), 9), two(vector(2), 8)},
	} {
		if err := cmp.add(p[0], p[1], map[string]bool{"state": true}); err != nil {
			t.Fatal(err)
		}
	}
	r := cmp.result("go")
	// y: sqrt(0+1)/sqrt(1+4); the state output is left out.
	if want := 1 / math.Sqrt(5); math.Abs(float64(r.Relative)-want) > 1e-15 || r.Inputs != 2 || cmp.worst() != "y" {
		t.Errorf("got %+v at %q, want relative %v of 2 inputs at y", r, cmp.worst(), want)
	}
}

func two(m map[string]*onnx.Array, state int64) map[string]*onnx.Array {
	m["state"] = &onnx.Array{Type: onnx.Int64, Data: []int64{state}}
	return m
}

func TestComparerRefusesOutputsThatDoNotMatch(t *testing.T) {
	for _, c := range []struct {
		a, b map[string]*onnx.Array
		want string
	}{
		{vector(1), vector(1, 2), "shapes [1] and [2] differ"},
		{map[string]*onnx.Array{}, vector(1), `output "y": only one`},
		{vector(1), map[string]*onnx.Array{}, `output "y": only one`},
	} {
		if err := newComparer().add(c.a, c.b, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
}

func TestNumberIsNullWhereJSONHasNone(t *testing.T) {
	b, err := json.Marshal([]Number{0.5, Number(math.NaN()), Number(math.Inf(1)), Number(math.Inf(-1))})
	if err != nil || string(b) != "[0.5,null,null,null]" {
		t.Fatalf("got %s, %v", b, err)
	}
	var back []Number
	if err := json.Unmarshal(b, &back); err != nil || back[0] != 0.5 || !math.IsNaN(float64(back[1])) {
		t.Errorf("got %v, %v", back, err)
	}
}
