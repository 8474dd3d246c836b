// Engines runs everything that trconvert writes in every engine at hand, compares the outputs with those of this project's runtime, and prints the matrix that docs/runtimes.md shows.
//
//	go run ./bench/engines [flags] [FOLDER…]
//
// A FOLDER holds models as NAME.onnx or NAME/model.onnx, with inputs in NAME/test_data_set_0 or NAME/io (meta.json and .npy files); a model without gets random ones. Without a folder
// testdata/models is taken. Each model is decomposed and exported by the command line in every form, storage type and target. An engine that is not there is left out, by name and with the
// reason; -install fetches those that npm has. Debian's packages chromium, gcc, nodejs and python3-torch are the others.
//
// The program exits with 1 where an engine that runs a file gives other outputs than this project's runtime. That an engine refuses a file is a result, and fails nothing unless
// -must names the engine.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
)

// options are the flags.
type options struct {
	program string
	cache   string
	install bool
	ratio   string
	output  string
	models  *regexp.Regexp
	rows    *regexp.Regexp
	engines *regexp.Regexp
	must    *regexp.Regexp
}

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.program, "trconvert", "", "program that converts; built from this tree if empty")
	flag.StringVar(&o.cache, "cache", filepath.Join(os.TempDir(), "trconvert-engines"), "folder for engines from npm")
	flag.BoolVar(&o.install, "install", false, "fetch what is missing from npm")
	flag.StringVar(&o.ratio, "ratio", "4", "how many times smaller W becomes")
	flag.StringVar(&o.output, "o", "", "Markdown file to replace the matrix in, between the lines <!-- matrix --> and <!-- end -->; empty: print it")
	for _, p := range []struct {
		to          **regexp.Regexp
		name, usage string
	}{
		{&o.models, "models", "regular expression of the models to take (default all)"},
		{&o.rows, "rows", "regular expression of the rows to make (default all)"},
		{&o.engines, "engines", "regular expression of the engines to run (default all)"},
		{&o.must, "must", "regular expression of engines that have to run every file that they are given"},
	} {
		flag.Func(p.name, p.usage, func(s string) (err error) {
			*p.to, err = regexp.Compile("^(?:" + s + ")$")
			return err
		})
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	folders := flag.Args()
	if len(folders) == 0 {
		folders = []string{filepath.Join("testdata", "models")}
	}
	ok, err := o.run(ctx, folders)
	if err != nil {
		log.Fatal(err)
	}
	if !ok {
		os.Exit(1)
	}
}

// run fills the matrix and prints it; ok says that every engine that ran a file agreed.
func (o *options) run(ctx context.Context, folders []string) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "trconvert-matrix-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if o.program == "" {
		o.program = filepath.Join(dir, "trconvert")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.program, "./cmd/trconvert").CombinedOutput(); err != nil {
			return false, fmt.Errorf("building trconvert: %w\n%s", err, out)
		}
	}
	models, err := findModels(ctx, folders, o.models)
	if err != nil {
		return false, err
	}
	var files []*artifact
	for _, m := range models {
		made, err := o.make(ctx, dir, m)
		if err != nil {
			return false, err
		}
		files = append(files, made...)
	}
	log.Printf("%d models, %d files", len(models), len(files))
	t := &table{models: models, files: files, cells: map[cell]outcome{}}
	for _, e := range o.all(dir) {
		if !matches(o.engines, e.name) {
			continue
		}
		version, reason := e.find(ctx)
		if reason != "" {
			t.absent = append(t.absent, e.name+": "+reason)
			log.Printf("%s: left out: %s", e.name, reason)
			continue
		}
		e.version = version
		t.engines = append(t.engines, e)
		var mine []*artifact
		for _, f := range files {
			if f.refused == "" && e.kinds[f.row.kind] {
				mine = append(mine, f)
			}
		}
		results := e.run(ctx, mine)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		ran := 0
		for k, f := range mine {
			t.cells[cell{f, e}] = results[k]
			if results[k].failed == "" {
				ran++
			}
		}
		log.Printf("%s %s: runs %d of %d files", e.name, e.version, ran, len(mine))
	}
	text := t.markdown()
	if o.output == "" {
		fmt.Print(text)
	} else if err := replace(o.output, text); err != nil {
		return false, err
	}
	return t.agree(o.must), nil
}

// matches says whether a name is wanted; everything is where nothing is said.
func matches(wanted *regexp.Regexp, name string) bool {
	return wanted == nil || wanted.MatchString(name)
}

const (
	beginMark = "<!-- matrix -->\n"
	endMark   = "<!-- end -->\n"
)

// replace puts the matrix between the marks of a file.
func replace(path, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(b), beginMark)
	_, after, ends := strings.Cut(rest, endMark)
	if !found || !ends {
		return fmt.Errorf("%s: has no lines %q and %q", path, strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	return os.WriteFile(path, []byte(before+beginMark+text+endMark+after), 0o644)
}
