package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// model is one to convert.
type model struct {
	name, path string
	feeds      map[string]*onnx.Array // nil: random
}

// findModels lists the models of folders, with their inputs.
func findModels(ctx context.Context, folders []string, wanted *regexp.Regexp) ([]*model, error) {
	var all []*model
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
		if err != nil {
			return nil, err
		}
		deep, err := filepath.Glob(filepath.Join(folder, "*", "model.onnx"))
		if err != nil {
			return nil, err
		}
		for _, path := range slices.Concat(files, deep) {
			dir := strings.TrimSuffix(path, ".onnx")
			if filepath.Base(path) == "model.onnx" {
				dir = filepath.Dir(path)
			}
			m := &model{name: filepath.Base(dir), path: path}
			if !matches(wanted, m.name) {
				continue
			}
			if m.feeds, err = readFeeds(ctx, path, dir); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no models in %q", folders)
	}
	return all, nil
}

// readFeeds reads a model's inputs from the folder beside it, nil where there are none.
func readFeeds(ctx context.Context, path, dir string) (map[string]*onnx.Array, error) {
	if _, err := os.Stat(filepath.Join(dir, "test_data_set_0")); err == nil {
		m, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{})
		if err != nil {
			return nil, err
		}
		defer m.Close()
		d, err := dataset.Open(ctx, dir, m, dataset.Options{})
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return d.Feeds(0, 1, 0)
	}
	b, err := os.ReadFile(filepath.Join(dir, "io", "meta.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var meta struct {
		Inputs []struct{ Name, File string }
	}
	if err := json.Unmarshal(b, &meta); err != nil {
		return nil, err
	}
	feeds := map[string]*onnx.Array{}
	for _, in := range meta.Inputs {
		if feeds[in.Name], err = dataset.ReadNPYFile(filepath.Join(dir, "io", in.File)); err != nil {
			return nil, err
		}
	}
	return feeds, nil
}

// row is one way to write a model. Rows of one group that come out alike are one line of the table.
type row struct {
	group, item string
	kind        kind
	decompose   []string // flags of the first command; nil: the model itself
	export      []string // flags of the second command; nil: none
}

func (r row) name() string { return strings.TrimSuffix(r.group+", "+r.item, ", ") }

// kind is what a file is.
type kind int

const (
	graph kind = iota // an ONNX model
	sourceC
	sourceGo
	pytorch
)

// rows are all ways, in the order of the table.
func rows() []row {
	all := []row{{group: "the dense model", kind: graph}}
	for _, form := range []struct {
		name  string
		flags []string
	}{
		{"bottleneck", []string{"--form", "bottleneck"}},
		{"bottleneck with --merge-output", []string{"--form", "bottleneck", "--merge-output"}},
		{"cores", []string{"--form", "cores"}},
	} {
		for _, weights := range []string{"float32", "float16", "int8"} {
			all = append(all, row{form.name, weights, graph, append(slices.Clone(form.flags), "--weights", weights), nil})
		}
	}
	all = append(all, row{"dense form", "", graph, []string{"--form", "dense"}, nil})
	compact := []string{"--form", "bottleneck", "--weights", "float32"}
	for opset := 13; opset <= 21; opset++ {
		all = append(all, row{"onnx", fmt.Sprintf("opset %d", opset), graph, compact, []string{"--target", "onnx", "--opset", fmt.Sprint(opset)}})
	}
	return append(all,
		row{"onnx-step", "", graph, compact, []string{"--target", "onnx-step"}},
		row{"onnx-gates", "", graph, compact, []string{"--target", "onnx-gates"}},
		row{"pytorch", "", pytorch, compact, []string{"--target", "pytorch"}},
		row{"c", "float32", sourceC, compact, []string{"--target", "c"}},
		row{"c", "int8", sourceC, compact, []string{"--target", "c", "--weights", "int8"}},
		row{"go", "float32", sourceGo, compact, []string{"--target", "go"}},
		row{"go", "int8", sourceGo, compact, []string{"--target", "go", "--weights", "int8"}},
	)
}

// artifact is a model written in one way, and what this project's runtime makes of it.
type artifact struct {
	model   *model
	row     row
	path    string // of the file or folder
	compact string // the ONNX model that it was exported from
	float   string // int8 source code: the folder of the same with float32 weights
	refused string // why trconvert does not write it
	feeds   map[string]*onnx.Array
	want    map[string]*onnx.Array
}

func (a *artifact) name() string { return a.model.name + ": " + a.row.name() }

