package convert

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// InspectOptions of [Inspect].
type InspectOptions struct {
	Files Files
}

// Inspection is what a model holds and what its recurrent layers can give. No weight is decoded for it, except those that are stored as float16 or int8.
type Inspection struct {
	Schema     string      `json:"schema"`
	File       string      `json:"file"`
	FileBytes  int64       `json:"file_bytes"` // external data included
	Parameters int64       `json:"parameters"`
	Opset      int64       `json:"opset"` // of the standard operators
	IRVersion  int64       `json:"ir_version"`
	Weights    Storage     `json:"weights"` // the narrowest type in which decompose or finetune stored weights, else float32
	Producer   string      `json:"producer"`
	Sites      []SiteInfo  `json:"sites"`
	Rings      []RingInfo  `json:"rings"` // of a compact model
	Bytes      []ByteShare `json:"bytes"` // where they are, largest first
	Warnings   []Warning   `json:"warnings"`
}

// SiteInfo is one recurrent layer.
type SiteInfo struct {
	Name      string `json:"name"`
	Path      string `json:"path"` // of the scope, "" for the main graph
	Op        string `json:"op"`
	Direction string `json:"direction"`
	Input     int    `json:"input_size"`
	Hidden    int    `json:"hidden_size"`
	W         int64  `json:"w_parameters"`
	R         int64  `json:"r_parameters"`
	// Ceiling is (W+R)/R = (I+H)/H: how much smaller the layer's matrices can get if W vanished.
	Ceiling      float64  `json:"ceiling"`
	Decomposable bool     `json:"decomposable"`
	Reason       string   `json:"reason"`
	SharedWith   []string `json:"shared_with"` // sites whose W is the same value
	// Share is the part of the file that W takes, 0 … 1.
	Share float64 `json:"share"`
}

// RingInfo is one factor of a compact model.
type RingInfo struct {
	Sites      []string `json:"sites"`
	Format     string   `json:"format"`
	Form       Form     `json:"form"`
	InModes    []int    `json:"in_modes"`
	OutModes   []int    `json:"out_modes"`
	Ranks      []int    `json:"ranks"`
	Parameters int64    `json:"parameters"`
}

