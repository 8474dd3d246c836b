package export

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// bigLayer has weights that are large enough to be stored in fewer bits.
func bigLayer(change func(*layer)) layer {
	l := plainLayer()
	l.in, l.hidden = 96, 24
	if change != nil {
		change(&l)
	}
	return l
}

// stores applies Store.
func stores(t testing.TB, m *onnx.Model, o StoreOptions) *onnx.Model {
	t.Helper()
	p, err := Store(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Apply(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return decodeBytes(t, encode(t, out)) // as a reader of the file sees it
}

func restores(t testing.TB, m *onnx.Model) *onnx.Model {
	t.Helper()
	out, err := Restore(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// values evaluates operands of recurrent nodes, by site and slot.
func values(t testing.TB, m *onnx.Model, slots ...int) map[string][]float32 {
	t.Helper()
	out := map[string][]float32{}
	for _, n := range recurrent.Nodes(m) {
		for _, slot := range slots {
			out[fmt.Sprint(n.Name, " ", slot)] = floats(t, constant(t, m, n.Node.Graph, n.Node.Input(slot)))
		}
	}
	return out
}

// TestStoreInScopes stores the weights of models of every kind of scope and IR version, and holds each value, as the stored nodes compute it, to the bound of
// its storage: 2⁻¹¹ of itself (and half the spacing of the smallest numbers) for float16, half a step of max|w|/127 for int8. Restored models have the same values as initializers.
func TestStoreInScopes(t *testing.T) {
	l := bigLayer(nil)
	for _, c := range []struct {
		name  string
		model *onnxpb.ModelProto
		kept  bool // as Constant nodes
	}{
		{"main graph", l.proto(), false},
		{"IR 3", bigLayer(func(l *layer) { l.ir, l.opset = 3, 7 }).proto(), false},
		{"bidirectional", bigLayer(func(l *layer) { l.direction = "bidirectional" }).proto(), false},
		{"GRU", bigLayer(func(l *layer) { l.op = "GRU" }).proto(), false},
		{"two branches", branches(l, false), false},
		{"nested branches", branches(l, true), false},
		{"loop body", loop(l), false},
		{"function", function(l, 14), true},
		{"function of an older opset", function(l, 9), true},
	} {
		for _, storage := range []Storage{Float16, Int8} {
			t.Run(c.name+"/"+string(storage), func(t *testing.T) {
				m := decode(t, c.model)
				stored := stores(t, m, StoreOptions{Storage: storage})
				want := values(t, m, recurrent.SlotW, recurrent.SlotR, recurrent.SlotB)
				got := values(t, stored, recurrent.SlotW, recurrent.SlotR, recurrent.SlotB)
				for name, w := range want {
					bias := strings.HasSuffix(name, fmt.Sprint(" ", recurrent.SlotB))
					var most float64
					for _, v := range w {
						most = max(most, math.Abs(float64(v)))
					}
					for i, v := range w {
						bound := max(0x1p-11*math.Abs(float64(v)), 0x1p-25)
						if storage == Int8 {
							bound = 1.0001 * most / 254
						}
						if bias {
							bound = 0
						}
						if d := math.Abs(float64(v) - float64(got[name][i])); !(d <= bound) {
							t.Fatalf("%s: number %d: %g became %g", name, i, v, got[name][i])
						}
					}
				}
				all, err := StoredTensors(stored)
				if err != nil || len(all) != 2 { // W and R
					t.Fatalf("%d stored tensors, %v", len(all), err)
				}
				if a, b := float64(stored.Size()), float64(m.Size()); !(a < b*map[Storage]float64{Float16: 0.6, Int8: 0.35}[storage]) {
					t.Errorf("%g bytes of %g", a, b)
				}
				if a, b := stored.Graph.Inputs, m.Graph.Inputs; m.IRVersion >= 4 && !reflect.DeepEqual(inputNames(a), inputNames(b)) {
					t.Errorf("inputs %v, were %v", inputNames(a), inputNames(b))
				}

				back := restores(t, stored)
				if again, err := StoredTensors(back); err != nil || len(again) > 0 {
					t.Errorf("restored: %d stored tensors, %v", len(again), err)
				}
				if d := values(t, back, recurrent.SlotW, recurrent.SlotR, recurrent.SlotB); !reflect.DeepEqual(d, got) {
					t.Error("restored values differ from the stored ones")
				}
				for _, h := range tensorHomes(back) {
					if h.tensor.Type != onnx.Float || (h.node != nil) != c.kept {
						t.Errorf("restored: %v is %v, Constant node %v", h.tensor, h.tensor.Type, h.node)
					}
				}
				if len(back.Graph.Inputs) != len(m.Graph.Inputs) {
					t.Errorf("restored: inputs %v, were %v", inputNames(back.Graph.Inputs), inputNames(m.Graph.Inputs))
				}
			})
		}
	}
}

func inputNames(in []*onnx.ValueInfo) []string {
	var names []string
	for _, v := range in {
		names = append(names, v.Name)
	}
	return names
}

// TestStoreRings stores compact models of every form; records, factors and expansion see the stored numbers.
func TestStoreRings(t *testing.T) {
	l := bigLayer(nil)
	for _, o := range []Options{{Form: Bottleneck}, {Form: Bottleneck, Arranged: true}, {Form: Cores}, {Form: Bottleneck, MergeOutput: true}, {Form: Cores, MergeOutput: true}} {
		for _, storage := range []Storage{Float16, Int8} {
			t.Run(fmt.Sprint(o, storage), func(t *testing.T) {
				m := decode(t, l.proto())
				f := randomFactor(1, l.rows(), l.in, []int{8, 12}, []int{8, 12}, []int{3, 5, 8, 6})
				compact := lower(t, m, []Replacement{{find(t, m), f}}, o)
				stored := stores(t, compact, StoreOptions{Storage: storage})
				records, err := Records(stored)
				if err != nil || len(records) != 1 {
					t.Fatalf("%d records, %v", len(records), err)
				}
				got, err := records[0].Factor(context.Background(), stored)
				if err != nil {
					t.Fatal(err)
				}
				a, b := f.Reconstruct(), got.Reconstruct()
				// Four cores, each off by 2⁻¹¹ or about one part in a hundred.
				if e := distance(wide(b.Data), wide(a.Data)); !(e > 0 && e < map[Storage]float64{Float16: 1e-3, Int8: 0.03}[storage]) {
					t.Errorf("relative error %.3g", e)
				}
				expanded, err := Expand(context.Background(), stored)
				if err != nil {
					t.Fatal(err)
				}
				if w := values(t, expanded, recurrent.SlotW)[fmt.Sprint("cell ", recurrent.SlotW)]; distance(wide(w), wide(b.Data)) > 1e-6 {
					t.Error("the expanded W is another than that of the stored cores")
				}
				for _, h := range tensorHomes(expanded) {
					if h.tensor.Type != onnx.Float {
						t.Errorf("expanded: %v is %v", h.tensor, h.tensor.Type)
					}
				}
				sites := find(t, stored)
				if _, err := Annotate(stored, sites); err != nil || sites[0].Decomposable || !strings.Contains(sites[0].Reason, "already a ring") {
					t.Errorf("annotated: %+v, %v", sites[0], err)
				}
				if back := restores(t, stored); !reflect.DeepEqual(mustRecords(t, back), records) {
					t.Error("restored records differ")
				}
			})
		}
	}
}

func mustRecords(t *testing.T, m *onnx.Model) []Record {
	t.Helper()
	r, err := Records(m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStoreOnlyWherePaid compares with files in which every tensor by itself is kept float32: none is smaller.
func TestStoreOnlyWherePaid(t *testing.T) {
	for _, l := range []layer{bigLayer(nil), bigLayer(func(l *layer) { l.ir, l.opset = 3, 7 })} {
		for _, ranks := range [][]int{{1, 1, 1, 1, 1, 1}, {1, 2, 1, 2, 1, 2}, {2, 3, 2, 3, 2, 3}} {
			for _, storage := range []Storage{Float16, Int8} {
				m := decode(t, l.proto())
				f := randomFactor(1, l.rows(), l.in, []int{4, 4, 6}, []int{4, 2, 12}, ranks)
				compact := lower(t, m, []Replacement{{find(t, m), f}}, Options{})
				least := stores(t, compact, StoreOptions{Storage: storage}).Size()
				for _, h := range tensorHomes(compact) {
					without := stores(t, compact, StoreOptions{Storage: storage, Of: func(g *onnx.Graph, name string) Storage {
						if g == h.graph && name == h.name {
							return Float32
						}
						return ""
					}})
					if without.Size() < least {
						t.Errorf("IR %d, ranks %v, %s: %d bytes with %v as float32, %d without", l.ir, ranks, storage, without.Size(), h.tensor, least)
					}
				}
			}
		}
	}
}

func TestStoreIsDeterministic(t *testing.T) {
	m := decode(t, bigLayer(nil).proto())
	a, b := stores(t, m, StoreOptions{Storage: Int8}), stores(t, m, StoreOptions{Storage: Int8})
	if !bytes.Equal(encode(t, a), encode(t, b)) {
		t.Error("two runs give other bytes")
	}
}

// TestStoreLeavesAlone lists what keeps its bytes.
func TestStoreLeavesAlone(t *testing.T) {
	overridden := bigLayer(nil).proto()
	overridden.Graph.Input = append(overridden.Graph.Input, valueInfo("R", onnx.Float, 1, 96, 24))
	outOfRange := bigLayer(nil).proto()
	for _, x := range outOfRange.Graph.Initializer {
		if x.GetName() == "R" {
			copy(x.RawData, []byte{0, 0, 0xc0, 0x7f}) // NaN
		}
	}
	hiding := branches(bigLayer(nil), false)
	then := hiding.Graph.Node[0].Attribute[0].G
	for _, x := range hiding.Graph.Initializer {
		if x.GetName() == "R" { // hides R of the outer scope, as only an initializer may
			then.Initializer = append(then.Initializer, proto.Clone(x).(*onnxpb.TensorProto))
		}
	}
	for _, c := range []struct {
		name    string
		model   *onnxpb.ModelProto
		storage Storage
		want    []string // stored values
	}{
		{"float32", bigLayer(nil).proto(), Float32, nil},
		{"nothing asked", bigLayer(nil).proto(), "", nil},
		{"float16 already", bigLayer(func(l *layer) { l.elem = onnx.Float16 }).proto(), Int8, nil},
		{"double", bigLayer(func(l *layer) { l.elem = onnx.Double }).proto(), Int8, nil},
		{"a weight that callers may override", overridden, Int8, []string{"W"}},
		{"a NaN", outOfRange, Int8, []string{"W"}},
		{"a NaN, float16", outOfRange, Float16, []string{"W"}},
		{"an inner initializer that hides an outer name", hiding, Int8, []string{"W", "R"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := decode(t, c.model)
			stored := stores(t, m, StoreOptions{Storage: c.storage})
			all, err := StoredTensors(stored)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range all {
				got = append(got, s.Name)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("stored %v, want %v", got, c.want)
			}
			if c.want == nil && !bytes.Equal(encode(t, stored), encode(t, m)) {
				t.Error("the bytes differ")
			}
		})
	}
}

// TestRewrite gives stored values other numbers: nothing but payloads changes, and values that stay keep theirs.
func TestRewrite(t *testing.T) {
	m := decode(t, bigLayer(nil).proto())
	stored := stores(t, m, StoreOptions{Storage: Int8})
	full := restores(t, stored)
	values := map[*onnx.Tensor]*onnx.Array{}
	for _, h := range tensorHomes(full) {
		a, err := h.tensor.Array()
		if err != nil {
			t.Fatal(err)
		}
		values[h.tensor] = a
	}
	rewritten := func() *onnx.Model {
		p, err := Rewrite(stored, full, values)
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.Apply(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if !bytes.Equal(encode(t, rewritten()), encode(t, stored)) {
		t.Error("the same values give other bytes")
	}
	for x, a := range values {
		if x.Name == "R" || x.Name == "B" {
			for i := range a.Data.([]float32) {
				a.Data.([]float32)[i] *= 3
			}
		}
	}
	out := rewritten()
	if out.Size() != stored.Size() {
		t.Errorf("%d bytes, were %d", out.Size(), stored.Size())
	}
	for _, h := range tensorHomes(restores(t, out)) {
		a, err := h.tensor.Array()
		if err != nil {
			t.Fatal(err)
		}
		for x, want := range values {
			if x.Name != h.name {
				continue
			}
			if e := distance(wide(floats(t, a)), wide(floats(t, want))); e > 1e-2 {
				t.Errorf("%s: relative error %.3g", h.name, e)
			}
		}
	}
	if _, err := Rewrite(stored, full, map[*onnx.Tensor]*onnx.Array{m.Graph.Initializers[0]: values[full.Graph.Initializers[0]]}); err == nil {
		t.Error("a tensor of another model is accepted")
	}
}

// TestStoreRefuses sees what cannot be stored or read back.
func TestStoreRefuses(t *testing.T) {
	ctx := context.Background()
	stored := stores(t, decode(t, bigLayer(nil).proto()), StoreOptions{Storage: Int8})
	store := func(o StoreOptions, l layer) error {
		_, err := Store(ctx, decode(t, l.proto()), o)
		return err
	}
	changed := func(metadata string, change func(m *onnxpb.ModelProto)) error {
		pb := &onnxpb.ModelProto{}
		if err := proto.Unmarshal(encode(t, stored), pb); err != nil {
			t.Fatal(err)
		}
		if metadata != "" {
			pb.MetadataProps[0].Value = &metadata
		}
		if change != nil {
			change(pb)
		}
		m := decode(t, pb)
		_, err := StoredTensors(m)
		if err == nil {
			_, err = Restore(ctx, m)
		}
		return err
	}
	again := func() error {
		_, err := Store(ctx, stored, StoreOptions{Storage: Float16})
		return err
	}
	relower := func() error {
		sites := find(t, stored)
		_, err := Lower(ctx, stored, []Replacement{{sites, randomFactor(1, 96, 96, []int{8, 12}, []int{8, 12}, []int{1, 2, 3, 2})}}, Options{})
		return err
	}
	entry := func(names string) string { return `{"schema":"trconvert.stored/v1","tensors":[` + names + `]}` }
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"unknown storage", store(StoreOptions{Storage: "int4"}, bigLayer(nil)), `"int4" is unknown (expected float32, float16 or int8)`},
		{"old opset", store(StoreOptions{Storage: Int8}, bigLayer(func(l *layer) { l.opset, l.ir = 6, 3 })), "opset 6"},
		{"stored already", again(), "restore it first"},
		{"lowered while stored", relower(), "restore it first"},
		{"another version", changed(`{"schema":"trconvert.stored/v2"}`, nil), "trconvert.stored/v2"},
		{"unknown field", changed(`{"schema":"trconvert.stored/v1","x":1}`, nil), "unknown field"},
		{"no such tensor", changed(entry(`"q0","q7"`), nil), `"q7" names no tensor`},
		{"named twice", changed(entry(`"q0","q0"`), nil), `"q0" names no tensor of the graph that is not named before`},
		{"no narrow tensor", changed(entry(`"B"`), nil), "Cast"},
		{"another type", changed("", func(m *onnxpb.ModelProto) {
			for _, n := range m.Graph.Node {
				if n.GetOpType() == "Cast" {
					n.Attribute[0].I = proto.Int64(int64(onnx.Double))
				}
			}
			for _, n := range m.Graph.Node {
				if n.GetOpType() == "Mul" {
					n.Input[1] = n.Input[0]
				}
			}
		}), "type 11"},
		{"no scales", changed("", func(m *onnxpb.ModelProto) {
			for _, n := range m.Graph.Node {
				if n.GetOpType() == "Mul" {
					n.Input[1] = "B"
				}
			}
		}), "scales"},
		{"another operator", changed("", func(m *onnxpb.ModelProto) {
			for _, n := range m.Graph.Node {
				if n.GetOpType() == "Mul" {
					n.OpType = proto.String("Add")
				}
			}
		}), "the one Mul node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", c.err, c.want)
			}
		})
	}
}
