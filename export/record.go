package export

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// The metadata_props entries of compact models.
const (
	RingKey  = "trconvert.ring"  // the rings of the model
	DenseKey = "trconvert.dense" // where dense reconstructions came from

	ringSchema  = "trconvert.ring/v1"
	denseSchema = "trconvert.dense/v1"
)

// Record describes one ring that a model's metadata_props hold.
type Record struct {
	Sites             []string // names of the recurrent nodes' sites
	Inputs            []string // for each site, the value its X was before the ring was put in front of it
	Format            string
	Form              Form
	InModes, OutModes []int
	Ranks             []int
	In, Out           int
	Cores             []string // initializer names, in ring order
	MergedOutput      bool     // the last core is stored as L [D, G·H, r_0·r_n], the W of the sites

	// Orders, if not nil, says for each core in which order its tensor holds the axes of [r_k, mode, r_{k+1}]: a permutation of "lmr", slowest first. The tensor has any dims
	// of that many numbers, those of the product that merges it.
	Orders []string
}

// shape is the factor without its cores.
func (r Record) shape() *tensor.Factor {
	f := &tensor.Factor{Format: r.Format, Out: r.Out, In: r.In, InModes: slices.Clone(r.InModes), OutModes: slices.Clone(r.OutModes)}
	for k, s := range f.Slots() {
		f.Cores = append(f.Cores, tensor.Core{Left: r.Ranks[k], Mode: s.Size(), Right: r.Ranks[(k+1)%len(r.Ranks)]})
	}
	return f
}

// Cut is r_0·r_n, the columns of L; 0 where the format has no sides.
func (r Record) Cut() int { return r.shape().Cut() }

// columns is the number of columns of the sites' W: r_0·r_n where it is L, I where it is Ŵ, and D·G·H where it is the identity behind
// pre-activations.
func (r Record) columns() int {
	switch f := r.shape(); {
	case f.HasSides():
		return f.Cut()
	case r.Form == Cores:
		return r.Out
	}
	return r.In
}

func (r Record) columnsText() string {
	if r.Cut() > 0 {
		return fmt.Sprintf("%d·%d", r.Ranks[0], r.Ranks[len(r.InModes)])
	}
	return strconv.Itoa(r.columns())
}

// Params is the number of stored numbers.
func (r Record) Params() int { return r.shape().Params() }

// ring is Record as it stands in the metadata.
type ring struct {
	Sites        []string `json:"sites"`
	Inputs       []string `json:"x"`
	Format       string   `json:"format"`
	Form         Form     `json:"form"`
	In           int      `json:"in"`
	Out          int      `json:"out"`
	InModes      []int    `json:"in_modes"`
	OutModes     []int    `json:"out_modes"`
	Ranks        []int    `json:"ranks"`
	Cores        []string `json:"cores"`
	MergedOutput bool     `json:"merged_output,omitempty"`
	Orders       []string `json:"orders,omitempty"`
}

func (r ring) record() Record {
	return Record{
		Sites: r.Sites, Inputs: r.Inputs, Format: r.Format, Form: r.Form, InModes: r.InModes, OutModes: r.OutModes,
		Ranks: r.Ranks, In: r.In, Out: r.Out, Cores: r.Cores, MergedOutput: r.MergedOutput, Orders: r.Orders,
	}
}

// rings is the metadata entry.
type rings struct {
	Schema string `json:"schema"`
	Rings  []ring `json:"rings"`
}

func recordOf(sites []*recurrent.Site, f *tensor.Factor, o Options, opset int64) ring {
	r := ring{
		Format: f.Format, Form: formOf(f, o.Form, opset), In: f.In, Out: f.Out,
		InModes: f.InModes, OutModes: f.OutModes, Ranks: f.Ranks(), MergedOutput: o.MergeOutput,
	}
	if o.Arranged && r.Form == Bottleneck && f.HasSides() && !o.MergeOutput {
		r.Orders = arrangementOf(f, false, false).orders()
	}
	for _, s := range sites {
		r.Sites = append(r.Sites, s.Name)
		r.Inputs = append(r.Inputs, s.Node.Input(recurrent.SlotX))
	}
	return r
}

// formOf is the form in which a factor is written where form is asked for.
func formOf(f *tensor.Factor, form Form, opset int64) Form {
	switch {
	case !f.HasSides():
		return unsidedForm(f, form, opset)
	case len(f.InModes) < 2:
		return Bottleneck
	}
	return form
}

// of returns the ring of a site, nil where it has none.
func (l rings) of(site string) *ring {
	for k := range l.Rings {
		if slices.Contains(l.Rings[k].Sites, site) {
			return &l.Rings[k]
		}
	}
	return nil
}

func (l rings) store(p *onnx.Patch) error {
	if len(l.Rings) == 0 {
		return nil
	}
	l.Schema = ringSchema
	return setEntry(p, RingKey, l)
}

// readRings parses the metadata entry without looking at the graph.
func readRings(m *onnx.Model) (rings, error) {
	var l rings
	if _, err := readEntry(m, RingKey, ringSchema, &l); err != nil {
		return rings{}, err
	}
	owner := map[string]int{}
	for k, r := range l.Rings {
		if err := r.check(); err != nil {
			return rings{}, fmt.Errorf("export: metadata %s: ring %d: %w", RingKey, k, err)
		}
		for _, s := range r.Sites {
			if first, ok := owner[s]; ok {
				return rings{}, fmt.Errorf("export: metadata %s: site %q stands in rings %d and %d", RingKey, s, first, k)
			}
			owner[s] = k
		}
	}
	return l, nil
}

