package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// optionRejections are what of group 24 speaks of budgets and modes. No file is written, so -o is left out.
func optionRejections() []rejection {
	at := func(name, args string, code int, says ...string) rejection {
		return rejection{name: "24 " + name, files: broken(), args: "decompose m.onnx " + args, code: code, says: says}
	}
	return []rejection{
		at("product of the input modes below the dimension", "--in-modes 5x19 --rank 2", exitUsage, "95", "96", `"cell"`),
		at("product of the input modes too far above", "--in-modes 10x11 --rank 2", exitUsage, "110", "96", `"cell"`),
		at("product of the output modes", "--out-modes 8x9 --rank 2", exitUsage, "72", "64", `"cell"`),
		at("mode below 2", "--in-modes 96x1 --rank 2", exitUsage, "--in-modes", "96x1"),
		at("mode that is no number", "--in-modes 8xtwelve", exitUsage, "--in-modes", "8xtwelve"),
		at("modes that overflow", "--in-modes 4294967296x4294967296x4294967296 --rank 2", exitUsage, "4294967296"),
		at("rank 0", "--rank 0", exitUsage, "--rank", "0", "at least 1"),
		at("rank negative", "--rank=-3", exitUsage, "--rank", "-3"),
		at("rank absurd", "--rank 1000000000", exitUsage, "1000000000", "4096"),
		at("rank beyond int64", "--rank 99999999999999999999", exitUsage, "99999999999999999999"),
		at("ranks of another number", "--in-modes 8x12 --out-modes 8x8 --ranks 2,2", exitUsage, "2", "4", `"cell"`),
		at("ranks absurd", "--in-modes 8x12 --out-modes 8x8 --ranks 3000000000,3000000000,3000000000,3000000000", exitUsage, "3000000000"),
		at("result larger than the original", "--rank 16", exitGate, "nothing gets smaller"),
		at("budget that cannot be met", "--max-params 3", exitGate, "3", "the best that can be reached"),
		{name: "24 bond product that gains nothing", files: broken(), args: "decompose m.onnx -o out.onnx --rank 9 --json", says: []string{`"cell"`, "81", "64"}},
	}
}

func npyOf(descr, shape string, data []byte) []byte { return npyHeader(descr, "False", shape, data) }

// npyHeader is an .npy file of version 1.0.
func npyHeader(descr, fortran, shape string, data []byte) []byte {
	header := "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n"
	b := append([]byte("\x93NUMPY\x01\x00"), binary.LittleEndian.AppendUint16(nil, uint16(len(header)))...)
	return append(append(b, header...), data...)
}

