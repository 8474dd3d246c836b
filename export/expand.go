package export

import (
	"context"
	"fmt"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// maxDense bounds the numbers that Expand makes of a model's rings together: 2 GiB of float32. Metadata of a few bytes can ask for
// matrices of any size.
const maxDense = 1 << 29

// Expand undoes Lower in memory: a model with Ŵ as dense initializers, the nodes' own inputs restored and the records, cores and
// merging nodes removed, so that a compact model can be decomposed again. Ŵ is [tensor.Factor.Reconstruct] of the stored cores in
// the element type of the site; rings of more than 2²⁹ numbers together are refused. Stored tensors are restored (see [Restore]) before. A
// model without records and stored tensors is returned as it is.
func Expand(ctx context.Context, m *onnx.Model) (*onnx.Model, error) {
	full, err := Restore(ctx, m)
	if err != nil {
		return nil, err
	}
	out, err := expand(ctx, full)
	if full != m && full != out {
		full.Close()
	}
	return out, err
}

// expand undoes the rings.
func expand(ctx context.Context, m *onnx.Model) (*onnx.Model, error) {
	records, err := Records(m)
	if err != nil {
		return nil, err
	}
	others, err := Matrices(m)
	if err != nil || len(records)+len(others) == 0 {
		return m, err
	}
	v := newView(m)
	p := onnx.NewPatch(m)
	left := maxDense
	fits := func(r Record) error {
		in := tensorProduct(r.InModes) // padding included
		if r.Out > left/in {
			return fmt.Errorf("export: ring of site %q: [%d, %d] and the rings before it have more than %d numbers, too many to expand", r.Sites[0], r.Out, in, maxDense)
		}
		left -= r.Out * in
		return ctx.Err()
	}
	for k, r := range others {
		if err := fits(r.Record); err != nil {
			return nil, err
		}
		if err := v.expandMatrix(ctx, p, r, fmt.Sprintf("m%d.W", k)); err != nil {
			return nil, fmt.Errorf("export: matrix of site %q: %w", r.Sites[0], err)
		}
	}
	for k, r := range records {
		if err := fits(r); err != nil {
			return nil, err
		}
		if err := v.expand(ctx, p, r, fmt.Sprintf("tr%d.W", k)); err != nil {
			return nil, fmt.Errorf("export: ring of site %q: %w", r.Sites[0], err)
		}
	}
	p.SetMetadata(RingKey, "")
	p.SetMetadata(MatrixKey, "")
	return p.Apply(ctx)
}

func (v *view) expand(ctx context.Context, p *onnx.Patch, r Record, name string) error {
	f, err := v.factor(ctx, r)
	if err != nil {
		return err
	}
	root, err := v.root(r)
	if err != nil {
		return err
	}
	first := v.nodes[r.Sites[0]]
	elem, dims, err := v.eval.Info(ctx, first.Graph, first.Input(recurrent.SlotW))
	if err != nil {
		return err
	}
	w, err := recurrent.Array(elem, []int{dims[0], dims[1], r.In}, f.Reconstruct().Data)
	if err != nil {
		return err
	}
	name = p.Fresh(name)
	p.AddInitializerArray(root, name, w)
	for k, site := range r.Sites {
		n := v.nodes[site]
		p.SetInput(n, recurrent.SlotX, r.Inputs[k])
		p.SetInput(n, recurrent.SlotW, name)
	}
	return nil
}
