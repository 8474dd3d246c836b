package tensor

import (
	"fmt"
	"slices"
)

// Run contracts the network's tensors, given in its order, to an array with the axes of Network.Open. Sums are float64, the result
// is rounded once. An error says which tensor does not have the plan's shape.
func (p *Plan) Run(tensors ...*Dense) (*Dense, error) {
	net := p.Network
	if len(tensors) != len(net.Tensors) {
		return nil, fmt.Errorf("tensor: plan: %d tensors given for a network of %d", len(tensors), len(net.Tensors))
	}
	values := make([][]float64, len(tensors))
	for t, x := range tensors {
		want := net.shape(net.Tensors[t])
		if err := x.Validate(); err != nil {
			return nil, err
		}
		if !slices.Equal(x.Dims, want) {
			return nil, fmt.Errorf("tensor: plan: tensor %d is %v, the network has %v", t, x.Dims, want)
		}
		values[t] = widen(x.Data)
	}
	return &Dense{net.shape(net.Open()), narrow(contract(p, values, func(_, _ []float64) {}))}, nil
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
