package recipe

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
)

const good = `schema: trconvert.recipe/v1
model:
  file: model.onnx
  bytes: 1000
  sha256: a123456789012345678901234567890123456789012345678901234567890123
budget:
  model_bytes: 500
form: bottleneck
calibrated: true
ridge: .inf
matrices:
  - site: lstm
    role: w
    numbers: 760
  - site: lstm.R
    role: r
    format: tr
    in_modes: [4, 4]
    out_modes: [8, 8]
    ranks: [2, 3, 4, 3]
  - site: fc
    role: gemm
    format: dense
`

func TestReadAndWrite(t *testing.T) {
	r, err := Read(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	inf := math.Inf(1)
	want := &Recipe{
		Schema: Schema, Model: Model{"model.onnx", 1000, "a123456789" + strings.Repeat("0123456789", 5) + "0123"}, Budget: Budget{ModelBytes: 500}, Form: "bottleneck", Calibrated: true, Ridge: &inf,
		Matrices: []Matrix{
			{Site: "lstm", Role: "w", Numbers: 760},
			{Site: "lstm.R", Role: "r", Format: "tr", InModes: []int{4, 4}, OutModes: []int{8, 8}, Ranks: []int{2, 3, 4, 3}},
			{Site: "fc", Role: "gemm", Format: Dense},
		},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("read %+v", r)
	}
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != good { // which is in the writer's layout
		t.Errorf("written:\n%s", got)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"version", "recipe/v1", "recipe/v2", "recipe/v2"},
		{"no YAML", "schema:", "schema: [", "yaml"},
		{"unknown key", "numbers:", "numbres:", "numbres"},
		{"unknown key at the top", "form:", "from:", "from"},
		{"key twice", "form: bottleneck", "form: bottleneck\nform: cores", "form"},
		{"two documents", "schema", "schema: trconvert.recipe/v1\n---\nschema", "more than one document"},
		{"hash", "sha256: a", "sha256: ", "64 hexadecimal digits"},
		{"budgets", "model_bytes: 500", "model_bytes: 500\n  model_ratio: 4", "contradict"},
		{"negative budget", "model_bytes: 500", "model_bytes: -5", "-5"},
		{"ratio", "model_bytes: 500", "model_ratio: 0.5", "0.5"},
		{"ridge", "ridge: .inf", "ridge: -1", "-1"},
		{"ridge that is no number", "ridge: .inf", "ridge: .nan", "NaN"},
		{"ridge without data", "calibrated: true", "calibrated: false", "calibrated"},
		{"site twice", "site: fc", "site: lstm", `"lstm" is listed twice`},
		{"no site", "site: fc", "site: ''", "site is missing"},
		{"numbers and ranks", "numbers: 760", "numbers: 760\n    ranks: [1]", "contradict"},
		{"dense and numbers", "format: dense", "format: dense\n    numbers: 4", "contradict"},
		{"neither", "numbers: 760", "format: tr", "neither numbers nor ranks"},
		{"ranks without a format", "format: tr\n", "\n", "format"},
		{"rank 0", "ranks: [2,", "ranks: [0,", "1 or more"},
		{"negative numbers", "numbers: 760", "numbers: -3", "-3"},
		{"text for a number", "numbers: 760", "numbers: many", "many"},
	} {
		text := strings.Replace(good, c.from, c.to, 1)
		if text == good {
			t.Fatalf("%s: nothing replaced", c.name)
		}
		if r, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, error %v does not say %q", c.name, r, err, c.want)
		}
	}
	if _, err := Read(strings.NewReader(strings.Repeat("#", MaxBytes+1))); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a long file: %v", err)
	}
	if _, err := Read(strings.NewReader("")); err == nil {
		t.Error("an empty file is accepted")
	}
}

// What is read can be written and read again.
func FuzzRead(f *testing.F) {
	f.Add(good)
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := Write(&b, r); err != nil {
			t.Fatal(err)
		}
		again, err := Read(&b)
		if err != nil || !reflect.DeepEqual(r.Matrices, again.Matrices) {
			t.Errorf("read again: %+v, %v", again, err)
		}
	})
}
