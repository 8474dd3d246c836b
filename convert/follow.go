package convert

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/trconvert/trconvert/convert/recipe"
	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
)

// checkRecipe refuses options that a recipe leaves no room for.
func (o *Options) checkRecipe(budget bool) error {
	if o.Recipe == "" {
		return nil
	}
	refuse := func(option string) error {
		return &OptionError{Option: "--recipe", What: "says how each matrix is stored; " + option + " contradicts it (leave one of the two out)"}
	}
	f := o.Fit
	switch {
	case budget || o.Whole.set():
		return refuse("a budget")
	case len(o.Sites) > 0:
		return refuse("--site")
	case o.Matrices != "":
		return refuse("--matrices")
	case f.Format != "" || len(f.InModes)+len(f.OutModes) > 0:
		return refuse("a format or modes")
	case f.Seed != 0:
		return refuse("--seed")
	case o.Export.Form != "" || o.Export.MergeOutput:
		return refuse("a form")
	case o.Weights != "":
		return refuse("--weights")
	}
	return nil
}

// readRecipe reads the recipe, if one is to be followed, and compares it with the model.
func (c *conversion) readRecipe() error {
	if c.o.Recipe == "" {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return &OptionError{Option: "--recipe", Value: c.o.Recipe, What: fmt.Sprintf(format, args...)}
	}
	f, err := os.Open(c.o.Recipe)
	if err != nil {
		return fmt.Errorf("convert: recipe: %w", err)
	}
	defer f.Close()
	r, err := recipe.Read(f)
	var broken *recipe.Error
	if errors.As(err, &broken) {
		return refuse("%s", broken.What)
	}
	if err != nil {
		return err
	}
	sum, err := c.fingerprint()
	if err != nil {
		return err
	}
	if sum != r.Model.SHA256 {
		return refuse("it was made for another model: for one of %d bytes named %q with sha256 %s, this one has %s", r.Model.Bytes, r.Model.File, r.Model.SHA256, sum)
	}
	if r.Calibrated && c.o.Calibration.Data == "" {
		return refuse("its choices were made on calibration data; give --calibration (or delete the line calibrated)")
	}
	if r.Form != "" {
		if err := oneOf("--recipe: form", r.Form, Forms); err != nil {
			return err
		}
		c.o.Export.Form = Form(r.Form)
	}
	if r.Merge && c.o.Export.Form == export.Dense {
		return refuse("merge_output and form dense contradict each other")
	}
	if r.Weights != "" {
		if err := oneOf("--recipe: weights", r.Weights, Storages); err != nil {
			return err
		}
	}
	c.o.Export.MergeOutput, c.o.Fit.Seed = r.Merge, r.Seed
	c.recipe = r
	return nil
}

