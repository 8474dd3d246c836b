package convert

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
)

// Budgets of the whole file on real models: a file within the budget that ONNX Runtime runs as we do, or a refusal with a size that is met when asked for; and a recipe of the plan
// gives the same bytes, can be edited, and holds for no other model.
func TestRealBudgetsAndRecipes(t *testing.T) {
	if testing.Short() {
		t.Skip("fits of real models take seconds each")
	}
	root := shared(t, "models", "visible")
	models := []string{"silero_vad_v6", "msl150_gru_128_h5", "dtln_model_1", "byte_sb_bidi_lstm"}
	for k, name := range models {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			model, direct, followed, recipe := filepath.Join(root, name, "model.onnx"), filepath.Join(dir, "a.onnx"), filepath.Join(dir, "b.onnx"), filepath.Join(dir, "r.yaml")
			o := Options{Model: model, Output: direct, Whole: WholeBudget{Ratio: 3}, Fit: FitOptions{Format: "svd"}}
			if _, err := Decompose(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if got, most := sizeOf(t, direct), sizeOf(t, model)/3; got > most {
				t.Errorf("%d bytes, %d were allowed", got, most)
			}
			agreesWithORT(t, model, direct)

			plan := o
			plan.RecipeOutput = recipe
			if _, err := MakePlan(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if _, err := Decompose(t.Context(), Options{Model: model, Output: followed, Recipe: recipe}); err != nil {
				t.Fatal(err)
			}
			a, errA := os.ReadFile(direct)
			b, errB := os.ReadFile(followed)
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("the recipe gives %d bytes, the budget gave %d others, %v, %v", len(b), len(a), errA, errB)
			}
			refusesEdits(t, recipe, model, filepath.Join(root, models[(k+1)%len(models)], "model.onnx"))
			honoursEdit(t, recipe, model)

			o.Output, o.Whole = filepath.Join(dir, "least.onnx"), WholeBudget{Bytes: 1000}
			_, err := Decompose(t.Context(), o)
			var gate *GateError
			if !errors.As(err, &gate) {
				t.Fatalf("1000 bytes: %v", err)
			}
			best := regexp.MustCompile(`the best that can be reached is (\d+)`).FindStringSubmatch(gate.Got)
			if best == nil {
				t.Fatalf("the refusal names no size: %v", err)
			}
			if o.Whole.Bytes, err = strconv.ParseInt(best[1], 10, 64); err != nil {
				t.Fatal(err)
			}
			if _, err := Decompose(t.Context(), o); err != nil || sizeOf(t, o.Output) > o.Whole.Bytes {
				t.Errorf("%d bytes: %v", o.Whole.Bytes, err)
			}
			agreesWithORT(t, model, o.Output)
		})
	}
}

// editedRecipe writes a recipe with one matrix (or line) replaced.
func editedRecipe(t *testing.T, recipe, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(recipe)
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile("(?m)" + from).FindStringIndex(string(text))
	if at == nil {
		t.Fatalf("the recipe has no %q:\n%s", from, text)
	}
	path := filepath.Join(t.TempDir(), "edited.yaml")
	if err := os.WriteFile(path, []byte(string(text[:at[0]])+to+string(text[at[1]:])), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// refusesEdits sees what makes a recipe impossible refused as a mistake in it, and nothing written.
func refusesEdits(t *testing.T, recipe, model, other string) {
	t.Helper()
	const first = `- site: (.*)\n`
	text, err := os.ReadFile(recipe)
	if err != nil {
		t.Fatal(err)
	}
	site := strings.Trim(regexp.MustCompile(first).FindStringSubmatch(string(text))[1], `"'`)
	sum := regexp.MustCompile(`sha256: (\w+)`).FindStringSubmatch(string(text))[1]
	for name, c := range map[string]struct {
		model, from, to string
		says            []string
	}{
		"another model":      {other, `schema`, "schema", []string{"another model", sum, filepath.Base(model)}},
		"unknown key":        {model, `^matrices:`, "depth: 3\nmatrices:", []string{"depth", "line"}},
		"no such site":       {model, first, "- site: " + site + "x\n", []string{"did you mean", site}},
		"two budgets":        {model, `model_ratio: 3`, "model_ratio: 3\n  model_bytes: 500", []string{"500", "3", "contradict"}},
		"ranks out of range": {model, `(?s)- site: .*`, "- site: " + site + "\n    format: svd\n    ranks: [1, 4000]\n", []string{site, "4000"}},
		"rank 0":             {model, `(?s)- site: .*`, "- site: " + site + "\n    format: svd\n    ranks: [1, 0]\n", []string{site, "1 0"}},
	} {
		out := filepath.Join(t.TempDir(), "out.onnx")
		_, err := Decompose(t.Context(), Options{Model: c.model, Output: out, Recipe: editedRecipe(t, recipe, c.from, c.to)})
		var option *OptionError
		if !errors.As(err, &option) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v does not say %q", name, err, s)
			}
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a file was written", name)
		}
	}
}

// honoursEdit replaces the list of matrices by one: it alone is factored, at the rank that is asked for.
func honoursEdit(t *testing.T, recipe, model string) {
	t.Helper()
	text, err := os.ReadFile(recipe)
	if err != nil {
		t.Fatal(err)
	}
	site := strings.Trim(regexp.MustCompile(`- site: (.*)\n`).FindStringSubmatch(string(text))[1], `"'`)
	path := editedRecipe(t, editedRecipe(t, recipe, `budget:\n.*\n`, ""), `(?s)- site: .*`, "- site: "+site+"\n    format: svd\n    ranks: [1, 7]\n    weights: float16\n")
	r, err := Decompose(t.Context(), Options{Model: model, Output: filepath.Join(t.TempDir(), "out.onnx"), Recipe: path})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Sites {
		if s.Name == site && (s.Format != "svd" || !slices.Equal(s.Ranks, []int{1, 7}) || s.Weights != export.Float16) {
			t.Errorf("%s is %s with ranks %v in %s", s.Name, s.Format, s.Ranks, s.Weights)
		}
		if s.Name != site && s.SharedWith != site && !s.KeptDense {
			t.Errorf("%s, which the recipe does not list, is %s", s.Name, s.Format)
		}
	}
}
