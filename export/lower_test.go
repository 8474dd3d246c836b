package export

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// ringCase is a layer and the shape of a ring for it.
type ringCase struct {
	name                     string
	layer                    layer
	inModes, outModes, ranks []int
	tolerance                float64 // of X·Ŵᵀ, relative
}

func ringCases() []ringCase {
	with := func(change func(*layer)) layer {
		l := plainLayer()
		change(&l)
		return l
	}
	cases := []ringCase{
		{"ring", plainLayer(), []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5}, 1e-6},
		{"ring of six", plainLayer(), []int{2, 3, 4}, []int{4, 2, 4}, []int{3, 2, 3, 2, 3, 2}, 1e-6},
		{"train", plainLayer(), []int{2, 3, 4}, []int{4, 8}, []int{1, 2, 4, 3, 3}, 1e-6},
		{"two cores", plainLayer(), []int{24}, []int{32}, []int{1, 5}, 1e-6},
		{"two cores of a ring", plainLayer(), []int{24}, []int{32}, []int{2, 3}, 1e-6},
		{"middle bond 1", plainLayer(), []int{4, 6}, []int{4, 8}, []int{2, 1, 1, 3}, 1e-6},
		{"padded", with(func(l *layer) { l.in = 23 }), []int{2, 3, 4}, []int{4, 8}, []int{2, 3, 2, 3, 2}, 1e-6},
		{"padded in one mode", with(func(l *layer) { l.in = 23 }), []int{24}, []int{32}, []int{2, 3}, 1e-6},
		{"bidirectional", with(func(l *layer) { l.direction = "bidirectional" }), []int{4, 6}, []int{2, 4, 8}, []int{2, 3, 4, 3, 2}, 1e-6},
		{"GRU", with(func(l *layer) { l.op, l.direction = "GRU", "reverse" }), []int{4, 6}, []int{4, 6}, []int{2, 3, 4, 3}, 1e-6},
		{"RNN", with(func(l *layer) { l.op = "RNN" }), []int{4, 6}, []int{2, 4}, []int{2, 3, 2, 3}, 1e-6},
		{"layout 1", with(func(l *layer) { l.layout = 1 }), []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5}, 1e-6},
		{"IR 3", with(func(l *layer) { l.ir, l.opset = 3, 7 }), []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5}, 1e-6},
		{"double", with(func(l *layer) { l.elem = onnx.Double }), []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5}, 1e-6},
		// Half the relative spacing is 2⁻¹¹ for float16 and 2⁻⁸ for bfloat16; a dozen roundings follow each other.
		{"float16", with(func(l *layer) { l.elem = onnx.Float16 }), []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5}, 6 * 0x1p-11},
		{"bfloat16", with(func(l *layer) { l.elem, l.opset = onnx.BFloat16, 22 }), []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5}, 6 * 0x1p-8},
	}
	wide := func(in int, change func(*layer)) layer { // so many columns that frames go through the cores
		return with(func(l *layer) {
			l.in = in
			change(l)
		})
	}
	as := func(elem onnx.DataType, opset int64) func(*layer) {
		return func(l *layer) { l.elem, l.opset = elem, opset }
	}
	cases = append(cases,
		ringCase{"TT-matrix", plainLayer(), []int{4, 6}, []int{4, 8}, []int{1, 3}, 1e-6},
		ringCase{"TT-matrix of three", plainLayer(), []int{2, 3, 4}, []int{4, 2, 4}, []int{1, 3, 4}, 1e-6},
		ringCase{"TT-matrix of five with modes of 1", plainLayer(), []int{2, 1, 3, 4, 1}, []int{4, 2, 1, 2, 2}, []int{1, 3, 2, 2, 2}, 1e-6},
		ringCase{"padded TT-matrix", wide(23, as(onnx.Float, 13)), []int{2, 3, 4}, []int{4, 2, 4}, []int{1, 3, 4}, 1e-6},
		ringCase{"wide TT-matrix", wide(960, as(onnx.Float, 13)), []int{40, 24}, []int{4, 8}, []int{1, 1}, 1e-6},
		ringCase{"wide TT-matrix of four", wide(960, as(onnx.Float, 13)), []int{4, 5, 8, 6}, []int{4, 2, 1, 4}, []int{1, 2, 3, 2}, 1e-6},
		ringCase{"wide TT-matrix of four, from the right", wide(960, as(onnx.Float, 13)), []int{4, 5, 8, 6}, []int{1, 4, 4, 2}, []int{1, 2, 1, 2}, 1e-6},
		ringCase{"wide padded TT-matrix", wide(950, as(onnx.Float, 13)), []int{40, 24}, []int{4, 8}, []int{1, 2}, 1e-6},
		ringCase{"wide TT-matrix, opset 8", wide(960, as(onnx.Float, 8)), []int{40, 24}, []int{4, 8}, []int{1, 1}, 1e-6},
		ringCase{"wide TT-matrix, opset 9", wide(950, as(onnx.Float, 9)), []int{40, 24}, []int{4, 8}, []int{1, 1}, 1e-6},
		ringCase{"wide TT-matrix, bidirectional", wide(960, func(l *layer) { l.direction = "bidirectional" }), []int{40, 24}, []int{8, 8}, []int{1, 2}, 1e-6},
		ringCase{"wide TT-matrix, layout 1", wide(960, func(l *layer) { l.layout = 1 }), []int{40, 24}, []int{4, 8}, []int{1, 2}, 1e-6},
		ringCase{"wide TT-matrix, double", wide(960, as(onnx.Double, 13)), []int{40, 24}, []int{4, 8}, []int{1, 2}, 1e-6},
		ringCase{"wide TT-matrix, float16", wide(960, as(onnx.Float16, 13)), []int{40, 24}, []int{4, 8}, []int{1, 2}, 6 * 0x1p-11},
		ringCase{"wide TT-matrix, bfloat16", wide(960, as(onnx.BFloat16, 22)), []int{40, 24}, []int{4, 8}, []int{1, 2}, 6 * 0x1p-8},
	)
	for _, opset := range []int64{7, 9, 10, 11, 13, 17, 21} {
		cases = append(cases, ringCase{fmt.Sprintf("padded at opset %d", opset), with(func(l *layer) { l.in, l.opset = 21, opset }),
			[]int{2, 3, 4}, []int{4, 8}, []int{2, 3, 2, 3, 2}, 1e-6})
	}
	return cases
}

