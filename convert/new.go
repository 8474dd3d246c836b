package convert

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/matrices"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/tensor"
)

// NewSchema is the schema of [Creation].
const NewSchema = "trconvert.new/v1"

// The values that options of [New] take; the first of each list is the default.
var (
	Cells      = []string{"lstm", "gru", "rnn"}
	NewFormats = []string{tensor.Ring, tensor.Train, tensor.TTMatrix, tensor.SVD, "dense"}
	NewForms   = []string{string(export.Bottleneck), string(export.Cores)}
)

// NewOptions of [New]. Output, Input, Hidden and Classes are needed.
type NewOptions struct {
	Output                 string
	Cell                   string // one of Cells
	Input, Hidden, Classes int    // Input: numbers in a frame, or in a row of the embedding table
	Layers                 int    // 0: 1
	Bidirectional          bool
	Embed                  int     // rows of an embedding table: the model then reads tokens; 0: frames
	Name                   string  // of the input; "": x, or tokens with Embed
	Scale                  float64 // what frames are multiplied with first; 0: nothing
	// RecurrentRank is the rank N of R = A·B in every layer, A [D·G·H, N] and B [N, H]; 0: R is dense.
	RecurrentRank int
	// Budget, and Fit's Format, modes and Seed, say how W of the layers is stored. The zero Budget asks for Ratio 10. Modes and Ranks are those of
	// the first layer; the others are then dense. Without them every layer is factored that gets smaller.
	Budget  Budget
	Fit     FitOptions
	Export  ExportOptions
	Files   Files
	Threads int // of the check; 0: GOMAXPROCS
}

// Creation is what [New] wrote.
type Creation struct {
	Schema     string       `json:"schema"`
	Output     FileStat     `json:"output"`
	Cell       string       `json:"cell"`
	Form       Form         `json:"form"`
	Input      int          `json:"input_size"`
	Hidden     int          `json:"hidden_size"`
	Classes    int          `json:"classes"`
	Directions int          `json:"directions"`
	Embed      int          `json:"embed"` // 0 where the model reads frames
	Seed       uint64       `json:"seed"`
	Sites      []NewSite    `json:"sites"`
	Parameters []Parameters `json:"parameters"`       // by part
	Dense      int64        `json:"dense_parameters"` // of the same model with dense matrices
	Seconds    float64      `json:"seconds"`
	Warnings   []Warning    `json:"warnings"`
}

// NewSite is one recurrent layer of a new model.
type NewSite struct {
	Name     string `json:"name"`
	Op       string `json:"op"`
	Format   string `json:"format"`    // "dense" where it is
	InModes  []int  `json:"in_modes"`  // empty where dense
	OutModes []int  `json:"out_modes"` // empty where dense
	Ranks    []int  `json:"ranks"`     // empty where dense
	WDense   int64  `json:"w_parameters_dense"`
	W        int64  `json:"w_parameters"`
	R        int64  `json:"r_parameters"`
	RRank    int    `json:"r_rank"` // 0 where R is dense
	Reason   string `json:"reason"` // why it is dense
}

// Parameters is the size of a part of a model.
type Parameters struct {
	What   string `json:"what"`
	Number int64  `json:"number"`
}

// New writes an untrained classifier whose recurrent layers are factored from the beginning (Pan et al., AAAI 2019): a model as [Decompose] writes it, which [Finetune] trains.
//
// It reads x [batch, steps, Input] (with Embed, tokens [batch, steps] of int64) and gives logits [batch, Classes] from the last states, at opset 17. The start is random
// and depends on Fit.Seed alone: cores such that the elements of Ŵ have the variance 2/(I+H) (decompose.Fresh), I being the layer's inputs, and a dense W with that variance; R uniform in
// ±1/√H, or of RecurrentRank with the variance 1/(3·H) that those have, and the affine map in ±1/√(D·H) as PyTorch has them; biases zero, those of the forget gates 1; the embedding table standard normal.
//
// No matrix of the size of W is formed where it is factored.
func New(ctx context.Context, o NewOptions) (*Creation, error) {
	start := time.Now()
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := guardOutput(o.Output, o.Files.Force); err != nil {
		return nil, err
	}
	c := newCreation(o)
	if err := c.run(ctx); err != nil {
		return nil, ended(ctx, o.Output, err)
	}
	c.report.Seconds = time.Since(start).Seconds()
	return c.report, nil
}

