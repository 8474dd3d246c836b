package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/opset"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// sameBound is the largest relative error of an exported float32 model that should compute what the model computes; sums may run in another order.
const sameBound = 1e-4

// exportONNX writes the model itself, in the form, the opset and the storage that are asked for; a model of which nothing is asked keeps its bytes.
func exportONNX(ctx context.Context, e *exporting) (*product, error) {
	o := e.o.ONNX
	if o.Opset != 0 && (o.Opset < opset.Oldest || o.Opset > opset.Newest) {
		return nil, &OptionError{Option: optOpset, Value: strconv.Itoa(o.Opset), What: fmt.Sprintf("must be from %d to %d", opset.Oldest, opset.Newest)}
	}
	storage, err := storageOf(e.model)
	if err != nil {
		return nil, err
	}
	c := chain{m: e.model, first: e.model}
	if err := e.change(ctx, &c, storage); err != nil {
		c.close()
		return nil, err
	}
	p := &product{model: c.m}
	if c.m != e.model {
		p.check = func(ctx context.Context, written *onnx.Model) (*Comparison, error) {
			return e.compare(ctx, written, storage)
		}
	}
	return p, nil
}

// change gives a model, whose weights are stored in storage, the form, the storage and the opset that are asked for.
func (e *exporting) change(ctx context.Context, c *chain, storage Storage) error {
	o := e.o.ONNX
	reforms := o.Form != "" || o.MergeOutput
	if reforms || e.o.Weights != "" {
		if err := c.restore(ctx); err != nil {
			return err
		}
		if reforms {
			if err := e.reform(ctx, c); err != nil {
				return err
			}
		}
		wanted := cmp.Or(e.o.Weights, storage)
		if o.Form == export.Dense && e.o.Weights == "" {
			wanted = export.Float32 // the cores' storage is not that of their product
		}
		if err := c.store(ctx, wanted); err != nil {
			return err
		}
	}
	if v := int64(o.Opset); v != 0 && v != c.m.Opset("") {
		patch, err := opset.Convert(ctx, c.m, v)
		if err != nil {
			return err
		}
		return c.apply(ctx, patch)
	}
	return nil
}

// chain is a model on its way through patches; the one before is closed when the next one is there.
type chain struct{ m, first *onnx.Model }

func (c *chain) put(m *onnx.Model) {
	if m != c.m {
		c.close()
		c.m = m
	}
}

func (c *chain) apply(ctx context.Context, p *onnx.Patch) error {
	m, err := p.Apply(ctx)
	if err == nil {
		c.put(m)
	}
	return err
}

// restore gives the model its weights in full.
func (c *chain) restore(ctx context.Context) error {
	full, err := export.Restore(ctx, c.m)
	if err == nil {
		c.put(full)
	}
	return err
}

// store stores the weights of the model, which are in full.
func (c *chain) store(ctx context.Context, storage Storage) error {
	patch, err := export.Store(ctx, c.m, export.StoreOptions{Storage: storage})
	if err != nil {
		return err
	}
	return c.apply(ctx, patch)
}

func (c *chain) close() {
	if c.m != c.first {
		c.m.Close()
	}
}

// reform writes the cores of a compact model, whose weights have been restored, in the form that is asked for.
func (e *exporting) reform(ctx context.Context, c *chain) error {
	o := e.o.ONNX
	records, err := export.Records(c.m)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		if o.Form == export.Dense && !o.MergeOutput {
			return nil // it is dense already
		}
		return &UnsupportedError{File: e.o.Model, Reasons: []string{"it has no cores that could take another form (trconvert decompose makes them)"}}
	}
	form := o.Form
	if form == "" {
		form = records[0].Form
	}
	if o.MergeOutput && form == export.Dense {
		return &OptionError{Option: optMerge, What: "the dense form has no output cores to merge; use --form bottleneck or cores"}
	}
	dense, err := export.Expand(ctx, c.m)
	if err != nil {
		return err
	}
	defer dense.Close()
	sites, err := recurrent.Find(ctx, dense)
	if err != nil {
		return err
	}
	var rs []export.Replacement
	for _, rec := range records {
		f, err := rec.Factor(ctx, c.m)
		if err != nil {
			return err
		}
		if o.MergeOutput && !f.HasSides() {
			return &OptionError{Option: optMerge, What: fmt.Sprintf("the cores of site %q are a TT-matrix and carry modes of both sides; it has no output cores to merge", rec.Sites[0])}
		}
		r := export.Replacement{Factor: f}
		for _, s := range sites {
			if slices.Contains(rec.Sites, s.Name) {
				r.Sites = append(r.Sites, s)
			}
		}
		rs = append(rs, r)
	}
	options := export.Options{Form: form, MergeOutput: o.MergeOutput}
	patch, err := export.Lower(ctx, dense, rs, options)
	if err != nil {
		return err
	}
	for _, text := range export.Notes(rs, options) {
		e.warn("form", "", "%s", text)
	}
	return c.apply(ctx, patch)
}

