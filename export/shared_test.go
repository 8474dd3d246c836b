package export

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

const sharedModels = "../../shared/models"

// sharedFiles lists models of others, none where the folder is absent.
func sharedFiles(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat(sharedModels); err != nil {
		t.Skipf("%s is absent", sharedModels)
	}
	var files []string
	for _, folder := range []string{"visible", "synthetic", "torch-export"} {
		f, _ := filepath.Glob(filepath.Join(sharedModels, folder, "*", "model.onnx"))
		files = append(files, f...)
	}
	return files
}

// halves splits n into two modes as square as its divisors allow.
func halves(n int) []int {
	for a := int(math.Sqrt(float64(n))); a > 1; a-- {
		if n%a == 0 {
			return []int{a, n / a}
		}
	}
	return []int{n}
}

// replacements gives every shared W of a model a small random ring; inputs are padded to an even number of columns.
func replacements(sites []*recurrent.Site) []Replacement {
	var rs []Replacement
	done := map[*recurrent.Site]bool{}
	for _, s := range sites {
		if done[s] || !s.Decomposable {
			continue
		}
		group := append([]*recurrent.Site{s}, s.SharedWith...)
		for _, x := range group {
			done[x] = true
		}
		in, out := halves(s.Input+s.Input%2), halves(s.Rows())
		ranks := []int{2, 3, 2, 2}[:len(in)+len(out)]
		rs = append(rs, Replacement{group, randomFactor(uint64(len(rs)), s.Rows(), s.Input, in, out, ranks)})
	}
	return rs
}

// pairedReplacements are replacements by TT-matrices of two pairs.
func pairedReplacements(sites []*recurrent.Site) []Replacement {
	rs := replacements(sites)
	for k, r := range rs {
		two := func(modes []int) []int { return append(modes, 1)[:2] }
		in, out := two(r.Factor.InModes), two(r.Factor.OutModes)
		if in[1]*out[1] == 1 {
			out = []int{1, out[0]}
		}
		rs[k].Factor = randomFactor(uint64(k), r.Factor.Out, r.Factor.In, in, out, []int{1, 3})
	}
	return rs
}

// Every model with a recurrent node converts in all forms: the interface stays, the rings are found again, a site's W is L or Ŵ,
// and expanding leaves as many nodes and initializers as converting took away, so that a second conversion gives the same file.
func TestLowerSharedModels(t *testing.T) {
	ctx := context.Background()
	for _, file := range sharedFiles(t) {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			m, err := onnx.OpenFile(ctx, file, onnx.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			sites := find(t, m)
			if len(replacements(sites)) == 0 {
				t.Skip("no site to convert")
			}
			for k, o := range append(allForms(), Options{Form: Bottleneck}, Options{Form: Cores}) {
				rs := replacements(sites)
				if k >= len(allForms()) {
					rs = pairedReplacements(sites)
				}
				compact := lower(t, m, rs, o)
				checkInterface(t, m, compact)
				records, err := Records(compact)
				if err != nil {
					t.Fatalf("%s: %v", o.Form, err)
				}
				if o.Form == Dense {
					checkDense(t, rs, find(t, compact))
					continue
				}
				if len(records) != len(rs) {
					t.Fatalf("%s: %d records for %d rings", o.Form, len(records), len(rs))
				}
				checkSize(t, m, compact, rs, records, o)
				dense, err := Expand(ctx, compact)
				if err != nil {
					t.Fatalf("%s: %v", o.Form, err)
				}
				checkInterface(t, m, dense)
				again := find(t, dense)
				checkDense(t, rs, again)
				for k := range rs {
					rs[k].Sites = sameNames(t, rs[k].Sites, again)
				}
				if a, b := encode(t, compact), encode(t, lower(t, dense, rs, o)); !bytes.Equal(a, b) {
					t.Errorf("%s: converted again after expanding: %d bytes, first %d", o.Form, len(b), len(a))
				}
			}
		})
	}
}

// checkSize asks for the bytes of every number saved, less 4 kB a site. It holds where W stands in the file in its own type.
func checkSize(t *testing.T, m, compact *onnx.Model, rs []Replacement, records []Record, o Options) {
	t.Helper()
	sites, saved := 0, int64(0)
	for k, r := range rs {
		s := r.Sites[0]
		if s.UsedElsewhere || m.FileBytes() != m.Size() || s.Elem != onnx.Float {
			return
		}
		for _, in := range onnx.NewEvaluator(m, onnx.NewIndex(m), 0).Sources(s.Node.Graph, s.Node.Input(recurrent.SlotW)) {
			if in.Type == onnx.Float16 {
				return
			}
		}
		sites += len(r.Sites)
		saved += 4 * (s.WParameters() - int64(records[k].Params()))
	}
	if got := m.Size() - compact.Size(); got < saved-4096*int64(sites) {
		t.Errorf("%s, merge %v: %d bytes saved for numbers of %d bytes at %d sites", o.Form, o.MergeOutput, got, saved, sites)
	}
}

// checkDense compares W of the sites with the factors.
func checkDense(t *testing.T, rs []Replacement, sites []*recurrent.Site) {
	t.Helper()
	for _, r := range rs {
		want := r.Factor.Reconstruct().Data
		for _, s := range sameNames(t, r.Sites, sites) {
			w, err := s.Weight(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			tolerance := 1e-6
			if s.Elem == onnx.Float16 {
				tolerance = 0x1p-10
			}
			if e := distance(wide(w.Data), wide(want)); !(e <= tolerance) {
				t.Errorf("%s: W differs by %.2g", s.Name, e)
			}
		}
	}
}

// sameNames finds the sites of one model in another.
func sameNames(t *testing.T, old, sites []*recurrent.Site) []*recurrent.Site {
	t.Helper()
	var out []*recurrent.Site
	for _, o := range old {
		for _, s := range sites {
			if s.Name == o.Name {
				out = append(out, s)
			}
		}
	}
	if len(out) != len(old) {
		t.Fatalf("%d of %d sites keep their names", len(out), len(old))
	}
	return out
}

// checkInterface compares names and types of true inputs and of outputs.
func checkInterface(t *testing.T, a, b *onnx.Model) {
	t.Helper()
	if got, want := interfaceOf(b), interfaceOf(a); !reflect.DeepEqual(got, want) {
		t.Errorf("interface %v, want %v", got, want)
	}
}

func interfaceOf(m *onnx.Model) []string {
	own := map[string]bool{}
	for _, t := range m.Graph.Initializers {
		own[t.Name] = true
	}
	var out []string
	for _, v := range append(append([]*onnx.ValueInfo{}, m.Graph.Inputs...), m.Graph.Outputs...) {
		if !own[v.Name] {
			out = append(out, fmt.Sprintf("%s %+v", v.Name, v.Type))
		}
	}
	return out
}
