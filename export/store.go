package export

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/internal/quant"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// StoreOptions say what [Store] makes narrow.
type StoreOptions struct {
	Storage Storage // "" means Float32, which stores nothing
	// Of, if set, gives the storage of a tensor by its scope and name there; "" means Storage. All tensors that [Store] describes are asked for.
	Of func(g *onnx.Graph, name string) Storage
}

// of is the storage of a tensor.
func (o StoreOptions) of(h home) Storage {
	if o.Of != nil {
		if s := o.Of(h.graph, h.name); s != "" {
			return s
		}
	}
	return o.Storage
}

// check refuses storages that there are not.
func (s Storage) check() error {
	switch s {
	case "", Float32, Float16, Int8:
		return nil
	}
	return fmt.Errorf("export: storage %q is unknown (expected %s, %s or %s)", s, Float32, Float16, Int8)
}

// storableSlots lists by operator the inputs that are matrices of weights where they are constant. Biases are none: they are few, and
// nothing averages their errors out.
var storableSlots = map[string][]int{
	"MatMul": {0, 1}, "Gemm": {0, 1}, "Conv": {1}, "ConvTranspose": {1}, "Gather": {0},
	"LSTM": {recurrent.SlotW, recurrent.SlotR}, "GRU": {recurrent.SlotW, recurrent.SlotR}, "RNN": {recurrent.SlotW, recurrent.SlotR},
}

// FirstStoring is the opset from which stored tensors can be written: its Mul broadcasts the scales.
const FirstStoring = 7

// Store makes the weights of a model narrow: the float32 tensors that cores, W and R of recurrent nodes, constant operands of MatMul and
// Gemm, weights of convolutions and tables of Gather are made of, in every scope, wherever that makes the file smaller. The tensor's
// name then stands for Cast(q) for float16 or Cast(q)·s for int8, nodes that depend on constants alone and that runtimes fold once at load.
//
// With Int8, tensors of a few dozen numbers are stored as float16 where their nodes would outweigh what int8 saves. Numbers that binary16
// does not hold (beyond 65504, or mostly below 2⁻¹⁴), and NaN or infinities, keep a tensor float32. Channels: see the package internal/quant and docs/algorithms.md.
//
// The model must import opset 7 or later, and must not hold stored tensors already ([Restore] it first).
func Store(ctx context.Context, m *onnx.Model, o StoreOptions) (*onnx.Patch, error) {
	p := onnx.NewPatch(m)
	if err := o.Storage.check(); err != nil {
		return nil, err
	}
	if o.Of == nil && (o.Storage == "" || o.Storage == Float32) {
		return p, nil
	}
	if _, ok := metadata(m, StoredKey); ok {
		return nil, fmt.Errorf("export: the model holds stored tensors already (restore it first)")
	}
	s := &storing{patch: p, model: m, index: onnx.NewIndex(m)}
	for _, h := range s.candidates() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		storage := o.of(h)
		if err := storage.check(); err != nil {
			return nil, err
		}
		if storage == "" || storage == Float32 {
			continue
		}
		if v := opsetOf(h.graph); v < FirstStoring {
			return nil, fmt.Errorf("export: %v: opset %d cannot multiply stored numbers with their scales, which came with %d (convert the model to a later opset, or store %s)", h.tensor, v, FirstStoring, Float32)
		}
		if err := s.store(h, storage); err != nil {
			return nil, err
		}
	}
	if len(s.names) == 0 {
		return p, nil
	}
	return p, setEntry(p, StoredKey, storedNames{storedSchema, s.names})
}

// storing is a call of Store at work.
type storing struct {
	patch *onnx.Patch
	model *onnx.Model
	index *onnx.Index
	names []string
}

// candidates lists the weights that may become narrow, in file order.
func (s *storing) candidates() []home {
	ev := onnx.NewEvaluator(s.model, s.index, 0)
	read := map[*onnx.Tensor]bool{}
	for _, g := range s.model.Scopes() {
		for _, n := range g.Nodes {
			if n.Domain != "" || s.index.Function(n) != nil {
				continue
			}
			for _, slot := range storableSlots[n.OpType] {
				if name := n.Input(slot); name != "" {
					for _, t := range ev.Sources(g, name) {
						read[t] = true
					}
				}
			}
		}
	}
	return slices.DeleteFunc(tensorHomes(s.model), func(h home) bool {
		if !read[h.tensor] || h.tensor.Type != onnx.Float {
			return true
		}
		// The value of a node must not hide a name of a scope around it, as an initializer may.
		if outer := s.index.Outer(h.graph); outer != nil {
			if _, hides := s.index.Resolve(outer, h.name); hides {
				return true
			}
		}
		return false
	})
}

