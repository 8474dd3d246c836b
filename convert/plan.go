package convert

import (
	"context"
	"slices"
	"time"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/tensor"
)

// PlanSchema is the schema of a [Plan].
const PlanSchema = "trconvert.plan/v1"

// Plan is what [Decompose] would do with the same options, and what it could do instead.
type Plan struct {
	Schema  string   `json:"schema"`
	Input   FileStat `json:"input"`
	Output  FileStat `json:"output"` // of the file that would be written; bytes are exact
	Form    Form     `json:"form"`
	Weights Storage  `json:"weights"` // as in [Report]
	// WBefore and WAfter are as in [Report].
	WBefore   int64      `json:"w_parameters_before"`
	WAfter    int64      `json:"w_parameters_after"`
	Sites     []SitePlan `json:"sites"`
	Seconds   float64    `json:"seconds"`
	PeakBytes int64      `json:"peak_bytes"`
	Warnings  []Warning  `json:"warnings"`
}

// SitePlan is the choice for one recurrent layer and its alternatives.
type SitePlan struct {
	SiteReport
	FLOPsBefore float64 `json:"flops_before"` // of the input projection of one frame, a multiplication and an addition being two
	FLOPsAfter  float64 `json:"flops_after"`  // in the chosen form
	// PredictedBefore and PredictedAfter are µs for one frame, by the model that decompose.Cost states; no timing.
	PredictedBefore float64 `json:"predicted_micros_before"`
	PredictedAfter  float64 `json:"predicted_micros_after"`
	// Front are the ways to store W of which none has both more numbers and no smaller error than another one, by growing size; empty
	// where W cannot be decomposed or is another site's.
	Front []PlanPoint `json:"front"`
}

// PlanPoint is one way to store a W.
type PlanPoint struct {
	Format          string  `json:"format"`
	InModes         []int   `json:"in_modes"`
	OutModes        []int   `json:"out_modes"`
	Ranks           []int   `json:"ranks"`
	Parameters      int     `json:"parameters"`
	Bytes           int64   `json:"bytes"` // of the numbers as they are stored, without scales
	RelativeError   Number  `json:"relative_error"`
	DataError       Number  `json:"data_error"`
	Bottleneck      float64 `json:"flops_bottleneck"` // per frame
	Cores           float64 `json:"flops_cores"`      // per frame
	PredictedMicros float64 `json:"predicted_micros"`
	Chosen          bool    `json:"chosen"`
}

// MakePlan is the dry run of [Decompose]: the same choices, fitted and lowered in memory, and the front of every layer. Nothing is
// written, and the output's name is not checked. A missed budget is the error that Decompose gives.
func MakePlan(ctx context.Context, o Options) (*Plan, error) {
	start := time.Now()
	if err := o.complete(); err != nil {
		return nil, err
	}
	if o.RecipeOutput != "" {
		if err := guardOutput(o.RecipeOutput, o.Files.Force, o.inputs()...); err != nil {
			return nil, err
		}
	}
	c := newConversion(o)
	c.planned = true
	defer c.close()
	p := &Plan{Schema: PlanSchema, Form: o.Export.Form}
	if err := c.run(ctx, p.lower(c)); err != nil {
		return nil, err
	}
	p.Form, p.Weights = c.o.Export.Form, c.report.Weights
	p.Input, p.WBefore, p.WAfter, p.Warnings = c.report.Input, c.report.WBefore, c.report.WAfter, c.report.Warnings
	p.Sites = c.sitePlans()
	p.Seconds = time.Since(start).Seconds()
	p.PeakBytes = peakBytes()
	if o.RecipeOutput != "" {
		if err := c.writeRecipe(ctx); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// lower measures the model that Decompose would write.
func (p *Plan) lower(c *conversion) func(context.Context) error {
	return func(ctx context.Context) error {
		compact, _, err := c.lower(ctx)
		if err != nil {
			return err
		}
		defer compact.Close()
		size, err := compact.WrittenSize(c.o.Output)
		p.Output = FileStat{File: c.o.Output, Bytes: size, Parameters: compact.Parameters()}
		return err
	}
}

// sitePlans adds fronts and costs to the site reports.
func (c *conversion) sitePlans() []SitePlan {
	plans := make([]SitePlan, len(c.report.Sites))
	of := make(map[string]int)
	for i, g := range c.groups {
		for _, s := range g.sites {
			of[s.Name] = i
		}
		if g.matrix != nil {
			of[g.name()] = i
		}
	}
	for k, sr := range c.report.Sites {
		plans[k] = SitePlan{SiteReport: sr, Front: []PlanPoint{}}
		i, ok := of[sr.Name]
		if !ok {
			continue
		}
		p := &plans[k]
		front := c.fronts[i]
		dense := front[slices.IndexFunc(front, func(p decompose.Point) bool { return p.Format == "dense" })].Cost
		p.FLOPsBefore, p.PredictedBefore = dense.Bottleneck, dense.BottleneckMicros
		p.FLOPsAfter, p.PredictedAfter = dense.Bottleneck, dense.BottleneckMicros
		g := c.groups[i]
		if f := c.results[i].Factor; f != nil && c.o.Export.Form != export.Dense && (g.matrix == nil || export.Thin(g.matrix, f)) {
			p.FLOPsAfter, p.PredictedAfter = c.formCost(f)
		}
		if sr.SharedWith == "" {
			p.Front = planPoints(front, g.elem(), c.mix.shares[i].storage)
		}
	}
	return plans
}

func (c *conversion) formCost(f *tensor.Factor) (flops, micros float64) {
	cost := decompose.FactorCost(f)
	if c.o.Export.Form == export.Cores {
		return cost.Cores, cost.CoresMicros
	}
	return cost.Bottleneck, cost.BottleneckMicros
}

func planPoints(front []decompose.Point, elem onnx.DataType, stored Storage) []PlanPoint {
	points := make([]PlanPoint, len(front))
	for i, p := range front {
		points[i] = PlanPoint{
			Format: p.Format, InModes: notNil(p.InModes), OutModes: notNil(p.OutModes), Ranks: notNil(p.Ranks),
			Parameters: p.Params, Bytes: int64(p.Params) * elementBytes(elem, stored),
			RelativeError: Number(p.RelativeError), DataError: Number(p.DataError),
			Bottleneck: p.Cost.Bottleneck, Cores: p.Cost.Cores, PredictedMicros: p.Cost.BottleneckMicros, Chosen: p.Chosen,
		}
	}
	return points
}

func notNil(v []int) []int {
	if v == nil {
		return []int{}
	}
	return v
}

// elementBytes is the size of a stored number of a site's W; cores of float32 may be stored narrower.
func elementBytes(t onnx.DataType, stored Storage) int64 {
	switch t {
	case onnx.Float:
		switch stored {
		case export.Float16:
			return 2
		case export.Int8:
			return 1
		}
	case onnx.Double:
		return 8
	case onnx.Float16, onnx.BFloat16:
		return 2
	}
	return 4
}