// Bounds of new models: sizes whose products stay far from overflow, and numbers that the file would hold.
const (
	largestSize   = 1 << 24
	largestLayers = 64
	largestModel  = 1 << 31
)

// complete checks the options and fills in defaults.
func (o *NewOptions) complete() error {
	for _, c := range []struct {
		option string
		value  *string
		valid  []string
	}{
		{"--cell", &o.Cell, Cells},
		{"--format", &o.Fit.Format, NewFormats},
		{"--form", (*string)(&o.Export.Form), NewForms},
	} {
		if *c.value == "" {
			*c.value = c.valid[0]
		}
		if err := oneOf(c.option, *c.value, c.valid); err != nil {
			return err
		}
	}
	if o.Output == "" {
		return &OptionError{Option: "-o", What: "no output file is named (-o OUT.onnx)"}
	}
	if o.Layers == 0 {
		o.Layers = 1
	}
	if o.Name == "" {
		o.Name = "x"
		if o.Embed > 0 {
			o.Name = "tokens"
		}
	}
	if o.Scale != 0 && o.Embed > 0 {
		return &OptionError{Option: "--scale", What: "contradicts --embed: tokens are no numbers to multiply"}
	}
	if !utf8.ValidString(o.Name) || strings.Contains(o.Name, ".") || o.Name == outputName {
		return &OptionError{Option: "--input-name", Value: o.Name, What: "must be UTF-8 without a dot, and not " + outputName}
	}
	for _, c := range []struct {
		option             string
		value, least, most int
	}{
		{"--input", o.Input, 1, largestSize},
		{"--hidden", o.Hidden, 1, largestSize},
		{"--classes", o.Classes, 2, largestSize},
		{"--layers", o.Layers, 1, largestLayers},
		{"--embed", o.Embed, 0, largestSize},
		{"--recurrent-rank", o.RecurrentRank, 0, largestSize},
	} {
		switch {
		case c.value == 0 && c.least > 0:
			return &OptionError{Option: c.option, What: fmt.Sprintf("is missing (%s N)", c.option)}
		case c.value < c.least || c.value > c.most:
			return &OptionError{Option: c.option, Value: strconv.Itoa(c.value), What: fmt.Sprintf("must be from %d to %d", c.least, c.most)}
		}
	}
	return o.checkFormat()
}

// checkFormat refuses options of factors that a dense model has no use for, and more than one budget.
func (o *NewOptions) checkFormat() error {
	b := o.Budget
	var given []string
	for _, g := range []struct {
		option string
		set    bool
	}{
		{"--rank", b.Rank != 0}, {"--ranks", len(b.Ranks) > 0}, {"--ratio", b.Ratio != 0}, {"--max-params", b.MaxParams != 0},
	} {
		if g.set {
			given = append(given, g.option)
		}
	}
	if b.MaxError != 0 {
		return &OptionError{Option: "--max-error", What: "there is no matrix yet that an error could be taken of"}
	}
	if len(given) > 1 {
		return &OptionError{Option: given[0], What: fmt.Sprintf("contradicts %s: one budget at a time", given[1])}
	}
	for _, g := range []struct {
		option string
		set    bool
	}{{"--in-modes", len(o.Fit.InModes) > 0}, {"--out-modes", len(o.Fit.OutModes) > 0}, {"--merge-output", o.Export.MergeOutput}} {
		if g.set {
			given = append(given, g.option)
		}
	}
	if o.Fit.Format == "dense" && len(given) > 0 {
		return &OptionError{Option: given[0], What: "contradicts --format dense, which has no cores"}
	}
	return nil
}

// creation is one call of New at work.
type creation struct {
	o      NewOptions
	net    *classifier
	report *Creation
	layers []newLayer
}

// newLayer is how W and R of a layer are stored.
type newLayer struct {
	factor *tensor.Factor // nil where dense
	reason string         // why it is dense
	notes  []string
	r      *tensor.Factor // of R; nil where dense
}