// arrayRejections are group 25: arrays that verify and run read. x is [T, B, 96] of float32.
func arrayRejections() []rejection {
	good := npyOf("<f4", "(2, 1, 96)", make([]byte, 768))
	long := append([]byte("\x93NUMPY\x02\x00"), binary.LittleEndian.AppendUint32(nil, 1<<31)...)
	type member = struct {
		name string
		data []byte
	}
	zipped := func(change func([]byte), members ...member) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, m := range members {
			f, err := w.Create(m.name)
			if err == nil {
				_, err = f.Write(m.data)
			}
			if err != nil {
				panic(err)
			}
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
		if change != nil {
			change(b.Bytes())
		}
		return b.Bytes()
	}
	// declared sets a size in the first record of the archive's directory (APPNOTE.TXT 4.3.12).
	declared := func(offset int, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[bytes.Index(b, []byte("PK\x01\x02"))+offset:], v) }
	}
	bomb := npyOf("|u1", "(33554432,)", make([]byte, 32<<20))
	var all []rejection
	add := func(name, file string, data []byte, says ...string) {
		all = append(all, rejection{name: "25 " + name, files: func(t *testing.T) bool {
			put(t, file, data)
			return broken()(t)
		}, args: "verify m.onnx m.onnx --data " + file, code: exitError, says: append(says, file)})
		if strings.HasSuffix(file, ".npy") {
			again := all[len(all)-1]
			again.name, again.args = again.name+" (run)", "run m.onnx --input x="+file+" -o out.npz"
			all = append(all, again)
		}
	}
	add("npy header beyond the limit", "x.npy", long, "2147483648", "limit of 65536")
	add("npy of objects", "x.npy", npyOf("|O", "(2, 1, 96)", make([]byte, 768)), "pickle")
	add("npy shape that overflows", "x.npy", npyOf("<f4", "(4294967296, 4294967296, 96)", make([]byte, 768)), "overflow")
	add("npy shape beyond the file", "x.npy", npyOf("<f4", "(2000000, 1000, 96)", make([]byte, 768)), "768")
	add("npy cut short", "x.npy", good[:400], "x.npy")
	add("npz that is a zip bomb", "x.npz", zipped(nil, member{"x.npy", bomb}), "zip bomb")
	add("npz with a path out of its folder", "x.npz", zipped(nil, member{"../x.npy", good}), `"../x.npy"`, "leads out")
	add("npz with a member twice", "x.npz", zipped(nil, member{"x.npy", good}, member{"x.npy", good}), `"x`, "twice")
	add("npz whose directory lies about the size", "x.npz", zipped(declared(24, 1<<30), member{"x.npy", good}), "1073741824")
	add("npz without the input", "x.npz", zipped(nil, member{"y.npy", good}), `"x"`, `"y"`)
	add("npz that is a safetensors file", "x.npz", append(binary.LittleEndian.AppendUint64(nil, 2), "{}      "...), "neither a zip archive")
	line := strings.Repeat("1,", layerIn-1)
	add("csv with a ragged line", "x.csv", []byte(line+"1\n"+line+"1,1\n"), "96", "97")
	add("csv with NaN", "x.csv", []byte(line+"1\n"+line+"nan\n"), "nan")
	add("csv with a word", "x.csv", []byte(line+"1\n"+line+"word\n"), `word`)
	add("csv without lines", "x.csv", nil, "x.csv")
	all = append(all, rejection{name: "25 FIFO", files: func(t *testing.T) bool { fifo(t, "x.npy"); return broken()(t) }, args: "run m.onnx --input x=x.npy -o out.npz", code: exitError, says: []string{"x.npy", "not a regular file"}},
		rejection{name: "25 folder", files: func(t *testing.T) bool { mkdir(t, "x.npy"); return broken()(t) }, args: "run m.onnx --input x=x.npy -o out.npz", code: exitError, says: []string{"x.npy", "not a regular file"}})
	add("npy with bytes behind", "x.npy", append(good[:len(good):len(good)], 1, 2, 3, 4), "768", "772")
	turned := func(name string, data []byte) rejection {
		return rejection{name: "25 " + name + " is read", files: func(t *testing.T) bool { put(t, "x.npy", data); return broken()(t) }, args: "verify m.onnx m.onnx --data x.npy --batch-axis x=1 --json", says: []string{`"pass": true`}}
	}
	return append(all,
		turned("npy in Fortran order", npyHeader("<f4", "True", "(2, 1, 96)", make([]byte, 768))),
		turned("big-endian npy", npyOf(">f4", "(2, 1, 96)", make([]byte, 768))))
}

// compact decomposes the well-formed model and writes the result as m.onnx, with the record of its ring changed.
func compact(change func(string) string) func(*testing.T) bool {
	return func(t *testing.T) bool {
		broken()(t)
		if code := run(t.Context(), strings.Fields("decompose m.onnx -o c.onnx --rank 3 --quiet"), nil, io.Discard, os.Stderr); code != exitOK {
			t.Fatalf("exit code %d", code)
		}
		b, err := os.ReadFile("c.onnx")
		if err != nil {
			t.Fatal(err)
		}
		m := new(onnxpb.ModelProto)
		if err := proto.Unmarshal(b, m); err != nil {
			t.Fatal(err)
		}
		for _, p := range m.MetadataProps {
			if p.GetKey() == "trconvert.ring" && change != nil {
				text := change(p.GetValue())
				if text == p.GetValue() {
					t.Fatalf("the record has not changed: %s", text)
				}
				p.Value = &text
			}
		}
		if b, err = proto.Marshal(m); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove("c.onnx"); err != nil {
			t.Fatal(err)
		}
		put(t, "m.onnx", b)
		return true
	}
}

