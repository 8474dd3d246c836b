package convert

import (
	"context"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/matrices"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// group is a matrix that is decomposed: the W of the sites that share it, or another matrix.
type group struct {
	sites  []*recurrent.Site
	matrix *matrices.Site // where there are no sites
}

// lead is the first site, nil where the matrix is no W.
func (g *group) lead() *recurrent.Site {
	if g.matrix != nil {
		return nil
	}
	return g.sites[0]
}

func (g *group) name() string {
	if g.matrix != nil {
		return g.matrix.Name
	}
	return g.sites[0].Name
}

// names are those of the sites that share the matrix.
func (g *group) names() []string {
	if g.matrix != nil {
		return []string{g.matrix.Name}
	}
	names := make([]string, len(g.sites))
	for i, s := range g.sites {
		names[i] = s.Name
	}
	return names
}

// op is the operator of the nodes.
func (g *group) op() string {
	if g.matrix != nil {
		return g.matrix.Node.OpType
	}
	return string(g.sites[0].Op)
}

// roleW is the role of an input matrix in reports and recipes; those of others are matrices.Role.
const roleW = "w"

func (g *group) role() string {
	if g.matrix != nil {
		return string(g.matrix.Role)
	}
	return roleW
}

func (g *group) elem() onnx.DataType {
	if g.matrix != nil {
		return g.matrix.Elem
	}
	return g.sites[0].Elem
}

// size is the number of elements.
func (g *group) size() int64 {
	if g.matrix != nil {
		return int64(g.matrix.Size())
	}
	return g.sites[0].WParameters()
}

// decomposed is the matrix as package decompose takes it.
func (g *group) decomposed() decompose.Matrix {
	if m := g.matrix; m != nil {
		return decompose.Matrix{Name: m.Name, Directions: m.Directions, Gates: m.Gates, Hidden: m.Hidden, In: m.In, Load: m.Weight}
	}
	s := g.sites[0]
	return decompose.Matrix{Name: s.Name, Directions: s.Direction.Count(), Gates: s.Op.Gates(), Hidden: s.Hidden, In: s.Input, Load: g.weight}
}

// weight reads the W of sites. The other weights of all of them must be finite too: no compact file answers with numbers where one is not.
func (g *group) weight(ctx context.Context) (*tensor.Dense, error) {
	w, err := g.sites[0].Weight(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range g.sites {
		if err := s.CheckFinite(ctx); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// factors is what takes the place of matrices.
type factors struct {
	ws       []export.Replacement
	matrices []export.MatrixReplacement
}

// factorsOf are the factors among the results of groups.
func factorsOf(groups []*group, results []decompose.Result) factors {
	var f factors
	for i, r := range results {
		switch g := groups[i]; {
		case r.KeptDense:
		case g.matrix != nil:
			f.matrices = append(f.matrices, export.MatrixReplacement{Matrix: g.matrix, Factor: r.Factor})
		default:
			f.ws = append(f.ws, export.Replacement{Sites: g.sites, Factor: r.Factor})
		}
	}
	return f
}

// patch lowers the factors.
func (f factors) patch(ctx context.Context, m *onnx.Model, o export.Options) (*onnx.Patch, error) {
	o.Matrices = f.matrices
	return export.Lower(ctx, m, f.ws, o)
}

func (f factors) notes(o export.Options) []string {
	o.Matrices = f.matrices
	return export.Notes(f.ws, o)
}