func newCreation(o NewOptions) *creation {
	op := map[string]recurrent.Op{"lstm": recurrent.LSTM, "gru": recurrent.GRU, "rnn": recurrent.RNN}[o.Cell]
	net := &classifier{op: op, input: o.Input, hidden: o.Hidden, classes: o.Classes, layers: o.Layers, directions: 1, embed: o.Embed, name: o.Name, scale: o.Scale, seed: o.Fit.Seed}
	if o.Bidirectional {
		net.directions = 2
	}
	return &creation{o: o, net: net, layers: make([]newLayer, o.Layers), report: &Creation{
		Schema: NewSchema, Cell: o.Cell, Form: o.Export.Form, Input: o.Input, Hidden: o.Hidden, Classes: o.Classes, Directions: net.directions,
		Embed: o.Embed, Seed: o.Fit.Seed, Sites: []NewSite{}, Warnings: []Warning{},
	}}
}

func (c *creation) run(ctx context.Context) error {
	if err := c.factor(ctx); err != nil {
		return err
	}
	if err := c.count(); err != nil {
		return err
	}
	template, err := c.net.model()
	if err != nil {
		return err
	}
	defer template.Close()
	model, err := c.lower(ctx, template)
	if err != nil {
		return err
	}
	defer model.Close()
	return model.WriteFile(ctx, c.o.Output, onnx.WriteOptions{
		Force: c.o.Files.Force,
		Check: func(path string) error { return c.check(ctx, path) },
	})
}

// matrix describes W of a layer.
func (c *creation) matrix(layer int) decompose.Matrix {
	return decompose.Matrix{Name: c.net.siteName(layer), Directions: c.net.directions, Gates: c.net.op.Gates(), Hidden: c.net.hidden, In: c.net.layerInput(layer)}
}

// factored is the number of layers, from the first one, whose W the options speak of.
func (c *creation) factored() int {
	switch {
	case c.o.Fit.Format == "dense":
		return 0
	case len(c.o.Fit.InModes)+len(c.o.Fit.OutModes)+len(c.o.Budget.Ranks) > 0:
		return 1
	}
	return c.net.layers
}

