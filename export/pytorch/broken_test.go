package pytorch_test

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/pytorch"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// TestBrokenNodes takes inputs, outputs and attributes away from the nodes of models: Print gives a module or an error, and ends in no panic.
func TestBrokenNodes(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("..", "..", "testdata", "models", "*.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no models: %v", err)
	}
	for _, pattern := range []string{"onnx-node/*/model.onnx", "models/visible/*/model.onnx"} {
		more, err := filepath.Glob(filepath.Join(sharedFolder, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, more...)
	}
	breakages := map[string]func(*onnxpb.NodeProto){
		"no inputs":     func(n *onnxpb.NodeProto) { n.Input = nil },
		"one input":     func(n *onnxpb.NodeProto) { n.Input = n.Input[:min(1, len(n.Input))] },
		"no attributes": func(n *onnxpb.NodeProto) { n.Attribute = nil },
		"empty attributes": func(n *onnxpb.NodeProto) {
			for _, a := range n.Attribute {
				a.Ints, a.Floats, a.S, a.G, a.T = nil, nil, nil, nil, nil
			}
		},
		"absent inputs": func(n *onnxpb.NodeProto) {
			for k := range n.Input {
				n.Input[k] = ""
			}
		},
		"one output": func(n *onnxpb.NodeProto) { n.Output = n.Output[:min(1, len(n.Output))] },
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || info.Size() > 1<<20 {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range breakages {
			p := &onnxpb.ModelProto{}
			if err := proto.Unmarshal(data, p); err != nil {
				t.Fatal(err)
			}
			for _, n := range p.Graph.Node {
				change(n)
			}
			m, err := onnx.FromProto(path, p)
			if err != nil {
				continue
			}
			func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("%s with %s: panic: %v", path, name, r)
					}
				}()
				_, _ = pytorch.Print(t.Context(), m, pytorch.Options{})
			}()
		}
	}
}
