package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// Schema is the value of SchemaKey.
const Schema = "trconvert.weights/v1"

// Keys of the metadata. All values are texts; those of SitesKey, RingsKey and StorageKey are JSON.
const (
	SchemaKey  = "trconvert.schema"
	ModelKey   = "trconvert.model"   // the model's fingerprint, see Set.Fingerprint
	SitesKey   = "trconvert.sites"   // [SiteInfo]s of the recurrent nodes
	RingsKey   = "trconvert.rings"   // [RingInfo]s
	StorageKey = "trconvert.storage" // an object: the storage, float16 or int8, of each value that is stored narrow
)

// SiteInfo describes a recurrent node.
type SiteInfo struct {
	Name      string            `json:"name"`
	Op        string            `json:"op"`
	Direction string            `json:"direction"`
	Hidden    int               `json:"hidden_size"`
	Gates     string            `json:"gates"`   // the order of the blocks of H rows
	Weights   map[string]string `json:"weights"` // operand to the name of the weight that it is made of; W of a ring is made of several and not listed
}

// RingInfo describes a factored matrix [out, in]; see [export.Record] and [export.MatrixRecord].
type RingInfo struct {
	Role         string   `json:"role"` // "w" of the input matrix W of recurrent layers; others: see package matrices
	Sites        []string `json:"sites"`
	Format       string   `json:"format"`
	Form         string   `json:"form"`
	InModes      []int    `json:"in_modes"`
	OutModes     []int    `json:"out_modes"`
	Ranks        []int    `json:"ranks"` // r_0 … r_{d−1}; core k is [r_k, mode, r_{k+1}], with r_d = r_0
	In           int      `json:"in"`
	Out          int      `json:"out"`
	Cores        []string `json:"cores"`
	MergedOutput bool     `json:"merged_output"` // the last core is L [directions, gates·H, r_0·r_n] instead
	Orders       []string `json:"orders"`        // for each core, the order of its axes "lmr" (left rank, mode, right rank), slowest first, if it is another; see [export.Record]
	Dims         []int    `json:"dims"`          // of the dense matrix as its node wants it; none of W
	Transposed   bool     `json:"transposed"`    // which is [in, out] then
}

// gates are the blocks of rows by operator.
var gates = map[recurrent.Op]string{recurrent.LSTM: "iofc", recurrent.GRU: "zrh", recurrent.RNN: "h"}

// Sites describes the recurrent nodes.
func (s *Set) Sites() []SiteInfo {
	all := []SiteInfo{}
	for _, at := range s.sites {
		info := SiteInfo{
			Name: at.name, Op: string(at.config.Op), Direction: string(at.config.Direction), Hidden: at.config.Hidden,
			Gates: gates[at.config.Op], Weights: map[string]string{},
		}
		for operand, w := range at.operands {
			info.Weights[operand] = w.Name
		}
		all = append(all, info)
	}
	return all
}

// RingInfos describes the factors.
func (s *Set) RingInfos() []RingInfo {
	names := map[string]string{}
	for k := len(s.Weights) - 1; k >= 0; k-- {
		names[s.Weights[k].Value] = s.Weights[k].Name
	}
	all := []RingInfo{}
	for k, r := range s.records() {
		info := RingInfo{
			Role: "w", Sites: r.Sites, Format: r.Format, Form: string(r.Form), InModes: r.InModes, OutModes: r.OutModes, Ranks: r.Ranks, In: r.In, Out: r.Out, MergedOutput: r.MergedOutput, Orders: append([]string{}, r.Orders...), Dims: []int{},
		}
		if other := k - len(s.rings); other >= 0 {
			m := s.matrices[other]
			info.Role, info.Dims, info.Transposed = string(m.Role), m.Dims, m.Transposed
		}
		for _, core := range r.Cores {
			info.Cores = append(info.Cores, names[core])
		}
		all = append(all, info)
	}
	return all
}

// File reads all weights as they are stored, and describes them.
func (s *Set) File(ctx context.Context) (*safetensors.File, error) {
	print, err := s.Fingerprint()
	if err != nil {
		return nil, err
	}
	f := &safetensors.File{Metadata: map[string]string{SchemaKey: Schema, ModelKey: print}}
	storage := map[string]export.Storage{}
	for k := range s.Weights {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		w := &s.Weights[k]
		if w.Stored != nil {
			storage[w.Name] = w.Stored.Storage
		}
		err := w.each(func(name string, t *onnx.Tensor) error {
			a, err := t.Array()
			f.Tensors = append(f.Tensors, safetensors.Tensor{Name: name, Array: a})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for key, value := range map[string]any{SitesKey: s.Sites(), RingsKey: s.RingInfos(), StorageKey: storage} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("weights: metadata %s: %w", key, err)
		}
		f.Metadata[key] = string(text)
	}
	return f, nil
}

// Fingerprint is the SHA-256, in hexadecimal digits, of what the model is without the numbers of its weights: graphs, nodes, attributes, other constants, rings, and the weights' names, types and
// dims. Models that differ in their training alone have the same.
func (s *Set) Fingerprint() (string, error) {
	sum := sha256.New()
	for _, g := range s.Model.Scopes() {
		if err := s.hashGraph(sum, g); err != nil {
			return "", err
		}
	}
	for _, o := range s.Model.Opsets {
		say(sum, "opset", o.Domain, strconv.FormatInt(o.Version, 10))
	}
	rings, err := json.Marshal(s.RingInfos())
	if err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	say(sum, "rings", string(rings))
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// say writes texts such that no two lists of texts give the same bytes.
func say(w io.Writer, texts ...string) {
	for _, t := range texts {
		fmt.Fprintf(w, "%d:%s", len(t), t)
	}
	io.WriteString(w, "\n")
}

func (s *Set) hashGraph(w io.Writer, g *onnx.Graph) error {
	say(w, "graph", g.Path())
	for _, v := range g.Inputs {
		say(w, "input", v.Name)
	}
	for _, v := range g.Outputs {
		say(w, "output", v.Name)
	}
	for _, t := range g.Initializers {
		if err := s.hashTensor(w, t.Name, t); err != nil {
			return err
		}
	}
	for _, n := range g.Nodes {
		say(w, "node", n.Domain, n.OpType)
		say(w, n.Inputs...)
		say(w, n.Outputs...)
		for _, a := range n.Attributes {
			say(w, "attribute", a.Name, fmt.Sprint(a.Type, a.RefName, a.F, a.I, a.Floats, a.Ints), string(a.S))
			for _, text := range a.Strings {
				say(w, string(text))
			}
			if a.T == nil {
				continue
			}
			if err := s.hashTensor(w, n.Output(0), a.T); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Set) hashTensor(w io.Writer, name string, t *onnx.Tensor) error {
	say(w, "tensor", name, fmt.Sprint(t.Type, t.Dims))
	if of := s.byTensor[t]; of != nil {
		say(w, "weight", of.Name)
		return nil
	}
	a, err := t.Array()
	if err != nil {
		return err
	}
	if words, ok := a.Data.([]string); ok {
		say(w, words...)
		return nil
	}
	raw, err := a.Bytes()
	if err != nil {
		return err
	}
	say(w, string(raw))
	return nil
}
