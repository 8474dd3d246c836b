package source

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestPlannedBuffersDoNotMeet lays out random programs and looks at every pair of buffers.
func TestPlannedBuffersDoNotMeet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var p Program
		var all []*Buffer
		var steps []Step
		for range 1 + r.IntN(30) {
			out := &Buffer{Elem: Elem(r.IntN(2)), Len: 1 + r.IntN(50)}
			in := []Ref{}
			for range r.IntN(3) {
				if len(all) > 0 {
					in = append(in, Ref{Buf: all[r.IntN(len(all))]})
				}
			}
			all = append(all, out)
			steps = append(steps, &Nest{Out: Ref{Buf: out}, In: in})
		}
		p.plan(steps, Arena)
		total := [Elems]int{}
		for i, a := range all {
			total[a.Elem] += a.Len
			if a.Offset < 0 || a.Offset+a.Len > p.Arena[a.Elem] {
				t.Fatalf("buffer [%d, %d) lies outside the arena of %d", a.Offset, a.Offset+a.Len, p.Arena[a.Elem])
			}
			for _, b := range all[:i] {
				alive := lifetime(steps, a)[0] <= lifetime(steps, b)[1] && lifetime(steps, b)[0] <= lifetime(steps, a)[1]
				if alive && a.Elem == b.Elem && a.Offset < b.Offset+b.Len && b.Offset < a.Offset+a.Len {
					t.Fatalf("buffers [%d, %d) and [%d, %d) are alive at the same time", a.Offset, a.Offset+a.Len, b.Offset, b.Offset+b.Len)
				}
			}
		}
		for e := range Elems {
			if p.Arena[e] > total[e] {
				t.Errorf("arena of %d elements for %d", p.Arena[e], total[e])
			}
		}
	}
}

// lifetime is the first and the last step that names a buffer.
func lifetime(steps []Step, b *Buffer) [2]int {
	l := [2]int{math.MaxInt, -1}
	for at, s := range steps {
		out, in := s.buffers()
		for _, x := range append(out, in...) {
			if x == b {
				l = [2]int{min(l[0], at), at}
			}
		}
	}
	return l
}

// visits lists the elements that walks reach, loop by loop.
func visits(dims []int, walks []Ref) (list [][]int) {
	index := make([]int, len(dims))
	for {
		at := make([]int, len(walks))
		for k, w := range walks {
			at[k] = w.Offset
			for i, s := range w.Strides {
				at[k] += index[i] * s
			}
		}
		list = append(list, at)
		k := len(dims) - 1
		for ; k >= 0; k-- {
			if index[k]++; index[k] < dims[k] {
				break
			}
			index[k] = 0
		}
		if k < 0 {
			return list
		}
	}
}

// TestFewerLoopsVisitTheSame compares compacted loops with the ones they stand for, in order.
func TestFewerLoopsVisitTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	merged := 0
	for range 500 {
		rank := r.IntN(5)
		dims := make([]int, rank)
		for k := range dims {
			dims[k] = 1 + r.IntN(3)
		}
		walks := []Ref{{Offset: r.IntN(5), Strides: strides(dims)}}
		for range r.IntN(3) {
			w := Ref{Strides: strides(dims)}
			for k := range w.Strides {
				if r.IntN(4) == 0 {
					w.Strides[k] *= r.IntN(3) - 1
				}
			}
			walks = append(walks, w)
		}
		outer := r.IntN(rank + 1)
		d, w, o := compact(dims, outer, walks)
		if len(d) < rank {
			merged++
		}
		if size(d[:o]) != size(dims[:outer]) || size(d[o:]) != size(dims[outer:]) {
			t.Fatalf("%v | %v became %v | %v", dims[:outer], dims[outer:], d[:o], d[o:])
		}
		want, got := visits(dims, walks), visits(d, w)
		for i := range want {
			for k := range walks {
				if want[i][k] != got[i][k] {
					t.Fatalf("dims %v, strides %v: turn %d visits %d instead of %d", dims, walks[k].Strides, i, got[i][k], want[i][k])
				}
			}
		}
	}
	if merged == 0 {
		t.Error("no loops were merged")
	}
}

// TestQuantizedRows holds every weight to half a scale, and rows of zeros to zero.
func TestQuantizedRows(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const rows, columns = 7, 33
	w := make([]float32, rows*columns)
	for k := columns; k < len(w); k++ {
		w[k] = float32(r.NormFloat64() * math.Pow(10, float64(k/columns-4)))
	}
	q, scale, used := quantize(w, rows)
	for k, v := range w {
		s := scale[k/columns]
		if float32(q[k])*s != used[k] {
			t.Fatalf("weight %d: %d times %g is not %g", k, q[k], s, used[k])
		}
		if math.Abs(float64(used[k]-v)) > float64(s)/2*(1+1e-5) {
			t.Errorf("weight %d is %g instead of %g with scale %g", k, used[k], v, s)
		}
	}
	if scale[0] != 0 || used[0] != 0 {
		t.Errorf("zeros are %g times %g", used[0], scale[0])
	}
}
