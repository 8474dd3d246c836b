package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

//go:embed module.py
var moduleScript []byte

// runTorch loads a folder of the target pytorch in PyTorch.
func runTorch(ctx context.Context, a *artifact) outcome {
	cases, err := jsCases([]*artifact{a})
	if err != nil {
		return refused(err)
	}
	b, err := json.Marshal(cases[0])
	if err != nil {
		return refused(err)
	}
	dir := filepath.Dir(a.path)
	script, request, answer := filepath.Join(dir, "module.py"), filepath.Join(dir, "case.json"), filepath.Join(dir, "result.json")
	for path, content := range map[string][]byte{script: moduleScript, request: b} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return refused(err)
		}
	}
	if out, err := command(ctx, dir, python, script, request, answer); err != nil {
		lines := strings.Split(strings.TrimSpace(out), "\n") // the last line of a traceback says what is wrong
		return outcome{failed: plain(firstLine(lines[len(lines)-1], err))}
	}
	if b, err = os.ReadFile(answer); err != nil {
		return refused(err)
	}
	var r jsResult
	if err := json.Unmarshal(b, &r); err != nil {
		return refused(err)
	}
	bound := boundOf(a.want)
	a.widen(r)
	o := r.outcome(a)
	o.bound = bound
	return o
}

// widen makes outputs wanted in the type that PyTorch has them in: narrow floats are float32 there.
func (a *artifact) widen(r jsResult) {
	for name, w := range a.want {
		if r.Outputs[name].Type != "float32" || !w.Type.IsFloat() {
			continue
		}
		if v, err := w.Float32s(); err == nil {
			a.want[name] = &onnx.Array{Type: onnx.Float, Dims: w.Dims, Data: v}
		}
	}
}
