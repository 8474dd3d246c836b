package shape

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// each calls f with every index of a shape in C order: the plain definition that the functions are compared with.
func each(dims []int, f func(at []int)) {
	n := 1
	for _, d := range dims {
		n *= d
	}
	for i := range n {
		at := make([]int, len(dims))
		for k, rest := len(dims)-1, i; k >= 0; k-- {
			at[k] = rest % dims[k]
			rest /= dims[k]
		}
		f(at)
	}
}

func flat(at, dims []int) int {
	i := 0
	for k, a := range at {
		i = i*dims[k] + a
	}
	return i
}

func iota32(dims []int) []int32 {
	var out []int32
	each(dims, func([]int) { out = append(out, int32(len(out)+1)) })
	return out
}

func drawDims(t *rapid.T, label string, maxRank int) []int {
	return rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 4), rapid.IntRange(1, 40)), 0, maxRank).Filter(func(d []int) bool {
		n := 1
		for _, v := range d {
			n *= max(v, 1)
		}
		return n < 20000
	}).Draw(t, label)
}

func equal[T any](t *rapid.T, what string, got, want []T, dims, wdims []int) {
	t.Helper()
	if fmt.Sprint(dims) != fmt.Sprint(wdims) || len(got) != len(want) || (len(got) > 0 && !reflect.DeepEqual(got, want)) {
		t.Fatalf("%s: shape %v, want %v\n got %v\nwant %v", what, dims, wdims, got, want)
	}
}

func TestTransposeFollowsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := drawDims(t, "dims", 5)
		order := make([]int64, len(dims))
		for k := range order {
			order[k] = int64(k)
		}
		perm := rapid.Permutation(order).Draw(t, "perm")
		src := iota32(dims)
		got, out, err := Transpose(src, dims, perm)
		if err != nil {
			t.Fatal(err)
		}
		wdims := make([]int, len(dims))
		for k, p := range perm {
			wdims[k] = dims[p]
		}
		var want []int32
		each(wdims, func(at []int) {
			from := make([]int, len(at))
			for k, p := range perm {
				from[p] = at[k]
			}
			want = append(want, src[flat(from, dims)])
		})
		equal(t, "Transpose", got, want, out, wdims)
	})
}

// The reference walks the axis one step at a time as the specification's numpy.arange(start, end, step) does.
func TestSliceFollowsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := drawDims(t, "dims", 4)
		num := rapid.OneOf(rapid.Int64Range(-6, 6), rapid.SampledFrom([]int64{-1 << 63, 1<<63 - 1, -1 << 31, 1<<31 - 1}))
		n := len(dims)
		starts, ends := rapid.SliceOfN(num, n, n).Draw(t, "starts"), rapid.SliceOfN(num, n, n).Draw(t, "ends")
		steps := rapid.SliceOfN(num.Filter(func(v int64) bool { return v != 0 }), n, n).Draw(t, "steps")
		ranges, err := SliceRanges(dims, starts, ends, nil, steps)
		if err != nil {
			t.Fatal(err)
		}
		src := iota32(dims)
		got, out, err := Slice(src, dims, ranges)
		if err != nil {
			t.Fatal(err)
		}
		wdims := make([]int, n)
		index := make([][]int, n)
		for k, d := range dims {
			s, e, st := float64(starts[k]), float64(ends[k]), float64(steps[k])
			if s < 0 {
				s += float64(d)
			}
			if e < 0 {
				e += float64(d)
			}
			if st < 0 { // clamping moves a start beyond the end to the last element
				s = min(s, float64(d-1))
			} else {
				s = max(s, 0)
			}
			for i := s; (st > 0 && i < e || st < 0 && i > e) && i >= 0 && i < float64(d); i += st {
				index[k] = append(index[k], int(i))
			}
			if st < 0 && s < 0 {
				// numpy clamps a negative start to 0 for negative steps only through the specification's clamp [0, d-1]
				index[k] = nil
				if d > 0 && e < 0 {
					index[k] = []int{0}
				}
			}
			wdims[k] = len(index[k])
		}
		var want []int32
		each(wdims, func(at []int) {
			from := make([]int, n)
			for k, i := range at {
				from[k] = index[k][i]
			}
			want = append(want, src[flat(from, dims)])
		})
		equal(t, "Slice", got, want, out, wdims)
	})
}

