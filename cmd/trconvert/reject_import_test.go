package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// importRejections are files of weights that do not belong to their model, or break the rules of safetensors (group 25).
func importRejections() []rejection {
	const line = "import m.onnx w.safetensors -o out.onnx --json"
	var all []rejection
	add := func(name string, code int, args string, files func(*testing.T) bool, says ...string) {
		all = append(all, rejection{name: "25 " + name, files: files, args: args, code: code, says: says})
	}
	// header changes the JSON of the file that export wrote, without its length unless that is asked for.
	header := func(old, new string) func(*testing.T) bool {
		return withWeights(func(data []byte) []byte {
			n := binary.LittleEndian.Uint64(data)
			text := bytes.Replace(data[8:8+n], []byte(old), []byte(new), 1)
			if bytes.Equal(text, data[8:8+n]) {
				panic("the header has no " + old)
			}
			return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), append(text, data[8+n:]...)...)
		})
	}
	bytesOf := func(data ...byte) func(*testing.T) bool {
		return withWeights(func([]byte) []byte { return data })
	}
	name := `"w.safetensors"`
	add("an empty file of weights", exitError, line, bytesOf(), name, "0 bytes")
	add("a header beyond the file", exitError, line, bytesOf(0xff, 0xff, 0xff, 0, 0, 0, 0, 0, '{', '}'), name, "16777215 bytes", "2 after")
	add("a header beyond the limit", exitError, line, bytesOf(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'), name, "18446744073709551615", "limit of 100000000")
	add("a pickle for weights", exitError, line, bytesOf([]byte("\x80\x02}q\x00.aaaaaaa")...), name, "pickle")
	add("weights cut off", exitError, line, withWeights(func(data []byte) []byte { return data[:len(data)-1] }), name, `"cell/`, "beyond")
	add("bytes behind the weights", exitError, line, withWeights(func(data []byte) []byte { return append(data, 0) }), name, "take 28672 bytes", "holds 28673")
	add("weights of a foreign shape", exitError, line, header("[1,64,96]", "[1,96,64]"), name, `"cell/W"`, "[1 96 64]", "[1 64 96]")
	add("a shape that its bytes do not fill", exitError, line, header("[1,64,96]", "[2,64,96]"), name, `"cell/W"`, "49152", "24576")
	add("a shape that overflows", exitError, line, header("[1,64,96]", "[4294967296,4294967296]"), name, `"cell/W"`, "2⁶³")
	add("a negative dim", exitError, line, header("[1,64,96]", "[1,-64,96]"), name, `"cell/W"`, `"-64"`)
	add("weights of another type", exitError, line, header(`"F32","shape":[1,64,96]`, `"I32","shape":[1,64,96]`), name, `"cell/W"`, "I32", "F32")
	add("an unknown type", exitError, line, header(`"F32","shape":[1,64,96]`, `"Q4","shape":[1,64,96]`), name, `"cell/W"`, `"Q4"`)
	add("overlapping weights", exitError, line, header(`[4096,28672]`, `[4092,28668]`), name, `"cell/W"`, "overlap", "[4092, 28668]", "end at 4096")
	add("a hole before the weights", exitError, line, header(`[0,4096]`, `[4,4100]`), name, `"cell/R"`, "hole after 0")
	add("weights under another name", exitError, line, header(`"cell/W"`, `"cell/V"`), name, `"cell/W"`, "is missing")
	add("one name twice", exitError, line, header(`"cell/W"`, `"cell/R"`), name, `"cell/R" is there twice`)
	add("control characters in a name", exitError, line, header(`"cell/W"`, `"\u001b[2J"`), name, "is missing")
	add("weights of another model", exitError, line, withWeights(func(data []byte) []byte {
		at := bytes.Index(data, []byte(`"trconvert.model":"`)) + len(`"trconvert.model":"`)
		copy(data[at:], bytes.Repeat([]byte("0"), 64))
		return data
	}), name, "0000000000000000", "this model is")
	add("NaN in weights", exitError, line, withWeights(func(data []byte) []byte {
		binary.LittleEndian.PutUint32(data[len(data)-4:], 0x7fc00000)
		return data
	}), name, `"cell/W"`, "element 6143 is NaN")
	add("weights of no known kind", exitUsage, "import m.onnx m.onnx -o out.onnx", withWeights(nil), "m.onnx", ".safetensors", ".npz")
	add("no output", exitUsage, "import m.onnx w.safetensors", withWeights(nil), "-o OUT")
	add("the weights as output", exitError, "import m.onnx w.safetensors -o w.safetensors --force", withWeights(nil), "never overwritten")
	add("the model as output", exitError, "import m.onnx w.safetensors -o m.onnx --force", withWeights(nil), "never overwritten")
	add("weights with a member that unfolds to much", exitError, "import m.onnx w.npz -o out.onnx", withBomb, `"w.npz"`, "zip bomb")
	add("weights with metadata of text", exitError, "import m.onnx w.npz -o out.onnx", withOddMetadata, `"w.npz"`, `"__metadata__"`)
	add("PyTorch for what it does not have", exitUnsupported, "export m.onnx --target pytorch -o out", broken(func(m *onnxpb.ModelProto) {
		m.Graph.Node[0].OpType = proto.String("Hardmax")
		m.Graph.Node[0].Input, m.Graph.Node[0].Attribute = []string{"x"}, nil
	}), "Hardmax")
	return all
}

// withWeights writes m.onnx and w.safetensors as export gives it, changed.
func withWeights(change func([]byte) []byte) func(*testing.T) bool {
	return func(t *testing.T) bool {
		t.Helper()
		broken()(t)
		var out bytes.Buffer
		if code := run(t.Context(), []string{"export", "m.onnx", "--target", "safetensors", "-o", "w.safetensors", "--quiet"}, nil, &out, &out); code != exitOK {
			t.Fatalf("export: %d %s", code, out.String())
		}
		if change == nil {
			return true
		}
		data, err := os.ReadFile("w.safetensors")
		if err != nil {
			t.Fatal(err)
		}
		put(t, "w.safetensors", change(data))
		return true
	}
}

// withNPZ writes m.onnx and w.npz with one deflated member.
func withNPZ(t *testing.T, name string, write func(io.Writer)) bool {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	write(w)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, "w.npz", b.Bytes())
	return broken()(t)
}

func withBomb(t *testing.T) bool {
	return withNPZ(t, "cell/W.npy", func(w io.Writer) {
		block := make([]byte, 1<<20)
		for range 64 {
			if _, err := w.Write(block); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func withOddMetadata(t *testing.T) bool {
	return withNPZ(t, "__metadata__.npy", func(w io.Writer) {
		text := "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"
		head := append([]byte("\x93NUMPY\x01\x00"), byte(len(text)), 0)
		if _, err := w.Write(append(append(head, text...), 0, 0, 0, 0)); err != nil {
			t.Fatal(err)
		}
	})
}
