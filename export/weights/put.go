package weights

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// ForeignError says that a file does not hold the weights of the model.
type ForeignError struct {
	Tensor string // "" where the file as a whole is meant
	What   string
}

func (e *ForeignError) Error() string {
	if e.Tensor == "" {
		return "weights: " + e.What
	}
	return "weights: tensor " + strconv.Quote(e.Tensor) + ": " + e.What
}

// Put gives the model the values of a file: a patch that replaces the tensors whose numbers differ, each in its type and storage, and nothing else; changed counts the weights that
// it gives other values.
//
// The file must have every weight of the model under its name, and no other tensor; where it has the model's fingerprint in its metadata, that must be this model's. Dims must be the same. A tensor has the type in which
// the model stores it, or F32 for a narrower floating type and for a value of narrow storage: it is then rounded, and int8 is given new scales, so that the tensor NAME/scale is not there. A number that is NaN or
// infinite, where the model's is not, and one that the model's type cannot hold, is refused. All refusals are *ForeignError.
func (s *Set) Put(ctx context.Context, f *safetensors.File) (p *onnx.Patch, changed int, err error) {
	given := map[string]*onnx.Array{}
	for _, t := range f.Tensors {
		given[t.Name] = t.Array
	}
	if err := s.owns(f, given); err != nil {
		return nil, 0, err
	}
	restored, err := export.Restore(ctx, s.Model)
	if err != nil {
		return nil, 0, err
	}
	if restored != s.Model {
		defer restored.Close()
	}
	full, err := s.restoredTensors(restored)
	if err != nil {
		return nil, 0, err
	}
	var (
		rounded = map[*onnx.Tensor]*onnx.Array{} // of restored
		direct  = map[*onnx.Tensor]*onnx.Array{} // of the model
	)
	for k := range s.Weights {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		w := &s.Weights[k]
		differs := false
		if w.Stored != nil && given[w.Name].Type == onnx.Float {
			differs, err = w.round(given[w.Name], full[w.Tensor], rounded)
		} else {
			differs, err = w.take(given, direct)
		}
		if err != nil {
			return nil, 0, err
		}
		if differs {
			changed++
		}
	}
	if p, err = export.Rewrite(s.Model, restored, rounded); err != nil {
		return nil, 0, err
	}
	for k := range s.Weights {
		// In the order of the model: a patch is not to depend on a map's.
		s.Weights[k].each(func(_ string, t *onnx.Tensor) error {
			if a := direct[t]; a != nil {
				p.ReplaceInitializer(t, a)
			}
			return nil
		})
	}
	return p, changed, nil
}

// owns compares names, types and dims, and the fingerprint. given are the tensors of the file by their names.
func (s *Set) owns(f *safetensors.File, given map[string]*onnx.Array) error {
	if schema := f.Metadata[SchemaKey]; schema != "" && schema != Schema {
		return &ForeignError{What: fmt.Sprintf("metadata %s: schema is %q, this version reads %q", SchemaKey, schema, Schema)}
	}
	print, err := s.Fingerprint()
	if err != nil {
		return err
	}
	err = s.agrees(f, given)
	made := f.Metadata[ModelKey]
	if made == "" || made == print {
		return err
	}
	another := fmt.Sprintf("the file is of model %.16s…, this model is %.16s…", made, print)
	var foreign *ForeignError
	switch {
	case err == nil:
		return &ForeignError{What: another + ": names and shapes agree, but graphs do not (import into the model that was exported)"}
	case errors.As(err, &foreign):
		return &ForeignError{foreign.Tensor, foreign.What + "; " + another}
	}
	return err
}

// agrees compares names, types and dims.
func (s *Set) agrees(f *safetensors.File, given map[string]*onnx.Array) error {
	expected := map[string]bool{}
	for k := range s.Weights {
		w := &s.Weights[k]
		a := given[w.Name]
		if a == nil {
			return &ForeignError{w.Name, fmt.Sprintf("is missing: the model has it, the file has %d tensors%s (export the model to see the names)", len(f.Tensors), some(f))}
		}
		scaled := w.Stored != nil && w.Stored.Scale != nil && a.Type != onnx.Float
		err := w.each(func(name string, t *onnx.Tensor) error {
			if name != w.Name && !scaled {
				return nil
			}
			expected[name] = true
			return w.fits(name, t, given[name])
		})
		if err != nil {
			return err
		}
	}
	for _, t := range f.Tensors {
		if !expected[t.Name] {
			return &ForeignError{t.Name, "the file has it, the model has no such weight"}
		}
	}
	return nil
}

// some names a few tensors of a file.
func some(f *safetensors.File) string {
	text := ""
	for k, t := range f.Tensors {
		if k == 3 {
			return text + ", …"
		}
		text += []string{": ", ", "}[min(k, 1)] + strconv.Quote(t.Name)
	}
	return text
}