// formsOf are the forms that a case can have: a TT-matrix has no output cores to merge.
func formsOf(c ringCase) []Options {
	if len(c.ranks) < len(c.inModes)+len(c.outModes) {
		return []Options{{Form: Bottleneck}, {Form: Bottleneck, Arranged: true}, {Form: Cores}, {Form: Dense}}
	}
	return allForms()
}

func allForms() []Options {
	return []Options{{Form: Bottleneck}, {Form: Bottleneck, Arranged: true}, {Form: Bottleneck, MergeOutput: true}, {Form: Cores}, {Form: Cores, MergeOutput: true}, {Form: Dense}}
}

// Oracle: X·Ŵᵀ with Ŵ from the definition (tensor.Factor.Reconstruct), multiplied in float64 here.
func TestLowerComputesTheProjection(t *testing.T) {
	for _, c := range ringCases() {
		for _, o := range formsOf(c) {
			t.Run(fmt.Sprintf("%s/%s/merge=%v/arranged=%v", c.name, o.Form, o.MergeOutput, o.Arranged), func(t *testing.T) {
				c.layer.fixedX = true
				m := decode(t, c.layer.proto())
				x := floats(t, constant(t, m, m.Graph, "x"))
				f := randomFactor(1, c.layer.rows(), c.layer.in, c.inModes, c.outModes, c.ranks)
				compact := lower(t, m, []Replacement{{find(t, m), f}}, o)
				n := recurrent.Nodes(compact)[0].Node
				gotX, gotW := constant(t, compact, n.Graph, n.Input(0)), constant(t, compact, n.Graph, n.Input(1))
				columns := f.Cut()
				if o.Form == Dense {
					columns = f.In
				} else if columns == 0 { // Ŵ itself, or the identity behind pre-activations
					columns = f.In
					if written(t, compact) == Cores {
						columns = f.Out
					}
				}
				if gotX.Type != c.layer.elem || gotW.Type != c.layer.elem {
					t.Errorf("element types %d and %d, want %d", gotX.Type, gotW.Type, c.layer.elem)
				}
				d := c.layer.directions()
				if want := []int{framesT, framesB, columns}; !reflect.DeepEqual(gotX.Dims, want) {
					t.Fatalf("X has dims %v, want %v", gotX.Dims, want)
				}
				if want := []int{d, f.Out / d, columns}; !reflect.DeepEqual(gotW.Dims, want) {
					t.Fatalf("W has dims %v, want %v", gotW.Dims, want)
				}
				got := timesTransposed(floats(t, gotX), floats(t, gotW), framesT*framesB, f.Out, columns)
				want := timesTransposed(x, f.Reconstruct().Data, framesT*framesB, f.Out, f.In)
				if e := distance(got, want); !(e <= c.tolerance) {
					t.Errorf("relative error %.2g, at most %.2g", e, c.tolerance)
				}
			})
		}
	}
}

