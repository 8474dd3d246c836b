package convert

import (
	"context"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// formBound is the largest relative error of the written form against the original with Ŵ in place of W. Both compute the same numbers
// by different products, so that only rounding is left: of float32 sums, and in narrower models of every stored core and every intermediate value.
func formBound(t onnx.DataType) float64 {
	switch t {
	case onnx.Float16:
		return 5e-3
	case onnx.BFloat16:
		return 4e-2
	}
	return 1e-5
}

// check verifies the file at path, which is complete but has not got its name yet. Every changed layer is run alone, and the model as a
// whole where the runtime has all of its operators.
func (c *conversion) check(ctx context.Context, path string, fs factors) error {
	c.progress(Progress{Stage: StageVerify})
	written, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{})
	if err != nil {
		return fmt.Errorf("convert: verification: the written file cannot be read back: %w", err)
	}
	defer written.Close()
	if c.report.Output, err = c.outputStat(path, written); err != nil {
		return err
	}

	// The original runs first and is gone before Ŵ is there: W and Ŵ may be most of the memory.
	c.makeRoom()
	samples, err := c.samples(ctx)
	if err != nil {
		return err
	}
	c.makeRoom()
	overrides, bound, err := c.overrides(fs)
	if err != nil {
		return err
	}
	form := newComparer()
	form.floatOnly = true
	if len(samples) > 0 {
		if err := c.checkModel(ctx, written, samples, overrides, form); err != nil {
			return err
		}
	}
	regions := newComparer()
	for _, ov := range overrides {
		if ov.site == nil {
			continue
		}
		if err := c.checkRegion(ctx, written, ov, overrides, regions); err != nil {
			return fmt.Errorf("convert: verification: site %q: %w", ov.site.Name, err)
		}
	}
	if len(samples) == 0 && len(fs.matrices) > 0 {
		c.warn("matrix-not-run", "", "the factors of matrices other than W and R were not run, for the model as a whole was not")
	}
	if form.inputs == 0 {
		form.inputs = min(regions.inputs, len(regionShapes))
	}
	form.merge("", regions)
	if len(form.outputs) == 0 {
		return errors.New("convert: verification: nothing could be compared: neither the model nor its changed layers can be run here")
	}
	c.report.Verify.Form = form.result("go")
	if r := float64(c.report.Verify.Form.Relative); !(r <= bound) {
		if ok, err := c.excused(ctx, samples, overrides, fs, r, float64(regions.result("go").Relative), bound); ok || err != nil {
			return err
		}
		return fmt.Errorf("convert: verification: the written file differs from the factored model by %.3g (relative, at output %q), the bound is %.0e; nothing was written",
			r, form.worst(), bound)
	}
	return nil
}

// collectAbove is the size of models whose matrices are not left to the collector: it would take its turn after the next one is there.
const collectAbove = 64 << 20

// makeRoom frees what the last step held, so that the next one finds its place.
func (c *conversion) makeRoom() {
	if c.report.Input.Bytes > collectAbove {
		goruntime.GC()
		goruntime.GC() // what lay in pools outlives one
	}
}

// override is an operand of a node in whose place Ŵ is.
type override struct {
	node  *onnx.Node
	slot  int
	value *onnx.Array
	site  *recurrent.Site // of a W, else nil
}

// overrides reconstructs every replaced W and tells the bound that the widest rounding among them asks for.
func (c *conversion) overrides(fs factors) ([]override, float64, error) {
	bound := formBound(onnx.Float)
	for _, r := range fs.matrices {
		bound = max(bound, formBound(r.Matrix.Elem))
	}
	for _, r := range fs.ws {
		for _, s := range r.Sites {
			bound = max(bound, formBound(s.Elem))
		}
	}
	out, err := overridesOf(fs, nil)
	return out, bound, err
}

// samples are random inputs with the original's outputs, which are computed at the first call. Where that is impossible there are none, the
// report's model comparison stays nil and a warning says why.
func (c *conversion) samples(ctx context.Context) ([]sample, error) {
	if !c.sampled {
		var err error
		if c.random, err = c.draw(ctx); err != nil {
			return nil, err
		}
		c.sampled = true
	}
	return c.random, nil
}

// draw runs the original on random inputs.
func (c *conversion) draw(ctx context.Context) ([]sample, error) {
	ro := runtime.Options{Threads: c.o.Threads}
	reference, err := runtime.Compile(ctx, c.original, ro)
	if err == nil && c.dense != c.original {
		// The expanded model must be runnable too, or there is nothing to put Ŵ into.
		_, err = runtime.Compile(ctx, c.dense, ro)
	}
	var missing *runtime.UnsupportedError
	if errors.As(err, &missing) {
		c.warn("operator-missing", "", "the model as a whole was not run, only its changed layers, for this runtime lacks %s", strings.Join(sortedNames(missing.Counts), ", "))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	samples, err := acceptedFeeds(ctx, reference.Inputs(), reference.Run)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if len(samples) == 0 {
		c.warn("no-inputs", "", "the model as a whole was not run, only its changed layers, for it accepts none of the random inputs tried (the last: %v)", err)
	}
	return samples, nil
}

// checkModel runs the written model and the original with Ŵ in place of W on the samples.
func (c *conversion) checkModel(ctx context.Context, written *onnx.Model, samples []sample, overrides []override, form *comparer) error {
	factored, err := c.withOverrides(ctx, overrides)
	if err != nil {
		return err
	}
	compact, err := runtime.Compile(ctx, written, runtime.Options{Threads: c.o.Threads})
	if err != nil {
		return fmt.Errorf("convert: verification: the written file: %w", err)
	}
	model := newComparer()
	for _, s := range samples {
		got, err := compact.Run(ctx, s.feeds)
		if err != nil {
			return fmt.Errorf("convert: verification: the written file fails where the original runs: %w", err)
		}
		want, err := factored.Run(ctx, s.feeds)
		if err != nil {
			return fmt.Errorf("convert: verification: the factored model fails where the original runs: %w", err)
		}
		if err := form.add(got, want, nil); err != nil {
			return fmt.Errorf("convert: verification: %w", err)
		}
		if err := model.add(got, s.outputs, nil); err != nil {
			return fmt.Errorf("convert: verification: %w", err)
		}
	}
	quality := model.result("go")
	c.report.Verify.Model = &quality
	return nil
}

// outputStat measures the complete file before it is renamed, its own data file included.
func (c *conversion) outputStat(path string, m *onnx.Model) (FileStat, error) {
	info, err := os.Stat(path)
	if err != nil {
		return FileStat{}, fmt.Errorf("convert: verification: %w", err)
	}
	s := FileStat{File: c.o.Output, Bytes: info.Size(), Parameters: m.Parameters()}
	if b := m.FileBytes(); b > s.Bytes {
		s.Bytes = b
	}
	return s, nil
}
