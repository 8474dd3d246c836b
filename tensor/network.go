package tensor

import (
	"fmt"
	"math"
	"slices"
)

// Network is a tensor network: Tensors[t] lists the labels of tensor t's axes, Dims[l] is the size of label l. A label stands on
// exactly two different tensors (it is summed over) or on one tensor and once in Rows or Cols (it is open). Contracted, the network
// is a matrix whose row index runs over Rows and whose column index over Cols, both in C order.
type Network struct {
	Dims       []int
	Tensors    [][]int
	Rows, Cols []int
}

// Network describes the factor as [Chain] does: tensor k is core k, its middle axis split into the modes it carries. Rows are the output
// modes, columns the input modes.
func (f *Factor) Network() Network { return Chain(f.Slots(), f.Ranks()) }

// InputSide is the part of a factor with sides that makes right [∏ InModes, Cut] of [Factor.Sides]: its tensor k is core k, its columns are the
// bonds r_0 and r_n.
func (f *Factor) InputSide() Network { return f.side(0, len(f.InModes)) }

// OutputSide is the part of a factor with sides that makes left [Out, Cut] of [Factor.Sides]: its tensor k is core len(InModes)+k, its columns
// are the bonds r_0 and r_n.
func (f *Factor) OutputSide() Network { return f.side(len(f.InModes), len(f.Cores)) }

func (f *Factor) side(from, to int) Network {
	n := len(f.InModes)
	all := f.Network()
	net := Network{Dims: all.Dims, Tensors: all.Tensors[from:to], Rows: all.Rows, Cols: []int{0, n}}
	if from == 0 {
		net.Rows = all.Cols
	}
	return net
}

// Apply adds an input X [batch, Cols…] as the last tensor: the result is X·Ŵᵀ [batch, Rows…]. The new label of the batch is the
// first row label. Only the cost depends on batch.
func (n Network) Apply(batch int) Network {
	label := len(n.Dims)
	return Network{
		Dims:    append(slices.Clone(n.Dims), batch),
		Tensors: append(slices.Clone(n.Tensors), append([]int{label}, n.Cols...)),
		Rows:    append([]int{label}, n.Rows...),
	}
}

// Open lists the open labels in the order of the result's axes: Rows, then Cols.
func (n Network) Open() []int { return append(slices.Clone(n.Rows), n.Cols...) }

// Validate checks what the type's comment promises.
func (n Network) Validate() error {
	if len(n.Tensors) == 0 {
		return fmt.Errorf("tensor: network: no tensors")
	}
	for l, m := range n.Dims {
		if m < 1 {
			return fmt.Errorf("tensor: network: label %d has size %d", l, m)
		}
	}
	seen := make([]int, len(n.Dims))
	for t, labels := range n.Tensors {
		for i, l := range labels {
			if l < 0 || l >= len(n.Dims) {
				return fmt.Errorf("tensor: network: tensor %d has label %d, but there are %d labels", t, l, len(n.Dims))
			}
			if slices.Contains(labels[:i], l) {
				return fmt.Errorf("tensor: network: tensor %d has label %d twice", t, l)
			}
			seen[l]++
		}
		if n.elements(labels) > math.MaxInt64/16 {
			return fmt.Errorf("tensor: network: tensor %d is too large", t)
		}
	}
	open := n.Open()
	for i, l := range open {
		if l < 0 || l >= len(n.Dims) || slices.Contains(open[:i], l) || seen[l] != 1 {
			return fmt.Errorf("tensor: network: open label %d must stand on one tensor and once in rows or columns", l)
		}
	}
	for l, c := range seen {
		if c > 2 || c == 1 && !slices.Contains(open, l) {
			return fmt.Errorf("tensor: network: label %d stands on %d tensors (a summed label needs two)", l, c)
		}
	}
	return nil
}

// elements is the size of a tensor with these labels, in floating point so that it cannot overflow.
func (n Network) elements(labels []int) float64 {
	size := 1.0
	for _, l := range labels {
		size *= float64(n.Dims[l])
	}
	return size
}

func (n Network) shape(labels []int) []int {
	dims := make([]int, len(labels))
	for i, l := range labels {
		dims[i] = n.Dims[l]
	}
	return dims
}
