package export

import (
	"context"
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/quant"
	"github.com/trconvert/trconvert/onnx"
)

// Storage is the element type in which a weight is stored; models compute in float32 whatever it is.
type Storage string

// The three storages.
const (
	Float32 Storage = "float32"
	Float16 Storage = "float16" // half the bytes: |x − x̂| ≤ 2⁻¹¹·|x|
	Int8    Storage = "int8"    // a quarter: |x − x̂| ≤ s/2 with a scale s for each channel
)

// StoredKey is the metadata_props entry that names the tensors of [Store].
const StoredKey = "trconvert.stored"

const storedSchema = "trconvert.stored/v1"

// storedNames is the metadata entry: the initializers (in functions, Constant nodes) that hold narrow numbers, whose names are unique in all
// scopes. What each stands for is what its Cast, or the Mul behind it, gives.
type storedNames struct {
	Schema  string   `json:"schema"`
	Tensors []string `json:"tensors"`
}

// Stored is a float32 value of a model that is stored as a narrower tensor: Cast(Tensor), times Scale for int8. It rounds as training of
// the value needs it.
type Stored struct {
	Graph   *onnx.Graph // the scope of the value
	Name    string      // of the value
	Storage Storage
	Tensor  *onnx.Tensor // the numbers
	Scale   *onnx.Tensor // of int8: one for each channel, in a shape that broadcasts

	nodes    []*onnx.Node // Cast, Mul
	channels quant.Channels
}