// ByteShare is a part of the file.
type ByteShare struct {
	What    string `json:"what"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

// Inspect opens a model and lists its sites.
func Inspect(ctx context.Context, path string, o InspectOptions) (*Inspection, error) {
	m, err := openModel(ctx, path, o.Files)
	if err != nil {
		return nil, classify(path, err)
	}
	defer m.Close()
	sites, err := recurrent.Find(ctx, m)
	if err != nil {
		return nil, classify(path, err)
	}
	records, err := export.Annotate(m, sites)
	if err != nil {
		return nil, classify(path, inFile(path, err))
	}
	stored, err := export.StoredTensors(m)
	if err == nil {
		err = judgeRestored(ctx, m, stored, sites)
	}
	if err != nil {
		return nil, classify(path, inFile(path, err))
	}
	in := &Inspection{
		Schema:     InspectSchema,
		File:       path,
		FileBytes:  m.FileBytes(),
		Parameters: m.Parameters(),
		Opset:      m.Opset(""),
		IRVersion:  m.IRVersion,
		Weights:    narrowest(stored),
		Producer:   strings.TrimSpace(m.ProducerName + " " + m.ProducerVersion),
		Sites:      []SiteInfo{},
		Rings:      []RingInfo{},
		Warnings:   noticed(m),
	}
	b := newBytesByUse(m, stored)
	for _, r := range records {
		b.claimCores(r)
		in.Rings = append(in.Rings, RingInfo{
			Sites: r.Sites, Format: r.Format, Form: r.Form, InModes: r.InModes, OutModes: r.OutModes, Ranks: r.Ranks,
			Parameters: int64(r.Params()),
		})
	}
	for _, s := range sites {
		in.Sites = append(in.Sites, siteInfo(s, b, in.FileBytes))
	}
	in.Bytes = b.shares(in.FileBytes)
	if len(sites) == 0 {
		if d := recurrent.Diagnose(m); d != "" {
			in.Warnings = append(in.Warnings, Warning{Code: "no-site", Text: d})
		}
	}
	return in, nil
}

func siteInfo(s *recurrent.Site, b *bytesByUse, fileBytes int64) SiteInfo {
	si := SiteInfo{
		Name: s.Name, Path: s.Node.Graph.Path(), Op: string(s.Op), Direction: string(s.Direction),
		Input: s.Input, Hidden: s.Hidden,
		W: s.WParameters(), R: s.RParameters(), Ceiling: s.Ceiling(),
		Decomposable: s.Decomposable, Reason: s.Reason,
		SharedWith: []string{},
	}
	for _, t := range s.SharedWith {
		si.SharedWith = append(si.SharedWith, t.Name)
	}
	if fileBytes > 0 {
		si.Share = float64(b.claim(s)) / float64(fileBytes)
	}
	return si
}

// bytesByUse tells which operators the payload bytes of a model serve.
type bytesByUse struct {
	m     *onnx.Model
	ix    *onnx.Index
	ev    *onnx.Evaluator
	uses  map[*onnx.Tensor]string // the label of every tensor that has one
	cores map[string]int64        // by site that is factored already: the bytes of its cores
	// stored are the values that are stored narrow, by numbers and scales.
	stored map[*onnx.Tensor]export.Stored
}

func newBytesByUse(m *onnx.Model, stored []export.Stored) *bytesByUse {
	ix := onnx.NewIndex(m)
	b := &bytesByUse{m: m, ix: ix, ev: onnx.NewEvaluator(m, ix, 0), uses: make(map[*onnx.Tensor]string), cores: make(map[string]int64), stored: make(map[*onnx.Tensor]export.Stored)}
	for _, s := range stored {
		b.stored[s.Tensor] = s
		if s.Scale != nil {
			b.stored[s.Scale] = s
		}
	}
	return b
}

// claimCores labels the cores of a compact model's ring.
func (b *bytesByUse) claimCores(r export.Record) {
	var bytes int64
	for _, g := range b.m.Scopes() {
		for _, t := range g.Initializers {
			name := t.Name
			if s, ok := b.stored[t]; ok {
				name = s.Name
			}
			if slices.Contains(r.Cores, name) {
				b.uses[t] = "cores (W factored)"
				bytes += t.Bytes()
			}
		}
	}
	for _, site := range r.Sites {
		b.cores[site] = bytes
	}
}

// claim labels the tensors that a site's W, R and B come from and returns the bytes of W's, or of the cores in its place. What an earlier site claimed keeps its label.
func (b *bytesByUse) claim(s *recurrent.Site) int64 {
	w, factored := b.cores[s.Name]
	for slot, what := range []string{recurrent.SlotW: "W (input)", recurrent.SlotR: "R (recurrent)", recurrent.SlotB: "B (bias)"} {
		name := s.Node.Input(slot)
		if what == "" || name == "" || slot == recurrent.SlotW && factored {
			continue
		}
		for _, t := range b.ev.Sources(s.Node.Graph, name) {
			if slot == recurrent.SlotW {
				w += t.Bytes()
			}
			if b.uses[t] == "" {
				b.uses[t] = string(s.Op) + " " + what
			}
		}
	}
	return w
}

// shares sums the labels, after labelling what no site claimed by the operator that reads it first.
func (b *bytesByUse) shares(fileBytes int64) []ByteShare {
	sum := make(map[string]*ByteShare)
	add := func(what string, t *onnx.Tensor) {
		s := sum[what]
		if s == nil {
			s = &ByteShare{What: what}
			sum[what] = s
		}
		s.Tensors++
		s.Bytes += t.Bytes()
	}
	var payload int64
	eachTensor(b.m, func(_ int, g *onnx.Graph, name string, t *onnx.Tensor) {
		add(b.label(t, g, name), t)
		payload += t.Bytes()
	})
	out := make([]ByteShare, 0, len(sum)+1)
	for _, name := range sortedNames(sum) {
		out = append(out, *sum[name])
	}
	if rest := fileBytes - payload; rest > 0 {
		out = append(out, ByteShare{What: "graph and names", Bytes: rest})
	}
	slices.SortStableFunc(out, func(x, y ByteShare) int {
		if x.Bytes != y.Bytes {
			return int(min(1, max(-1, y.Bytes-x.Bytes)))
		}
		return strings.Compare(x.What, y.What)
	})
	return out
}

func (b *bytesByUse) label(t *onnx.Tensor, g *onnx.Graph, name string) string {
	if l := b.uses[t]; l != "" {
		return l
	}
	if s, ok := b.stored[t]; ok {
		name = s.Name
	}
	for _, u := range b.ix.Uses(g, name) {
		if u.Node != nil {
			return fmt.Sprintf("%s weights", u.Node.OpType)
		}
	}
	return "unused or output"
}