// fingerprint is the SHA-256 of the model's file and its external data.
func (c *conversion) fingerprint() (string, error) {
	h := sha256.New()
	for _, path := range append([]string{c.o.Model}, c.original.DataFiles()...) {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("convert: recipe: %w", err)
		}
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("convert: recipe: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// chooseFromRecipe keeps the matrices that the recipe lists.
func (c *conversion) chooseFromRecipe() error {
	if c.recipe == nil {
		return nil
	}
	var names []string
	for _, g := range c.groups {
		names = append(names, g.name())
	}
	var chosen []*group
	for _, m := range c.recipe.Matrices {
		k := slices.Index(names, m.Site)
		if k < 0 {
			return noSite("--recipe", m.Site, "is no site of the model that can be factored", names)
		}
		g := c.groups[k]
		role := m.Role
		if role == "" {
			role = roleW
		}
		if role != g.role() {
			return &OptionError{Option: "--recipe", Value: m.Site, What: fmt.Sprintf("has the role %q in the recipe and %q in the model", role, g.role())}
		}
		if m.Format != "" && m.Format != recipe.Dense {
			if err := oneOf("--recipe: format", m.Format, Formats); err != nil {
				return err
			}
		}
		if m.Weights != "" {
			if err := oneOf("--recipe: weights", m.Weights, Storages); err != nil {
				return err
			}
		}
		chosen = append(chosen, g)
	}
	c.groups = chosen
	return nil
}

// mixOf is how a recipe stores its matrices and everything else.
func mixOf(r *recipe.Recipe) mix {
	x := uniformMix(len(r.Matrices), Storage(cmp.Or(r.Weights, string(export.Float32))))
	for i, m := range r.Matrices {
		x.shares[i].numbers = m.Numbers
		if m.Weights != "" {
			x.shares[i].storage = Storage(m.Weights)
		}
	}
	return x
}

// fitRecipe fits every matrix as the recipe says.
func (c *conversion) fitRecipe(ctx context.Context, ms []decompose.Matrix, o decompose.Options) error {
	if c.o.Calibration.Data != "" {
		var (
			cal   *calibration
			ridge float64
			err   error
		)
		if c.recipe.Ridge != nil {
			ridge = *c.recipe.Ridge
			cal, err = c.calibrate(ctx)
		} else {
			cal, ridge, err = c.calibrated(ctx, ms)
		}
		if err != nil {
			return err
		}
		c.ridge = &ridge
		if ms, err = weighed(ms, cal, ridge); err != nil {
			return err
		}
	}
	f := outcome{}
	c.mix = mixOf(c.recipe)
	for i, m := range c.recipe.Matrices {
		if m.Format == recipe.Dense {
			f.results = append(f.results, decompose.Result{Matrix: m.Site, KeptDense: true, Reason: "the recipe says so"})
		} else {
			budget := decompose.Budget{MaxParams: m.Numbers, Ranks: m.Ranks}
			results, err := decompose.Run(ctx, ms[i:i+1], budget, withModes(o, m.Format, m.InModes, m.OutModes))
			var broken *decompose.OptionError
			if errors.As(err, &broken) {
				return &OptionError{Option: "--recipe", Value: m.Site, What: broken.Option + ": " + broken.Problem}
			}
			if err != nil {
				return err
			}
			f.results = append(f.results, results...)
		}
		if c.planned {
			front, err := decompose.Front(ctx, ms[i], decompose.Options{Seed: o.Seed})
			if err != nil {
				return err
			}
			f.fronts = append(f.fronts, withChosen(front, f.results[i]))
		}
	}
	if err := c.conclude(f, len(ms)); err != nil {
		return err
	}
	return c.keepBudget(ctx)
}

// keepBudget measures the file against the recipe's budget.
func (c *conversion) keepBudget(ctx context.Context) error {
	b := c.recipe.Budget
	most, asked := b.ModelBytes, fmt.Sprintf("model_bytes %d", b.ModelBytes)
	if b.ModelRatio > 0 {
		most, asked = int64(math.Floor(float64(c.report.Input.Bytes)/b.ModelRatio)), fmt.Sprintf("model_ratio %g", b.ModelRatio)
	}
	if most == 0 {
		return nil
	}
	compact, err := c.lowered(ctx, c.factors(c.results), c.mix)
	if err != nil {
		return err
	}
	defer compact.Close()
	n, err := compact.WrittenSize(c.o.Output)
	if err != nil || n <= most {
		return err
	}
	return &GateError{Gate: "recipe: " + asked, Got: fmt.Sprintf("what it lists makes a file of %d bytes, %d are allowed (lower numbers or ranks)", n, most)}
}

// writeRecipe writes what was chosen as a recipe. Under a budget of the whole file the numbers of each matrix are written, for which the
// same search gives the same factor; otherwise formats, modes and ranks, which are fitted anew.
func (c *conversion) writeRecipe(ctx context.Context) error {
	sum, err := c.fingerprint()
	if err != nil {
		return err
	}
	r := &recipe.Recipe{
		Schema: recipe.Schema,
		Model:  recipe.Model{File: filepath.Base(c.o.Model), Bytes: c.report.Input.Bytes, SHA256: sum},
		Budget: recipe.Budget{ModelBytes: c.o.Whole.Bytes, ModelRatio: c.o.Whole.Ratio},
		Form:   string(c.o.Export.Form), Merge: c.o.Export.MergeOutput, Seed: c.o.Fit.Seed,
		Calibrated: c.o.Calibration.Data != "", Ridge: c.ridge, Weights: string(c.mix.rest),
	}
	if c.recipe != nil {
		r.Budget = c.recipe.Budget
	}
	for i, g := range c.groups {
		share := c.mix.shares[i]
		m := recipe.Matrix{Site: g.name(), Role: g.role(), Format: recipe.Dense}
		if share.storage != c.mix.rest {
			m.Weights = string(share.storage)
		}
		switch f := c.results[i].Factor; {
		case f == nil:
		case share.numbers > 0:
			m.Format, m.Numbers = c.o.Fit.Format, share.numbers
			if c.recipe != nil {
				m.Format = c.recipe.Matrices[i].Format
			}
		default:
			m.Format, m.InModes, m.OutModes, m.Ranks = f.Format, f.InModes, f.OutModes, f.Ranks()
		}
		r.Matrices = append(r.Matrices, m)
	}
	return writeAtomic(ctx, c.o.RecipeOutput, func(w io.Writer) error { return recipe.Write(w, r) })
}

// withChosen is a front with what was decided for on it.
func withChosen(front []decompose.Point, r decompose.Result) []decompose.Point {
	front = slices.Clone(front)
	for k := range front {
		front[k].Chosen = r.KeptDense && front[k].Format == "dense"
	}
	if f := r.Factor; !r.KeptDense {
		front = append(front, decompose.Point{
			Format: f.Format, InModes: f.InModes, OutModes: f.OutModes, Ranks: f.Ranks(), Params: f.Params(),
			RelativeError: r.RelativeError, DataError: r.DataError, Cost: decompose.FactorCost(f), Chosen: true,
		})
		slices.SortStableFunc(front, func(a, b decompose.Point) int { return a.Params - b.Params })
	}
	return front
}