// recordRejections are group 26, as far as a compact model's own record goes.
func recordRejections() []rejection {
	replace := func(old, new string) func(*testing.T) bool {
		return compact(func(s string) string { return strings.Replace(s, old, new, 1) })
	}
	all := refused([]rejection{
		{name: "26 record of an unknown version", files: replace("ring/v1", "ring/v9"), says: []string{`trconvert.ring/v9`, `trconvert.ring/v1`}},
		{name: "26 record with an unknown key", files: replace(`"in":`, `"inn":1,"in":`), says: []string{"inn"}},
		{name: "26 record that is no JSON", files: compact(func(s string) string { return s[:len(s)/2] }), says: []string{"trconvert.ring"}},
		{name: "26 record out of step with the graph", files: replace(`"cell"`, `"elsewhere"`), says: []string{`"elsewhere"`}},
		{name: "26 record with ranks of another size", files: replace(`"ranks":[3,`, `"ranks":[1000000007,`), says: []string{"1000000007", "3"}},
		{name: "26 record that nests without end", files: compact(func(string) string { return strings.Repeat(`{"schema":`, 100000) }), says: []string{"trconvert.ring"}},
		{name: "26 recipe that is not there", files: broken(), args: "decompose m.onnx --recipe r.yaml", code: exitError, says: []string{"recipe", "r.yaml"}},
	})
	for i := range all {
		all[i].only = true
	}
	all[len(all)-1].says = []string{"recipe"}
	return all
}

// sampleRejections are group 27: arrays that are sound and do not fit the model.
func sampleRejections() []rejection {
	lens := func(m *onnxpb.ModelProto) {
		cellOf(m).Input = append(cellOf(m).Input, "", "lens")
		m.Graph.Input = append(m.Graph.Input, declare("lens", 6, -1))
	}
	array := func(name, descr, shape string, bytes int) func(*testing.T) {
		return func(t *testing.T) { put(t, name, npyOf(descr, shape, make([]byte, bytes))) }
	}
	with := func(model func(*testing.T) bool, arrays ...func(*testing.T)) func(*testing.T) bool {
		return func(t *testing.T) bool {
			for _, a := range arrays {
				a(t)
			}
			return model(t)
		}
	}
	lengths := func(v int32) func(*testing.T) {
		return func(t *testing.T) {
			put(t, "lens.npy", npyOf("<i4", "(1,)", binary.LittleEndian.AppendUint32(nil, uint32(v))))
		}
	}
	x := array("x.npy", "<f4", "(2, 1, 96)", 768)
	const runArgs, verifyArgs = "run m.onnx --input x=x.npy -o out.npz", "verify m.onnx m.onnx --data x.npy"
	all := []rejection{
		{name: "27 data of another size", files: with(broken(), array("x.npy", "<f4", "(2, 1, 95)", 760)), args: verifyArgs, says: []string{`"x"`, "95", "96", "x.npy"}},
		{name: "27 data of another size (run)", files: with(broken(), array("x.npy", "<f4", "(2, 1, 95)", 760)), args: runArgs, says: []string{`"x"`, "95", "96"}},
		{name: "27 data of another rank", files: with(broken(), array("x.npy", "<f4", "(96,)", 384)), args: verifyArgs, says: []string{`"x"`, "[96]", "x.npy"}},
		{name: "27 data of another rank (run)", files: with(broken(), array("x.npy", "<f4", "(96,)", 384)), args: runArgs, says: []string{`"x"`, "96"}},
		{name: "27 zero samples", files: with(broken(), array("x.npy", "<f4", "(0, 2, 1, 96)", 0)), args: verifyArgs, says: []string{"x.npy", "0"}},
		{name: "27 no steps", files: with(broken(), array("x.npy", "<f4", "(5, 0, 1, 96)", 0)), args: verifyArgs, says: []string{"x.npy", "0"}},
		{name: "27 value out of the input's range", files: with(broken(), func(t *testing.T) {
			put(t, "x.npy", npyOf("<f8", "(2, 1, 96)", append(binary.LittleEndian.AppendUint64(nil, math.Float64bits(1e300)), make([]byte, 1528)...)))
		}), args: runArgs, says: []string{`"x"`, "x.npy", "1e+300"}},
		{name: "27 sequence_lens beyond the steps", files: with(broken(lens), x, lengths(3)), args: runArgs + " --input lens=lens.npy", says: []string{"cell", "sequence_lens", "3", "2"}},
		{name: "27 sequence_lens negative", files: with(broken(lens), x, lengths(-1)), args: runArgs + " --input lens=lens.npy", says: []string{"cell", "sequence_lens", "-1"}},
	}
	for i := range all {
		all[i].code = exitError
	}
	return append(all,
		rejection{name: "27 no steps are run", files: with(broken(), array("x.npy", "<f4", "(0, 1, 96)", 0)), args: runArgs, says: []string{"[0, 1, 1, 16]"}},
		rejection{name: "27 an empty batch is run", files: with(broken(), array("x.npy", "<f4", "(2, 0, 96)", 0)), args: runArgs, says: []string{"[2, 1, 0, 16]"}})
}