// written is the form that a compact model's metadata tell.
func written(t *testing.T, m *onnx.Model) Form {
	t.Helper()
	records, err := Records(m)
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	return records[0].Form
}

// Frames go through the cores of a TT-matrix where that takes at most half the products of the dense layer, the identity behind them included
// (form bottleneck), or less memory (form cores), and where the opset can make an identity; notes say where they do not.
func TestFormsOfTTMatrices(t *testing.T) {
	for _, c := range []struct {
		in    int
		opset int64
		modes []int
		rank  int
		asked Form
		want  Form
	}{
		// 32 rows. A first: 4·r·24·(40+8) products and the identity's 32², against 960·32 = 30720.
		{960, 13, []int{40, 24}, 1, Bottleneck, Cores},
		{960, 8, []int{40, 24}, 1, Bottleneck, Bottleneck},
		{960, 13, []int{40, 24}, 4, Bottleneck, Bottleneck},
		{960, 13, []int{40, 24}, 4, Cores, Cores},
		{960, 8, []int{40, 24}, 4, Cores, Bottleneck},
		{24, 13, []int{4, 6}, 1, Cores, Bottleneck}, // the identity alone is larger than 24·32
	} {
		l := plainLayer()
		l.in, l.opset = c.in, c.opset
		m := decode(t, l.proto())
		rs := []Replacement{{find(t, m), randomFactor(1, 32, c.in, c.modes, []int{4, 8}, []int{1, c.rank})}}
		compact := lower(t, m, rs, Options{Form: c.asked})
		if got := written(t, compact); got != c.want {
			t.Errorf("%+v: written as %s", c, got)
		}
		notes := Notes(rs, Options{Form: c.asked})
		if says := len(notes) == 1 && strings.Contains(notes[0], "rebuilds W"); says != (c.want == Bottleneck) {
			t.Errorf("%+v: notes %q", c, notes)
		}
	}
}