// compare runs the written model and the one that was exported on the same random inputs. Where no storage became narrower they must agree; where one did, the written model must
// agree with itself in full, and what the storage costs is reported.
func (e *exporting) compare(ctx context.Context, written *onnx.Model, storage Storage) (*Comparison, error) {
	narrower := e.o.Weights != "" && e.o.Weights != export.Float32 && e.o.Weights != storage
	result, worst, err := e.difference(ctx, written, e.model)
	if err != nil || result == nil {
		return nil, err
	}
	got := result
	if narrower {
		full, err := export.Restore(ctx, written)
		if err != nil {
			return nil, err
		}
		if full != written {
			defer full.Close()
		}
		if got, worst, err = e.difference(ctx, written, full); err != nil || got == nil {
			return nil, err
		}
	}
	if err := e.within(got, worst, "the written file differs from the model"); err != nil {
		return nil, err
	}
	return result, nil
}

// within refuses what differs by more than bound, most at the output worst; difference is what is said of it.
func (e *exporting) within(c *Comparison, worst, difference string) error {
	if bound := e.bound(); !(float64(c.Relative) <= bound) {
		return fmt.Errorf("convert: verification: %s by %.3g (relative, at output %q), the bound is %.0e; nothing was written", difference, float64(c.Relative), worst, bound)
	}
	return nil
}

// bound is how far outputs of models that should be equal may be apart: the widest rounding of their weights and inputs.
func (e *exporting) bound() float64 {
	bound := sameBound
	for _, g := range e.model.Scopes() {
		for _, t := range g.Initializers {
			bound = max(bound, formBound(t.Type))
		}
		for _, v := range g.Inputs {
			if v.Type != nil {
				bound = max(bound, formBound(v.Type.Elem))
			}
		}
	}
	return bound
}

// difference runs two models on random inputs that the second accepts. It is nil, with a warning, where the runtime cannot run them.
func (e *exporting) difference(ctx context.Context, a, b *onnx.Model) (*Comparison, string, error) {
	ro := runtime.Options{Threads: e.o.Threads}
	reference, err := runtime.Compile(ctx, b, ro)
	if err == nil {
		var program *runtime.Program
		if program, err = runtime.Compile(ctx, a, ro); err == nil {
			return e.runBoth(ctx, program, reference)
		}
	}
	var missing *runtime.UnsupportedError
	if !errors.As(err, &missing) {
		return nil, "", err
	}
	e.warn("operator-missing", "", "the written model was not run, for this runtime lacks %s", strings.Join(sortedNames(missing.Counts), ", "))
	return nil, "", nil
}

func (e *exporting) runBoth(ctx context.Context, a, b *runtime.Program) (*Comparison, string, error) {
	samples, err := acceptedFeeds(ctx, b.Inputs(), b.Run)
	if ctx.Err() != nil {
		return nil, "", ctx.Err()
	}
	if len(samples) == 0 {
		e.warn("no-inputs", "", "the written model was not run, for the model accepts none of the random inputs tried (the last: %v)", err)
		return nil, "", nil
	}
	c := newComparer()
	c.floatOnly = true
	for _, s := range samples {
		got, err := a.Run(ctx, s.feeds)
		if err != nil {
			return nil, "", fmt.Errorf("convert: verification: the written file fails where the model runs: %w", err)
		}
		if err := c.add(got, s.outputs, nil); err != nil {
			return nil, "", fmt.Errorf("convert: verification: %w", err)
		}
	}
	result := c.result("go")
	return &result, c.worst(), nil
}
