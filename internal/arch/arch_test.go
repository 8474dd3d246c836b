package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/trconvert/trconvert"
	root   = "../.."
	gonum  = "gonum.org/v1/gonum/"
)

// pkg is what go list says about a package.
type pkg struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
}

// packages lists the module's packages; Imports leaves tests out.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,CgoFiles", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // so that a file with import "C" is not left out
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var list []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// row matches a line of the table: package, sentence, imports.
var (
	row    = regexp.MustCompile("^\\| `([^`]+)` \\|[^|]+\\| ([^|]*) \\|$")
	quoted = regexp.MustCompile("`([^`]+)`")
)

// table reads the packages and what they may import from docs/architecture.md.
func table(t *testing.T) map[string][]string {
	t.Helper()
	doc, err := os.ReadFile(root + "/docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	may := map[string][]string{}
	for line := range strings.Lines(string(doc)) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		may[m[1]] = []string{}
		for _, q := range quoted.FindAllStringSubmatch(m[2], -1) {
			may[m[1]] = append(may[m[1]], q[1])
		}
	}
	return may
}

// ours is a package's name in the table, "" for packages of others.
func ours(path string) string {
	name, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return ""
	}
	return name
}

func TestImportsFollowTheTable(t *testing.T) {
	may := table(t)
	if len(may) < 15 {
		t.Fatalf("docs/architecture.md has %d rows, the table was not understood", len(may))
	}
	seen := map[string]bool{}
	for _, p := range packages(t) {
		name := ours(p.ImportPath)
		if name == "internal/arch" {
			continue
		}
		seen[name] = true
		allowed, ok := may[name]
		if !ok {
			t.Errorf("package %s is not in the table of docs/architecture.md", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if to := ours(imported); to != "" && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s, the table of docs/architecture.md allows it %q", name, to, allowed)
			}
		}
	}
	for name, allowed := range may {
		if !seen[name] {
			t.Errorf("the table of docs/architecture.md has %s, which is no package", name)
		}
		for _, to := range allowed {
			if _, ok := may[to]; !ok {
				t.Errorf("the table of docs/architecture.md lets %s import %s, which has no row", name, to)
			}
		}
	}
}

// reach returns all packages of ours that a package depends on.
func reach(list []pkg, from string) []string {
	imports := map[string][]string{}
	for _, p := range list {
		for _, i := range p.Imports {
			if to := ours(i); to != "" {
				imports[ours(p.ImportPath)] = append(imports[ours(p.ImportPath)], to)
			}
		}
	}
	var all []string
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		for _, to := range imports[todo[0]] {
			if !slices.Contains(all, to) {
				all = append(all, to)
				todo = append(todo, to)
			}
		}
	}
	return all
}

func TestBottomsAreIndependent(t *testing.T) {
	list := packages(t)
	for _, tt := range []struct {
		from string
		not  []string
	}{
		{"tensor", []string{"onnx", "onnx/onnxpb", "onnx/recurrent"}},
		{"trals", []string{"onnx", "onnx/onnxpb", "onnx/recurrent"}},
		{"decompose", []string{"onnx", "onnx/onnxpb", "onnx/recurrent"}},
		{"onnx", []string{"tensor", "trals", "internal/linalg"}},
	} {
		for _, to := range reach(list, tt.from) {
			if slices.Contains(tt.not, to) {
				t.Errorf("%s depends on %s", tt.from, to)
			}
		}
	}
}

func TestGonumAndCgo(t *testing.T) {
	for _, p := range packages(t) {
		name := ours(p.ImportPath)
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo: %v", name, p.CgoFiles)
		}
		for _, i := range p.Imports {
			graph := name == "internal/engine/onnxgo" && strings.HasPrefix(i, gonum+"graph")
			if strings.HasPrefix(i, gonum) && name != "internal/linalg" && !graph {
				t.Errorf("%s imports %s; only internal/linalg does", name, i)
			}
		}
	}
}
