package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// set is a folder of data.
type set struct {
	name, folder, dense string
	own                 bool  // the dense model is not the set's, but trained here
	site                layer // the dense model's recurrent layer
	classes             int
}

// layer is what inspect says of a recurrent layer.
type layer struct {
	Inputs int   `json:"input_size"`
	Hidden int   `json:"hidden_size"`
	W      int64 `json:"w_parameters"`
}

func (s *set) train() string { return filepath.Join(s.folder, "train.npz") }
func (s *set) test() string  { return filepath.Join(s.folder, "test.npz") }

// openSet finds the dense model of a set, or trains one with seed 1, which is a run of scratch.
func openSet(ctx context.Context, o *options, store *store, folder string) (*set, error) {
	s := &set{name: filepath.Base(filepath.Clean(folder)), folder: folder}
	size, err := sizeOf(folder)
	if err != nil {
		return nil, err
	}
	s.classes = size.classes
	found, _ := filepath.Glob(filepath.Join(folder, "dense*.onnx"))
	if s.own = len(found) == 0; !s.own {
		s.dense = found[0]
	} else if s.dense = filepath.Join(o.out, s.name+"-dense-1.onnx"); !exists(s.dense) {
		r := run{Experiment: "scratch", Set: s.name, Method: methodScratch, Format: "dense", Seed: 1, labels: true}
		s.site = layer{Inputs: size.inputs, Hidden: o.hidden}
		if err := store.once(ctx, o, s, r); err != nil {
			return nil, err
		}
	}
	var inspection struct {
		Sites []layer `json:"sites"`
	}
	if err := o.trconvert(ctx, &inspection, "inspect", s.dense); err != nil {
		return nil, err
	}
	if len(inspection.Sites) != 1 {
		return nil, fmt.Errorf("%s: %d recurrent layers, want one", s.dense, len(inspection.Sites))
	}
	s.site = inspection.Sites[0]
	return s, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// run is one training and its result: a line of the results.
type run struct {
	Experiment string `json:"experiment"`
	Set        string `json:"set"`
	Method     string `json:"method"` // scratch, or how the dense model became compact: "aware, labels"
	Format     string `json:"format"`
	Ratio      int    `json:"ratio,omitempty"`
	Rank       int    `json:"rank,omitempty"`
	Seed       int    `json:"seed"`

	W         int64   `json:"w_parameters"`
	Epochs    int     `json:"epochs"`
	BestEpoch int     `json:"best_epoch"`
	Before    float64 `json:"accuracy_before"` // on the test split
	Accuracy  float64 `json:"accuracy"`        // on the test split
	Seconds   float64 `json:"seconds"`

	calibrated, labels, teacher, half bool
}

// key tells runs apart.
func (r *run) key() string {
	return fmt.Sprint(r.Experiment, "/", r.Set, "/", r.Method, "/", r.Format, "/", r.Ratio, "/", r.Rank, "/", r.Seed)
}

func (o *options) eachSeed(r run) (runs []run) {
	for k := range o.seeds {
		r.Seed = k + 1
		runs = append(runs, r)
	}
	return runs
}

// middle is the ratio at which everything is compared.
func (o *options) middle() int { return o.ratios[len(o.ratios)/2] }

// scratch compares the formats at the middle ratio, and goes through all ratios with rings.
func scratch(_ context.Context, o *options, s *set) (runs []run, err error) {
	add := func(r run) { runs = append(runs, o.eachSeed(r)...) }
	add(run{Method: methodScratch, Format: "dense", labels: true})
	for _, ratio := range o.ratios {
		add(run{Method: methodScratch, Format: "tr", Ratio: ratio, labels: true})
		if !s.own {
			add(run{Method: methodScratchTaught, Format: "tr", Ratio: ratio, labels: true, teacher: true})
		}
	}
	for _, format := range o.formats {
		if format != "tr" {
			add(run{Method: methodScratch, Format: format, Ratio: o.middle(), labels: true})
		}
	}
	return runs, nil
}

// The methods. What is scratch begins with random weights of the whole model.
const (
	methodScratch       = "scratch, labels"
	methodScratchTaught = "scratch, labels and dense model"
	methodWhole         = "by data, labels and dense model"
	methodHalf          = "by data, labels and dense model, half the epochs"
	methodSame          = "scratch, the same ring, labels and dense model"
)

// convert goes through all ratios with rings, trained in full and for half as many epochs, beside rings of the same modes and ranks from random weights, and compares at the middle ratio
// what the start and the training are worth.
func convert(_ context.Context, o *options, _ *set) (runs []run, err error) {
	add := func(r run) { runs = append(runs, o.eachSeed(r)...) }
	for _, ratio := range o.ratios {
		add(run{Method: methodWhole, Format: "tr", Ratio: ratio, calibrated: true, labels: true, teacher: true})
		add(run{Method: methodHalf, Format: "tr", Ratio: ratio, calibrated: true, labels: true, teacher: true, half: true})
		add(run{Method: methodSame, Format: "tr", Ratio: ratio, labels: true, teacher: true})
	}
	add(run{Method: "by data, dense model", Format: "tr", Ratio: o.ratios[0], calibrated: true, teacher: true})
	add(run{Method: "by data, labels", Format: "tr", Ratio: o.middle(), calibrated: true, labels: true})
	add(run{Method: "by weights, labels", Format: "tr", Ratio: o.middle(), labels: true})
	add(run{Method: "by weights, labels and dense model", Format: "tr", Ratio: o.middle(), labels: true, teacher: true})
	for _, format := range o.formats {
		if format != "tr" {
			add(run{Method: methodWhole, Format: format, Ratio: o.middle(), calibrated: true, labels: true, teacher: true})
		}
	}
	return runs, nil
}

func stability(_ context.Context, o *options, _ *set) (runs []run, err error) {
	for _, rank := range o.ranks {
		for _, format := range []string{"tr", "ttm"} {
			runs = append(runs, o.eachSeed(run{Method: methodScratch, Format: format, Rank: rank, labels: true})...)
		}
	}
	return runs, nil
}

// carryOut makes the compact model of a run, trains it and evaluates it.
func (o *options) carryOut(ctx context.Context, s *set, r *run) error {
	start := time.Now()
	untrained, trained := o.files(s, r)
	line, err := o.start(ctx, s, r, untrained)
	if err != nil {
		return err
	}
	if err := o.trconvert(ctx, &struct{}{}, line...); err != nil {
		return err
	}
	if r.Before, err = o.accuracy(ctx, untrained, s); err != nil {
		return err
	}
	args := []string{"finetune", untrained, "--force", "-o", trained, "--data", s.train(), "--seed", strconv.Itoa(r.Seed)}
	if r.labels {
		args = append(args, "--labels", "label")
	}
	if r.teacher {
		args = append(args, "--teacher", s.dense)
	}
	if epochs := cmp.Or(r.Epochs, o.epochs); epochs > 0 {
		args = append(args, "--epochs", strconv.Itoa(epochs))
	}
	if o.rate != "" {
		args = append(args, "--lr", o.rate)
	}
	var report struct {
		Epochs []struct{} `json:"epochs"`
		Best   int        `json:"best_epoch"`
	}
	if err := o.trconvert(ctx, &report, args...); err != nil {
		return err
	}
	r.Epochs, r.BestEpoch = len(report.Epochs), report.Best
	if r.W, err = o.stored(ctx, trained); err != nil {
		return err
	}
	r.Accuracy, err = o.accuracy(ctx, trained, s)
	r.Seconds = time.Since(start).Seconds()
	return err
}

// files are where the untrained and the trained model of a run go.
func (o *options) files(s *set, r *run) (untrained, trained string) {
	name := fmt.Sprintf("%s-%s-%s", s.name, strings.NewReplacer(" ", "-", ",", "").Replace(r.Method), r.Format)
	for _, n := range []int{r.Ratio, r.Rank} {
		if n > 0 {
			name += "-" + strconv.Itoa(n)
		}
	}
	untrained = filepath.Join(o.out, fmt.Sprintf("%s-%d.start.onnx", name, r.Seed))
	trained = filepath.Join(o.out, fmt.Sprintf("%s-%d.onnx", name, r.Seed))
	if r.Format == "dense" {
		trained = filepath.Join(o.out, fmt.Sprintf("%s-dense-%d.onnx", s.name, r.Seed))
	}
	return untrained, trained
}

// start is the command that writes the untrained model of a run.
func (o *options) start(ctx context.Context, s *set, r *run, out string) ([]string, error) {
	args := []string{"--force", "-o", out, "--format", r.Format, "--seed", strconv.Itoa(r.Seed)}
	switch {
	case r.Method == methodSame:
		converted := *r
		converted.Method = methodWhole
		file, _ := o.files(s, &converted)
		shape, err := o.shape(ctx, file)
		if err != nil {
			return nil, err
		}
		args = append(args, shape...)
	case r.Rank > 0:
		args = append(args, "--rank", strconv.Itoa(r.Rank))
	case r.Ratio > 0:
		args = append(args, "--ratio", strconv.Itoa(r.Ratio))
	}
	if r.calibrated {
		args = append(args, "--calibration", s.train())
	}
	switch r.Method {
	case methodScratch, methodScratchTaught, methodSame:
		return append([]string{"new", "--cell", "lstm", "--input", strconv.Itoa(s.site.Inputs), "--hidden", strconv.Itoa(s.site.Hidden), "--classes", strconv.Itoa(s.classes)}, args...), nil
	}
	return append([]string{"decompose", s.dense}, args...), nil
}

// shape gives the flags for the modes and ranks of a model's ring.
func (o *options) shape(ctx context.Context, model string) ([]string, error) {
	var inspection struct {
		Rings []struct {
			In    []int `json:"in_modes"`
			Out   []int `json:"out_modes"`
			Ranks []int `json:"ranks"`
		} `json:"rings"`
	}
	if err := o.trconvert(ctx, &inspection, "inspect", model); err != nil {
		return nil, err
	}
	if len(inspection.Rings) != 1 {
		return nil, fmt.Errorf("%s: %d rings, want one", model, len(inspection.Rings))
	}
	r := inspection.Rings[0]
	return []string{"--in-modes", joined(r.In, "x"), "--out-modes", joined(r.Out, "x"), "--ranks", joined(r.Ranks, ",")}, nil
}

func joined(numbers []int, by string) string {
	words := make([]string, len(numbers))
	for k, n := range numbers {
		words[k] = strconv.Itoa(n)
	}
	return strings.Join(words, by)
}

// accuracy reads the test split.
func (o *options) accuracy(ctx context.Context, model string, s *set) (float64, error) {
	var report struct {
		Metric float64 `json:"metric"`
	}
	err := o.trconvert(ctx, &report, "eval", model, "--data", s.test(), "--labels", "label")
	return report.Metric, err
}

// stored is the number of parameters that stand for W.
func (o *options) stored(ctx context.Context, model string) (int64, error) {
	var inspection struct {
		Sites []layer `json:"sites"`
		Rings []struct {
			Parameters int64 `json:"parameters"`
		} `json:"rings"`
	}
	if err := o.trconvert(ctx, &inspection, "inspect", model); err != nil {
		return 0, err
	}
	if len(inspection.Rings) == 0 {
		return inspection.Sites[0].W, nil
	}
	return inspection.Rings[0].Parameters, nil
}
