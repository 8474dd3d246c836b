package convert

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// Storage is the element type in which weights are stored.
type Storage = export.Storage

// Storages are the types in which weights can be stored; the first is the default.
var Storages = []string{string(export.Float32), string(export.Float16), string(export.Int8)}

// narrow says whether weights are to be stored in less than float32.
func (o *Options) narrow() bool { return o.Weights != "" && o.Weights != export.Float32 }

// roundingErrors are relative errors that storing a core costs, rather high ones.
var roundingErrors = map[Storage]float64{export.Float16: 0x1p-11, export.Int8: 0.01}

// fitBudget is the budget of the fit. A bound on the error of W leaves room for what storing the cores adds, the errors of some eight cores being independent:
// a part of at most three quarters of its square.
func (o *Options) fitBudget() Budget {
	b := o.Budget
	if o.narrow() && b.MaxError > 0 {
		square, off := b.MaxError*b.MaxError, roundingErrors[o.Weights]
		b.MaxError = math.Sqrt(square - min(8*off*off, 0.75*square))
	}
	return b
}

// takeStored gives the factors that the stored cores make; what else is narrow is taken over into the reference of the verification, and the errors of
// the matrices into the report.
func (c *conversion) takeStored(ctx context.Context, stored *onnx.Model, fs factors) (factors, error) {
	if !c.narrow(c.mix) {
		return fs, nil
	}
	values, err := export.StoredTensors(stored)
	if err != nil {
		return fs, err
	}
	if len(values) == 0 {
		c.warn("weights", "", "no tensor takes fewer bytes as %s than as it is: all weights stay as they are", c.narrowest(c.mix))
	}
	if err := c.refer(ctx, stored, values); err != nil {
		return fs, err
	}
	return c.rounded(ctx, stored, fs)
}

// refer makes the model that the written one is held to: the dense one with the stored values of all that is no core.
func (c *conversion) refer(ctx context.Context, stored *onnx.Model, values []export.Stored) error {
	own := placesOf(c.dense)
	patch := onnx.NewPatch(c.dense)
	scopes := stored.Scopes()
	for _, v := range values {
		t := own[place{slices.Index(scopes, v.Graph), v.Name}]
		if t == nil { // a core
			continue
		}
		a, err := v.Array()
		if err != nil {
			return err
		}
		patch.ReplaceInitializer(t, a)
	}
	var err error
	c.narrowed, err = patch.Apply(ctx)
	return err
}

// rounded reads the factors back as they are stored, and measures them.
func (c *conversion) rounded(ctx context.Context, stored *onnx.Model, fs factors) (factors, error) {
	rings, err := export.Records(stored)
	if err != nil {
		return fs, err
	}
	others, err := export.Matrices(stored)
	if err != nil {
		return fs, err
	}
	out := factors{slices.Clone(fs.ws), slices.Clone(fs.matrices)}
	for i, r := range fs.ws {
		lead := r.Sites[0]
		k := slices.IndexFunc(rings, func(rec export.Record) bool { return slices.Contains(rec.Sites, lead.Name) })
		if k < 0 {
			return fs, fmt.Errorf("convert: site %q has lost its ring", lead.Name)
		}
		if out.ws[i].Factor, err = rings[k].Factor(ctx, stored); err != nil {
			return fs, err
		}
		var names []string
		for _, s := range r.Sites {
			names = append(names, s.Name)
		}
		if err := c.measureStored(ctx, names, lead.Weight, out.ws[i].Factor); err != nil {
			return fs, err
		}
	}
	for i, r := range fs.matrices {
		name := r.Matrix.Name
		k := slices.IndexFunc(others, func(rec export.MatrixRecord) bool { return slices.Contains(rec.Sites, name) })
		if k < 0 {
			return fs, fmt.Errorf("convert: matrix %q has lost its factor", name)
		}
		if out.matrices[i].Factor, err = others[k].Factor(ctx, stored); err != nil {
			return fs, err
		}
		if err := c.measureStored(ctx, []string{name}, r.Matrix.Weight, out.matrices[i].Factor); err != nil {
			return fs, err
		}
	}
	return out, nil
}

// measureStored enters the error of a stored factor into the report of its sites, and compares it with the bound.
func (c *conversion) measureStored(ctx context.Context, names []string, load func(context.Context) (*tensor.Dense, error), f *tensor.Factor) error {
	w, err := load(ctx)
	if err != nil {
		return err
	}
	e := errorOf(w, f)
	for s := range c.report.Sites {
		if sr := &c.report.Sites[s]; slices.Contains(names, sr.Name) {
			sr.RelativeError = Number(e)
		}
	}
	if most := c.o.Budget.MaxError; most > 0 && c.o.Calibration.Data == "" && e > most {
		return &GateError{Gate: "--max-error", Got: fmt.Sprintf("the matrix of site %q has the error %.4g with its cores stored as %s, above %.4g (ask for --max-error %.3g, or store float32)",
			names[0], e, c.o.Weights, most, e)}
	}
	return nil
}

// errorOf is ‖W − Ŵ‖/‖W‖.
func errorOf(w *tensor.Dense, f *tensor.Factor) float64 {
	var diff, ref float64
	hat := f.Reconstruct().Data
	for i, v := range w.Data {
		d := float64(v) - float64(hat[i])
		diff += d * d
		ref += float64(v) * float64(v)
	}
	if ref == 0 {
		return 0
	}
	return math.Sqrt(diff / ref)
}

// checkStorage refuses what cannot be stored in narrow types.
func (o *Options) checkStorage() error {
	if o.narrow() && o.Export.Form == export.Dense {
		return &OptionError{Option: "--weights", Value: string(o.Weights), What: "the dense form is there to measure the cores and keeps float32; use --form bottleneck or cores"}
	}
	return nil
}

// held is the model that a written one is compared with.
func (c *conversion) held() *onnx.Model {
	if c.narrowed != nil {
		return c.narrowed
	}
	return c.dense
}

// heldNode is a node of the dense model in that model, whose nodes are the same.
func (c *conversion) heldNode(n *onnx.Node) *onnx.Node {
	if c.narrowed == nil {
		return n
	}
	scope := slices.Index(c.dense.Scopes(), n.Graph)
	return c.narrowed.Scopes()[scope].Nodes[slices.Index(n.Graph.Nodes, n)]
}

// storageOf is the narrowest type in which weights of a model are stored by export.Store, float32 where none are.
func storageOf(m *onnx.Model) (Storage, error) {
	all, err := export.StoredTensors(m)
	return narrowest(all), err
}

func narrowest(all []export.Stored) Storage {
	storage := export.Float32
	for _, s := range all {
		storage = narrower(storage, s.Storage)
	}
	return storage
}

// judgeRestored says of sites whose W is stored narrow, and which look quantised by another tool, what can be done with them: decompose
// restores them first.
func judgeRestored(ctx context.Context, m *onnx.Model, stored []export.Stored, sites []*recurrent.Site) error {
	if len(stored) == 0 {
		return nil
	}
	full, err := export.Restore(ctx, m)
	if err != nil {
		return err
	}
	defer full.Close()
	restored, err := recurrent.Find(ctx, full)
	if err != nil {
		return err
	}
	if _, err := export.Annotate(full, restored); err != nil {
		return err
	}
	for k, s := range sites {
		s.Decomposable, s.Reason = restored[k].Decomposable, restored[k].Reason
	}
	return nil
}
