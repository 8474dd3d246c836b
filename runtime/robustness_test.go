package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trconvert/trconvert/onnx"
)

// TestOperatorsNeverPanic calls every operator of the table on operands of any type, rank and value, with any attributes: whatever the
// data, a result is well formed or there is an ordinary error.
func TestOperatorsNeverPanic(t *testing.T) {
	for _, name := range operatorNames() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { tryOperator(t, name) })
		})
	}
}

// FuzzOperators is the same with the fuzzer choosing.
func FuzzOperators(f *testing.F) {
	list := operatorNames()
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { tryOperator(t, rapid.SampledFrom(list).Draw(t, "operator")) }))
}

func operatorNames() []string {
	var list []string
	for name := range operators {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func tryOperator(t *rapid.T, name string) {
	// one shape and one type for most operands, so that many cases get past the first checks
	g := &operandGen{typ: drawType(t), dims: rapid.SliceOfN(rapid.SampledFrom([]int{1, 2, 2, 3, 3, 4, 0}), 0, 4).Draw(t, "base dims")}
	outputs := rapid.IntRange(1, 3).Draw(t, "outputs")
	opset := int64(rapid.SampledFrom([]int{newestOpset, newestOpset, 17, 13, 11, 9, 7, 1}).Draw(t, "opset"))
	info := func(inputs int, attrs ...*onnx.Attribute) *nodeInfo {
		n := &onnx.Node{OpType: name, Attributes: attrs}
		i := &nodeInfo{node: n, opset: opset, attrs: map[string]*onnx.Attribute{}, asked: map[string]onnx.AttributeType{}}
		for k := range inputs {
			n.Inputs, i.given = append(n.Inputs, fmt.Sprint("in", k)), append(i.given, true)
		}
		for k := range outputs {
			n.Outputs, i.read = append(n.Outputs, fmt.Sprint("out", k)), append(i.read, true)
		}
		for _, a := range attrs {
			i.attrs[a.Name] = a
		}
		return i
	}
	c := &compiler{}
	// input counts that the builder takes, and the attributes it looks at
	counts, asked := []int{}, map[string]onnx.AttributeType{}
	for inputs := range 7 {
		i := info(inputs)
		if _, err := c.buildKnown(i); err == nil {
			counts = append(counts, inputs)
		}
		maps.Copy(asked, i.asked)
	}
	if len(counts) == 0 {
		counts = []int{1, 2, 3}
	}
	inputs := rapid.SampledFrom(counts).Draw(t, "inputs")
	var attrs []*onnx.Attribute
	for _, a := range sortedAttributes(asked) {
		if rapid.IntRange(0, 2).Draw(t, a) == 0 {
			attrs = append(attrs, drawAttribute(t, a, asked[a]))
		}
	}
	i := info(inputs, attrs...)
	in := make([]*value, inputs)
	for k := range in {
		if rapid.IntRange(0, 9).Draw(t, "absent") == 0 {
			i.node.Inputs[k], i.given[k] = "", false
		} else {
			in[k] = g.value(t)
		}
		i.fixed = append(i.fixed, rapid.Bool().Draw(t, "constant"))
	}
	op, err := c.buildKnown(i)
	if err != nil || i.err != nil {
		return
	}
	runGuarded(t, op, i, in)
}

// runGuarded runs an operator and fails on a panic or on a malformed result.
func runGuarded(t interface{ Fatalf(string, ...any) }, op operator, info *nodeInfo, in []*value) {
	out, _, err := guard(op, &call{ctx: context.Background(), node: info, step: &step{info: info}, runner: &runner{}}, in)
	var p *panicError
	if errors.As(err, &p) {
		t.Fatalf("%v\n%s", err, p.stack)
	}
	for k, v := range out {
		if v == nil || v.kind != kindTensor {
			continue
		}
		if err := checkArray(v.tensor); err != nil {
			t.Fatalf("output %d of %s: %v", k, describe(in), err)
		}
	}
}

func sortedAttributes(m map[string]onnx.AttributeType) []string {
	var list []string
	for name, typ := range m {
		if typ != onnx.AttrUndefined {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func drawAttribute(t *rapid.T, name string, typ onnx.AttributeType) *onnx.Attribute {
	small := rapid.Int64Range(-3, 6)
	a := &onnx.Attribute{Name: name, Type: typ}
	switch typ {
	case onnx.AttrInt:
		a.I = small.Draw(t, "i")
	case onnx.AttrInts:
		a.Ints = rapid.SliceOfN(small, 0, 6).Draw(t, "ints")
	case onnx.AttrFloat:
		a.F = rapid.Float32Range(-3, 3).Draw(t, "f")
	case onnx.AttrFloats:
		a.Floats = rapid.SliceOfN(rapid.Float32Range(-3, 3), 0, 4).Draw(t, "floats")
	case onnx.AttrString:
		a.S = []byte(rapid.SampledFrom([]string{"", "ij,jk->ik", "...i->i", "SAME_UPPER", "VALID", "linear", "nearest", "reflect", "edge", "wrap", "constant", "none", "add", "max", "reverse", "bidirectional", "tanh"}).Draw(t, "s"))
	default:
		a.Type = onnx.AttrInt
	}
	return a
}

func drawType(t *rapid.T) onnx.DataType {
	return rapid.SampledFrom([]onnx.DataType{onnx.Float, onnx.Float, onnx.Double, onnx.Int64, onnx.Int32, onnx.Uint8, onnx.Int8, onnx.Bool, onnx.Float16, onnx.BFloat16, onnx.String, onnx.Complex64}).Draw(t, "type")
}

// operandGen makes operands that mostly have a common type and related shapes.
type operandGen struct {
	typ  onnx.DataType
	dims []int
}

func (g *operandGen) value(t *rapid.T) *value {
	typ := g.typ
	switch rapid.IntRange(0, 11).Draw(t, "kind") {
	case 0, 1, 2:
		typ = onnx.Int64
	case 3:
		typ = drawType(t)
	case 4:
		return &value{kind: kindSequence, elem: g.typ, sequence: []*Tensor{g.tensor(t, g.typ), g.tensor(t, g.typ)}}
	}
	return &value{tensor: g.tensor(t, typ)}
}

func (g *operandGen) tensor(t *rapid.T, typ onnx.DataType) *Tensor {
	dims := slices.Clone(g.dims)
	switch rapid.IntRange(0, 5).Draw(t, "dims") {
	case 0:
		dims = rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "other dims")
	case 1:
		dims = []int{rapid.IntRange(0, 4).Draw(t, "length")}
	case 2:
		if len(dims) > 0 {
			dims = dims[rapid.IntRange(0, len(dims)-1).Draw(t, "from"):]
		}
	}
	x, err := zeros(typ, dims)
	if err != nil {
		t.Fatalf("%v", err)
	}
	fill(x, rapid.SliceOfN(rapid.IntRange(-3, 6), elements(dims), elements(dims)).Draw(t, "elements"))
	return x
}

// TestMutatedNodeTests breaks the inputs of the ONNX node tests in every way that a wrong model can: absent, of another type, another
// rank or length, with indices and shapes out of any range.
func TestMutatedNodeTests(t *testing.T) {
	extreme := []int64{math.MinInt64, -7, -1, 0, 1, 7, 1 << 40, math.MaxInt64}
	for _, folder := range subfolders(t, sharedFolder(t, "onnx-node")) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			p, err := Compile(context.Background(), openModel(t, filepath.Join(folder, "model.onnx")), Options{})
			if err != nil {
				return
			}
			rng := rand.New(rand.NewPCG(1, uint64(len(folder))))
			feeds := make([]*Tensor, len(p.inputs))
			for k := range feeds {
				feeds[k] = readPB(t, filepath.Join(folder, "test_data_set_0", fmt.Sprintf("input_%d.pb", k)), false)[0]
			}
			for range 60 {
				in := make([]*value, len(feeds))
				for k, f := range feeds {
					x := newTensor(f.Type, slices.Clone(f.Dims), f.Data)
					switch rng.IntN(6) {
					case 0:
						if len(x.Dims) > 0 {
							x.Dims[rng.IntN(len(x.Dims))] = rng.IntN(4)
						}
					case 1:
						x.Dims = append(x.Dims, 1+rng.IntN(2))
					case 2:
						x.Dims = x.Dims[:max(0, len(x.Dims)-1)]
					case 3:
						x.Type = []onnx.DataType{onnx.Float, onnx.Double, onnx.Int64, onnx.Int32, onnx.Bool, onnx.Uint8, onnx.String, onnx.Float16}[rng.IntN(8)]
					}
					if in[k], err = mutated(x, f, extreme, rng); err != nil {
						t.Fatal(err)
					}
				}
				r := &runner{ctx: context.Background(), program: p}
				_, out, err := r.graph(p.main, nil, in, nil)
				var pe *panicError
				if errors.As(err, &pe) {
					t.Fatalf("%v\n%s", err, pe.stack)
				}
				for k, v := range out {
					if v != nil && v.kind == kindTensor {
						if err := checkArray(v.tensor); err != nil {
							t.Fatalf("output %d of %s: %v", k, describe(in), err)
						}
					}
				}
			}
		})
	}
}

// mutated fills x with the elements of f as far as they go, and sometimes, where they are integers, with extreme ones.
func mutated(x, f *Tensor, extreme []int64, rng *rand.Rand) (*value, error) {
	y, err := zeros(x.Type, x.Dims)
	if err != nil {
		return nil, err
	}
	if x.Type == f.Type {
		reflect.Copy(reflect.ValueOf(y.Data), reflect.ValueOf(f.Data))
	}
	if d, ok := y.Data.([]int64); ok && len(d) > 0 && rng.IntN(2) == 0 {
		d[rng.IntN(len(d))] = extreme[rng.IntN(len(extreme))]
	}
	if d, ok := y.Data.([]int32); ok && len(d) > 0 && rng.IntN(2) == 0 {
		d[rng.IntN(len(d))] = int32(extreme[1+rng.IntN(5)]) // what int32 holds
	}
	return &value{tensor: y}, nil
}

// fill sets the elements to small numbers.
func fill(x *Tensor, v []int) {
	switch d := x.Data.(type) {
	case []float32:
		for i := range d {
			d[i] = float32(v[i]) / 2
		}
	case []float64:
		for i := range d {
			d[i] = float64(v[i]) / 2
		}
	case []int64:
		for i := range d {
			d[i] = int64(v[i])
		}
	case []int32:
		for i := range d {
			d[i] = int32(v[i])
		}
	case []int8:
		for i := range d {
			d[i] = int8(v[i])
		}
	case []uint8:
		for i := range d {
			d[i] = uint8(v[i])
		}
	case []uint16:
		for i := range d {
			d[i] = uint16(v[i]) << 12
		}
	case []bool:
		for i := range d {
			d[i] = v[i] > 0
		}
	case []string:
		for i := range d {
			d[i] = fmt.Sprint(v[i])
		}
	}
}