// narrow is a way to store a tensor.
type narrow struct {
	storage Storage
	array   *onnx.Array
	scale   *onnx.Array // of int8
}

// store makes a tensor narrow in the way that takes fewest bytes, if any takes fewer than float32.
func (s *storing) store(h home, storage Storage) error {
	if h.tensor.Elements() < fewestStored {
		return nil
	}
	a, err := h.tensor.Array()
	if err != nil {
		return err
	}
	x, dims := a.Data.([]float32), a.Dims
	least := int64(4 * len(x))
	var best *narrow
	try := func(n narrow) {
		if size := s.cost(h, n); size < least {
			best, least = &n, size
		}
	}
	if storage == Int8 {
		if run, q, ok := quant.Choose(x, dims); ok {
			try(narrow{Int8, &onnx.Array{Type: onnx.Int8, Dims: dims, Data: q.Values}, &onnx.Array{Type: onnx.Float, Dims: run.ScaleDims(dims), Data: q.Scales}})
		}
	}
	if (quant.Float16{}).Fits(x) {
		try(narrow{Float16, &onnx.Array{Type: onnx.Float16, Dims: dims, Data: quant.Float16{}.Bits(x)}, nil})
	}
	if best != nil {
		s.write(h, *best)
	}
	return nil
}

// fewestStored is a number of elements below which no storage can pay: a Cast takes about thirty bytes.
const fewestStored = 12

// cost is the bytes of a stored tensor beyond those that its name, dims and type take in any storage.
func (s *storing) cost(h home, n narrow) int64 {
	const entry = 6 // in the metadata
	narrower, scale, nodes := "q00", "s00", int64(0)
	for _, node := range n.nodes(h.name, narrower, scale, "c00") {
		size := int64(proto.Size(node))
		nodes += size + 2
	}
	size := entry + nodes + int64(len(narrower)) - int64(len(h.name))
	if n.scale == nil {
		return size + 2*int64(n.array.Elements())
	}
	const header = 14 // of a message with a name of three letters, a type and no dims
	size += header + 2*int64(len(n.scale.Dims)) + 4*int64(n.scale.Elements())
	if s.model.IRVersion < 4 {
		size += 2 * header // the graph input of the scales
	}
	return size + int64(n.array.Elements())
}

// nodes give the value name from the narrow tensor and its scale.
func (n narrow) nodes(name, narrower, scale, between string) []*onnxpb.NodeProto {
	op := func(op, out string, in ...string) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{Input: in, Output: []string{out}, OpType: &op}
	}
	to := &onnxpb.AttributeProto{Name: proto.String("to"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(int64(onnx.Float))}
	if n.scale == nil {
		cast := op("Cast", name, narrower)
		cast.Attribute = []*onnxpb.AttributeProto{to}
		return []*onnxpb.NodeProto{cast}
	}
	cast := op("Cast", between, narrower)
	cast.Attribute = []*onnxpb.AttributeProto{to}
	return []*onnxpb.NodeProto{cast, op("Mul", name, between, scale)}
}

// write puts a narrow tensor and its nodes in place of a tensor.
func (s *storing) write(h home, n narrow) {
	p, k := s.patch, len(s.names)
	name := p.Fresh(fmt.Sprintf("q%d", k))
	s.names = append(s.names, name)
	p.AddInitializerArray(h.graph, name, n.array)
	var scale, between string
	if n.scale != nil {
		scale, between = p.Fresh(fmt.Sprintf("s%d", k)), p.Fresh(fmt.Sprintf("c%d", k))
		p.AddInitializerArray(h.graph, scale, n.scale)
	}
	for _, node := range n.nodes(h.name, name, scale, between) {
		p.Prepend(h.graph, node)
	}
	if h.node != nil {
		p.RemoveNode(h.node)
	} else {
		p.RemoveInitializer(h.tensor)
	}
}
