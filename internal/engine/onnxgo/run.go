package onnxgo

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	onnxgo "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend/x/gorgonnx"
	"gorgonia.org/tensor"

	"github.com/trconvert/trconvert/onnx"
)

// operators are those whose results agree with the ONNX specification in the cases that runnable lets through.
var operators = []string{"Add", "Sub", "Mul", "MatMul", "Gemm", "Sigmoid", "Tanh", "Reshape", "Concat", "Transpose"}

// Run computes all outputs with onnx-go's gorgonia backend. A model with any other operator than element-wise Add, Sub, Mul, Sigmoid and Tanh, MatMul and Gemm of
// matrices, Reshape, Concat and Transpose is an *UnsupportedError that lists them all.
func Run(ctx context.Context, path string, feeds map[string]*onnx.Array) (map[string]*onnx.Array, error) {
	m, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if err := runnable(path, m); err != nil {
		return nil, err
	}
	if err := readable(path, m); err != nil {
		return nil, err
	}
	backend := gorgonnx.NewGraph()
	model, err := decode(ctx, path, backend)
	if err != nil {
		return nil, err
	}
	for _, name := range trueInputs(m.Graph) {
		a := feeds[name]
		if a == nil {
			return nil, fmt.Errorf("onnxgo: %s: no array for the input %s", strconv.Quote(path), strconv.Quote(name))
		}
		if err := feed(model, name, a); err != nil {
			return nil, fmt.Errorf("onnxgo: %s: input %s: %w", strconv.Quote(path), strconv.Quote(name), err)
		}
	}
	if err := execute(path, backend); err != nil {
		return nil, err
	}
	out := map[string]*onnx.Array{}
	for _, o := range m.Graph.Outputs {
		n, _ := model.GetNodeByName(o.Name)
		a, err := array(n.(onnxgo.DataCarrier).GetTensor())
		if err != nil {
			return nil, fmt.Errorf("onnxgo: %s: output %s: %w", strconv.Quote(path), strconv.Quote(o.Name), err)
		}
		out[o.Name] = a
	}
	return out, nil
}

// runnable lists the operators, and the uses of operators, that the backend lacks or gets wrong.
func runnable(path string, m *onnx.Model) error {
	var r reasons
	readers := map[string]int{}
	for _, n := range m.Graph.Nodes {
		for _, in := range n.Inputs {
			readers[in]++
		}
	}
	for _, n := range m.Graph.Nodes {
		op := n.OpType
		if n.Domain != "" && n.Domain != "ai.onnx" {
			op = n.Domain + "." + op
		}
		if !slices.Contains(operators, op) {
			r.add("operator "+op, n.String())
			continue
		}
		for i, in := range n.Inputs {
			switch {
			case slices.Contains(n.Inputs[:i], in):
				r.add("the same value twice as input of "+op, n.String())
			case op == "Gemm" && i == 2 && readers[in] > 1:
				r.add("a Gemm whose C has other readers (it is overwritten)", n.String())
			}
		}
		switch {
		case op == "Gemm" && len(n.Inputs) < 3:
			r.add("Gemm without C", n.String())
		case op == "Transpose" && n.Attr("perm") == nil:
			r.add("Transpose without perm", n.String())
		case op == "Reshape" && n.Attr("allowzero") != nil:
			r.add("Reshape with allowzero", n.String())
		}
	}
	for _, o := range m.Graph.Outputs {
		if readers[o.Name] > 0 {
			r.add("outputs that are read inside the graph", strconv.Quote(o.Name))
		}
	}
	return r.err(path)
}

func feed(model *onnxgo.Model, name string, a *onnx.Array) error {
	n, ok := model.GetNodeByName(name)
	if !ok {
		return fmt.Errorf("onnx-go does not know it")
	}
	switch a.Data.(type) {
	case []float32, []float64, []int32, []int64:
	default:
		return fmt.Errorf("arrays of type %v are not passed to onnx-go", a.Type)
	}
	return n.(onnxgo.DataCarrier).SetTensor(tensor.New(tensor.WithShape(a.Dims...), tensor.WithBacking(a.Data)))
}

func execute(path string, backend *gorgonnx.Graph) (err error) {
	defer recovered(path, "running", &err)
	if err := backend.Run(); err != nil {
		return failure(path, "running", err)
	}
	return nil
}

// array copies a result.
func array(t tensor.Tensor) (*onnx.Array, error) {
	if t == nil {
		return nil, fmt.Errorf("onnx-go computed nothing")
	}
	if d, ok := t.(*tensor.Dense); ok && d.RequiresIterator() {
		t = d.Materialize()
	}
	dims := slices.Clone([]int(t.Shape()))
	switch d := t.Data().(type) {
	case []float32:
		return &onnx.Array{Type: onnx.Float, Dims: dims, Data: slices.Clone(d)}, nil
	case float32:
		return &onnx.Array{Type: onnx.Float, Dims: dims, Data: []float32{d}}, nil
	case []float64:
		return &onnx.Array{Type: onnx.Double, Dims: dims, Data: slices.Clone(d)}, nil
	case float64:
		return &onnx.Array{Type: onnx.Double, Dims: dims, Data: []float64{d}}, nil
	case []int64:
		return &onnx.Array{Type: onnx.Int64, Dims: dims, Data: slices.Clone(d)}, nil
	}
	return nil, fmt.Errorf("onnx-go computed elements of type %T", t.Data())
}
