package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/trconvert/trconvert/onnx"
)

var (
	//go:embed cases.js
	casesScript []byte
	//go:embed node.js
	nodeScript []byte
	//go:embed page.html
	page []byte
)

// jsTensor is a tensor as the scripts have it.
type jsTensor struct {
	Type string `json:"type"`
	Dims []int  `json:"dims"`
	Data []byte `json:"data"`
}

// jsCase is a file to run.
type jsCase struct {
	Model  string              `json:"model"`
	Inputs map[string]jsTensor `json:"inputs"`
}

// jsResult is what became of it.
type jsResult struct {
	Outputs map[string]jsTensor `json:"outputs"`
	Failed  string              `json:"failed"`
}

// jsTypes are the scripts' names of element types, where they differ from ONNX's.
var jsTypes = map[onnx.DataType]string{onnx.Float: "float32", onnx.Double: "float64"}

func jsType(t onnx.DataType) string {
	if name, ok := jsTypes[t]; ok {
		return name
	}
	return t.String()
}

func jsCases(files []*artifact) ([]jsCase, error) {
	cases := make([]jsCase, len(files))
	for k, f := range files {
		path, err := filepath.Abs(f.path)
		if err != nil {
			return nil, err
		}
		cases[k] = jsCase{Model: path, Inputs: map[string]jsTensor{}}
		for name, a := range f.feeds {
			b, err := a.Bytes()
			if err != nil {
				return nil, err
			}
			dims := a.Dims
			if dims == nil {
				dims = []int{}
			}
			cases[k].Inputs[name] = jsTensor{jsType(a.Type), dims, b}
		}
	}
	return cases, nil
}

// outcome compares a result.
func (r jsResult) outcome(a *artifact) outcome {
	if r.Failed != "" {
		return outcome{failed: plain(r.Failed)}
	}
	got := map[string]*onnx.Array{}
	for name, t := range r.Outputs {
		w := a.want[name]
		if w == nil {
			continue
		}
		if t.Type != jsType(w.Type) {
			return outcome{failed: fmt.Sprintf("output %q has the type %s", name, t.Type)}
		}
		out, err := onnx.ZeroArray(w.Type, t.Dims)
		if err == nil {
			_, err = binary.Decode(t.Data, binary.LittleEndian, out.Data)
		}
		if err != nil {
			return refused(fmt.Errorf("output %q: %w", name, err))
		}
		got[name] = out
	}
	return difference(got, a.want)
}

// npm is the folder of a package of a version, fetched where it is missing and that is allowed.
func (o *options) npm(ctx context.Context, name, version string) (folder, absent string) {
	prefix := filepath.Join(o.cache, name+"-"+version)
	folder = filepath.Join(prefix, "node_modules", name)
	if _, err := os.Stat(filepath.Join(folder, "package.json")); err == nil {
		return folder, ""
	}
	what := fmt.Sprintf("npm install --ignore-scripts --prefix %s %s@%s", prefix, name, version)
	if !o.install {
		return "", "it is not there; -install does: " + what
	}
	if err := os.MkdirAll(prefix, 0o755); err != nil {
		return "", err.Error()
	}
	out, err := exec.CommandContext(ctx, "npm", "install", "--silent", "--no-fund", "--no-audit", "--ignore-scripts", "--prefix", prefix, name+"@"+version).CombinedOutput()
	if err != nil {
		return "", what + ": " + firstLine(string(out), err)
	}
	return folder, ""
}

// nodeEngine is a version of ONNX Runtime for node, whose package holds the library. It is the one that people deploy on servers with JavaScript, and the easiest way to have old versions.
func (o *options) nodeEngine(dir, packageVersion string) *engine {
	e := &engine{name: "onnxruntime-node " + packageVersion, kinds: map[kind]bool{graph: true}}
	var folder string
	e.find = func(ctx context.Context) (string, string) {
		v, absent := version(ctx, "Debian's package nodejs", "node", "--version")
		if absent != "" {
			return "", absent
		}
		if folder, absent = o.npm(ctx, "onnxruntime-node", packageVersion); absent != "" {
			return "", absent
		}
		return "on node " + strings.TrimPrefix(v, "v"), ""
	}
	e.run = func(ctx context.Context, files []*artifact) []outcome {
		results, err := runNode(ctx, dir, folder, packageVersion, files)
		return fillUp(files, results, err)
	}
	return e
}

// fillUp gives every file an outcome; those without a result failed with err.
func fillUp(files []*artifact, results []jsResult, err error) []outcome {
	all := make([]outcome, len(files))
	for k, f := range files {
		switch {
		case k < len(results):
			all[k] = results[k].outcome(f)
		case err != nil:
			all[k] = refused(err)
		default:
			all[k] = outcome{failed: "the engine ended before this file"}
		}
	}
	return all
}

