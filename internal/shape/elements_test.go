package shape

import (
	"reflect"
	"testing"
)

// What a method of Elements returns is what the function of its name returns for the slice inside.
func TestElementsDoWhatTheFunctionsDo(t *testing.T) {
	src, dims := []string{"a", "b", "c", "d", "e", "f"}, []int{2, 3}
	e, err := Of(src)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := Of([]string{"x", "y"})
	one, _ := Of([]string{"z"})
	type result struct {
		data any
		dims []int
		err  error
	}
	method := func(e Elements, dims []int, err error) result {
		if err != nil {
			return result{nil, nil, err}
		}
		return result{e.Data(), dims, nil}
	}
	function := func(d []string, dims []int, err error) result { return result{d, dims, err} }
	same := func(e Elements, err error) result { return method(e, nil, err) }
	sameOf := func(d []string, err error) result { return function(d, nil, err) }
	index := func(d []int64, dims []int, err error) result { return result{d, dims, err} }
	cond := []bool{true, false, true}
	for name, c := range map[string][2]result{
		"Transpose":       {method(e.Transpose(dims, nil)), function(Transpose(src, dims, nil))},
		"Slice":           {method(e.Slice(dims, []Range{{1, -1, 2}, {0, 2, 2}})), function(Slice(src, dims, []Range{{1, -1, 2}, {0, 2, 2}}))},
		"Concat":          {method(e.Concat([]Elements{other}, [][]int{dims, {2, 1}}, 1, 0)), function(Concat([][]string{src, {"x", "y"}}, [][]int{dims, {2, 1}}, 1, 0))},
		"Expand":          {method(e.Expand(dims, []int64{2, 1, 1}, 0)), function(Expand(src, dims, []int64{2, 1, 1}, 0))},
		"Tile":            {method(e.Tile(dims, []int64{1, 2}, 0)), function(Tile(src, dims, []int64{1, 2}, 0))},
		"Pad":             {method(e.Pad(dims, []int64{0, 1, 1, 0}, "constant", one, 0)), function(Pad(src, dims, []int64{0, 1, 1, 0}, "constant", "z", 0))},
		"Pad, zero":       {method(e.Pad(dims, []int64{0, 1, 1, 0}, "constant", nil, 0)), function(Pad(src, dims, []int64{0, 1, 1, 0}, "constant", "", 0))},
		"Gather":          {method(e.Gather(dims, []int64{-1, 0}, []int{2}, 1, 0)), function(Gather(src, dims, []int64{-1, 0}, []int{2}, 1, 0))},
		"GatherElements":  {method(e.GatherElements(dims, []int64{2, 1}, []int{2, 1}, 1, 0)), function(GatherElements(src, dims, []int64{2, 1}, []int{2, 1}, 1, 0))},
		"GatherND":        {method(e.GatherND(dims, []int64{1, 2, 0, 0}, []int{2, 2}, 0, 0)), function(GatherND(src, dims, []int64{1, 2, 0, 0}, []int{2, 2}, 0, 0))},
		"ScatterElements": {same(e.ScatterElements(dims, []int64{2, 1}, []int{2, 1}, other, 1)), sameOf(ScatterElements(src, dims, []int64{2, 1}, []int{2, 1}, []string{"x", "y"}, 1, nil))},
		"ScatterND":       {same(e.ScatterND(dims, []int64{1, 2, 0, 0}, []int{2, 2}, other, []int{2})), sameOf(ScatterND(src, dims, []int64{1, 2, 0, 0}, []int{2, 2}, []string{"x", "y"}, []int{2}, nil))},
		"Where":           {method(e.Where(cond, []int{3}, dims, other, []int{2, 1}, 0)), function(Where(cond, []int{3}, src, dims, []string{"x", "y"}, []int{2, 1}, 0))},
		"Compress":        {method(e.Compress(dims, cond, 1, false)), function(Compress(src, dims, cond, 1, false))},
		"NonZero":         {index(e.NonZero(dims)), index(NonZero(src, dims))},
		"Clone":           {result{e.Clone().Data(), nil, nil}, result{src, nil, nil}},
		"Make":            {result{e.Make(e.Len()).Data(), nil, nil}, result{make([]string, 6), nil, nil}},
	} {
		if c[1].err != nil || !reflect.DeepEqual(c[0], c[1]) {
			t.Errorf("%s: got %v, want %v", name, c[0], c[1])
		}
	}
	numbers, _ := Of([]int32{1, 2})
	for name, err := range map[string]error{
		"Concat":          method(e.Concat([]Elements{numbers}, [][]int{dims, {2, 1}}, 1, 0)).err,
		"Pad":             method(e.Pad(dims, []int64{0, 1, 1, 0}, "constant", numbers, 0)).err,
		"Pad by two":      method(e.Pad(dims, []int64{0, 1, 1, 0}, "constant", other, 0)).err,
		"Where":           method(e.Where(cond, []int{3}, dims, nil, []int{1}, 0)).err,
		"ScatterElements": same(e.ScatterElements(dims, []int64{2, 1}, []int{2, 1}, numbers, 1)).err,
		"ScatterND":       same(e.ScatterND(dims, []int64{1, 2, 0, 0}, []int{2, 2}, numbers, []int{2})).err,
	} {
		if err == nil {
			t.Errorf("%s took an operand of another type or size", name)
		}
	}
}

