package source

import (
	"math"
	"slices"
	"sort"
)

// plan lays out the temporary values of a list of steps and raises the size of the arenas to what they need: the largest first, each at the lowest place
// that no value alive at the same time holds.
func (p *Program) plan(steps []Step, space Space) {
	var list []*Buffer
	seen := map[*Buffer]bool{}
	touch := func(b *Buffer, at int) {
		if b == nil || b.Space != space {
			return
		}
		if !seen[b] {
			seen[b] = true
			b.first = at
			list = append(list, b)
		}
		b.last = at
	}
	for at, s := range steps {
		out, in := s.buffers()
		for _, b := range out {
			touch(b, at)
		}
		for _, b := range in {
			touch(b, at)
		}
	}
	size := &p.Arena
	if space == Merged { // read by every later run
		size = &p.Static
		for _, b := range list {
			b.last = math.MaxInt
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Len > list[j].Len })
	for k, b := range list {
		var taken []*Buffer
		for _, o := range list[:k] {
			if o.Elem == b.Elem && o.first <= b.last && b.first <= o.last {
				taken = append(taken, o)
			}
		}
		sort.SliceStable(taken, func(i, j int) bool { return taken[i].Offset < taken[j].Offset })
		b.Offset = 0
		for _, o := range taken {
			if b.Offset+b.Len <= o.Offset {
				break
			}
			b.Offset = max(b.Offset, o.Offset+o.Len)
		}
		size[b.Elem] = max(size[b.Elem], b.Offset+b.Len)
	}
}

// newNest makes a nest with as few loops as its walks allow: loops of one turn are left out, neighbours that all walks run through without a jump become
// one.
func newNest(dims []int, out Ref, in []Ref, e Expr) *Nest {
	dims, walks, _ := compact(dims, len(dims), append([]Ref{out}, in...))
	return &Nest{Dims: dims, Out: walks[0], In: walks[1:], Expr: e}
}

// newReduce is newNest for reductions; loops merge on either side of outer only.
func newReduce(dims []int, outer int, out Ref, in []Ref, e Expr, combine string, finish Expr) *Reduce {
	out.Strides = append(slices.Clone(out.Strides), make([]int, len(dims)-len(out.Strides))...)
	walks := append([]Ref{out}, in...)
	dims, walks, outer = compact(dims, outer, walks)
	walks[0].Strides = walks[0].Strides[:outer]
	return &Reduce{Dims: dims, Outer: outer, Out: walks[0], In: walks[1:], Expr: e, Combine: combine, Finish: finish}
}

// compact drops and merges loops, and gives outer, the number of loops outside, among those that are left.
func compact(dims []int, outer int, walks []Ref) ([]int, []Ref, int) {
	var d []int
	w := make([]Ref, len(walks))
	for k := range walks {
		w[k] = Ref{Buf: walks[k].Buf, Offset: walks[k].Offset}
	}
	newOuter := 0
	for i, n := range dims {
		if i == outer {
			newOuter = len(d)
		}
		if n == 1 {
			continue
		}
		last := len(d) - 1
		joins := last >= 0 && !(i >= outer && last < newOuter)
		for k := range walks {
			joins = joins && w[k].Strides[last] == walks[k].Strides[i]*n
		}
		if joins {
			d[last] *= n
		} else {
			d = append(d, n)
		}
		for k := range walks {
			if joins {
				w[k].Strides[last] = walks[k].Strides[i]
			} else {
				w[k].Strides = append(w[k].Strides, walks[k].Strides[i])
			}
		}
	}
	if outer >= len(dims) {
		newOuter = len(d)
	}
	return d, w, newOuter
}
