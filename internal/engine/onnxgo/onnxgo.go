// Package onnxgo reads and runs models with github.com/owulveryck/onnx-go, a decoder and a runtime that share no code with ours: [Check] compares
// what it decodes from a file with our own view, [Run] computes the outputs where its operators suffice.
//
// onnx-go is a library of 2019. It keeps no operator set versions, node names, metadata or external data, reads no subgraphs and no
// float16, and panics on some files; what it cannot do is an [UnsupportedError] here, never a wrong answer.
package onnxgo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	onnxgo "github.com/owulveryck/onnx-go"

	"github.com/trconvert/trconvert/onnx"
)

// maxDeclared bounds the elements of all declared shapes together: onnx-go allocates a tensor for each declared value before it has seen any data.
const maxDeclared = 1 << 26

// UnsupportedError lists everything for which onnx-go cannot read or run a model.
type UnsupportedError struct {
	Model   string
	Reasons []string // sorted, for instance `operator LSTM (2, first: graph.node[3] LSTM "lstm")`
}

func (e *UnsupportedError) Error() string {
	return "onnxgo: " + strconv.Quote(e.Model) + ": onnx-go does not support: " + strings.Join(e.Reasons, "; ")
}

// reasons counts what is not supported and remembers where each was met first.
type reasons struct {
	count map[string]int
	first map[string]string
}

func (r *reasons) add(what, where string) {
	if r.count == nil {
		r.count, r.first = map[string]int{}, map[string]string{}
	}
	if r.count[what]++; r.count[what] == 1 {
		r.first[what] = where
	}
}

func (r *reasons) err(model string) error {
	if len(r.count) == 0 {
		return nil
	}
	e := &UnsupportedError{Model: model}
	for what, n := range r.count {
		e.Reasons = append(e.Reasons, fmt.Sprintf("%s (%d, first: %s)", what, n, r.first[what]))
	}
	sort.Strings(e.Reasons)
	return e
}

// readable tells whether onnx-go can decode the model at all.
func readable(path string, m *onnx.Model) error {
	var r reasons
	g := m.Graph
	for _, t := range g.Initializers {
		where := "initializer " + strconv.Quote(t.Name)
		if t.External != nil {
			r.add("external data", where)
		}
		r.tensorType(t.Type, where)
		if slices.Contains(t.Dims, 0) {
			r.add("empty tensors", where)
		}
	}
	if len(g.Sparse) > 0 {
		r.add("sparse initializers", strconv.Quote(g.Sparse[0].Name))
	}
	if len(g.Nodes) == 0 {
		r.add("graphs without nodes", "main graph")
	}
	declared := int64(0)
	for _, list := range [][]*onnx.ValueInfo{g.Inputs, g.ValueInfos, g.Outputs} {
		for _, v := range list {
			if v.Type == nil {
				continue
			}
			if v.Type.Kind != "tensor" || v.Type.Elem == onnx.Float16 || v.Type.Elem > onnx.Complex128 {
				r.add(fmt.Sprintf("values of type %s %v", v.Type.Kind, v.Type.Elem), strconv.Quote(v.Name))
			}
			n := int64(1)
			for _, d := range v.Type.Shape {
				if !d.Known {
					continue
				}
				if d.Value < 0 || d.Value > maxDeclared || n > maxDeclared {
					n = maxDeclared + 1
					break
				}
				n *= max(d.Value, 1)
			}
			if declared += min(n, maxDeclared+1); declared > maxDeclared {
				r.add(fmt.Sprintf("declared shapes of more than %d elements together, for which it allocates memory", maxDeclared), strconv.Quote(v.Name))
				return r.err(path)
			}
		}
	}
	for _, n := range g.Nodes {
		if len(n.Outputs) == 0 || n.Outputs[0] == "" && !slices.ContainsFunc(n.Outputs, func(s string) bool { return s != "" }) {
			r.add("nodes without outputs", n.String())
		}
		if slices.ContainsFunc(n.Outputs, func(s string) bool { return s != "" && slices.Contains(n.Inputs, s) }) {
			r.add("nodes that read their own outputs", n.String())
		}
		for _, a := range n.Attributes {
			switch a.Type {
			case onnx.AttrFloat, onnx.AttrInt, onnx.AttrString, onnx.AttrFloats, onnx.AttrInts, onnx.AttrStrings:
			case onnx.AttrTensor:
				r.tensorType(a.T.Type, n.String())
				if a.T.External != nil {
					r.add("external data", n.String())
				}
			case onnx.AttrGraph, onnx.AttrGraphs:
				r.add("subgraphs", n.String())
			default:
				r.add(fmt.Sprintf("attributes of type %d", a.Type), n.String())
			}
		}
	}
	return r.err(path)
}

// tensorType lists the types whose payload onnx-go reads (it mistakes the layout of raw bools).
func (r *reasons) tensorType(t onnx.DataType, where string) {
	switch t {
	case onnx.Float, onnx.Double, onnx.Int32, onnx.Int64:
		return
	}
	r.add(fmt.Sprintf("tensors of type %v", t), where)
}

// decode reads a file into a backend of onnx-go; its panics become errors.
func decode(ctx context.Context, path string, backend onnxgo.Backend) (m *onnxgo.Model, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("onnxgo: %w", err)
	}
	defer recovered(path, "decoding", &err)
	m = onnxgo.NewModel(backend)
	if err := m.UnmarshalBinary(data); err != nil {
		return nil, failure(path, "decoding", err)
	}
	return m, nil
}

// recovered turns a panic of onnx-go or gorgonia into an error.
func recovered(path, doing string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("onnxgo: %s: onnx-go panicked while %s: %s", strconv.Quote(path), doing, strconv.Quote(fmt.Sprint(p)))
	}
}

// failure sorts onnx-go's errors: what it says it has not implemented is an UnsupportedError.
func failure(path, doing string, err error) error {
	var missing *onnxgo.ErrNotImplemented
	if errors.As(err, &missing) {
		return &UnsupportedError{Model: path, Reasons: []string{missing.Error()}}
	}
	return fmt.Errorf("onnxgo: %s: while %s: %w", strconv.Quote(path), doing, err)
}

// trueInputs are the names of the inputs that are not initializers.
func trueInputs(g *onnx.Graph) []string {
	var names []string
	for _, in := range g.TrueInputs() {
		names = append(names, in.Name)
	}
	return names
}
