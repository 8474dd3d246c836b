package tensor

import (
	"fmt"
	"slices"
)

// Step contracts two tensors of a plan into one, as a matrix product without a batch axis:
//
//	transpose A to [Left…, Sum…] and reshape to M×K, transpose B to [Sum…, Right…] and reshape to K×N, multiply, reshape to Labels.
//
// Tensors of the network are numbered from 0; step s makes tensor len(Network.Tensors)+s. Every tensor is used once. Left and Right
// keep the order their labels have in A and B. Any of Left, Sum and Right may be empty; its size is then 1.
type Step struct {
	A, B             int
	Left, Sum, Right []int // labels of A alone, of both, of B alone
	M, K, N          int
	Labels           []int // of the result: Left, then Right
}

// FLOPs counts a multiplication and an addition as two.
func (s Step) FLOPs() float64 { return 2 * float64(s.M) * float64(s.K) * float64(s.N) }

// Plan is an order of contractions of a network, found from its shapes alone.
type Plan struct {
	Network Network
	Steps   []Step
	Final   []int // axis i of the result (Network.Open's order) is axis Final[i] of the last tensor; the identity needs no transpose
	Cost    Cost
}

// Cost is what a plan takes to run.
type Cost struct {
	FLOPs   float64 // a multiplication and an addition are two
	Largest float64 // elements of the largest tensor made by a step, the result included
}

// Objective is what a plan minimises; the other quantity breaks ties.
type Objective int

// Objectives.
const (
	FewestFLOPs Objective = iota
	LeastMemory           // the largest tensor made
)

func (o Objective) less(a, b Cost) bool {
	if o == LeastMemory {
		return a.Largest < b.Largest || a.Largest == b.Largest && a.FLOPs < b.FLOPs
	}
	return a.FLOPs < b.FLOPs || a.FLOPs == b.FLOPs && a.Largest < b.Largest
}

// exactTensors is the most tensors for which all orders are searched.
const exactTensors = 14

// NewPlan finds the best order of pairwise contractions. Up to 14 tensors the search over all binary trees is exact, by dynamic
// programming over subsets (Pfeifer, Haegeman and Verstraete 2014, without their pruning: 3^n steps). Larger networks are searched
// exactly among the trees that merge tensors neighbouring in the order given, taken as a ring (n³ steps); the order of a ring or a
// train is that order. Ties fall to the first tree found, so the same network gives the same plan.
func NewPlan(net Network, objective Objective) (*Plan, error) {
	if err := net.Validate(); err != nil {
		return nil, err
	}
	var root *tree
	if len(net.Tensors) <= exactTensors {
		root = searchSubsets(net, objective)
	} else {
		root = searchIntervals(net, objective)
	}
	return newPlan(net, root), nil
}

// PlanInOrder contracts the tensors from first to last, one by one: the plan a person would write, and a bound for the others.
func PlanInOrder(net Network) (*Plan, error) {
	if err := net.Validate(); err != nil {
		return nil, err
	}
	root := &tree{tensor: 0}
	for t := 1; t < len(net.Tensors); t++ {
		root = &tree{left: root, right: &tree{tensor: t}}
	}
	return newPlan(net, root), nil
}

// tree is a contraction order: a leaf is a tensor of the network.
type tree struct {
	left, right *tree
	tensor      int
}

func newPlan(net Network, root *tree) *Plan {
	p := &Plan{Network: net, Final: []int{}}
	open := net.Open()
	_, labels := p.add(root, open)
	for _, l := range open {
		p.Final = append(p.Final, slices.Index(labels, l))
	}
	return p
}

// add appends the steps of a subtree and returns its tensor's number and labels. want is the order in which the caller would like them.
func (p *Plan) add(t *tree, want []int) (id int, labels []int) {
	if t.left == nil {
		return t.tensor, p.Network.Tensors[t.tensor]
	}
	a, la := p.add(t.left, want)
	b, lb := p.add(t.right, want)
	if firstOf(want, lb, la) < firstOf(want, la, lb) {
		a, la, b, lb = b, lb, a, la
	}
	s := Step{A: a, B: b, M: 1, K: 1, N: 1}
	for _, l := range la {
		if slices.Contains(lb, l) {
			s.Sum = append(s.Sum, l)
			s.K *= p.Network.Dims[l]
		} else {
			s.Left = append(s.Left, l)
			s.M *= p.Network.Dims[l]
		}
	}
	for _, l := range lb {
		if !slices.Contains(la, l) {
			s.Right = append(s.Right, l)
			s.N *= p.Network.Dims[l]
		}
	}
	s.Labels = append(slices.Clone(s.Left), s.Right...)
	p.Steps = append(p.Steps, s)
	p.Cost.FLOPs += s.FLOPs()
	p.Cost.Largest = max(p.Cost.Largest, float64(s.M)*float64(s.N))
	return len(p.Network.Tensors) + len(p.Steps) - 1, s.Labels
}

// firstOf is the place in want of the first label that stands in a but not in b, or len(want).
func firstOf(want, a, b []int) int {
	for i, l := range want {
		if slices.Contains(a, l) && !slices.Contains(b, l) {
			return i
		}
	}
	return len(want)
}

// String prints the steps, one a line, as labels.
func (p *Plan) String() string {
	s := ""
	for i, t := range p.Steps {
		s += fmt.Sprintf("%d: %d × %d over %v → %v (%d×%d×%d)\n", len(p.Network.Tensors)+i, t.A, t.B, t.Sum, t.Labels, t.M, t.K, t.N)
	}
	return s
}