// setEntry writes an entry as JSON.
func setEntry(p *onnx.Patch, key string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("export: metadata: %w", err)
	}
	p.SetMetadata(key, string(text))
	return nil
}

// readEntry decodes a versioned JSON entry if there is one; fields this version does not know are an error.
func readEntry(m *onnx.Model, key, schema string, to any) (found bool, err error) {
	text, ok := metadata(m, key)
	if !ok {
		return false, nil
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return true, fmt.Errorf("export: metadata %s: %w", key, err)
	}
	if head.Schema != schema {
		return true, fmt.Errorf("export: metadata %s: schema is %q, this version reads %q (use the version of trconvert that wrote the model)", key, head.Schema, schema)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return true, fmt.Errorf("export: metadata %s: %w", key, err)
	}
	return true, nil
}

func metadata(m *onnx.Model, key string) (string, bool) {
	for _, e := range m.Metadata {
		if e.Key == key {
			return e.Value, true
		}
	}
	return "", false
}

// check compares a ring's own numbers.
func (r ring) check() error {
	switch {
	case len(r.Sites) == 0:
		return fmt.Errorf("it has no sites")
	case len(r.Inputs) != len(r.Sites):
		return fmt.Errorf("%d inputs for %d sites", len(r.Inputs), len(r.Sites))
	case r.Form != Bottleneck && r.Form != Cores:
		return fmt.Errorf("form is %q (expected %s or %s)", r.Form, Bottleneck, Cores)
	}
	format, err := tensor.FormatOf(r.Format)
	if err != nil {
		return err
	}
	slots, err := format.Deal(r.InModes, r.OutModes)
	if err != nil {
		return err
	}
	in, err := product(r.InModes)
	if err != nil {
		return err
	}
	out, err := product(r.OutModes)
	if err != nil {
		return err
	}
	d := len(slots)
	sided := (&tensor.Factor{Format: r.Format, InModes: r.InModes, OutModes: r.OutModes}).HasSides()
	switch {
	case len(r.Cores) != d || len(r.Ranks) != d:
		return fmt.Errorf("%d cores and %d ranks for %d modes", len(r.Cores), len(r.Ranks), d)
	case r.MergedOutput && !sided:
		return fmt.Errorf("the output is merged, but format %s has no output cores", r.Format)
	case r.Orders != nil && (!sided || r.MergedOutput || r.Form != Bottleneck):
		return fmt.Errorf("orders stand beside format %s, form %s and merged output %v, where cores have none", r.Format, r.Form, r.MergedOutput)
	case r.MergedOutput && len(r.OutModes) != 1:
		return fmt.Errorf("the output is merged, but there are %d output modes", len(r.OutModes))
	}
	if r.Orders != nil {
		if err := checkOrders(r.Orders, d); err != nil {
			return err
		}
	}
	for k, s := range slots {
		if _, err := product([]int{r.Ranks[k], max(s.Row, 1), max(s.Col, 1), r.Ranks[(k+1)%d]}); err != nil {
			return err
		}
	}
	if sided {
		if _, err := product([]int{r.Ranks[0], r.Ranks[len(r.InModes)]}); err != nil {
			return err
		}
	}
	if r.In < 1 || in < r.In {
		return fmt.Errorf("input modes %v multiply to %d, the matrix has %d columns", r.InModes, in, r.In)
	}
	if out != r.Out {
		return fmt.Errorf("output modes %v multiply to %d, the matrix has %d rows", r.OutModes, out, r.Out)
	}
	return nil
}

func product(v []int) (int, error) {
	n := 1
	for _, x := range v {
		if x < 1 || n > math.MaxInt/x {
			return 0, fmt.Errorf("%v: entries must be positive and their product below 2⁶³", v)
		}
		n *= x
	}
	return n, nil
}

// Records reads the rings of a compact model; a model that is not compact has none. Records that disagree with the graph, because
// another tool has changed the one or the other, are an error that names both values. No weight is read.
func Records(m *onnx.Model) ([]Record, error) {
	l, err := readRings(m)
	if err != nil || len(l.Rings) == 0 {
		return nil, err
	}
	v := newView(m)
	var out []Record
	for _, r := range l.Rings {
		rec := r.record()
		if err := v.agrees(context.Background(), rec); err != nil {
			return nil, fmt.Errorf("export: ring of site %q: %w", r.Sites[0], err)
		}
		out = append(out, rec)
	}
	return out, nil
}

// Factor reads a record's cores from the model.
func (r Record) Factor(ctx context.Context, m *onnx.Model) (*tensor.Factor, error) {
	f, err := newView(m).factor(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("export: ring of sites %q: %w", r.Sites, err)
	}
	return f, nil
}

// Annotate marks the sites that are rings already: they are not decomposable as they stand (Expand makes them so again), and
// their Input is that of the layer, not the cut. It returns the model's records.
func Annotate(m *onnx.Model, sites []*recurrent.Site) ([]Record, error) {
	records, err := Records(m)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		for _, s := range sites {
			if slices.Contains(r.Sites, s.Name) {
				s.Decomposable, s.Input = false, r.In
				s.Reason = "already a ring: " + r.Format + ", ranks " + dimsText(r.Ranks) + ", " + strconv.Itoa(r.Params()) + " numbers"
			}
		}
	}
	return records, nil
}
