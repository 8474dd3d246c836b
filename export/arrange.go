package export

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/tensor"
)

// The axes of a core [left, mode, right] in the order in which rings usually store them. Another order is a permutation of these letters.
const plainOrder = "lmr"

// checkOrders asks for one permutation of the axes for each of d cores.
func checkOrders(orders []string, d int) error {
	if len(orders) != d {
		return fmt.Errorf("%d orders for %d cores", len(orders), d)
	}
	for _, o := range orders {
		letters := []byte(o)
		slices.Sort(letters)
		if string(letters) != plainOrder {
			return fmt.Errorf("order %.20q is no permutation of %q", o, plainOrder)
		}
	}
	return nil
}

// order is that of the stored numbers of core k.
func (r Record) order(k int) string {
	if r.Orders == nil {
		return plainOrder
	}
	return r.Orders[k]
}

// Places are, for each number of core k's tensor, its place in the core [r_k, mode, r_{k+1}]; nil where they are the same.
func (r Record) Places(k int) []int {
	order := r.order(k)
	if order == plainOrder {
		return nil
	}
	c := r.shape().Cores[k]
	places := make([]int, c.Left*c.Mode*c.Right)
	for i := range places {
		places[i] = i
	}
	return arrange(places, c, order)
}

// Arrange gives the numbers of core k [r_k, mode, r_{k+1}] in the order of its tensor: the same slice where that is the core's own.
func (r Record) Arrange(k int, core []float32) []float32 {
	if r.order(k) == plainOrder {
		return core
	}
	return arrange(core, r.shape().Cores[k], r.order(k))
}

// arrange transposes what a core of the shape of c holds.
func arrange[T any](data []T, c tensor.Core, order string) []T {
	dims := map[byte]int{'l': c.Left, 'm': c.Mode, 'r': c.Right}
	steps := map[byte]int{'l': c.Mode * c.Right, 'm': c.Right, 'r': 1}
	out := make([]T, 0, len(data))
	for i := range dims[order[0]] {
		for j := range dims[order[1]] {
			at := i*steps[order[0]] + j*steps[order[1]]
			for range dims[order[2]] {
				out = append(out, data[at])
				at += steps[order[2]]
			}
		}
	}
	return out
}

// A side is the input or the output cores of a factor, stored so that few nodes merge them to the matrix [N, p·q], p and q being the ranks at its ends. Orders of its columns:
// p slow, or reversed, q slow.
//
//   - One core is the matrix.
//   - In rows, products go from the right over [l, m, r] · [r, N·q]. They end in [p, N, q], which for p > 1 has yet to be transposed.
//   - In columns, they go from the right over [N·q, r] · [m, r, l] with a batch of m, and end in [N, q, p], the reversed order. Each product has l columns, which are few.
type side struct {
	cores    []tensor.Core
	rows     int // N
	p, q     int
	columns  bool
	reversed bool
	crossed  bool // the matrix is wanted transposed
}

// narrowWork bounds the multiplications that products in columns may waste because few columns do not fill the vectors of a processor. So many take about as long as the two nodes
// that they save take to load.
const narrowWork = 1 << 23

// ProductColumns is the number of columns that the matrix products of runtimes compute at once: one more takes nearly as long as so many.
const ProductColumns = 16

// newSide chooses how a side is merged to the given order of columns.
func newSide(cores []tensor.Core, reversed, crossed bool) side {
	last := len(cores) - 1
	s := side{cores: cores, rows: 1, p: cores[0].Left, q: cores[last].Right, reversed: reversed, crossed: crossed}
	for _, c := range cores {
		s.rows *= c.Mode
	}
	wasted := float64(s.rows) * float64(s.q) * float64(cores[0].Right) * float64((ProductColumns-s.p%ProductColumns)%ProductColumns)
	s.columns = last > 0 && s.p > 1 && (s.q == 1 || reversed) && wasted <= narrowWork
	return s
}

// transposes says whether the side takes nodes that change the order of numbers.
func (s side) transposes() bool { return len(s.cores) > 1 && s.p > 1 && !s.columns }

