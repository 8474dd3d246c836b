package dataset

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// loadFolder reads the layout of the ONNX backend tests: input_K.pb files (the K-th true input, or the one the tensor is named for), either in
// the folder itself or in folders test_data_set_0, test_data_set_1, … below it. Each set is one sample and each file one whole feed; with states a file has
// a step axis in front and each set is one stream. Labels are a file of each set, see labelFile.
func (b *binder) loadFolder(ctx context.Context) error {
	if b.options.Lengths != "" {
		return fmt.Errorf("dataset: %s: lengths %s are read from an .npz only", quote(b.path), quote(b.options.Lengths))
	}
	if len(b.options.BatchAxis) > 0 {
		return fmt.Errorf("dataset: %s: the arrays of a test_data_set folder are whole feeds, a batch axis cannot be chosen (use an .npz)", quote(b.path))
	}
	sets, err := dataSets(b.path)
	if err != nil {
		return err
	}
	for _, in := range b.wanted {
		s := &series{name: in.Name, typ: in.Type.Elem, axis: -1, group: 1, kind: separate}
		if len(b.options.States) > 0 {
			s.kind = recorded
		}
		b.series = append(b.series, s)
	}
	for _, set := range sets {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.loadSet(set); err != nil {
			return err
		}
		if b.options.Labels == "" {
			continue
		}
		file, err := b.labelFile(set)
		if err != nil {
			return err
		}
		_, a, err := b.storedTensor(file)
		if err != nil {
			return err
		}
		if b.labels == nil {
			b.labels = &labels{from: filepath.Join(b.path, b.options.Labels), separate: true}
		}
		b.labels.parts = append(b.labels.parts, a)
	}
	return nil
}

// labelFile is the file of a set that Options.Labels names: NAME.pb, or output_K.pb for the K-th output of the model.
func (b *binder) labelFile(set string) (string, error) {
	name := b.options.Labels
	file := strings.TrimSuffix(name, ".pb") + ".pb"
	if filepath.Base(file) == file {
		if file = filepath.Join(set, file); exists(file) {
			return file, nil
		}
	}
	k := slices.Index(b.outputs, name)
	if k < 0 {
		return "", fmt.Errorf("dataset: %s: no labels %s: there is neither a file of that name (%s.pb) nor an output of the model (it has %s)", quote(set), quote(name), strings.Trim(quote(name), `"`), quoteAll(b.outputs))
	}
	return filepath.Join(set, fmt.Sprintf("output_%d.pb", k)), nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// storedTensor reads a tensor file; one that does not fit is read again whenever it is wanted.
func (b *binder) storedTensor(file string) (name string, s *stored, err error) {
	name, a, size, err := readTensor(file)
	if err != nil {
		return "", nil, err
	}
	s = inMemory(a, file)
	if !b.fits(size) {
		s.data = gather(a.Data, nil)
		s.reload = func() (*onnx.Array, error) {
			_, a, _, err := readTensor(file)
			return a, err
		}
	}
	return name, s, nil
}

// dataSets lists the folders that hold input_K.pb files, in the order of their numbers.
func dataSets(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	type numbered struct {
		path string
		n    int
	}
	var sets []numbered
	for _, e := range entries {
		if _, ok := inputNumber(e.Name()); ok {
			return []string{path}, nil
		}
		if digits, ok := strings.CutPrefix(e.Name(), "test_data_set_"); ok && e.IsDir() {
			if n, err := strconv.Atoi(digits); err == nil {
				sets = append(sets, numbered{filepath.Join(path, e.Name()), n})
			}
		}
	}
	if len(sets) == 0 {
		return nil, fmt.Errorf("dataset: %s: neither input_0.pb nor a folder test_data_set_0 is in it", quote(path))
	}
	slices.SortFunc(sets, func(x, y numbered) int { return x.n - y.n })
	out := make([]string, len(sets))
	for i, s := range sets {
		out[i] = s.path
	}
	return out, nil
}

func inputNumber(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "input_")
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, ".pb")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}

// loadSet reads one set and appends its arrays to the series.
func (b *binder) loadSet(set string) error {
	entries, err := os.ReadDir(set)
	if err != nil {
		return fmt.Errorf("dataset: %w", err)
	}
	found := map[string]*stored{}
	files := map[string]string{}
	for _, e := range entries {
		k, ok := inputNumber(e.Name())
		if !ok {
			continue
		}
		file := filepath.Join(set, e.Name())
		tensorName, a, err := b.storedTensor(file)
		if err != nil {
			return err
		}
		name := tensorName
		if !slices.ContainsFunc(b.all, func(in *onnx.ValueInfo) bool { return in.Name == name }) {
			if k >= len(b.all) {
				return fmt.Errorf("dataset: %s: the tensor is named %s, which is no input, and the model has no input number %d (it has %d)", quote(file), quote(tensorName), k, len(b.all))
			}
			name = b.all[k].Name
		}
		if other, twice := files[name]; twice {
			return fmt.Errorf("dataset: %s: the input %s already has its array in %s", quote(file), quote(name), quote(other))
		}
		found[name], files[name] = a, file
	}
	for i, in := range b.wanted {
		a := found[in.Name]
		if a == nil {
			return fmt.Errorf("dataset: %s: no array for the input %s", quote(set), quote(in.Name))
		}
		s := b.series[i]
		own := a.dims
		if s.kind == recorded && len(own) > 0 {
			own = own[1:]
		}
		if s.from == "" {
			s.from = files[in.Name]
		}
		if slices.Contains(a.dims, 0) || in.Type.HasShape && (len(own) != len(in.Type.Shape) || mismatch(own, in.Type.Shape, -1) >= 0) || s.kind == recorded && len(a.dims) == 0 {
			return fmt.Errorf("dataset: %s: shape %s, the input %s is %s (with states a step axis comes before it)", quote(files[in.Name]), shapeString(a.dims), quote(in.Name), dimsString(in.Type))
		}
		if s.kind == recorded && len(s.parts) > 0 && a.dims[0] != s.stepCount() {
			return fmt.Errorf("dataset: %s: shape %s has %d steps, the first set has %d", quote(files[in.Name]), shapeString(a.dims), a.dims[0], s.stepCount())
		}
		s.parts = append(s.parts, a)
	}
	return nil
}

// readTensor reads a file that is one TensorProto, of size bytes.
func readTensor(file string) (name string, a *onnx.Array, size int64, err error) {
	f, size, err := openRegular(file)
	if err != nil {
		return "", nil, 0, err
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		return "", nil, 0, fmt.Errorf("dataset: %w", err)
	}
	t, err := onnx.DecodeTensor(file, raw)
	if err == nil {
		a, err = t.Array()
	}
	if err != nil {
		return "", nil, 0, fmt.Errorf("dataset: %s: %w", quote(file), err)
	}
	return t.Name, a, size, nil
}