// StoredTensors lists the values that [Store] made narrow. Metadata that disagree with the graph, because another tool has changed the one
// or the other, are an error. No weight is read.
func StoredTensors(m *onnx.Model) ([]Stored, error) {
	var l storedNames
	if found, err := readEntry(m, StoredKey, storedSchema, &l); !found || err != nil {
		return nil, err
	}
	ix := onnx.NewIndex(m)
	byName := map[string]home{}
	for _, h := range tensorHomes(m) {
		byName[h.name] = h
	}
	var all []Stored
	seen := map[string]bool{}
	for _, name := range l.Tensors {
		h, ok := byName[name]
		if !ok || seen[name] {
			return nil, fmt.Errorf("export: metadata %s: %q names no tensor of the graph that is not named before", StoredKey, name)
		}
		seen[name] = true
		s, err := readStored(ix, h)
		if err != nil {
			return nil, fmt.Errorf("export: stored tensor %q: %w", name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// home is where a tensor stands that nodes read by name: an initializer, or the value of a Constant node.
type home struct {
	graph  *onnx.Graph
	name   string
	tensor *onnx.Tensor
	node   *onnx.Node // Constant, nil for an initializer
}

// tensorHomes lists the tensors of all scopes in file order.
func tensorHomes(m *onnx.Model) []home {
	var all []home
	for _, g := range m.Scopes() {
		for _, t := range g.Initializers {
			all = append(all, home{g, t.Name, t, nil})
		}
		for _, n := range g.Nodes {
			if h, ok := constantHome(n); ok {
				all = append(all, h)
			}
		}
	}
	return all
}

func constantHome(n *onnx.Node) (home, bool) {
	if n.OpType != "Constant" || n.Domain != "" || len(n.Outputs) != 1 {
		return home{}, false
	}
	a := n.Attr("value")
	if a == nil || a.T == nil {
		return home{}, false
	}
	return home{n.Graph, n.Outputs[0], a.T, n}, true
}

// readStored follows a narrow tensor to the value it stands for.
func readStored(ix *onnx.Index, h home) (Stored, error) {
	s := Stored{Graph: h.graph, Tensor: h.tensor}
	cast, err := onlyReader(ix, h.graph, h.name, "Cast")
	if err != nil {
		return s, err
	}
	if to, err := cast.AttrInt("to", 0); err != nil || onnx.DataType(to) != onnx.Float {
		return s, fmt.Errorf("%v casts it to type %d, want float", cast, to)
	}
	s.Name, s.nodes = cast.Output(0), []*onnx.Node{cast}
	switch h.tensor.Type {
	case onnx.Float16:
		s.Storage = Float16
		return s, nil
	case onnx.Int8:
		s.Storage = Int8
	default:
		return s, fmt.Errorf("is of type %v, want float16 or int8", h.tensor.Type)
	}
	mul, err := onlyReader(ix, h.graph, s.Name, "Mul")
	if err != nil {
		return s, err
	}
	def, ok := ix.Resolve(h.graph, mul.Input(1))
	switch {
	case ok && def.Tensor != nil && def.Input == nil || ok && def.Tensor != nil && !ix.Overridable(def):
		s.Scale = def.Tensor
	case ok && def.Node != nil:
		if c, is := constantHome(def.Node); is {
			s.Scale = c.tensor
		}
	}
	if s.Scale == nil || s.Scale.Type != onnx.Float || mul.Input(0) != s.Name {
		return s, fmt.Errorf("%v does not multiply it with stored scales", mul)
	}
	s.Name, s.nodes = mul.Output(0), append(s.nodes, mul)
	if s.channels, ok = channelsOf(intDims(s.Tensor.Dims), intDims(s.Scale.Dims)); !ok {
		return s, fmt.Errorf("has dims %v, its scales %v, which are not those of channels", s.Tensor.Dims, s.Scale.Dims)
	}
	return s, nil
}

// onlyReader is the node of an operator that alone reads a value, as its first input.
func onlyReader(ix *onnx.Index, g *onnx.Graph, name, op string) (*onnx.Node, error) {
	uses := ix.Uses(g, name)
	if len(uses) != 1 || uses[0].Node == nil || uses[0].Slot != 0 || uses[0].Node.OpType != op || uses[0].Node.Graph != g || len(uses[0].Node.Outputs) != 1 {
		return nil, fmt.Errorf("value %q has other readers than the one %s node that stored tensors have", name, op)
	}
	return uses[0].Node, nil
}

// channelsOf finds the channels whose scales have the dims scale, which quant.Run.ScaleDims gave.
func channelsOf(dims, scale []int) (quant.Channels, bool) {
	if len(scale) > len(dims) {
		return quant.Channels{}, false
	}
	run := quant.Run{From: len(dims) - len(scale)}
	run.To = run.From
	for k, d := range scale {
		if d > 1 {
			run.To = run.From + k + 1
		}
	}
	if run.To == run.From {
		run = quant.Run{}
		return run.Channels(dims), true
	}
	return run.Channels(dims), slices.Equal(run.ScaleDims(dims), scale)
}

func intDims(dims []int64) []int {
	out := make([]int, len(dims))
	for k, d := range dims {
		out[k] = int(d)
	}
	return out
}

// Round replaces numbers by the values that storing them gives.
func (s Stored) Round(x []float32) {
	if s.Storage == Float16 {
		quant.Float16{}.Round(x)
		return
	}
	s.channels.Round(x)
}

// String names the storage with its channels.
func (s Stored) String() string {
	if s.Storage == Int8 {
		return fmt.Sprintf("%s, %d scales by %d", s.Storage, s.channels.Count, s.channels.Inner)
	}
	return string(s.Storage)
}

// Array reads the value.
func (s Stored) Array() (*onnx.Array, error) {
	a, err := s.Tensor.Array()
	if err != nil {
		return nil, err
	}
	v := &onnx.Array{Type: onnx.Float, Dims: a.Dims}
	if s.Storage == Float16 {
		v.Data, err = a.Float32s()
		return v, err
	}
	scale, err := s.Scale.Array()
	if err != nil {
		return nil, err
	}
	scales, err := scale.Float32s()
	if err != nil {
		return nil, err
	}
	if len(scales) != s.channels.Count {
		return nil, fmt.Errorf("export: stored tensor %q: %d scales for %d channels", s.Tensor.Name, len(scales), s.channels.Count)
	}
	v.Data = quant.Int8{Channels: s.channels, Values: a.Data.([]int8), Scales: scales}.Floats()
	return v, nil
}

// replace gives the value other numbers in a patch of its model, rounded as it is stored.
func (s Stored) replace(p *onnx.Patch, x []float32) {
	dims := intDims(s.Tensor.Dims)
	if s.Storage == Float16 {
		p.ReplaceInitializer(s.Tensor, &onnx.Array{Type: onnx.Float16, Dims: dims, Data: quant.Float16{}.Bits(x)})
		return
	}
	q := s.channels.Quantize(x)
	p.ReplaceInitializer(s.Tensor, &onnx.Array{Type: onnx.Int8, Dims: dims, Data: q.Values})
	p.ReplaceInitializer(s.Scale, &onnx.Array{Type: onnx.Float, Dims: intDims(s.Scale.Dims), Data: q.Scales})
}

// Restore undoes [Store] in memory: each stored value becomes a float32 initializer of its name. A model without is returned as it is.
func Restore(ctx context.Context, m *onnx.Model) (*onnx.Model, error) {
	all, err := StoredTensors(m)
	if err != nil || all == nil {
		return m, err
	}
	p := onnx.NewPatch(m)
	for _, s := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a, err := s.Array()
		if err != nil {
			return nil, err
		}
		for _, n := range s.nodes {
			p.RemoveNode(n)
		}
		p.AddInitializerArray(s.Graph, s.Name, a)
	}
	p.SetMetadata(StoredKey, "")
	return p.Apply(ctx)
}

// valueKey names a value by the number of its scope, which a model and its restored one have in common.
type valueKey struct {
	scope int
	name  string
}

func scopeNumbers(m *onnx.Model) map[*onnx.Graph]int {
	numbers := map[*onnx.Graph]int{}
	for k, g := range m.Scopes() {
		numbers[g] = k
	}
	return numbers
}

// RestoredTensors gives the stored values by their tensors in restored, which [Restore] made of m.
func RestoredTensors(m, restored *onnx.Model) (map[*onnx.Tensor]Stored, error) {
	all, err := StoredTensors(m)
	if err != nil {
		return nil, err
	}
	numbers := scopeNumbers(m)
	byKey := map[valueKey]Stored{}
	for _, s := range all {
		byKey[valueKey{numbers[s.Graph], s.Name}] = s
	}
	numbers = scopeNumbers(restored)
	out := map[*onnx.Tensor]Stored{}
	for _, h := range tensorHomes(restored) {
		if s, ok := byKey[valueKey{numbers[h.graph], h.name}]; ok {
			out[h.tensor] = s
		}
	}
	return out, nil
}

// Rewrite gives tensors of restored, which [Restore] made of m, other values in m: a patch of m that changes nothing but numbers, each in
// its storage. Stored values that are what they were keep their bytes.
func Rewrite(m, restored *onnx.Model, values map[*onnx.Tensor]*onnx.Array) (*onnx.Patch, error) {
	stored, err := RestoredTensors(m, restored)
	if err != nil {
		return nil, err
	}
	own := map[valueKey]*onnx.Tensor{}
	numbers := scopeNumbers(m)
	for _, h := range tensorHomes(m) {
		own[valueKey{numbers[h.graph], h.name}] = h.tensor
	}
	numbers = scopeNumbers(restored)
	p := onnx.NewPatch(m)
	found := 0
	for _, h := range tensorHomes(restored) {
		value := values[h.tensor]
		if value == nil {
			continue
		}
		found++
		s, narrow := stored[h.tensor]
		if !narrow {
			p.ReplaceInitializer(own[valueKey{numbers[h.graph], h.name}], value)
			continue
		}
		x, err := value.Float32s()
		if err != nil {
			return nil, fmt.Errorf("export: %v: %w", h.tensor, err)
		}
		old, err := s.Array()
		if err != nil {
			return nil, err
		}
		if !slices.Equal(x, old.Data.([]float32)) {
			s.replace(p, x)
		}
	}
	if found < len(values) {
		return nil, fmt.Errorf("export: %d of %d tensors are none of the model", len(values)-found, len(values))
	}
	return p, nil
}
