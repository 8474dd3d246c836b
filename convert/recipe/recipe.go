// Package recipe reads and writes recipes: YAML files that say for each matrix of a model how it is stored, so that a conversion can be
// repeated and edited.
//
// What a recipe does not know is refused, and so is what contradicts itself; errors name the line or the site.
package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"
)

// Schema is the version that this package writes and reads.
const Schema = "trconvert.recipe/v1"

// MaxBytes bounds a recipe.
const MaxBytes = 4 << 20

// Dense is the format of a matrix that stays as it is.
const Dense = "dense"

// Recipe is the whole file.
type Recipe struct {
	Schema string `yaml:"schema"`
	Model  Model  `yaml:"model"`
	// Budget is checked when the file has been fitted. At most one of its fields is set.
	Budget Budget `yaml:"budget,omitempty"`
	Form   string `yaml:"form,omitempty"`
	Merge  bool   `yaml:"merge_output,omitempty"`
	Seed   uint64 `yaml:"seed,omitempty"`
	// Calibrated says that the choices were made on calibration data, which have to be given again.
	Calibrated bool `yaml:"calibrated,omitempty"`
	// Ridge is the weight of the error of a matrix itself beside that on calibration frames; nil: it is chosen anew.
	Ridge *float64 `yaml:"ridge,omitempty"`
	// Weights is the storage of all weights, float32 where it is "", but of matrices that name their own.
	Weights  string   `yaml:"weights,omitempty"`
	Matrices []Matrix `yaml:"matrices"`
}

// Model names the model that a recipe is for.
type Model struct {
	File   string `yaml:"file"` // for readers
	Bytes  int64  `yaml:"bytes"`
	SHA256 string `yaml:"sha256"` // of the file and its external data, in hexadecimal
}

// Budget is what the written file must keep.
type Budget struct {
	ModelBytes int64   `yaml:"model_bytes,omitempty"`
	ModelRatio float64 `yaml:"model_ratio,omitempty"`
}

// Matrix is how one matrix is stored: in a format with modes and ranks, or in at most so many numbers, for which format, modes and ranks are
// searched as a budget does. Matrices that a recipe does not list stay as they are.
type Matrix struct {
	Site     string `yaml:"site"`
	Role     string `yaml:"role,omitempty"` // "": w
	Format   string `yaml:"format,omitempty"`
	Numbers  int    `yaml:"numbers,omitempty"`
	InModes  []int  `yaml:"in_modes,omitempty,flow"`
	OutModes []int  `yaml:"out_modes,omitempty,flow"`
	Ranks    []int  `yaml:"ranks,omitempty,flow"`
	Weights  string `yaml:"weights,omitempty"`
}

// Error is a recipe that cannot be meant.
type Error struct{ What string }

func (e *Error) Error() string { return "recipe: " + e.What }

func refuse(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Read reads a recipe and checks it by itself.
func Read(from io.Reader) (*Recipe, error) {
	text, err := io.ReadAll(io.LimitReader(from, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	if len(text) > MaxBytes {
		return nil, refuse("has more than %d bytes", MaxBytes)
	}
	var head struct {
		Schema string `yaml:"schema"`
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		return nil, refuse("%s", strconv.Quote(err.Error()))
	}
	if head.Schema != Schema {
		return nil, refuse("schema is %q, this version reads %q", head.Schema, Schema)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	r := new(Recipe)
	if err := d.Decode(r); err != nil {
		return nil, refuse("%s", strconv.Quote(err.Error()))
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, refuse("there is more than one document in it")
	}
	return r, r.check()
}

// Write writes a recipe; the same one gives the same bytes.
func Write(to io.Writer, r *Recipe) error {
	if err := r.check(); err != nil {
		return err
	}
	e := yaml.NewEncoder(to)
	e.SetIndent(2)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	return e.Close()
}

// check compares a recipe with itself.
func (r *Recipe) check() error {
	switch {
	case r.Schema != Schema:
		return refuse("schema is %q, not %q", r.Schema, Schema)
	case len(r.Model.SHA256) != 64:
		return refuse("model: sha256 is %q, not 64 hexadecimal digits", r.Model.SHA256)
	case r.Budget.ModelBytes != 0 && r.Budget.ModelRatio != 0:
		return refuse("budget: model_bytes %d and model_ratio %g contradict each other (keep one)", r.Budget.ModelBytes, r.Budget.ModelRatio)
	case r.Budget.ModelBytes < 0:
		return refuse("budget: model_bytes is %d, not above 0", r.Budget.ModelBytes)
	case r.Budget.ModelRatio != 0 && !(r.Budget.ModelRatio > 1):
		return refuse("budget: model_ratio is %g, not above 1", r.Budget.ModelRatio)
	case r.Ridge != nil && !(*r.Ridge >= 0):
		return refuse("ridge is %g, not 0 or more", *r.Ridge)
	case r.Ridge != nil && !r.Calibrated:
		return refuse("ridge %g weighs calibration data, but calibrated is false", *r.Ridge)
	case len(r.Matrices) == 0:
		return refuse("it lists no matrices")
	}
	seen := map[string]bool{}
	for k, m := range r.Matrices {
		if m.Site == "" {
			return refuse("matrix %d: site is missing", k)
		}
		if seen[m.Site] {
			return refuse("matrix %d: site %q is listed twice", k, m.Site)
		}
		seen[m.Site] = true
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

func (m Matrix) check() error {
	given := len(m.InModes)+len(m.OutModes)+len(m.Ranks) > 0
	contradict := func(what string) error {
		return refuse("site %q: %s contradict each other (keep one)", m.Site, what)
	}
	switch {
	case m.Format == Dense && (given || m.Numbers != 0):
		return contradict("format dense and numbers, modes or ranks")
	case m.Format == Dense:
		return nil
	case m.Numbers != 0 && given:
		return contradict("numbers, which searches for modes and ranks, and modes or ranks")
	case m.Numbers < 0:
		return refuse("site %q: numbers is %d, not above 0", m.Site, m.Numbers)
	case m.Numbers == 0 && len(m.Ranks) == 0:
		return refuse("site %q: it says neither numbers nor ranks (format %s keeps it as it is)", m.Site, Dense)
	case len(m.Ranks) > 0 && (m.Format == "" || m.Format == "auto"):
		return refuse("site %q: ranks are those of a format, and format is %q", m.Site, m.Format)
	}
	for _, v := range [][]int{m.InModes, m.OutModes, m.Ranks} {
		if slices.ContainsFunc(v, func(n int) bool { return n < 1 }) {
			return refuse("site %q: modes and ranks must be 1 or more: %v", m.Site, v)
		}
	}
	return nil
}
