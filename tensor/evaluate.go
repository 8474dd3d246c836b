package tensor

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/gemm"
)

// Float is what a plan can be evaluated and differentiated in.
type Float interface{ float32 | float64 }

// Evaluation is a plan at work on one set of tensors. It keeps what the way back needs: every tensor and every intermediate once.
//
// The way back is how gradients flow through a factor. With C = A·B at a step, dA = dC·Bᵀ and dB = Aᵀ·dC: two products of the size of
// the forward one, so the cost follows the cores and never the matrix. Which gradient is at hand decides on the network:
//
//	[Factor.InputSide], [Factor.OutputSide]  from dR [∏ InModes, r_0·r_n] and dL [Out, r_0·r_n], where the sides are merged (R, L) and a graph is trained through them
//	[Factor.Network]                         from dŴ [Out, ∏ InModes]
//	[Network.Apply]                          from dY [batch, Out], where X·Ŵᵀ is contracted without merging; X is then a tensor too, and gets its gradient
type Evaluation[T Float] struct {
	Result []T // axes as [Network.Open] lists them, C order

	plan *Plan
	a, b [][]T // the operands of each step, brought to [M, K] and [K, N]
}

// Evaluate contracts the network's tensors, given in its order and in C order each. Sums have the precision of T. The tensors must not
// change before the last call of [Evaluation.Backward]. An error says which tensor does not have the plan's size.
func Evaluate[T Float](p *Plan, tensors ...[]T) (*Evaluation[T], error) {
	net := p.Network
	if len(tensors) != len(net.Tensors) {
		return nil, fmt.Errorf("tensor: plan: %d tensors given for a network of %d", len(tensors), len(net.Tensors))
	}
	for t, x := range tensors {
		if want := net.shape(net.Tensors[t]); len(x) != product(want) {
			return nil, fmt.Errorf("tensor: plan: tensor %d has %d elements, the network has %v", t, len(x), want)
		}
	}
	e := &Evaluation[T]{plan: p}
	e.Result = contract(p, slices.Clone(tensors), func(a, b []T) { e.a, e.b = append(e.a, a), append(e.b, b) })
	return e, nil
}

// contract goes through the steps of a plan. It forgets values, the tensors, as they are used; keep sees the operands of each step.
func contract[T Float](p *Plan, values [][]T, keep func(a, b []T)) []T {
	net := p.Network
	for _, s := range p.Steps {
		a := arrange(values[s.A], net, p.labels(s.A), slices.Concat(s.Left, s.Sum))
		b := arrange(values[s.B], net, p.labels(s.B), slices.Concat(s.Sum, s.Right))
		values[s.A], values[s.B] = nil, nil
		c := make([]T, s.M*s.N)
		gemm.Mul(false, false, s.M, s.N, s.K, 1, a, s.K, b, s.N, 0, c, s.N)
		keep(a, b)
		values = append(values, c)
	}
	last := len(values) - 1
	return permute(values[last], net.shape(p.labels(last)), p.Final)
}

// Backward returns the gradients of the tensors for the gradient of the result, which has its axes. It may be called again. Cost: twice
// the FLOPs of the plan.
func (e *Evaluation[T]) Backward(grad []T) ([][]T, error) {
	if len(grad) != len(e.Result) {
		return nil, fmt.Errorf("tensor: plan: a gradient of %d elements for a result of %d", len(grad), len(e.Result))
	}
	p, net := e.plan, e.plan.Network
	grads := make([][]T, len(net.Tensors)+len(p.Steps))
	last := len(grads) - 1
	grads[last] = slices.Clone(arrange(grad, net, net.Open(), p.labels(last)))
	for i := len(p.Steps) - 1; i >= 0; i-- {
		s, c := p.Steps[i], grads[len(net.Tensors)+i]
		a, b := make([]T, s.M*s.K), make([]T, s.K*s.N)
		gemm.Mul(false, true, s.M, s.K, s.N, 1, c, s.N, e.b[i], s.N, 0, a, s.K)
		gemm.Mul(true, false, s.K, s.N, s.M, 1, e.a[i], s.K, c, s.N, 0, b, s.N)
		grads[s.A] = arrange(a, net, slices.Concat(s.Left, s.Sum), p.labels(s.A))
		grads[s.B] = arrange(b, net, slices.Concat(s.Sum, s.Right), p.labels(s.B))
		grads[len(net.Tensors)+i] = nil
	}
	return grads[:len(net.Tensors)], nil
}

// labels are the labels of a tensor of the network or of a step's result.
func (p *Plan) labels(id int) []int {
	if n := len(p.Network.Tensors); id >= n {
		return p.Steps[id-n].Labels
	}
	return p.Network.Tensors[id]
}

// arrange permutes x, whose axes are the labels have, to the order want. It returns x itself where that is its order already.
func arrange[T Float](x []T, net Network, have, want []int) []T {
	perm := make([]int, len(want))
	for k, l := range want {
		perm[k] = slices.Index(have, l)
	}
	if slices.IsSorted(perm) {
		return x
	}
	return permute(x, net.shape(have), perm)
}
