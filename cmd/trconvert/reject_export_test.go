package main

import (
	"os"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// exportRejections are models that a target cannot express, options that contradict each other, and outputs that stay as they are (group 24).
func exportRejections() []rejection {
	at := func(name string, files func(*testing.T) bool, args string, code int, says ...string) rejection {
		return rejection{name: "24 export: " + name, files: files, args: "export m.onnx --json " + args, code: code, says: says}
	}
	plain := broken()
	reverse := broken(attribute(textAttribute("direction", "reverse")))
	along := broken(func(m *onnxpb.ModelProto) {
		m.Graph.Node = append(m.Graph.Node, nodeOf("CumSum", []string{"Y", "axis"}, []string{"sum"}))
		m.Graph.Initializer = append(m.Graph.Initializer, longs("axis", []int64{1}, 0))
		m.Graph.Output[0].Name = proto.String("sum")
	})
	unknown := broken(func(m *onnxpb.ModelProto) {
		m.Graph.Node = append(m.Graph.Node, nodeOf("NonZero", []string{"Y"}, []string{"places"}))
		m.Graph.Output[0] = declare("places", 7, 4, -1)
	})
	newer := broken(func(m *onnxpb.ModelProto) {
		m.OpsetImport[0].Version = proto.Int64(20)
		m.Graph.Node = append(m.Graph.Node, nodeOf("Gelu", []string{"Y"}, []string{"curve"}))
		m.Graph.Output[0].Name = proto.String("curve")
	})
	there := func(name string, make func() error) func(*testing.T) bool {
		return func(t *testing.T) bool {
			if err := make(); err != nil {
				t.Fatal(err)
			}
			return plain(t)
		}
	}
	folder := there("out", func() error {
		if err := os.Mkdir("out", 0o755); err != nil {
			return err
		}
		return os.WriteFile("out/diary.txt", []byte("mine"), 0o644)
	})
	forged := there("out", func() error {
		if err := os.Mkdir("out", 0o755); err != nil {
			return err
		}
		return os.WriteFile("out/trconvert.json", []byte(`{"schema":"trconvert.folder/v9","files":["diary.txt"]}`), 0o644)
	})
	return []rejection{
		at("no target", plain, "-o out.onnx", exitUsage, "--target"),
		at("no output", plain, "--target onnx", exitUsage, "-o"),
		at("unknown target", plain, "--target onnx-stp -o out.onnx", exitUsage, "onnx-stp", "onnx-step"),
		at("a form of C", plain, "--target c --form cores -o out", exitUsage, "--form", "onnx"),
		at("an opset of a step", plain, "--target onnx-step --opset 17 -o out.onnx", exitUsage, "--opset", "onnx"),
		at("an opset that is not written", plain, "--target onnx --opset 12 -o out.onnx", exitUsage, "12", "13", "21"),
		at("float16 in C", plain, "--target c --weights float16 -o out", exitUsage, "float16", "float32, int8"),
		at("merged output of the dense form", compactModel, "--target onnx --form dense --merge-output -o out.onnx", exitUsage, "--merge-output", "dense"),
		at("steps that are not there", plain, "--target c --dim X=3 -o out", exitUsage, "--dim", "X", "T, B"),
		at("no such size", plain, "--target c --dim T=0 -o out", exitUsage, "--dim", "T=0"),
		at("no such state", plain, "--target onnx-step --state Y=z -o out.onnx", exitUsage, "--state", "Y=z"),
		at("a form without cores", plain, "--target onnx --form cores -o out.onnx", exitUnsupported, `"m.onnx"`, "no cores"),
		at("a step backwards", reverse, "--target onnx-step -o out.onnx", exitUnsupported, `"cell"`, "reverse"),
		at("gates backwards", reverse, "--target onnx-gates -o out.onnx", exitUnsupported, `"cell"`, "reverse"),
		at("a step of a sum over time", along, "--target onnx-step -o out.onnx", exitUnsupported, "CumSum", "along time"),
		at("C without an operator", unknown, "--target c -o out", exitUnsupported, "NonZero"),
		at("Go without an operator", unknown, "--target go -o out", exitUnsupported, "NonZero"),
		at("an operator that came later", newer, "--target onnx --opset 17 -o out.onnx", exitUnsupported, "Gelu", "17", "20"),
		at("a folder with other files", folder, "--target c --force -o out", exitError, `"out"`, `"diary.txt"`),
		at("a folder without force", folder, "--target c -o out", exitError, `"out"`, "--force"),
		at("a folder with another manifest", forged, "--target c --force -o out", exitError, "trconvert.json", "v9"),
		at("the input as output", plain, "--target onnx --force -o m.onnx", exitError, "never overwritten"),
		at("a folder as file", folder, "--target onnx --force -o out", exitError, `"out"`, "no regular file"),
	}
}

// compactModel writes m.onnx with cores.
func compactModel(t *testing.T) bool {
	if !broken()(t) {
		return false
	}
	if code := run(t.Context(), []string{"decompose", "m.onnx", "-o", "c.onnx", "--rank", "2", "--quiet"}, nil, os.Stdout, os.Stderr); code != exitOK {
		t.Fatalf("decompose: exit code %d", code)
	}
	if err := os.Rename("c.onnx", "m.onnx"); err != nil {
		t.Fatal(err)
	}
	return true
}