// What Lower records is what Records reads; the cores come back bit for bit, or in the merged form as L.
func TestRecordsReadBack(t *testing.T) {
	for _, c := range ringCases() {
		for _, o := range formsOf(c) {
			if o.Form == Dense {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s/merge=%v/arranged=%v", c.name, o.Form, o.MergeOutput, o.Arranged), func(t *testing.T) {
				m := decode(t, c.layer.proto())
				f := randomFactor(1, c.layer.rows(), c.layer.in, c.inModes, c.outModes, c.ranks)
				compact := lower(t, m, []Replacement{{find(t, m), f}}, o)
				records, err := Records(compact)
				if err != nil || len(records) != 1 {
					t.Fatalf("%d records, %v", len(records), err)
				}
				r := records[0]
				if !reflect.DeepEqual(r.Sites, []string{"cell"}) || !reflect.DeepEqual(r.Inputs, []string{"x"}) || r.Format != f.Format ||
					r.In != f.In || r.Out != f.Out || !reflect.DeepEqual(r.InModes, f.InModes) || r.MergedOutput != o.MergeOutput {
					t.Errorf("record %+v", r)
				}
				got, err := r.Factor(context.Background(), compact)
				if err != nil {
					t.Fatal(err)
				}
				if r.Params() != got.Params() {
					t.Errorf("record counts %d numbers, the factor has %d", r.Params(), got.Params())
				}
				if o.MergeOutput {
					a, b := f.Reconstruct(), got.Reconstruct()
					if e := distance(wide(b.Data), wide(a.Data)); !(e <= c.tolerance) {
						t.Errorf("merged output: relative error %.2g", e)
					}
					return
				}
				for k, core := range got.Cores {
					want, err := recurrent.Array(c.layer.elem, nil, f.Cores[k].Data)
					if err != nil {
						t.Fatal(err)
					}
					if core.Left != f.Cores[k].Left || core.Mode != f.Cores[k].Mode || core.Right != f.Cores[k].Right || !reflect.DeepEqual(core.Data, floats(t, want)) {
						t.Errorf("core %d differs", k)
					}
				}
			})
		}
	}
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for k, v := range x {
		out[k] = float64(v)
	}
	return out
}

// Expand gives Ŵ of the stored cores bit for bit, and nothing of the ring is left; converting the expanded model again gives the
// same file as the first time.
func TestExpandUndoesLower(t *testing.T) {
	for _, c := range ringCases() {
		for _, o := range formsOf(c)[:len(formsOf(c))-1] {
			t.Run(fmt.Sprintf("%s/%s/merge=%v/arranged=%v", c.name, o.Form, o.MergeOutput, o.Arranged), func(t *testing.T) {
				ctx := context.Background()
				m := decode(t, c.layer.proto())
				f := randomFactor(1, c.layer.rows(), c.layer.in, c.inModes, c.outModes, c.ranks)
				compact := lower(t, m, []Replacement{{find(t, m), f}}, o)
				records, err := Records(compact)
				if err != nil {
					t.Fatal(err)
				}
				stored, err := records[0].Factor(ctx, compact)
				if err != nil {
					t.Fatal(err)
				}
				dense, err := Expand(ctx, compact)
				if err != nil {
					t.Fatal(err)
				}
				if len(dense.Graph.Nodes) != len(m.Graph.Nodes) || len(dense.Graph.Initializers) != len(m.Graph.Initializers) || len(dense.Metadata) != 0 {
					t.Errorf("%d nodes, %d initializers, %d metadata entries; the original has %d, %d, 0",
						len(dense.Graph.Nodes), len(dense.Graph.Initializers), len(dense.Metadata), len(m.Graph.Nodes), len(m.Graph.Initializers))
				}
				sites := find(t, dense)
				if len(sites) != 1 || !sites[0].Decomposable || sites[0].Input != c.layer.in {
					t.Fatalf("expanded: %d sites", len(sites))
				}
				got, err := sites[0].Weight(ctx)
				if err != nil {
					t.Fatal(err)
				}
				want, err := recurrent.Array(c.layer.elem, nil, stored.Reconstruct().Data)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got.Data, floats(t, want)) {
					t.Error("W is not the reconstruction of the stored cores")
				}
				again := lower(t, dense, []Replacement{{sites, f}}, o)
				if a, b := encode(t, compact), encode(t, again); !bytes.Equal(a, b) {
					t.Errorf("converted again: %d bytes, first %d", len(b), len(a))
				}
			})
		}
	}
}

func TestExpandLeavesPlainModelsAlone(t *testing.T) {
	m := decode(t, plainLayer().proto())
	if got, err := Expand(context.Background(), m); got != m || err != nil {
		t.Errorf("got %p, %v; want %p", got, err, m)
	}
}

