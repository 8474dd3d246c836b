package convert

import (
	"context"
	"slices"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// share is how a matrix is stored: in at most so many numbers of a type. All of its numbers keep it dense.
type share struct {
	numbers int // 0 where no number was asked for
	storage Storage
}

// mix is how the matrices of all groups are stored, and the other weights of the model.
type mix struct {
	shares []share // of groups
	rest   Storage
}

func uniformMix(groups int, s Storage) mix {
	return mix{slices.Repeat([]share{{storage: s}}, groups), s}
}

// narrowest is the narrowest storage in a mix.
func (m mix) narrowest() Storage {
	s := m.rest
	for _, of := range m.shares {
		s = narrower(s, of.storage)
	}
	return s
}

func (m mix) narrow() bool { return m.narrowest() != export.Float32 }

// narrower is the narrower one of two storages.
func narrower(a, b Storage) Storage {
	if slices.Index(Storages, string(a)) < slices.Index(Storages, string(b)) {
		return b
	}
	return a
}

// place is where a tensor stands that nodes read by name. Scopes are counted as [onnx.Model.Scopes] lists them, which conversions keep in order.
type place struct {
	scope int
	name  string
}

// eachTensor visits the tensors that nodes read by name: initializers and the values of Constant nodes, scope by scope.
func eachTensor(m *onnx.Model, visit func(scope int, g *onnx.Graph, name string, t *onnx.Tensor)) {
	for k, g := range m.Scopes() {
		for _, t := range g.Initializers {
			visit(k, g, t.Name, t)
		}
		for _, n := range g.Nodes {
			if a := n.Attr("value"); n.OpType == "Constant" && a != nil && a.T != nil {
				visit(k, g, n.Output(0), a.T)
			}
		}
	}
}

// placesOf lists the tensors of a model.
func placesOf(m *onnx.Model) map[place]*onnx.Tensor {
	all := make(map[place]*onnx.Tensor)
	eachTensor(m, func(scope int, _ *onnx.Graph, name string, t *onnx.Tensor) { all[place{scope, name}] = t })
	return all
}

// homes are the places in the dense model of the tensors that the matrix of each group, and behind them of each that is kept a factor, is made of.
func (c *conversion) homes() [][]place {
	at := make(map[*onnx.Tensor]place)
	for p, t := range placesOf(c.dense) {
		at[t] = p
	}
	ev := onnx.NewEvaluator(c.dense, onnx.NewIndex(c.dense), 0)
	groups := c.groupsAndKept()
	homes := make([][]place, len(groups))
	for i, g := range groups {
		add := func(n *onnx.Node, slot int) {
			for _, t := range ev.Sources(n.Graph, n.Input(slot)) {
				homes[i] = append(homes[i], at[t])
			}
		}
		if g.matrix != nil {
			add(g.matrix.Node, g.matrix.Slot)
		}
		for _, s := range g.sites {
			add(s.Node, recurrent.SlotW)
		}
	}
	return homes
}

// stored is a model, dense or compact, with its weights in the storages of a mix; the model itself where all are float32.
func (c *conversion) stored(ctx context.Context, m *onnx.Model, x mix) (*onnx.Model, error) {
	if !c.narrow(x) {
		return m, nil
	}
	o := export.StoreOptions{Storage: x.rest}
	if len(c.kept) > 0 || slices.ContainsFunc(x.shares, func(s share) bool { return s.storage != x.rest }) {
		var err error
		if o.Of, err = c.storages(m, x); err != nil {
			return nil, err
		}
	}
	patch, err := export.Store(ctx, m, o)
	if err != nil {
		return nil, err
	}
	return patch.Apply(ctx)
}

// storages tells how a mix stores the tensors of a model: cores by the names that the metadata give, what is left of the dense model by its places.
func (c *conversion) storages(m *onnx.Model, x mix) (func(*onnx.Graph, string) Storage, error) {
	rings, err := export.Records(m)
	if err != nil {
		return nil, err
	}
	others, err := export.Matrices(m)
	if err != nil {
		return nil, err
	}
	for _, r := range others {
		rings = append(rings, r.Record)
	}
	if c.places == nil {
		c.places = c.homes()
	}
	cores, dense := make(map[string]Storage), make(map[place]Storage)
	enter := func(i int, g *group, factored, full Storage) {
		k := slices.IndexFunc(rings, func(r export.Record) bool { return slices.Contains(r.Sites, g.name()) })
		if k >= 0 {
			for _, name := range rings[k].Cores {
				cores[name] = factored
			}
			return
		}
		for _, p := range c.places[i] {
			if _, taken := dense[p]; !taken {
				dense[p] = full
			}
		}
	}
	for i, g := range c.groups {
		enter(i, g, x.shares[i].storage, x.shares[i].storage)
	}
	for i, k := range c.kept { // dense only where the effect of rounding other weights is measured
		enter(len(c.groups)+i, k.group, k.storage, export.Float32)
	}
	scopes := m.Scopes()
	return func(g *onnx.Graph, name string) Storage {
		if s, ok := cores[name]; ok {
			return s
		}
		return dense[place{slices.Index(scopes, g), name}]
	}, nil
}