// atFit decomposes m.onnx with something happening between reading the model and reading W.
func atFit(t *testing.T, change func()) error {
	t.Helper()
	done := false
	_, err := convert.Decompose(t.Context(), convert.Options{Model: "m.onnx", Output: "out.onnx", Budget: convert.Budget{Rank: 3}, Progress: func(p convert.Progress) {
		if p.Stage == convert.StageDecompose && !done {
			done = true
			change()
		}
	}})
	if !done {
		t.Fatalf("the fit was not reached: %v", err)
	}
	return err
}

// TestRejectsTruncationWhileReading is in group 28: the mapped model is cut before its weights are read.
func TestRejectsTruncationWhileReading(t *testing.T) {
	t.Chdir(t.TempDir())
	// Far more than a page, as the rest of a page that is mapped in part can be read.
	broken(func(m *onnxpb.ModelProto) {
		m.Graph.Initializer = append([]*onnxpb.TensorProto{floats("padding", make([]float32, 1<<16), 1<<16)}, m.Graph.Initializer...)
	})(t)
	err := atFit(t, func() {
		if err := os.Truncate("m.onnx", 100); err != nil {
			t.Skip(err) // Windows lets no mapped file be cut
		}
	})
	if err == nil || !strings.Contains(err.Error(), "m.onnx") || !strings.Contains(err.Error(), "W") {
		t.Errorf("got %v", err)
	}
	if left := snapshot(t); len(left) != 1 {
		t.Errorf("something was written: %d files", len(left))
	}
}

// TestRejectsInterruption is in group 28: a context that ended before the work, for every verb; a signal in the midst of it is TestInterruptLeavesNothingBehind.
func TestRejectsInterruption(t *testing.T) {
	t.Chdir(t.TempDir())
	broken()(t)
	put(t, "x.npy", npyOf("<f4", "(2, 1, 96)", make([]byte, 768)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range []string{decomposeArgs, "inspect m.onnx", "verify m.onnx m.onnx", "verify m.onnx m.onnx --data x.npy", "run m.onnx --input x=x.npy -o out.npz"} {
		var stdout, stderr bytes.Buffer
		if code := run(ctx, strings.Fields(args), nil, &stdout, &stderr); code != exitInterrupted || stdout.Len() > 0 {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", args, code, stdout.String(), stderr.String())
		}
		if left := snapshot(t); len(left) != 2 {
			t.Errorf("%s: something was written: %d files", args, len(left))
		}
	}
}