// FuzzElements calls every function with arbitrary numbers: each either fails or returns as many elements as its shape says, within the
// limit.
func FuzzElements(f *testing.F) {
	f.Add([]byte{2, 2, 3, 1, 1, 0, 2, 1, 5, 9, 200, 255, 0, 1})
	f.Add([]byte{3, 0, 1, 4, 255, 254, 3, 2, 2, 1, 1, 0, 0, 1, 7, 7})
	f.Add([]byte{1, 5, 250, 251, 128, 127, 3, 2, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		next := func() int64 {
			if len(b) == 0 {
				return 0
			}
			v := int64(int8(b[0]))
			b = b[1:]
			switch v { // numbers that overflow when they are multiplied or added
			case 127:
				return 1<<63 - 1
			case -128:
				return -1 << 63
			case 126:
				return 1 << 40
			}
			return v
		}
		list := func(most int64) []int64 {
			n := next() & 0x7f % (most + 1)
			out := make([]int64, n)
			for i := range out {
				out[i] = next()
			}
			return out
		}
		small := func(most int64) []int {
			v := list(most)
			out := make([]int, len(v))
			for i := range v {
				out[i] = int(v[i] & 7)
			}
			return out
		}
		const limit = 1 << 16
		dims := small(4)
		n, err := Size(dims, limit)
		if err != nil {
			return
		}
		e, _ := Of(make([]int16, n))
		check := func(name string, out Elements, dims []int, err error) {
			if err != nil {
				return
			}
			want, err := Size(dims, limit)
			if err != nil || out.Len() != want {
				t.Fatalf("%s: %d elements in shape %v: %v", name, out.Len(), dims, err)
			}
		}
		args, more, idims, axis := list(8), list(8), small(3), next()
		out, d, err := e.Transpose(dims, args)
		check("Transpose", out, d, err)
		if r, err := SliceRanges(dims, args, more, nil, nil); err == nil {
			out, d, err = e.Slice(dims, r)
			if err != nil {
				t.Fatalf("Slice of resolved ranges: %v", err)
			}
			check("Slice", out, d, err)
		}
		if len(args) >= 2 && len(more) >= 2 {
			if r, err := SliceRanges(dims, args[:1], args[1:2], more[:1], more[1:2]); err == nil {
				if out, d, err = e.Slice(dims, r); err != nil {
					t.Fatalf("Slice of resolved ranges: %v", err)
				}
				check("Slice with steps", out, d, err)
			}
		}
		out, d, err = e.Expand(dims, args, limit)
		check("Expand", out, d, err)
		out, d, err = e.Tile(dims, args, limit)
		check("Tile", out, d, err)
		for _, mode := range []string{"constant", "edge", "reflect", "wrap", "?"} {
			out, d, err = e.Pad(dims, args, mode, nil, limit)
			check("Pad "+mode, out, d, err)
		}
		if size, err := Size(idims, limit); err == nil {
			indices := make([]int64, size)
			for i := range indices {
				indices[i] = next()
			}
			out, d, err = e.Gather(dims, indices, idims, axis, limit)
			check("Gather", out, d, err)
			out, d, err = e.GatherElements(dims, indices, idims, axis, limit)
			check("GatherElements", out, d, err)
			out, d, err = e.GatherND(dims, indices, idims, axis, limit)
			check("GatherND", out, d, err)
			out, err = e.ScatterElements(dims, indices, idims, e.Make(size), axis)
			check("ScatterElements", out, dims, err)
			if u, err := GatherNDDims(dims, idims, 0); err == nil {
				if m, err := Size(u, limit); err == nil {
					out, err = e.ScatterND(dims, indices, idims, e.Make(m), u)
					check("ScatterND", out, dims, err)
				}
			}
		}
		out, d, err = e.Concat([]Elements{e, e.Make(0)}, [][]int{dims, dims, idims}, axis, limit)
		check("Concat", out, d, err)
		cond := make([]bool, len(args))
		for i, v := range args {
			cond[i] = v > 0
		}
		out, d, err = e.Compress(dims, cond, axis, len(more) > 2)
		check("Compress", out, d, err)
		out, d, err = e.Where(cond, []int{len(cond)}, dims, e, dims, limit)
		check("Where", out, d, err)
		if d, err := ReshapeDims(dims, args, axis > 0); err == nil {
			if m, err := Size(d, 0); err != nil || m != n {
				t.Fatalf("ReshapeDims(%v, %v) = %v", dims, args, d)
			}
		}
		if d, err := UnsqueezeDims(dims, args); err == nil {
			if back, err := SqueezeDims(d, args); err != nil || !reflect.DeepEqual(append([]int{}, back...), append([]int{}, dims...)) {
				t.Fatalf("UnsqueezeDims(%v, %v) = %v, and back %v, %v", dims, args, d, back, err)
			}
		}
		if sizes, err := SplitSizes(n, args, len(more)); err == nil {
			sum := 0
			for _, s := range sizes {
				sum += s
			}
			if sum != n {
				t.Fatalf("SplitSizes(%d, %v, %d) = %v", n, args, len(more), sizes)
			}
		}
	})
}

