package convert

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trconvert/trconvert/export"
)

// TestPlanIsWhatDecomposeDoes compares plans with the files and reports of conversions with the same options.
func TestPlanIsWhatDecomposeDoes(t *testing.T) {
	for name, c := range map[string]struct {
		model  string
		budget Budget
		fit    FitOptions
		export ExportOptions
	}{
		"searched":      {model: "lstm_bidi.onnx", budget: Budget{Ratio: 12}},
		"cores":         {model: "lstm_bidi.onnx", budget: Budget{Rank: 3}, export: ExportOptions{Form: export.Cores}},
		"merged output": {model: "lstm_bidi.onnx", budget: Budget{Rank: 3}, export: ExportOptions{MergeOutput: true}},
		"dense":         {model: "gru_lbr1.onnx", budget: Budget{Rank: 2}, export: ExportOptions{Form: export.Dense}},
		"float16":       {model: "lstm_float16.onnx", budget: Budget{MaxParams: 1500}, fit: FitOptions{Format: "svd"}},
		"shared W":      {model: "tied.onnx", budget: Budget{Rank: 2}, fit: FitOptions{Format: "tt"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := Options{Model: own(c.model), Budget: c.budget, Fit: c.fit, Export: c.export, Output: filepath.Join(dir, "out.onnx")}
			plan, err := MakePlan(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
				t.Fatalf("the plan left %v, %v", files, err)
			}
			report, err := Decompose(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			if plan.Output != report.Output || plan.Input != report.Input || plan.WBefore != report.WBefore || plan.WAfter != report.WAfter || plan.Form != report.Form {
				t.Errorf("planned %+v of %+v (W %d → %d), got %+v of %+v (W %d → %d)", plan.Output, plan.Input, plan.WBefore, plan.WAfter, report.Output, report.Input, report.WBefore, report.WAfter)
			}
			var sites []SiteReport
			for _, s := range plan.Sites {
				sites = append(sites, s.SiteReport)
				checkSitePlan(t, s, o.Export.Form)
			}
			if d := cmp.Diff(report.Sites, sites, cmpopts.EquateNaNs(), cmp.Comparer(func(a, b Number) bool { return a == b || a != a && b != b })); d != "" {
				t.Errorf("sites: (-decompose +plan)\n%s", d)
			}
		})
	}
}

// checkSitePlan holds a site's costs to their definitions.
func checkSitePlan(t *testing.T, s SitePlan, form Form) {
	t.Helper()
	if s.SharedWith != "" {
		if len(s.Front) != 0 {
			t.Errorf("%s shares W and has a front of its own", s.Name)
		}
		return
	}
	if want := float64(2 * s.WBefore); s.FLOPsBefore != want {
		t.Errorf("%s: %v FLOPs before, 2·I·O is %v", s.Name, s.FLOPsBefore, want)
	}
	if form == export.Dense != (s.FLOPsAfter == s.FLOPsBefore) {
		t.Errorf("%s: %v FLOPs after, %v before", s.Name, s.FLOPsAfter, s.FLOPsBefore)
	}
	chosen := 0
	for _, p := range s.Front {
		if p.Chosen {
			chosen++
			if p.Format != s.Format || p.RelativeError != s.RelativeError {
				t.Errorf("%s: chosen %+v", s.Name, p)
			}
		}
	}
	if chosen != 1 {
		t.Errorf("%s: %d points are chosen", s.Name, chosen)
	}
}

func TestPlanRefusesWhatDecomposeRefuses(t *testing.T) {
	_, err := MakePlan(context.Background(), Options{Model: own("lstm_bidi.onnx"), Budget: Budget{Ratio: 1e9}})
	if gate := (*GateError)(nil); !errors.As(err, &gate) {
		t.Errorf("ratio 1e9: %v", err)
	}
	_, err = MakePlan(context.Background(), Options{Model: own("lstm_step_gates.onnx")})
	if u := (*UnsupportedError)(nil); !errors.As(err, &u) {
		t.Errorf("a cell in single operators: %v", err)
	}
}

func TestPlanCanBeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := MakePlan(ctx, Options{Model: own("lstm_bidi.onnx"), Budget: Budget{Ratio: 12}, Progress: func(p Progress) {
		if p.Stage == StageSearch {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in the search: %v", err)
	}
}

func TestBench(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.onnx")
	if _, err := Decompose(context.Background(), Options{Model: own("lstm_bidi.onnx"), Output: out, Budget: Budget{Rank: 2}}); err != nil {
		t.Fatal(err)
	}
	b, err := Bench(context.Background(), BenchOptions{Models: []string{own("lstm_bidi.onnx"), out}, Batch: 2, Steps: 9})
	if err != nil {
		t.Fatal(err)
	}
	if b.Batch != 2 || b.Steps != 9 || len(b.Warnings) != 0 || len(b.Results) != 2 {
		t.Fatalf("%+v", b)
	}
	for _, r := range b.Results {
		info, err := os.Stat(r.File)
		if err != nil {
			t.Fatal(err)
		}
		if r.Bytes != info.Size() || r.Engine != "go" || !(r.Load > 0 && r.First > 0 && r.Fastest > 0 && r.Fastest <= r.Median) || r.Runs < benchLeast {
			t.Errorf("%+v", r)
		}
	}
	if s := b.Results[0].Speedup; s != 1 {
		t.Errorf("the first model is %v times as fast as itself", s)
	}

	for name, o := range map[string]BenchOptions{
		"no model":     {},
		"negative":     {Models: []string{out}, Batch: -1},
		"other inputs": {Models: []string{out, own("gestures.onnx")}},
		"no library":   {Models: []string{out}, Library: "none.so"},
		"no file":      {Models: []string{"none.onnx"}},
	} {
		if b, err := Bench(context.Background(), o); err == nil {
			t.Errorf("%s: %+v", name, b)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err = Bench(ctx, BenchOptions{Models: []string{out}, Progress: func(int, int) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}, {[]float64{8, 1, 2, 4}, 3}} {
		if got := median(c.v); got != c.want {
			t.Errorf("%v: %v, want %v", c.v, got, c.want)
		}
	}
}
