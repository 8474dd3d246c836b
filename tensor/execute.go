package tensor

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/gemm"
)

// Run contracts the network's tensors, given in its order, to an array with the axes of Network.Open. Sums are float64, the result
// is rounded once. An error says which tensor does not have the plan's shape.
func (p *Plan) Run(tensors ...*Dense) (*Dense, error) {
	net := p.Network
	if len(tensors) != len(net.Tensors) {
		return nil, fmt.Errorf("tensor: plan: %d tensors given for a network of %d", len(tensors), len(net.Tensors))
	}
	type value struct {
		labels []int
		data   []float64
	}
	values := make([]value, 0, len(tensors)+len(p.Steps))
	for t, x := range tensors {
		want := net.shape(net.Tensors[t])
		if err := x.Validate(); err != nil {
			return nil, err
		}
		if !slices.Equal(x.Dims, want) {
			return nil, fmt.Errorf("tensor: plan: tensor %d is %v, the network has %v", t, x.Dims, want)
		}
		values = append(values, value{net.Tensors[t], widen(x.Data)})
	}
	for _, s := range p.Steps {
		a := arrange(values[s.A].data, net, values[s.A].labels, slices.Concat(s.Left, s.Sum))
		b := arrange(values[s.B].data, net, values[s.B].labels, slices.Concat(s.Sum, s.Right))
		values[s.A].data, values[s.B].data = nil, nil
		c := make([]float64, s.M*s.N)
		gemm.F64(false, false, s.M, s.N, s.K, 1, a, s.K, b, s.N, 0, c, s.N)
		values = append(values, value{s.Labels, c})
	}
	last := values[len(values)-1]
	return &Dense{net.shape(net.Open()), narrow(permute(last.data, net.shape(last.labels), p.Final))}, nil
}

// Tensors returns the cores as arrays, in the order of [Factor.Network]. The data are shared.
func (f *Factor) Tensors() []*Dense {
	net := f.Network()
	ts := make([]*Dense, len(f.Cores))
	for k, c := range f.Cores {
		ts[k] = &Dense{net.shape(net.Tensors[k]), c.Data}
	}
	return ts
}