// make writes a model in all ways.
func (o *options) make(ctx context.Context, dir string, m *model) ([]*artifact, error) {
	var all []*artifact
	compacts := map[string]*artifact{} // by the flags that made them
	floats := map[kind]string{}        // source code with float32 weights
	for k, r := range rows() {
		if !matches(o.rows, r.name()) {
			continue
		}
		a := &artifact{model: m, row: r, path: m.path}
		if r.decompose != nil {
			key := strings.Join(r.decompose, " ")
			made := compacts[key]
			if made == nil {
				made = &artifact{path: filepath.Join(dir, fmt.Sprintf("%s-%d.onnx", m.name, k))}
				made.refused = o.trconvert(ctx, slices.Concat([]string{"decompose", m.path, "-o", made.path, "--ratio", o.ratio}, r.decompose))
				compacts[key] = made
			}
			a.path, a.compact, a.refused = made.path, made.path, made.refused
			if strings.Contains(a.refused, "has no LSTM, GRU or RNN") {
				break // the model is run as it is
			}
		}
		if r.export != nil && a.refused == "" {
			a.path = filepath.Join(dir, fmt.Sprintf("%s-%d-out", m.name, k))
			if r.kind == graph {
				a.path += ".onnx"
			}
			a.refused = o.trconvert(ctx, slices.Concat([]string{"export", a.compact, "-o", a.path}, r.export))
			if a.float = floats[r.kind]; a.float == "" && a.refused == "" {
				floats[r.kind] = a.path
			}
		}
		if a.refused == "" {
			if err := a.reference(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", a.name(), err)
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		all = append(all, a)
	}
	return all, nil
}

// trconvert runs the command line and gives its error message, "" where it did as it was told.
func (o *options) trconvert(ctx context.Context, args []string) string {
	var messages strings.Builder
	cmd := exec.CommandContext(ctx, o.program, append(args, "--quiet", "--force")...)
	cmd.Stderr = &messages
	if err := cmd.Run(); err != nil {
		return firstLine(strings.TrimPrefix(messages.String(), "trconvert: "), err)
	}
	return ""
}

// firstLine is that of a message, or else of an error.
func firstLine(text string, err error) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// reference runs the file, or the model that it is the source code of, in this project's runtime.
func (a *artifact) reference(ctx context.Context) error {
	path := a.path
	if a.row.kind != graph {
		path = a.compact
	}
	m, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{})
	if err != nil {
		return err
	}
	defer m.Close()
	p, err := runtime.Compile(ctx, m, runtime.Options{Threads: 1})
	if err != nil {
		return err
	}
	a.feeds = a.model.feeds
	if !takes(p.Inputs(), a.feeds) {
		if a.feeds, err = randomFeeds(p.Inputs()); err != nil {
			return err
		}
	}
	a.want, err = p.Run(ctx, a.feeds)
	return err
}

// takes says whether arrays are what a model takes: one step has other inputs than the whole model.
func takes(inputs []*onnx.ValueInfo, feeds map[string]*onnx.Array) bool {
	for _, in := range inputs {
		a := feeds[in.Name]
		if a == nil || in.Type == nil || len(in.Type.Shape) != len(a.Dims) {
			return false
		}
		for k, d := range in.Type.Shape {
			if d.Known && int(d.Value) != a.Dims[k] {
				return false
			}
		}
	}
	return len(inputs) == len(feeds)
}

// randomFeeds fills every input with normal numbers, its free dims being 1.
func randomFeeds(inputs []*onnx.ValueInfo) (map[string]*onnx.Array, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	feeds := map[string]*onnx.Array{}
	for _, in := range inputs {
		if in.Type == nil || in.Type.Kind != "tensor" {
			return nil, fmt.Errorf("input %q is no tensor", in.Name)
		}
		dims, n := make([]int, len(in.Type.Shape)), 1
		for k, d := range in.Type.Shape {
			if dims[k] = 1; d.Known {
				dims[k] = int(d.Value)
			}
			n *= dims[k]
		}
		v := make([]float64, n)
		for k := range v {
			if v[k] = 0.5 * rng.NormFloat64(); !in.Type.Elem.IsFloat() {
				v[k] = 1
			}
		}
		var err error
		if feeds[in.Name], err = dataset.Cast(&onnx.Array{Type: onnx.Double, Dims: dims, Data: v}, in.Type.Elem); err != nil {
			return nil, fmt.Errorf("input %q: %w", in.Name, err)
		}
	}
	return feeds, nil
}