// TestTransposeParts puts a transposition together from parts of its first axis and compares it with the definition, element by element.
func TestTransposeParts(t *testing.T) {
	dims := []int{3, 7, 20, 2}
	src := make([]float32, 3*7*20*2)
	for k := range src {
		src[k] = float32(k)
	}
	for _, perm := range [][]int{{0, 1, 2, 3}, {1, 0, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {0, 2, 1, 3}, {1, 2, 0, 3}} {
		var out []int
		for _, p := range perm {
			out = append(out, dims[p])
		}
		row := len(src) / out[0]
		got := make([]float32, len(src))
		for _, cut := range [][2]int{{0, 1}, {1, 1}, {1, out[0]}} {
			TransposePart(got[cut[0]*row:cut[1]*row], src, dims, perm, cut[0], cut[1])
		}
		at, from := make([]int, 4), make([]int, 4)
		for k, v := range got {
			for rest, axis := k, 3; axis >= 0; axis-- {
				at[axis] = rest % out[axis]
				rest /= out[axis]
			}
			for axis, p := range perm {
				from[p] = at[axis]
			}
			if want := float32(((from[0]*7+from[1])*20+from[2])*2 + from[3]); v != want {
				t.Fatalf("perm %v: element %v is %v, want %v", perm, at, v, want)
			}
		}
	}
}
