package csource_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/csource"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/export/source/sourcetest"
)

// TestCompactModels runs compact models of both forms with their cores merged before and at the start, and compares what each holds: fewer constants for more memory.
func TestCompactModels(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		ratio      float64
		dims       map[string]int
	}{
		{"gestures", own + "gestures.onnx", 40, map[string]int{"steps": 6}},
		{"dtln_model_1", shared + "models/visible/dtln_model_1/model.onnx", 8, nil},
		{"holistic", shared + "data/holistic/dense_lstm64.onnx", 100, nil},
	} {
		for _, form := range []export.Form{export.Bottleneck, export.Cores} {
			if form == export.Cores && strings.HasPrefix(tt.path, shared) && testing.Short() {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", tt.name, form), func(t *testing.T) {
				ctx := context.Background()
				sourcetest.Open(t, tt.path)
				path := filepath.Join(t.TempDir(), "compact.onnx")
				if _, err := convert.Decompose(ctx, convert.Options{Model: tt.path, Output: path, Budget: convert.Budget{Ratio: tt.ratio}, Export: convert.ExportOptions{Form: form}}); err != nil {
					t.Fatal(err)
				}
				m := sourcetest.Open(t, path)
				var constants [2]int
				for k, atStart := range []bool{false, true} {
					o := csource.Options{Options: source.Options{Dims: tt.dims, MergeAtStart: atStart}}
					p, err := source.Lower(ctx, m, o.Options)
					if err != nil {
						t.Fatal(err)
					}
					files, err := csource.Print(ctx, p, o)
					if err != nil {
						t.Fatal(err)
					}
					constants[k] = p.ConstBytes()
					arena, static := p.MemoryBytes()
					t.Logf("merged at the start: %v: constants %d, merged %d, temporary %d bytes; %s", atStart, p.ConstBytes(), static, arena,
						run(t, build(t, files), "sample_input.bin", "sample_output.bin"))
					if atStart != (static > 0) {
						t.Errorf("merged at the start: %v, but %d bytes of merged weights", atStart, static)
					}
				}
				if constants[1] >= constants[0] {
					t.Errorf("%d bytes of constants with cores that are merged at the start, %d otherwise", constants[1], constants[0])
				}
			})
		}
	}
}
