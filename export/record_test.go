package export

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"google.golang.org/protobuf/proto"
)

// compactModel is a plain layer with a ring.
func compactModel(t *testing.T, o Options) *onnx.Model {
	t.Helper()
	l := plainLayer()
	m := decode(t, l.proto())
	return lower(t, m, []Replacement{{find(t, m), randomFactor(1, l.rows(), l.in, []int{4, 6}, []int{4, 8}, []int{2, 3, 4, 5})}}, o)
}

// Metadata that another version wrote, that are damaged, or that another tool no longer keeps in step with the graph: each is an
// error that names both sides.
func TestRecordsRefuse(t *testing.T) {
	edit := func(change func(*ring)) func(string) string {
		return func(text string) string {
			var l rings
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			change(&l.Rings[0])
			out, err := json.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		}
	}
	for _, c := range []struct {
		name   string
		change func(string) string
		want   []string
	}{
		{"another version", func(s string) string { return strings.Replace(s, "ring/v1", "ring/v9", 1) }, []string{`"trconvert.ring/v9"`, `"trconvert.ring/v1"`}},
		{"not JSON", func(string) string { return "{" }, []string{RingKey}},
		{"cut short", func(s string) string { return s[:len(s)/2] }, []string{RingKey}},
		{"an unknown field", func(s string) string { return strings.Replace(s, `"in":`, `"inn":1,"in":`, 1) }, []string{"inn"}},
		{"a number of another kind", func(s string) string { return strings.Replace(s, `"in":24`, `"in":"24"`, 1) }, []string{RingKey}},
		{"no sites", edit(func(r *ring) { r.Sites, r.Inputs = nil, nil }), []string{"no sites"}},
		{"a site twice", edit(func(r *ring) { r.Sites, r.Inputs = append(r.Sites, "cell"), append(r.Inputs, "x") }), []string{`"cell"`, "rings 0 and 0"}},
		{"sites and inputs", edit(func(r *ring) { r.Inputs = append(r.Inputs, "x") }), []string{"2 inputs for 1 sites"}},
		{"form", edit(func(r *ring) { r.Form = Dense }), []string{`"dense"`}},
		{"no modes", edit(func(r *ring) { r.InModes = nil }), []string{"0 input"}},
		{"a format of another version", edit(func(r *ring) { r.Format = "btd" }), []string{`"btd" is unknown`}},
		{"modes that do not pair", edit(func(r *ring) { r.Format, r.OutModes = "ttm", append(r.OutModes, 1) }), []string{"there are 2 and 3"}},
		{"a mode too few", edit(func(r *ring) { r.OutModes = r.OutModes[:1] }), []string{"4 cores and 4 ranks for 3 modes"}},
		{"a negative mode", edit(func(r *ring) { r.InModes = []int{-4, -6} }), []string{"[-4 -6]"}},
		{"modes that overflow", edit(func(r *ring) { r.InModes = []int{1 << 40, 1 << 40} }), []string{"2⁶³"}},
		{"modes below the matrix", edit(func(r *ring) { r.In = 25 }), []string{"24", "25 columns"}},
		{"rows", edit(func(r *ring) { r.Out = 31 }), []string{"32", "31 rows"}},
		{"a rank", edit(func(r *ring) { r.Ranks[1] = 2 }), []string{`core 0 "tr0.0"`, "[2, 4, 3]", "[2, 4, 2]"}},
		{"the cut", edit(func(r *ring) { r.Ranks[2] = 3 }), []string{"[1, 32, 8]", "2·3 columns"}},
		{"a core", edit(func(r *ring) { r.Cores[0] = "gone" }), []string{`"gone"`}},
		{"an output core", edit(func(r *ring) { r.Cores[3] = "R" }), []string{`"R"`}},
		{"a site", edit(func(r *ring) { r.Sites[0] = "elsewhere" }), []string{`"elsewhere"`, "no such recurrent node"}},
		{"an input", edit(func(r *ring) { r.Inputs[0] = "z" }), []string{`"z"`, "no such value"}},
		{"an input that X does not come from", edit(func(r *ring) { r.Inputs[0] = "B" }), []string{`"B"`, `"cell"`}},
	} {
		m := compactModel(t, Options{})
		p := onnx.NewPatch(m)
		text, _ := metadata(m, RingKey)
		p.SetMetadata(RingKey, c.change(text))
		broken, err := p.Apply(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		_, err = Records(broken)
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", c.name, err, w)
			}
		}
		if _, err := Expand(context.Background(), broken); err == nil {
			t.Errorf("%s: expanded", c.name)
		}
	}
}

func TestRecordsOfAPlainModel(t *testing.T) {
	if r, err := Records(decode(t, plainLayer().proto())); len(r) != 0 || err != nil {
		t.Errorf("%v, %v", r, err)
	}
}

// A ring cannot be put on a ring, but a second site's ring joins the first in the metadata.
func TestLowerOnACompactModel(t *testing.T) {
	compact := compactModel(t, Options{})
	sites := find(t, compact)
	f := randomFactor(1, 32, sites[0].Input, []int{8}, []int{32}, []int{1, 2})
	if _, err := Lower(context.Background(), compact, []Replacement{{sites, f}}, Options{}); err == nil || !strings.Contains(err.Error(), "ring already") {
		t.Errorf("error %v", err)
	}
}