// fits compares type and dims of a tensor that is given with those of the model's.
func (w *Weight) fits(name string, t *onnx.Tensor, a *onnx.Array) error {
	if a == nil {
		return &ForeignError{name, fmt.Sprintf("is missing: the model stores %q as %s with scales (or give %q as F32 without scales)", w.Name, safetensors.TypeName(w.Tensor.Type), w.Name)}
	}
	if a.Type != t.Type && !(a.Type == onnx.Float && name == w.Name && t.Type != onnx.Double) {
		also := ""
		if name == w.Name && t.Type != onnx.Double && t.Type != onnx.Float {
			also = " (F32 is taken too, and rounded)"
		}
		return &ForeignError{name, fmt.Sprintf("is %s in the file, %s in the model%s", safetensors.TypeName(a.Type), safetensors.TypeName(t.Type), also)}
	}
	if !slices.EqualFunc(a.Dims, t.Dims, func(a int, b int64) bool { return int64(a) == b }) {
		return &ForeignError{name, fmt.Sprintf("has dims %v in the file, %v in the model", a.Dims, t.Dims)}
	}
	return nil
}

// round takes a float32 value of narrow storage. full is the tensor that holds the model's value restored.
func (w *Weight) round(a *onnx.Array, full *onnx.Tensor, into map[*onnx.Tensor]*onnx.Array) (bool, error) {
	old, err := w.Stored.Array()
	if err != nil {
		return false, err
	}
	if err := finite(w.Name, a, old); err != nil {
		return false, err
	}
	if w.Stored.Storage == export.Float16 {
		if _, err := recurrent.Array(onnx.Float16, a.Dims, a.Data.([]float32)); err != nil {
			return false, &ForeignError{w.Name, "is stored as F16: " + err.Error()}
		}
	}
	if slices.Equal(a.Data.([]float32), old.Data.([]float32)) {
		return false, nil
	}
	into[full] = a
	return true, nil
}

// take takes tensors in the model's own type, and float32 for one that is narrower.
func (w *Weight) take(given map[string]*onnx.Array, into map[*onnx.Tensor]*onnx.Array) (bool, error) {
	differs := false
	err := w.each(func(name string, t *onnx.Tensor) error {
		old, err := t.Array()
		if err != nil {
			return err
		}
		a := given[name]
		if err := finite(name, a, old); err != nil {
			return err
		}
		if a.Type != t.Type {
			narrow, err := recurrent.Array(t.Type, a.Dims, a.Data.([]float32))
			if err != nil {
				return &ForeignError{name, fmt.Sprintf("is %s in the model: %v", safetensors.TypeName(t.Type), err)}
			}
			a = narrow
		}
		same, err := equal(a, old)
		if err != nil || same {
			return err
		}
		differs = true
		into[t] = a
		return nil
	})
	return differs, err
}

// equal compares bits.
func equal(a, b *onnx.Array) (bool, error) {
	x, err := a.Bytes()
	if err != nil {
		return false, err
	}
	y, err := b.Bytes()
	return err == nil && slices.Equal(x, y), err
}

// finite refuses NaN and infinities where the model has numbers.
func finite(name string, a, old *onnx.Array) error {
	if !floating(a.Type) {
		return nil
	}
	x, err := a.Float64s()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(x, notFinite)
	if at < 0 {
		return nil
	}
	y, err := old.Float64s()
	if err != nil {
		return err
	}
	for ; at < len(x); at++ {
		if notFinite(x[at]) && !notFinite(y[at]) {
			return &ForeignError{name, fmt.Sprintf("element %d is %v, the model's is %v (the training has diverged?)", at, x[at], y[at])}
		}
	}
	return nil
}

func notFinite(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// restoredTensors gives, by the stored tensors of the model, those that hold their values in restored, which export.Restore made of it.
func (s *Set) restoredTensors(restored *onnx.Model) (map[*onnx.Tensor]*onnx.Tensor, error) {
	stored, err := export.RestoredTensors(s.Model, restored)
	if err != nil {
		return nil, err
	}
	out := map[*onnx.Tensor]*onnx.Tensor{}
	for full, narrow := range stored {
		out[narrow.Tensor] = full
	}
	return out, nil
}

// In gives the weights by the tensors that hold their values in restored, which export.Restore made of the model.
func (s *Set) In(restored *onnx.Model) (map[*onnx.Tensor]*Weight, error) {
	full, err := s.restoredTensors(restored)
	if err != nil {
		return nil, err
	}
	out := map[*onnx.Tensor]*Weight{}
	for narrow, t := range full {
		out[t] = s.byTensor[narrow]
	}
	scopes := restored.Scopes()
	for k, g := range s.Model.Scopes() {
		own := map[string]*Weight{}
		each(g, func(value string, t *onnx.Tensor) {
			if w := s.byTensor[t]; w != nil && w.Stored == nil {
				own[value] = w
			}
		})
		each(scopes[k], func(value string, t *onnx.Tensor) {
			if w := own[value]; w != nil {
				out[t] = w
			}
		})
	}
	return out, nil
}