// order is that in which core k is stored.
func (s side) order(k int) string {
	switch {
	case len(s.cores) == 1:
		ends := "lr"
		if s.reversed {
			ends = "rl"
		}
		if s.crossed {
			return ends + "m"
		}
		return "m" + ends
	case s.columns:
		return "mrl"
	}
	return plainOrder
}

// dims are those in which core k is stored; final are those of the matrix if it is one core.
func (s side) dims(k int, final []int) []int {
	if len(s.cores) == 1 {
		return final
	}
	c := s.cores[k]
	switch {
	case s.columns && k == len(s.cores)-1:
		return []int{c.Mode * c.Right, c.Left}
	case s.columns:
		return []int{c.Mode, c.Right, c.Left}
	case k == 0:
		return []int{c.Left * c.Mode, c.Right}
	case k == len(s.cores)-1:
		return []int{c.Left, c.Mode * c.Right}
	}
	return []int{c.Left, c.Mode, c.Right}
}

// merge multiplies the stored cores out to the matrix in its final dims, of which one may be −1. A crossed matrix has two.
func (b *builder) merge(s side, names []string, final ...int) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	b.at = nil
	m := names[last]
	for k := last - 1; k >= 0; k-- {
		if s.columns {
			if k < last-1 {
				m = b.reshape(m, -1, s.cores[k].Right)
			}
			m = b.matmul(m, names[k])
			continue
		}
		if k < last-1 {
			m = b.reshape(m, 0, -1)
		}
		m = b.matmul(names[k], m)
	}
	switch {
	case s.transposes():
		perm := []int{1, 0, 2}
		if s.reversed {
			perm = []int{1, 2, 0}
		}
		if s.crossed {
			perm = []int{perm[1], perm[2], perm[0]}
		}
		m = b.transpose(b.reshape(m, s.p, -1, s.q), perm...)
	case s.crossed:
		m = b.transpose(b.reshape(m, -1, s.p*s.q), 1, 0)
		if len(final) == 2 {
			return m
		}
	}
	return b.reshape(m, final...)
}

// arrangement is both sides of a factor, in one order of columns.
type arrangement struct {
	f       *tensor.Factor
	in, out side
}

// arrangementOf chooses the order of the columns that takes fewest nodes; crossed sides are wanted as matrices [r_0·r_n, N].
func arrangementOf(f *tensor.Factor, crossedIn, crossedOut bool) arrangement {
	n := len(f.InModes)
	sides := func(reversed bool) arrangement { // r_n slow
		return arrangement{f, newSide(f.Cores[:n], reversed, crossedIn), newSide(f.Cores[n:], !reversed, crossedOut)}
	}
	a, other := sides(false), sides(true)
	if other.in.transposes() && other.out.transposes() || a.in.transposes() == other.in.transposes() || a.out.transposes() && !other.out.transposes() {
		return a
	}
	return other
}

// orders are those of all cores.
func (a arrangement) orders() []string {
	var all []string
	for k := range a.in.cores {
		all = append(all, a.in.order(k))
	}
	for k := range a.out.cores {
		all = append(all, a.out.order(k))
	}
	return all
}

// store stores the cores. The dims are those of the sides' matrices.
func (b *builder) store(a arrangement, in, out []int) ([]string, error) {
	n, orders := len(a.in.cores), a.orders()
	return b.cores(a.f, func(k int) (dims []int, data []float32) {
		if k < n {
			dims = a.in.dims(k, in)
		} else {
			dims = a.out.dims(k-n, out)
		}
		return dims, arrange(a.f.Cores[k].Data, a.f.Cores[k], orders[k])
	})
}

// mergeIn merges the input side to its dims and cuts the columns of W that pad it off.
func (b *builder) mergeIn(a arrangement, names []string, dims []int) string {
	x := b.merge(a.in, names[:len(a.in.cores)], dims...)
	if a.in.rows == a.f.In {
		return x
	}
	axis := 0
	if a.in.crossed {
		axis = 1
	}
	return b.head(x, axis, a.f.In)
}

func (b *builder) mergeOut(a arrangement, names []string, dims []int) string {
	return b.merge(a.out, names[len(a.in.cores):], dims...)
}