// A file must shrink by four bytes for each number saved, less 4 kB a site for names, nodes, shapes and metadata.
func TestLowerOverhead(t *testing.T) {
	for _, c := range []struct {
		name             string
		in, hidden       int
		inModes, outMode []int
		ranks            []int
	}{
		{"13 cores, ranks of the paper", 960, 256, []int{4, 2, 5, 2, 2, 2, 3, 1}, []int{4, 4, 2, 4, 8}, []int{10, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5}},
		{"13 cores, all ranks different", 256, 256, []int{2, 2, 2, 2, 2, 2, 2, 2}, []int{2, 4, 4, 4, 8}, []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}},
		{"padded", 1662, 64, []int{4, 4, 4, 26}, []int{4, 4, 4, 4}, []int{4, 5, 6, 7, 8, 7, 6, 5}},
		{"two cores", 512, 64, []int{512}, []int{256}, []int{1, 8}},
	} {
		for _, o := range allForms()[:5] {
			l := plainLayer()
			l.in, l.hidden = c.in, c.hidden
			m := decode(t, l.proto())
			f := randomFactor(1, l.rows(), l.in, c.inModes, c.outMode, c.ranks)
			before := len(encode(t, m))
			compact := lower(t, m, []Replacement{{find(t, m), f}}, o)
			after := len(encode(t, compact))
			records, err := Records(compact)
			if err != nil {
				t.Fatal(err)
			}
			saved := l.rows()*l.in - records[0].Params()
			overhead := 4*saved - (before - after)
			t.Logf("%s, %s, merge %v: %d numbers, overhead %d bytes", c.name, o.Form, o.MergeOutput, records[0].Params(), overhead)
			if overhead > 4096 {
				t.Errorf("%s, %s, merge %v: overhead %d bytes, at most 4096", c.name, o.Form, o.MergeOutput, overhead)
			}
		}
	}
}

// The dense copy stays where something else reads W, and the notes say so.
func TestLowerKeepsWReadElsewhere(t *testing.T) {
	l := plainLayer()
	l.readElsewhere = true
	m := decode(t, l.proto())
	f := randomFactor(1, l.rows(), l.in, []int{24}, []int{32}, []int{1, 2})
	for _, o := range allForms() {
		rs := []Replacement{{find(t, m), f}}
		compact := lower(t, m, rs, o)
		if a, b := constant(t, m, m.Graph, "nW"), constant(t, compact, compact.Graph, "nW"); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: what read W gives another value", o.Form)
		}
		notes := strings.Join(Notes(rs, o), "\n")
		if !strings.Contains(notes, "dense copy stays") {
			t.Errorf("%s: notes %q", o.Form, notes)
		}
		if says := strings.Contains(notes, "one mode"); says != (o.Form == Cores) {
			t.Errorf("%s: notes %q", o.Form, notes)
		}
	}
}

