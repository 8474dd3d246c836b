package convert

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/trals"
)

// LayerReport says how near a layer's cores came to the teacher's pre-activations before training. The errors are ‖(W−Ŵ)·X‖_F/‖W·X‖_F, X being frames that reach
// the teacher's layer on the training data.
type LayerReport struct {
	Site    string `json:"site"`
	Teacher string `json:"teacher_site"`
	Format  string `json:"format"`
	Frames  int    `json:"frames"`
	Before  Number `json:"before"`
	After   Number `json:"after"`
	Sweeps  int    `json:"sweeps"` // 0 where the stored cores were kept
}

// layerRidge is the weight of the error of W beside that of the pre-activations (see trals.Metric).
const layerRidge = 0.03

// pupil is a ring whose cores are trained, with the sites of the teacher that have its W.
type pupil struct {
	ring  export.Record
	cores []*onnx.Tensor
	of    *group
}

// layers moves the stored cores of each ring so that X·Ŵᵀ comes near the teacher's X·Wᵀ, by least squares with the modes and ranks there are.
func (t *tuning) layers(ctx context.Context) (map[*onnx.Tensor]*onnx.Array, error) {
	dense, err := export.Expand(ctx, t.teacher)
	if err != nil {
		return nil, inFile(t.o.Teacher, err)
	}
	if dense != t.teacher {
		defer dense.Close()
	}
	pupils, err := t.pupils(ctx, dense)
	if err != nil {
		return nil, err
	}
	groups := make([]*group, len(pupils))
	for k, p := range pupils {
		groups[k] = p.of
	}
	progress := func(p Progress) { t.progress(TrainingProgress{Stage: StageLayers, Layers: p}) }
	progress(Progress{Stage: StageCalibrate, Samples: 1})
	all, err := collect(ctx, dense, groups, t.blocks(t.train.Len()/64), t.reading(), t.o.Threads, progress)
	if err != nil {
		return nil, fmt.Errorf("convert: teacher %q: %w", t.o.Teacher, err)
	}
	values := make(map[*onnx.Tensor]*onnx.Array)
	for k, p := range pupils {
		f, err := p.ring.Factor(ctx, t.model)
		if err != nil {
			return nil, inFile(t.o.Model, err)
		}
		metric, err := all[k].metric()
		if err != nil {
			return nil, fmt.Errorf("convert: teacher %q: site %q: %w", t.o.Teacher, p.of.lead().Name, err)
		}
		if metric == nil {
			t.warn("no-frames", "site %s: no frame reached it in the teacher: its cores start as they are stored", strconv.Quote(p.ring.Sites[0]))
			continue
		}
		if metric, err = metric.WithRidge(layerRidge); err != nil {
			return nil, err
		}
		s := p.of.lead()
		m := decompose.Matrix{
			Name: s.Name, Directions: s.Direction.Count(), Gates: s.Op.Gates(), Hidden: s.Hidden, In: s.Input, Load: s.Weight, Metric: metric,
		}
		r, before, err := decompose.Refit(ctx, m, f, decompose.Options{Seed: t.o.Settings.Seed, OnSweep: func(_ string, w trals.Sweep) {
			progress(Progress{Stage: StageDecompose, Site: p.ring.Sites[0], Matrix: k, Matrices: len(pupils), Sweep: w.Number, Sweeps: defaultSweeps, RelativeError: w.RelativeError})
		}})
		if err != nil {
			return nil, err
		}
		if err := fill(values, p.ring, p.cores, r.Factor); err != nil {
			return nil, err
		}
		t.report.Layers = append(t.report.Layers, LayerReport{
			Site: p.ring.Sites[0], Teacher: s.Name, Format: f.Format, Frames: all[k].count,
			Before: Number(before), After: Number(r.DataError), Sweeps: r.Sweeps,
		})
	}
	return values, nil
}

// pupils pairs rings with sites of the teacher: those of the same name, or else of the same place among as many recurrent nodes. Sites of the same name must have the
// ring's dims.
func (t *tuning) pupils(ctx context.Context, teacher *onnx.Model) ([]pupil, error) {
	sites, err := recurrent.Find(ctx, teacher)
	if err != nil {
		return nil, inFile(t.o.Teacher, err)
	}
	own := recurrent.Nodes(t.model)
	var (
		all  []pupil
		none []string
	)
	for _, r := range t.rings {
		p := pupil{ring: r, cores: t.fillable(r), of: &group{}}
		if p.cores == nil {
			continue
		}
		why := ""
		for _, name := range r.Sites {
			s, err := t.counterpart(r, name, own, sites)
			if err != nil {
				return nil, err
			}
			switch {
			case s == nil:
				why = "the teacher has no layer of its name, and none of its dims in its place"
			case !s.Decomposable:
				why = fmt.Sprintf("the teacher's site %q cannot be used: %s", s.Name, s.Reason)
			default:
				p.of.sites = append(p.of.sites, s)
			}
		}
		if why != "" {
			none = append(none, fmt.Sprintf("site %s: %s", strconv.Quote(r.Sites[0]), why))
			continue
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		what := "there are no rings all of whose cores are trained"
		if len(none) > 0 {
			what = fmt.Sprintf("no layer of %q is met by one of the teacher %q: %s", t.o.Model, t.o.Teacher, none[0])
		}
		return nil, &OptionError{Option: "--start", Value: startLayers, What: what}
	}
	for _, text := range none {
		t.warn("no-counterpart", "%s: its cores start as they are stored", text)
	}
	return all, nil
}

// counterpart is the teacher's site for a site of a ring, nil where there is none.
func (t *tuning) counterpart(r export.Record, name string, own []recurrent.Named, sites []*recurrent.Site) (*recurrent.Site, error) {
	rows := func(s *recurrent.Site) int { return s.Direction.Count() * s.Op.Gates() * s.Hidden }
	if k := slices.IndexFunc(sites, func(s *recurrent.Site) bool { return s.Name == name }); k >= 0 {
		s := sites[k]
		if s.Input != r.In || rows(s) != r.Out {
			return nil, fmt.Errorf("convert: teacher %q: site %q: its W has dims [%d %d], the model's [%d %d] (--start %s needs a teacher with layers of the same size)",
				t.o.Teacher, name, rows(s), s.Input, r.Out, r.In, startLayers)
		}
		return s, nil
	}
	k := slices.IndexFunc(own, func(n recurrent.Named) bool { return n.Name == name })
	if k < 0 || len(own) != len(sites) || sites[k].Input != r.In || rows(sites[k]) != r.Out {
		return nil, nil
	}
	return sites[k], nil
}
