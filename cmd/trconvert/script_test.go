package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"trconvert": main})
}

// TestScripts runs the scripts of testdata/script in the folder that $MODELS names after copying nothing: each script copies what it needs.
func TestScripts(t *testing.T) {
	models, err := filepath.Abs(filepath.Join("..", "..", "testdata", "models"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("MODELS", models)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"json":  jsonField,
			"only":  only,
		},
	})
}

// exits CODE COMMAND… runs a command and wants its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// json PATH REGEXP wants a match in the last standard output's value at a path such as sites.0.name; the value is matched as JSON.
// With ! it wants that there is none.
func jsonField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH REGEXP")
	}
	var doc any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc); err != nil {
		ts.Fatalf("the standard output is no JSON document: %v", err)
	}
	v, err := lookUp(doc, strings.Split(args[0], "."))
	ts.Check(err)
	text, err := json.Marshal(v)
	ts.Check(err)
	re, err := regexp.Compile("^(?:" + args[1] + ")$")
	ts.Check(err)
	if re.Match(text) == neg {
		ts.Fatalf("%s is %s; wanted %q, negated: %v", args[0], text, args[1], neg)
	}
}

func lookUp(v any, path []string) (any, error) {
	for _, key := range path {
		switch c := v.(type) {
		case map[string]any:
			child, ok := c[key]
			if !ok {
				return nil, fmt.Errorf("there is no field %q", key)
			}
			v = child
		case []any:
			k, err := strconv.Atoi(key)
			if err != nil || k < 0 || k >= len(c) {
				return nil, fmt.Errorf("there is no element %q of %d", key, len(c))
			}
			v = c[k]
		default:
			return nil, fmt.Errorf("there is nothing below %q", key)
		}
	}
	return v, nil
}

// only FILE… wants these files and nothing else, hidden ones included, in the current folder.
func only(ts *testscript.TestScript, neg bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs("."))
	ts.Check(err)
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(args)
	if slices.Equal(names, args) == neg {
		ts.Fatalf("the folder holds %q, wanted %q", names, args)
	}
}
