package convert

import (
	"context"
	"math"
	"slices"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx/matrices"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// keptFactor is a matrix of a compact model that stays the factor that it is: the same cores in the same storage.
type keptFactor struct {
	group   *group
	ring    *export.Record // of a W
	factor  *tensor.Factor
	storage Storage // of its cores
}

// keepFactors finds the factors of the given model that the conversion leaves as they are: those of matrices that were not chosen and, where the recurrent matrices
// or all are to join what is factored already, those of chosen ones too. all are the sites of the dense model.
func (c *conversion) keepFactors(ctx context.Context, all []*recurrent.Site) error {
	if c.dense == c.original || c.o.Export.Form == export.Dense {
		return nil
	}
	rings, err := export.Records(c.original)
	if err != nil {
		return err
	}
	others, err := export.Matrices(c.original)
	if err != nil {
		return err
	}
	c.leaveFactored(rings, others)
	chosen := make(map[string]bool)
	for _, g := range c.groups {
		for _, name := range g.names() {
			chosen[name] = true
		}
	}
	stored, err := export.StoredTensors(c.original)
	if err != nil {
		return err
	}
	for _, r := range rings {
		g := &group{}
		for _, s := range all {
			if slices.Contains(r.Sites, s.Name) && s.Decomposable && !chosen[s.Name] {
				g.sites = append(g.sites, s)
			}
		}
		if len(g.sites) == 0 {
			continue
		}
		f, err := r.Factor(ctx, c.original)
		if err != nil {
			return err
		}
		c.kept = append(c.kept, keptFactor{group: g, ring: &r, factor: f, storage: coresIn(stored, r)})
	}
	if len(others) == 0 {
		return nil
	}
	found, err := matrices.Find(ctx, c.dense)
	if err != nil {
		return err
	}
	for _, r := range others {
		k := slices.IndexFunc(found, func(s *matrices.Site) bool { return s.Name == r.Sites[0] })
		if k < 0 || !found[k].Decomposable || chosen[r.Sites[0]] {
			continue
		}
		f, err := r.Factor(ctx, c.original)
		if err != nil {
			return err
		}
		c.kept = append(c.kept, keptFactor{group: &group{matrix: found[k]}, factor: f, storage: coresIn(stored, r.Record)})
	}
	return nil
}

// leaveFactored takes out of the choice what is a factor already, where that was not asked for by itself and something else is left to factor.
func (c *conversion) leaveFactored(rings []export.Record, others []export.MatrixRecord) {
	if c.recipe != nil || c.o.Matrices == matricesW || c.o.Matrices == matricesAll && c.o.Whole.set() {
		return
	}
	factored := make(map[string]bool)
	for _, r := range rings {
		for _, name := range r.Sites {
			factored[name] = true
		}
	}
	for _, r := range others {
		factored[r.Sites[0]] = true
	}
	rest := slices.DeleteFunc(slices.Clone(c.groups), func(g *group) bool { return factored[g.name()] })
	if len(rest) > 0 {
		c.groups = rest
	}
}

// coresIn is the narrowest storage of a record's cores.
func coresIn(stored []export.Stored, r export.Record) Storage {
	storage := export.Float32
	for _, s := range stored {
		if slices.Contains(r.Cores, s.Name) {
			storage = narrower(storage, s.Storage)
		}
	}
	return storage
}

// settle takes form and storage over from a model of which factors are kept, where none were asked for. Formats without sides choose their form by themselves.
func (c *conversion) settle() error {
	e := &c.o.Export
	if e.Form == "" {
		e.Form = export.Bottleneck
		for _, k := range c.kept {
			if k.ring != nil && k.ring.Cut() > 0 {
				e.MergeOutput = e.MergeOutput || k.ring.MergedOutput
				if k.ring.Form == export.Cores {
					e.Form = export.Cores
				}
			}
		}
	}
	c.report.Form = e.Form
	if c.o.Weights == "" && !c.o.Whole.set() && c.recipe == nil {
		c.o.Weights = export.Float32
		if len(c.kept) > 0 {
			var err error
			if c.o.Weights, err = storageOf(c.original); err != nil {
				return err
			}
		}
	}
	return nil
}

// narrow says whether anything is stored in less than float32 under a mix.
func (c *conversion) narrow(x mix) bool { return c.narrowest(x) != export.Float32 }

// narrowest is the narrowest storage under a mix.
func (c *conversion) narrowest(x mix) Storage {
	s := x.narrowest()
	for _, k := range c.kept {
		s = narrower(s, k.storage)
	}
	return s
}

// factors are the factors among the results of the groups, and those that are kept.
func (c *conversion) factors(results []decompose.Result) factors {
	all := slices.Clone(results)
	for _, k := range c.kept {
		all = append(all, decompose.Result{Factor: k.factor})
	}
	return factorsOf(c.groupsAndKept(), all)
}

// groupsAndKept are the groups, and behind them those of what is kept.
func (c *conversion) groupsAndKept() []*group {
	all := slices.Clone(c.groups)
	for _, k := range c.kept {
		all = append(all, k.group)
	}
	return all
}

// recordKept enters the kept factors into the report. They count on neither side of the sums.
func (c *conversion) recordKept() {
	for _, k := range c.kept {
		f := k.factor
		for _, name := range k.group.names() {
			sr := SiteReport{
				Name: name, Op: k.group.op(), Role: k.group.role(), Format: f.Format, Weights: k.storage, InModes: f.InModes, OutModes: f.OutModes, Ranks: f.Ranks(),
				WBefore: int64(f.Params()), WAfter: int64(f.Params()), DataError: Number(math.NaN()), Status: statusKept, Reason: "it is a factor already and stays as it is",
			}
			if name != k.group.name() {
				sr.SharedWith = k.group.name()
			}
			c.report.Sites = append(c.report.Sites, sr)
		}
	}
}

// statusKept is the status of a factor that a conversion leaves alone.
const statusKept = "kept"