func TestExpandTileAndPadFollowTheirDefinitions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := drawDims(t, "dims", 3)
		n := len(dims)
		src := iota32(dims)

		repeats := rapid.SliceOfN(rapid.Int64Range(0, 3), n, n).Draw(t, "repeats")
		got, out, err := Tile(src, dims, repeats, 0)
		if err != nil {
			t.Fatal(err)
		}
		wdims := make([]int, n)
		for k := range dims {
			wdims[k] = dims[k] * int(repeats[k])
		}
		var want []int32
		each(wdims, func(at []int) {
			from := make([]int, n)
			for k, i := range at {
				from[k] = i % dims[k]
			}
			want = append(want, src[flat(from, dims)])
		})
		equal(t, "Tile", got, want, out, wdims)

		pads := rapid.SliceOfN(rapid.Int64Range(0, 5), 2*n, 2*n).Draw(t, "pads")
		for _, mode := range []string{"constant", "edge", "reflect", "wrap"} {
			if mode != "constant" && len(src) == 0 {
				continue
			}
			got, out, err := Pad(src, dims, pads, mode, -7, 0)
			if err != nil {
				t.Fatal(err)
			}
			for k := range dims {
				wdims[k] = dims[k] + int(pads[k]+pads[k+n])
			}
			want = want[:0]
			each(wdims, func(at []int) {
				from := make([]int, n)
				inside := true
				for k, i := range at {
					i -= int(pads[k])
					for mode == "reflect" && (i < 0 || i >= dims[k]) { // bounce at the ends until inside
						if dims[k] == 1 {
							i = 0
						} else if i < 0 {
							i = -i
						} else {
							i = 2*(dims[k]-1) - i
						}
					}
					for mode == "wrap" && i < 0 {
						i += dims[k]
					}
					for mode == "wrap" && i >= dims[k] {
						i -= dims[k]
					}
					if mode == "edge" {
						i = max(0, min(i, dims[k]-1))
					}
					inside = inside && i >= 0 && i < dims[k]
					from[k] = i
				}
				if inside {
					want = append(want, src[flat(from, dims)])
				} else {
					want = append(want, -7)
				}
			})
			equal(t, "Pad "+mode, got, want, out, wdims)
		}

		target := make([]int64, 0, n+1)
		if rapid.Bool().Draw(t, "lead") {
			target = append(target, 2)
		}
		wdims = make([]int, 0, n+1)
		for range target {
			wdims = append(wdims, 2)
		}
		lead := len(target)
		for _, d := range dims {
			if d == 1 {
				d = rapid.IntRange(0, 3).Draw(t, "to")
			}
			target, wdims = append(target, int64(d)), append(wdims, d)
		}
		got, out, err = Expand(src, dims, target, 0)
		if err != nil {
			t.Fatal(err)
		}
		want = want[:0]
		each(wdims, func(at []int) {
			from := make([]int, n)
			for k, i := range at[lead:] {
				from[k] = i % max(dims[k], 1)
			}
			want = append(want, src[flat(from, dims)])
		})
		equal(t, "Expand", got, want, out, wdims)
	})
}

func TestConcatUndoesSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := append(drawDims(t, "dims", 3), rapid.IntRange(0, 5).Draw(t, "last"))
		axis := rapid.IntRange(0, len(dims)-1).Draw(t, "axis")
		var lengths []int64
		for left := dims[axis]; left > 0 || lengths == nil; {
			l := rapid.IntRange(0, left).Draw(t, "length")
			lengths = append(lengths, int64(l))
			left -= l
		}
		sum := int64(0)
		for _, l := range lengths {
			sum += l
		}
		lengths = append(lengths, int64(dims[axis])-sum)
		sizes, err := SplitSizes(dims[axis], lengths, 0)
		if err != nil {
			t.Fatal(err)
		}
		src := iota32(dims)
		parts, shapes, err := Split(src, dims, int64(axis)-int64(len(dims)), sizes)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range parts {
			at := 0
			for _, s := range sizes[:i] {
				at += s
			}
			each(shapes[i], func(pos []int) {
				v := p[flat(pos, shapes[i])]
				pos[axis] += at
				if v != src[flat(pos, dims)] {
					t.Fatalf("part %d at %v is %d, want %d", i, pos, v, src[flat(pos, dims)])
				}
			})
		}
		got, out, err := Concat(parts, shapes, int64(axis), 0)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "Concat", got, src, out, dims)
	})
}

func TestGatherFamilyFollowsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 3).Draw(t, "dims")
		axis := rapid.IntRange(0, len(dims)-1).Draw(t, "axis")
		src := iota32(dims)
		wrapIndex := func(i int64, n int) int { return (int(i) + n) % n }
		draw := func(idims []int, n int) []int64 {
			size, _ := Size(idims, 0)
			return rapid.SliceOfN(rapid.Int64Range(int64(-n), int64(n-1)), size, size).Draw(t, "indices")
		}

		idims := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 2).Draw(t, "idims")
		indices := draw(idims, dims[axis])
		got, out, err := Gather(src, dims, indices, idims, int64(axis), 0)
		if err != nil {
			t.Fatal(err)
		}
		var wdims []int
		wdims = append(append(append(wdims, dims[:axis]...), idims...), dims[axis+1:]...)
		var want []int32
		each(wdims, func(at []int) {
			i := indices[flat(at[axis:axis+len(idims)], idims)]
			from := append(append(append([]int{}, at[:axis]...), wrapIndex(i, dims[axis])), at[axis+len(idims):]...)
			want = append(want, src[flat(from, dims)])
		})
		equal(t, "Gather", got, want, out, wdims)

		edims := make([]int, len(dims))
		for k, d := range dims {
			edims[k] = rapid.IntRange(0, d).Draw(t, "edim")
		}
		edims[axis] = rapid.IntRange(0, 5).Draw(t, "along")
		indices = draw(edims, dims[axis])
		got, out, err = GatherElements(src, dims, indices, edims, int64(axis), 0)
		if err != nil {
			t.Fatal(err)
		}
		updates := iota32(edims)
		scattered := append([]int32{}, src...)
		want = want[:0]
		each(edims, func(at []int) {
			i := flat(at, edims)
			from := append([]int{}, at...)
			from[axis] = wrapIndex(indices[i], dims[axis])
			want = append(want, src[flat(from, dims)])
			scattered[flat(from, dims)] = updates[i]
		})
		equal(t, "GatherElements", got, want, out, edims)
		set, err := ScatterElements(src, dims, indices, edims, updates, int64(axis), nil)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "ScatterElements", set, scattered, dims, dims)

		batch := rapid.IntRange(0, len(dims)-1).Draw(t, "batch")
		m := rapid.IntRange(1, len(dims)-batch).Draw(t, "tuple")
		tdims := append(append([]int{}, dims[:batch]...), rapid.IntRange(0, 3).Draw(t, "rows"), m)
		size, _ := Size(tdims, 0)
		tuples := make([]int64, size)
		for i := range tuples {
			n := dims[batch+i%m]
			tuples[i] = rapid.Int64Range(int64(-n), int64(n-1)).Draw(t, "tuple index")
		}
		got, out, err = GatherND(src, dims, tuples, tdims, int64(batch), 0)
		if err != nil {
			t.Fatal(err)
		}
		wdims = append(append([]int{}, tdims[:batch+1]...), dims[batch+m:]...)
		want = want[:0]
		each(wdims, func(at []int) {
			from := append([]int{}, at[:batch]...)
			row := flat(at[:batch+1], tdims[:batch+1])
			for j := range m {
				from = append(from, wrapIndex(tuples[row*m+j], dims[batch+j]))
			}
			want = append(want, src[flat(append(from, at[batch+1:]...), dims)])
		})
		equal(t, "GatherND", got, want, out, wdims)
	})
}

func TestScatterNDReplacesInOrder(t *testing.T) {
	// The first example of the operator's specification.
	got, err := ScatterND([]float32{1, 2, 3, 4, 5, 6, 7, 8}, []int{8}, []int64{4, 3, 1, 7}, []int{4, 1}, []float32{9, 10, 11, 12}, []int{4}, nil)
	if want := []float32{1, 11, 3, 10, 9, 6, 7, 12}; err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
	add := func(a, b float32) float32 { return a + b }
	got, err = ScatterND([]float32{1, 2, 3, 4}, []int{2, 2}, []int64{1, 1}, []int{2, 1}, []float32{10, 20, 30, 40}, []int{2, 2}, add)
	if want := []float32{1, 2, 43, 64}; err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("with addition: got %v, %v; want %v", got, err, want)
	}
}

func TestBinaryAndWhereBroadcast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		full := rapid.SliceOfN(rapid.IntRange(1, 4), 0, 4).Draw(t, "dims")
		operand := func(label string) []int {
			d := append([]int{}, full[rapid.IntRange(0, len(full)).Draw(t, label):]...)
			for k := range d {
				if rapid.Bool().Draw(t, label) {
					d[k] = 1
				}
			}
			return d
		}
		ad, bd, cd := operand("a"), operand("b"), operand("c")
		a, b := iota32(ad), iota32(bd)
		cond := make([]bool, len(iota32(cd)))
		for i := range cond {
			cond[i] = rapid.Bool().Draw(t, "cond")
		}
		at := func(pos, dims []int) int { // where NumPy's rule reads an operand
			from := append([]int{}, pos[len(pos)-len(dims):]...)
			for k := range from {
				from[k] %= dims[k]
			}
			return flat(from, dims)
		}
		wdims := func(shapes ...[]int) []int {
			var out []int
			for k := range full {
				d, any := 1, false
				for _, s := range shapes {
					if j := k - (len(full) - len(s)); j >= 0 {
						d, any = max(d, s[j]), true
					}
				}
				if any {
					out = append(out, d)
				}
			}
			return out
		}
		got, out, err := Binary(a, ad, b, bd, 0, func(x, y int32) int32 { return x - y })
		if err != nil {
			t.Fatal(err)
		}
		var want []int32
		dims := wdims(ad, bd)
		each(dims, func(pos []int) { want = append(want, a[at(pos, ad)]-b[at(pos, bd)]) })
		equal(t, "Binary", got, want, out, dims)

		got, out, err = Where(cond, cd, a, ad, b, bd, 0)
		if err != nil {
			t.Fatal(err)
		}
		want = want[:0]
		dims = wdims(ad, bd, cd)
		each(dims, func(pos []int) {
			if cond[at(pos, cd)] {
				want = append(want, a[at(pos, ad)])
			} else {
				want = append(want, b[at(pos, bd)])
			}
		})
		equal(t, "Where", got, want, out, dims)
	})
}