func TestLowerRefuses(t *testing.T) {
	l := plainLayer()
	m := decode(t, l.proto())
	sites := find(t, m)
	good := func() *tensor.Factor { return randomFactor(1, 32, 24, []int{24}, []int{32}, []int{1, 2}) }
	old := plainLayer()
	old.opset = 3
	brain := plainLayer()
	brain.opset, brain.elem = 11, onnx.BFloat16
	for _, c := range []struct {
		name string
		m    *onnx.Model
		rs   func(*onnx.Model) []Replacement
		o    Options
		want string
	}{
		{"form", m, func(*onnx.Model) []Replacement { return nil }, Options{Form: "scan"}, `"scan"`},
		{"no factor", m, func(*onnx.Model) []Replacement { return []Replacement{{Sites: sites}} }, Options{}, "factor false"},
		{"factor of another matrix", m, func(*onnx.Model) []Replacement {
			return []Replacement{{sites, randomFactor(1, 32, 20, []int{20}, []int{32}, []int{1, 2})}}
		}, Options{}, "W is [32, 24], the factor is [32, 20]"},
		{"broken factor", m, func(*onnx.Model) []Replacement {
			f := good()
			f.Cores[1].Left = 3
			return []Replacement{{sites, f}}
		}, Options{}, `site "cell"`},
		{"merged output of a TT-matrix", m, func(*onnx.Model) []Replacement {
			return []Replacement{{sites, randomFactor(1, 32, 24, []int{4, 6}, []int{4, 8}, []int{1, 2})}}
		}, Options{MergeOutput: true}, "format ttm has no output cores"},
		{"a site twice", m, func(*onnx.Model) []Replacement { return []Replacement{{sites, good()}, {sites, good()}} }, Options{}, "two replacements"},
		{"old opset", decode(t, old.proto()), func(m *onnx.Model) []Replacement { return []Replacement{{find(t, m), good()}} }, Options{}, "opset 3"},
		{"bfloat16 before MatMul takes it", decode(t, brain.proto()), func(m *onnx.Model) []Replacement { return []Replacement{{find(t, m), good()}} }, Options{}, "bfloat16"},
		{"an input whose name the metadata cannot hold", decode(t, func() *onnxpb.ModelProto {
			p := plainLayer().proto()
			x := "x\xff"
			p.Graph.Node[0].Input[0], p.Graph.Input[0].Name = x, &x
			return p
		}()), func(m *onnx.Model) []Replacement { return []Replacement{{find(t, m), good()}} }, Options{}, `"x\xff"`},
		{"beyond float16", decode(t, func() layer { l := plainLayer(); l.elem = onnx.Float16; return l }().proto()), func(m *onnx.Model) []Replacement {
			f := good()
			f.Cores[0].Data[3] = 1e6
			return []Replacement{{find(t, m), f}}
		}, Options{}, "beyond float16"},
	} {
		p, err := Lower(context.Background(), c.m, c.rs(c.m), c.o)
		if p != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.name, err, c.want)
		}
	}
}

// Rings of any shape: up to four modes a side, ranks from 1 to 4, with and without padding, in any form and at any opset. The
// oracle is X·Ŵᵀ as above.
func TestLowerRandomRings(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 0))
	modes := func(n int) []int {
		m := make([]int, n)
		for k := range m {
			m[k] = 2 + rng.IntN(3)
		}
		return m
	}
	for range 100 {
		in, out := modes(1+rng.IntN(4)), append([]int{4}, modes(rng.IntN(3))...)
		ranks := make([]int, len(in)+len(out))
		paired := len(in) == len(out) && len(in) > 1 // a TT-matrix
		if paired {
			ranks = ranks[:len(in)]
		}
		for k := range ranks {
			ranks[k] = 1 + rng.IntN(4)
		}
		l := plainLayer()
		l.fixedX, l.opset = true, 7+rng.Int64N(15)
		l.in, l.hidden = tensorProduct(in), tensorProduct(out)/4
		if l.in > 4 && rng.IntN(2) == 0 {
			l.in -= 1 + rng.IntN(l.in/4)
		}
		o := allForms()[rng.IntN(5)]
		if paired {
			ranks[0], o.MergeOutput = 1, false
		}
		name := fmt.Sprintf("%v|%v ranks %v, %d columns, opset %d, %s, merge %v, arranged %v", in, out, ranks, l.in, l.opset, o.Form, o.MergeOutput, o.Arranged)
		m := decode(t, l.proto())
		f := randomFactor(3, l.rows(), l.in, in, out, ranks)
		compact := lower(t, m, []Replacement{{find(t, m), f}}, o)
		if _, err := Records(compact); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		n := recurrent.Nodes(compact)[0].Node
		x := floats(t, constant(t, m, m.Graph, "x"))
		w := constant(t, compact, n.Graph, n.Input(1))
		got := timesTransposed(floats(t, constant(t, compact, n.Graph, n.Input(0))), floats(t, w), framesT*framesB, f.Out, w.Dims[2])
		want := timesTransposed(x, f.Reconstruct().Data, framesT*framesB, f.Out, f.In)
		if e := distance(got, want); !(e <= 1e-5) {
			t.Errorf("%s: relative error %.2g", name, e)
		}
	}
}