// factor draws the cores.
func (c *creation) factor(ctx context.Context) error {
	n := c.factored()
	for k := range c.net.layers {
		l := &c.layers[k]
		if c.o.RecurrentRank > 0 {
			if err := c.factorRecurrent(k); err != nil {
				return err
			}
		}
		switch {
		case k >= n && n > 0:
			l.reason = "modes and ranks were given for the first layer"
		case k < n:
			if err := c.factorLayer(k, c.budget(k)); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if n > 0 && !slices.ContainsFunc(c.layers, func(l newLayer) bool { return l.factor != nil }) {
		return &GateError{Gate: "nothing gets smaller", Got: fmt.Sprintf("%q: %s (--format dense writes a dense model)", c.net.siteName(0), c.layers[0].reason)}
	}
	return nil
}

// budget is a layer's part of the budget: numbers are shared in proportion to the sizes of W.
func (c *creation) budget(layer int) Budget {
	b := c.o.Budget
	if b.MaxParams == 0 {
		return b
	}
	var all float64
	for k := range c.factored() {
		all += float64(c.matrix(k).Size())
	}
	return Budget{MaxParams: max(1, int(float64(b.MaxParams)*float64(c.matrix(layer).Size())/all))}
}

// factorLayer draws the cores of a layer. Layers behind the first one stay dense where no factor is smaller or meets the budget.
func (c *creation) factorLayer(k int, b Budget) error {
	m := c.matrix(k)
	l := &c.layers[k]
	shape, notes, err := decompose.ShapeFor(m, b, c.o.Fit)
	var budget *decompose.BudgetError
	var option *decompose.OptionError
	switch {
	case k > 0 && errors.As(err, &budget):
		l.reason = fmt.Sprintf("asked for %s, the best that can be reached is %s", budget.Asked, budget.Best)
		return nil
	case k > 0 && errors.As(err, &option):
		l.reason = option.Problem
		return nil
	case errors.As(err, &option):
		option.Matrix = "" // modes and ranks are those of the first layer
		return choiceError(option)
	case err != nil:
		return err
	}
	if n := shape.Params(); n >= m.Size() {
		l.reason = fmt.Sprintf("the cores would have %d numbers, W has %d", n, m.Size())
		return nil
	}
	l.notes = notes
	root := seed.Stream(c.o.Fit.Seed, "new", m.Name, "cores").Uint64()
	l.factor, err = decompose.Fresh(shape, decompose.GlorotVariance(m.In, m.Hidden), root)
	return err
}

// factorRecurrent draws the factors of R of a layer.
func (c *creation) factorRecurrent(k int) error {
	m := c.matrix(k)
	m.Name, m.In = m.Name+".R", m.Hidden
	shape, _, err := decompose.ShapeFor(m, Budget{Rank: c.o.RecurrentRank}, FitOptions{Format: tensor.SVD})
	if err != nil {
		return err
	}
	if n := shape.Params(); n >= m.Size() {
		what := fmt.Sprintf("the factors of R would have %d numbers, R has %d; choose a lower rank", n, m.Size())
		return &OptionError{Option: "--recurrent-rank", Value: strconv.Itoa(c.o.RecurrentRank), What: what}
	}
	root := seed.Stream(c.o.Fit.Seed, "new", m.Name, "cores").Uint64()
	c.layers[k].r, err = decompose.Fresh(shape, 1/float64(3*m.Hidden), root)
	return err
}

// count fills in the report's numbers and refuses a model that is too large for its kind.
func (c *creation) count() error {
	var w, dense, r, bias int64 // dense: of matrices
	d, g, h := int64(c.net.directions), int64(c.net.op.Gates()), int64(c.net.hidden)
	for k, l := range c.layers {
		m := c.matrix(k)
		s := NewSite{
			Name: m.Name, Op: string(c.net.op), Format: "dense", InModes: []int{}, OutModes: []int{}, Ranks: []int{},
			WDense: int64(m.Size()), W: int64(m.Size()), R: d * g * h * h, Reason: l.reason,
		}
		if f := l.factor; f != nil {
			s.Format, s.InModes, s.OutModes, s.Ranks, s.W = f.Format, f.InModes, f.OutModes, f.Ranks(), int64(f.Params())
			if c.o.Export.MergeOutput {
				s.W = mergedParams(f)
			}
		}
		dense += s.WDense + s.R
		if l.r != nil {
			s.R, s.RRank = int64(l.r.Params()), l.r.Cut()
		}
		c.report.Sites = append(c.report.Sites, s)
		w, r, bias = w+s.W, r+s.R, bias+2*d*g*h
		for _, text := range l.notes {
			c.report.Warnings = append(c.report.Warnings, Warning{Code: "factor", Path: m.Name, Text: text})
		}
	}
	head, table := int64(c.net.classes)*(d*h+1), int64(c.net.embed)*int64(c.net.input)
	parts := []Parameters{{"W (input)", w}, {"R (recurrent)", r}, {"B (bias)", bias}, {"head", head}}
	if table > 0 {
		parts = append([]Parameters{{"embedding", table}}, parts...)
	}
	c.report.Parameters = parts
	c.report.Dense = dense + bias + head + table
	if n := w + r + bias + head + table; n > largestModel {
		return &OptionError{Option: "--hidden", Value: strconv.Itoa(c.net.hidden), What: fmt.Sprintf("the model would have %d parameters, at most %d are written", n, int64(largestModel))}
	}
	return nil
}

// lower puts cores, and dense matrices where there are none, in the place of the template's W.
func (c *creation) lower(ctx context.Context, template *onnx.Model) (*onnx.Model, error) {
	sites, err := recurrent.Find(ctx, template)
	if err != nil {
		return nil, err
	}
	var rs []export.Replacement
	for k, s := range sites {
		if f := c.layers[k].factor; f != nil {
			rs = append(rs, export.Replacement{Sites: []*recurrent.Site{s}, Factor: f})
		}
	}
	lowering := c.o.Export
	if lowering.Matrices, err = c.recurrentFactors(ctx, template); err != nil {
		return nil, err
	}
	patch, err := export.Lower(ctx, template, rs, lowering)
	if err != nil {
		return nil, err
	}
	for k, s := range sites {
		if c.layers[k].factor != nil {
			continue
		}
		w, err := c.denseWeight(k)
		if err != nil {
			return nil, err
		}
		name := patch.Fresh(s.Name + ".weight")
		patch.AddInitializerArray(template.Graph, name, w)
		patch.SetInput(s.Node, recurrent.SlotW, name)
	}
	return patch.Apply(ctx)
}

// recurrentFactors pairs the layers' R with their factors.
func (c *creation) recurrentFactors(ctx context.Context, template *onnx.Model) (rs []export.MatrixReplacement, err error) {
	if c.o.RecurrentRank == 0 {
		return nil, nil
	}
	all, err := matrices.Find(ctx, template)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.Role == matrices.Recurrent {
			rs = append(rs, export.MatrixReplacement{Matrix: s, Factor: c.layers[len(rs)].r})
		}
	}
	if len(rs) != len(c.layers) {
		return nil, &OptionError{Option: "--recurrent-rank", What: fmt.Sprintf("R of %d units is too small to be worth factors", c.net.hidden)}
	}
	return rs, nil
}

// denseWeight draws W of a layer: normal, with the variance that Ŵ of cores has.
func (c *creation) denseWeight(layer int) (*onnx.Array, error) {
	m := c.matrix(layer)
	rnd := seed.Stream(c.o.Fit.Seed, "new", m.Name, "W")
	scale := math.Sqrt(decompose.GlorotVariance(m.In, m.Hidden))
	v := make([]float32, m.Size())
	for i := range v {
		v[i] = float32(scale * rnd.NormFloat64())
	}
	return onnx.NewFloat32s([]int{m.Directions, m.Gates * m.Hidden, m.In}, v)
}

// check reads the complete file back and runs it.
func (c *creation) check(ctx context.Context, path string) error {
	m, err := openModel(ctx, path, Files{})
	if err != nil {
		return fmt.Errorf("convert: verification: the written file cannot be read back: %w", err)
	}
	defer m.Close()
	c.report.Output = FileStat{File: c.o.Output, Bytes: m.FileBytes(), Parameters: m.Parameters()}
	if _, err := export.Records(m); err != nil {
		return fmt.Errorf("convert: verification: %w", err)
	}
	rs, err := export.Matrices(m)
	if err != nil {
		return fmt.Errorf("convert: verification: %w", err)
	}
	if c.o.RecurrentRank > 0 && len(rs) != len(c.layers) {
		return fmt.Errorf("convert: verification: %d layers have factors of R, want %d", len(rs), len(c.layers))
	}
	p, err := runtime.Compile(ctx, m, runtime.Options{Threads: c.o.Threads})
	if err != nil {
		return fmt.Errorf("convert: verification: the written file: %w", err)
	}
	const batch, steps = 2, 3
	feed := &onnx.Array{Type: onnx.Float, Dims: []int{batch, steps, c.net.input}, Data: make([]float32, batch*steps*c.net.input)}
	if c.net.embed > 0 {
		feed = &onnx.Array{Type: onnx.Int64, Dims: []int{batch, steps}, Data: make([]int64, batch*steps)}
	} else {
		rnd := seed.Stream(0, "new", "check")
		for i := range feed.Data.([]float32) {
			feed.Data.([]float32)[i] = float32(rnd.NormFloat64())
		}
	}
	out, err := p.Run(ctx, map[string]*onnx.Array{c.net.name: feed})
	if err != nil {
		return fmt.Errorf("convert: verification: the written file: %w", err)
	}
	logits := out[outputName]
	if logits == nil || !slices.Equal(logits.Dims, []int{batch, c.net.classes}) {
		return fmt.Errorf("convert: verification: the written file gives the wrong outputs for logits [%d, %d]", batch, c.net.classes)
	}
	if err := finiteFeeds(out); err != nil {
		return fmt.Errorf("convert: verification: the written file: %w", err)
	}
	return nil
}
