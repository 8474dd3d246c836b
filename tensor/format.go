package tensor

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Format is a way to spread the modes of a matrix over a chain of cores. Its Deal is all that this package, the exported graphs and
// training need to know of it: networks, reconstruction, merging and gradients follow.
type Format struct {
	Name string
	// Closed formats are rings: r_0 may be above 1.
	Closed bool
	// Deal says which modes each core carries. Over the cores, column modes and row modes must each appear once and in order. An error
	// says why these modes do not make a factor of the format.
	Deal func(inModes, outModes []int) ([]Slot, error)
}

// Slot is what one core carries: a row mode, a column mode or both; 0 stands for none. A mode of 1 is a mode.
type Slot struct{ Row, Col int }

// Size is the middle axis of the core, the row mode's index being the slower one.
func (s Slot) Size() int { return max(s.Row, 1) * max(s.Col, 1) }

// The formats of this package.
const (
	Ring     = "tr"  // tensor ring, input cores first, then output cores
	Train    = "tt"  // the same with r_0 = 1
	SVD      = "svd" // truncated SVD, a train of two cores
	TTMatrix = "ttm" // core k carries input mode k and output mode k, r_0 = 1
)

var formats = struct {
	sync.RWMutex
	of map[string]Format
}{of: map[string]Format{
	Ring:     {Name: Ring, Closed: true, Deal: sides},
	Train:    {Name: Train, Deal: sides},
	SVD:      {Name: SVD, Deal: sides},
	TTMatrix: {Name: TTMatrix, Deal: pairs},
}}

// RegisterFormat makes a further format known. It is meant for init functions and panics if the name is taken.
func RegisterFormat(f Format) {
	formats.Lock()
	defer formats.Unlock()
	if _, taken := formats.of[f.Name]; taken {
		panic(fmt.Sprintf("tensor: format %q is registered twice", f.Name))
	}
	formats.of[f.Name] = f
}

// FormatOf finds a format by its name.
func FormatOf(name string) (Format, error) {
	formats.RLock()
	defer formats.RUnlock()
	f, ok := formats.of[name]
	if !ok {
		var known []string
		for n := range formats.of {
			known = append(known, n)
		}
		slices.Sort(known)
		return f, fmt.Errorf("tensor: format %q is unknown (known are %s)", name, strings.Join(known, ", "))
	}
	return f, nil
}

// sides gives each mode a core of its own, input modes first.
func sides(in, out []int) ([]Slot, error) {
	if len(in) == 0 || len(out) == 0 {
		return nil, fmt.Errorf("%d input and %d output modes (each side needs one)", len(in), len(out))
	}
	slots := make([]Slot, 0, len(in)+len(out))
	for _, n := range in {
		slots = append(slots, Slot{Col: n})
	}
	for _, m := range out {
		slots = append(slots, Slot{Row: m})
	}
	return slots, nil
}

// pairs gives core k input mode k and output mode k.
func pairs(in, out []int) ([]Slot, error) {
	if len(in) < 2 || len(in) != len(out) {
		return nil, fmt.Errorf("a TT-matrix pairs input modes with output modes, but there are %d and %d (two pairs or more; a mode may be 1)", len(in), len(out))
	}
	slots := make([]Slot, len(in))
	for k := range in {
		slots[k] = Slot{Row: out[k], Col: in[k]}
	}
	return slots, nil
}

// Chain is the network of a chain of cores with the given ranks r_0 … r_{d−1}: tensor k has the labels [k, row mode, column mode,
// (k+1) mod d], modes it does not carry being left out, so label k < d is the bond r_k. An open end (r_0 = 1) is a bond of size 1
// between the last core and the first. There are two cores or more.
func Chain(slots []Slot, ranks []int) Network {
	d := len(slots)
	net := Network{Dims: slices.Clone(ranks)}
	mode := func(size int, to *[]int) []int {
		if size == 0 {
			return nil
		}
		net.Dims = append(net.Dims, size)
		*to = append(*to, len(net.Dims)-1)
		return []int{len(net.Dims) - 1}
	}
	for k, s := range slots {
		row := mode(s.Row, &net.Rows)
		net.Tensors = append(net.Tensors, slices.Concat([]int{k}, row, mode(s.Col, &net.Cols), []int{(k + 1) % d}))
	}
	return net
}