func TestAnnotate(t *testing.T) {
	compact := compactModel(t, Options{})
	sites := find(t, compact)
	records, err := Annotate(compact, sites)
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	s := sites[0]
	if s.Decomposable || s.Input != 24 || !strings.Contains(s.Reason, "already a ring: tr, ranks [2, 3, 4, 5]") || !strings.Contains(s.Reason, "256 numbers") {
		t.Errorf("decomposable %v, input %d, reason %q", s.Decomposable, s.Input, s.Reason)
	}
}

// The dense form is terminal: no ring is found, the metadata tell where the matrix came from, and a second conversion replaces the line.
func TestDenseIsTerminal(t *testing.T) {
	m := compactModel(t, Options{Form: Dense})
	if r, err := Records(m); len(r) != 0 || err != nil {
		t.Errorf("%v, %v", r, err)
	}
	for range 2 {
		var got origins
		text, _ := metadata(m, DenseKey)
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if got.Schema != denseSchema || len(got.Dense) != 1 || got.Dense[0].Sites[0] != "cell" || got.Dense[0].Format != "tr" {
			t.Errorf("metadata %s", text)
		}
		sites := find(t, m)
		m = lower(t, m, []Replacement{{sites, randomFactor(2, 32, 24, []int{4, 6}, []int{4, 8}, []int{2, 2, 2, 2})}}, Options{Form: Dense})
	}
}

// Metadata are text of anybody's making: whatever stands in them, reading ends in records that fit the graph or in an error.
func FuzzRecords(f *testing.F) {
	l := plainLayer()
	p := l.proto()
	add := func(text string) *onnx.Model {
		q := proto.Clone(p).(*onnxpb.ModelProto)
		q.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: proto.String(RingKey), Value: &text}}
		data, err := proto.Marshal(q)
		if err != nil {
			return nil
		}
		m, err := onnx.Decode("fuzz.onnx", data)
		if err != nil {
			return nil
		}
		return m
	}
	f.Add(`{"schema":"trconvert.ring/v1","rings":[]}`)
	f.Add(`{"schema":"trconvert.ring/v1","rings":[{"sites":["cell"],"x":["x"],"format":"tr","form":"bottleneck","in":24,"out":32,"in_modes":[24],"out_modes":[32],"ranks":[1,24],"cores":["W","W"],"merged_output":true}]}`)
	f.Add(`{"schema":"trconvert.ring/v1","rings":[{"sites":["cell"],"x":["x"],"form":"cores","in":1,"out":1,"in_modes":[1],"out_modes":[1],"ranks":[1,1],"cores":["x","R"]}]}`)
	f.Add(`{"schema":"trconvert.ring/v1","rings":[{"sites":["cell"],"x":["x"],"format":"ttm","form":"bottleneck","in":24,"out":32,"in_modes":[24,1],"out_modes":[32,1],"ranks":[1,1],"cores":["W","W"]}]}`)
	f.Add(`{"schema":"trconvert.ring/v1","rings":[{"sites":["cell"],"x":["x"],"format":"ttm","form":"cores","in":24,"out":32,"in_modes":[24,1],"out_modes":[8,4],"ranks":[1,2],"cores":["W","R"]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		m := add(text)
		if m == nil {
			return
		}
		records, err := Records(m)
		if err != nil {
			return
		}
		for _, r := range records {
			r.Params()
			if _, err := r.Factor(context.Background(), m); err != nil {
				t.Logf("factor: %v", err)
			}
		}
		if _, err := Expand(context.Background(), m); err != nil {
			t.Logf("expand: %v", err)
		}
	})
}

// A megabyte of cores and metadata can name a matrix of a terabyte.
func TestExpandBoundsWhatItMakes(t *testing.T) {
	const hidden, rows = 1 << 16, 1 << 18
	l := plainLayer()
	l.in, l.hidden = 1, 8
	p := l.proto()
	n := p.Graph.Node[0]
	n.Input = []string{"xr", "L", "R"}
	n.Attribute[0].I = proto.Int64(hidden)
	core := func(name string, dims ...int64) *onnxpb.TensorProto {
		size := 4 * dims[0] * dims[1] * dims[2]
		return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(onnx.Float)), Dims: dims, RawData: make([]byte, size)}
	}
	p.Graph.Initializer = []*onnxpb.TensorProto{core("c0", 1, 1024, 1), core("c1", 1, 1024, 1), core("L", 1, rows, 1)}
	p.Graph.Input = []*onnxpb.ValueInfoProto{valueInfo("x", onnx.Float, -1, -1, 1<<20), valueInfo("R", onnx.Float, 1, rows, hidden)}
	p.Graph.Node = []*onnxpb.NodeProto{
		{OpType: proto.String("Add"), Input: []string{"c0", "c1"}, Output: []string{"r"}},
		{OpType: proto.String("MatMul"), Input: []string{"x", "r"}, Output: []string{"xr"}},
		n,
	}
	text := `{"schema":"trconvert.ring/v1","rings":[{"sites":["cell"],"x":["x"],"format":"tt","form":"bottleneck","in":1048576,"out":262144,` +
		`"in_modes":[1024,1024],"out_modes":[262144],"ranks":[1,1,1],"cores":["c0","c1","L"],"merged_output":true}]}`
	p.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: proto.String(RingKey), Value: &text}}
	m := decode(t, p)
	if r, err := Records(m); err != nil || len(r) != 1 {
		t.Fatalf("%d records, %v", len(r), err)
	}
	_, err := Expand(context.Background(), m)
	if err == nil || !strings.Contains(err.Error(), "[262144, 1048576]") {
		t.Errorf("got %v", err)
	}
}