// runNode runs files in one process, and in another from the next file on where a file ends it.
func runNode(ctx context.Context, dir, folder, version string, files []*artifact) ([]jsResult, error) {
	cases, err := jsCases(files)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(cases)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"cases.js": casesScript, "node.js": nodeScript, "cases-" + version + ".json": list} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return nil, err
		}
	}
	var all []jsResult
	for len(all) < len(files) && ctx.Err() == nil {
		lines := filepath.Join(dir, fmt.Sprintf("results-%s-%d", version, len(all)))
		out, err := exec.CommandContext(ctx, "node", filepath.Join(dir, "node.js"), folder, filepath.Join(dir, "cases-"+version+".json"), lines, strconv.Itoa(len(all))).CombinedOutput()
		if b, readErr := os.ReadFile(lines); readErr == nil {
			for d := json.NewDecoder(bytes.NewReader(b)); ; {
				var r jsResult
				if d.Decode(&r) != nil {
					break
				}
				all = append(all, r)
			}
		}
		if err != nil && len(all) < len(files) {
			all = append(all, jsResult{Failed: "it ends the process: " + firstLine(string(out), err)})
		} else if err == nil && len(all) < len(files) {
			return all, fmt.Errorf("node gave %d results of %d", len(all), len(files))
		}
	}
	return all, ctx.Err()
}

// browsers are the names under which systems have Chromium.
var browsers = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// webEngine is ONNX Runtime's WebAssembly in a Chromium without a window.
func (o *options) webEngine(dir, packageVersion string) *engine {
	e := &engine{name: "onnxruntime-web " + packageVersion, kinds: map[kind]bool{graph: true}}
	var folder, browser string
	e.find = func(ctx context.Context) (string, string) {
		absent := "there is no browser"
		var v string
		for _, browser = range browsers {
			if v, absent = version(ctx, "Debian's package chromium", browser, "--version"); absent == "" {
				break
			}
		}
		if absent != "" {
			return "", absent
		}
		if folder, absent = o.npm(ctx, "onnxruntime-web", packageVersion); absent != "" {
			return "", absent
		}
		return "WebAssembly in " + v, ""
	}
	e.run = func(ctx context.Context, files []*artifact) []outcome {
		results, err := runBrowser(ctx, dir, browser, folder, files)
		return fillUp(files, results, err)
	}
	return e
}

// browserTime is how long the browser may take for a file.
const browserTime = 60 * time.Second

// runBrowser serves page.html and what it needs on a port of this machine, and waits for what it sends back.
func runBrowser(ctx context.Context, dir, browser, folder string, files []*artifact) ([]jsResult, error) {
	cases, err := jsCases(files)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(cases)
	if err != nil {
		return nil, err
	}
	type numbered struct {
		k int
		jsResult
	}
	arrived := make(chan numbered)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	mux := http.NewServeMux()
	give := func(path, kind string, content []byte) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(content)
		})
	}
	give("/{$}", "text/html; charset=utf-8", page)
	give("/cases.js", "text/javascript", casesScript)
	give("/cases.json", "application/json", list)
	mux.Handle("GET /ort/", http.StripPrefix("/ort/", http.FileServer(http.Dir(filepath.Join(folder, "dist")))))
	mux.HandleFunc("GET /model/{k}", func(w http.ResponseWriter, r *http.Request) {
		if k, err := strconv.Atoi(r.PathValue("k")); err == nil && k >= 0 && k < len(files) {
			http.ServeFile(w, r, files[k].path)
		}
	})
	mux.HandleFunc("POST /result/{k}", func(w http.ResponseWriter, r *http.Request) {
		var n numbered
		var err error
		if n.k, err = strconv.Atoi(r.PathValue("k")); err != nil {
			return
		}
		if err := json.NewDecoder(bufio.NewReader(r.Body)).Decode(&n.jsResult); err != nil {
			n.Failed = "the page sent no result: " + err.Error()
		}
		select {
		case arrived <- n:
		case <-ctx.Done():
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: browserTime}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	profile, err := os.MkdirTemp(dir, "profile-")
	if err != nil {
		return nil, err
	}
	// The program may run as root, as in a container, where Chromium's sandbox does not start; the pages are ours.
	cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir="+profile, "http://"+listener.Addr().String()+"/")
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(2 * cmd.WaitDelay):
		}
	}()
	var all []jsResult
	for len(all) < len(files) {
		select {
		case n := <-arrived:
			if n.k != len(all) {
				return all, fmt.Errorf("the page sent result %d where %d was expected", n.k, len(all))
			}
			all = append(all, n.jsResult)
		case err := <-ended:
			ended <- err
			return all, fmt.Errorf("the browser ended: %v", err)
		case <-time.After(browserTime):
			return all, fmt.Errorf("the browser sent nothing for %v", browserTime)
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
	return all, nil
}
