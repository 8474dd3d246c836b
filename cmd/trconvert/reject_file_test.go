package main

import (
	"crypto/sha1"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// external moves W to a data file: m.onnx names it by location and further keys, in pairs.
func external(location string, keys ...string) func(*testing.T) bool {
	return outside(func(*testing.T, []byte) {}, location, keys...)
}

// outside is external with place putting W's bytes where the case wants them.
func outside(place func(t *testing.T, w []byte), location string, keys ...string) func(*testing.T) bool {
	return func(t *testing.T) bool {
		return broken(func(m *onnxpb.ModelProto) {
			w := initializer(m, "W")
			place(t, w.RawData)
			externalise(w, location, keys...)
		})(t) && !t.Skipped()
	}
}

func externalise(x *onnxpb.TensorProto, location string, keys ...string) {
	x.RawData, x.DataLocation = nil, onnxpb.TensorProto_EXTERNAL.Enum()
	keys = append([]string{"location", location}, keys...)
	for i := 0; i < len(keys); i += 2 {
		x.ExternalData = append(x.ExternalData, &onnxpb.StringStringEntryProto{Key: &keys[i], Value: &keys[i+1]})
	}
}

// locationRejections are group 14: a secret lies beside the model's folder, whatever the location says.
func locationRejections() []rejection {
	var all []rejection
	for _, c := range []struct{ name, location, want string }{
		{"absolute", "/etc/passwd", "is absolute"},
		{"drive letter", "C:w.bin", "colon"},
		{"drive letter with a slash", "C:/w.bin", "colon"},
		{"UNC", `\\host\share\w.bin`, "backslash"},
		{"UNC with slashes", "//host/share/w.bin", "absolute"},
		{"parent", "../w.bin", ".."},
		{"parent in the middle", "a/../../w.bin", ".."},
		{"parent that stays inside", "a/../w.bin", ".."},
		{"parent at the end", "a/..", ".."},
		{"backslashes", `..\w.bin`, "backslash"},
		{"backslash inside", `a\w.bin`, "backslash"},
		{"NUL", "w.bin\x00.txt", "NUL"},
		{"empty", "", "empty"},
		{"URL", "http://host/w.bin", "URL"},
		{"memory marker", "*/_ORT_MEM_ADDR_/*", "memory address"},
	} {
		all = append(all, rejection{name: "14 location: " + c.name, files: external(c.location), says: []string{`"W"`, "location", c.want}})
	}
	return refused(all)
}

// dataFileRejections are groups 15 and 16: what a data file turns out to be, and what the model says of it.
func dataFileRejections() []rejection {
	w := func(t *testing.T, b []byte) { put(t, "w.bin", b) }
	elsewhere := func(t *testing.T, b []byte) string {
		path := filepath.Join(t.TempDir(), "w.bin")
		put(t, path, b)
		return path
	}
	link := func(t *testing.T, target, name string) {
		if err := os.Symlink(target, name); err != nil {
			t.Skip(err)
		}
	}
	all := []rejection{
		{name: "15 link that leaves the folder", files: outside(func(t *testing.T, b []byte) { link(t, elsewhere(t, b), "w.bin") }, "w.bin"), says: []string{`"w.bin"`, "behind a symbolic link", "--follow-links"}},
		{name: "15 parent link that leaves the folder", files: outside(func(t *testing.T, b []byte) { link(t, filepath.Dir(elsewhere(t, b)), "up") }, "up/w.bin"), says: []string{`"up/w.bin"`, "behind a symbolic link"}},
		{name: "15 missing file", files: external("absent.bin"), says: []string{`"absent.bin"`, "no such file"}},
		{name: "15 folder", files: outside(func(t *testing.T, b []byte) { mkdir(t, "w.bin") }, "w.bin"), says: []string{`"w.bin"`, "not a regular file"}},
		{name: "15 FIFO", files: outside(func(t *testing.T, b []byte) { fifo(t, "w.bin") }, "w.bin"), says: []string{`"w.bin"`, "not a regular file"}},
		{name: "15 device behind a link", files: outside(func(t *testing.T, b []byte) { link(t, "/dev/zero", "w.bin") }, "w.bin"), args: decomposeArgs + " --follow-links", says: []string{`"w.bin"`, "not a regular file"}},
		{name: "16 negative offset", files: outside(w, "w.bin", "offset", "-8"), says: []string{`offset is "-8"`}},
		{name: "16 offset that is no number", files: outside(w, "w.bin", "offset", "0x10"), says: []string{`offset is "0x10"`}},
		{name: "16 offset that overflows", files: outside(w, "w.bin", "offset", "9223372036854775808"), says: []string{"9223372036854775808"}},
		{name: "16 end that overflows", files: outside(w, "w.bin", "offset", "9223372036854775807", "length", "24576"), says: []string{"9223372036854775807", "24576", "overflows"}},
		{name: "16 offset beyond the file", files: outside(w, "w.bin", "offset", "4096"), says: []string{"offset 4096 + 24576 bytes reach beyond the file's 24576 bytes"}},
		{name: "16 length against the dims", files: outside(w, "w.bin", "length", "24572"), says: []string{"24572", "24576"}},
		{name: "16 unknown key", files: outside(w, "w.bin", "basepath", "/tmp"), says: []string{`"basepath" is unknown`}},
		{name: "16 key twice", files: outside(w, "w.bin", "location", "v.bin"), says: []string{`"location" appears twice`}},
		{name: "16 checksum", files: outside(w, "w.bin", "checksum", strings.Repeat("0", 40)), says: []string{"SHA-1", strings.Repeat("0", 40)}},
	}
	for i := range all {
		all[i].only = true
		all[i].says = append(all[i].says, "initializer", `"W"`)
	}
	return append(refused(all),
		rejection{name: "15 link outside, followed as asked", files: outside(func(t *testing.T, b []byte) { link(t, elsewhere(t, b), "w.bin") }, "w.bin"), args: decomposeArgs + " --follow-links", says: []string{`"kept_dense": false`}},
		rejection{name: "15 link inside the folder", files: outside(func(t *testing.T, b []byte) {
			put(t, "blob", b)
			link(t, "blob", "w.bin")
		}, "w.bin"), args: decomposeArgs, says: []string{`"kept_dense": false`}},
		rejection{name: "15 hard link", files: outside(func(t *testing.T, b []byte) {
			if err := os.Link(elsewhere(t, b), "w.bin"); err != nil {
				t.Skip(err)
			}
		}, "w.bin"), args: decomposeArgs, says: []string{`"external-hard-link"`, "w.bin"}},
		rejection{name: "16 checksum that is right", files: func(t *testing.T) bool {
			var sum string
			outside(func(t *testing.T, b []byte) {
				digest := sha1.Sum(b)
				sum = hex.EncodeToString(digest[:])
			}, "w.bin")(t)
			return outside(w, "w.bin", "checksum", sum)(t)
		}, args: decomposeArgs, says: []string{`"kept_dense": false`}},
		rejection{name: "16 range that two tensors claim", files: func(t *testing.T) bool {
			return outside(func(t *testing.T, b []byte) { put(t, "w.bin", b) }, "w.bin")(t) && broken(func(m *onnxpb.ModelProto) {
				externalise(initializer(m, "W"), "w.bin")
				externalise(initializer(m, "R"), "w.bin", "offset", "16384")
			})(t)
		}, args: decomposeArgs, says: []string{`"external-overlap"`, `\"R\"`, `\"W\"`, "16384"}},
	)
}

func mkdir(t *testing.T, name string) {
	if err := os.Mkdir(name, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestRejectsSwappedData is group 17: when the fit begins, a link to other data takes the place of W's file. What is read is the file that was checked, or nothing.
func TestRejectsSwappedData(t *testing.T) {
	for _, swap := range []struct {
		name string
		with func(t *testing.T) error
	}{
		{"17 link to a file outside", func(t *testing.T) error {
			secret := filepath.Join(t.TempDir(), "secret")
			put(t, secret, make([]byte, 24576))
			return os.Symlink(secret, "w.bin")
		}},
		{"17 shorter file", func(*testing.T) error { return os.WriteFile("w.bin", make([]byte, 100), 0o644) }},
		{"17 FIFO", func(t *testing.T) error { fifo(t, "w.bin"); return nil }},
	} {
		t.Run(swap.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			outside(func(t *testing.T, b []byte) { put(t, "w.bin", b) }, "w.bin")(t)
			err := atFit(t, func() {
				if err := os.Remove("w.bin"); err != nil {
					t.Fatal(err)
				}
				if err := swap.with(t); err != nil {
					t.Skip(err)
				}
			})
			if err == nil || !strings.Contains(err.Error(), `"w.bin"`) {
				t.Errorf("the swapped file was taken: %v", err)
			}
			if _, ok := snapshot(t)["out.onnx"]; ok {
				t.Error("something was written")
			}
		})
	}
}

// outputRejections are group 18 and what of group 24 speaks of the output.
func outputRejections() []rejection {
	plain := func(more func(t *testing.T)) func(*testing.T) bool {
		return func(t *testing.T) bool {
			broken()(t)
			if more != nil {
				more(t)
			}
			return true
		}
	}
	withData := func(more func(t *testing.T)) func(*testing.T) bool {
		return func(t *testing.T) bool {
			outside(func(t *testing.T, b []byte) { put(t, "w.bin", b) }, "w.bin")(t)
			put(t, "x.npy", npyOf("<f4", "(2, 1, 96)", make([]byte, 4*192)))
			if more != nil {
				more(t)
			}
			return true
		}
	}
	link := func(target, name string) func(*testing.T) {
		return func(t *testing.T) {
			if err := os.Symlink(target, name); err != nil {
				t.Skip(err)
			}
		}
	}
	all := []rejection{
		{name: "18 output is the input", files: plain(nil), args: "decompose m.onnx -o m.onnx --force", says: []string{`"m.onnx" is the input`}},
		{name: "18 output is the input by another path", files: plain(func(t *testing.T) { mkdir(t, "x") }), args: "decompose m.onnx -o ./x/../m.onnx --force", says: []string{"is the input"}},
		{name: "18 output is a link to the input", files: plain(link("m.onnx", "link.onnx")), args: "decompose m.onnx -o link.onnx --force", says: []string{"is the input"}},
		{name: "18 output is a dangling link", files: plain(link("nowhere.onnx", "link.onnx")), args: "decompose m.onnx -o link.onnx --force", says: []string{"is a link"}},
		{name: "18 output is the input's data file", files: withData(nil), args: "decompose m.onnx -o w.bin --force", says: []string{"w.bin", "input"}},
		{name: "18 output is the calibration data", files: withData(nil), args: "decompose m.onnx -o x.npy --calibration x.npy --ratio 4 --force", says: []string{`"x.npy" is the input`}},
		{name: "18 output is the data that judge", files: withData(nil), args: "decompose m.onnx -o x.npy --max-drop 0.1 --val x.npy --labels l.npy --force", says: []string{`"x.npy" is the input`}},
		{name: "18 output is the recipe", files: withData(func(t *testing.T) { put(t, "r.yaml", []byte("schema: trconvert.recipe/v1\n")) }), args: "decompose m.onnx -o r.yaml --recipe r.yaml --force", says: []string{`"r.yaml" is the input`}},
		{name: "18 output of run is the model's data file", files: withData(nil), args: "run m.onnx --input x=x.npy -o w.bin --force", says: []string{"w.bin", "input"}},
		{name: "18 output of run is its array", files: withData(nil), args: "run m.onnx --input x=x.npy -o x.npy --force", says: []string{`"x.npy" is the input`}},
		{name: "18 output of run is a link", files: withData(link("w.bin", "out.npz")), args: "run m.onnx --input x=x.npy -o out.npz --force", says: []string{"out.npz", "link"}},
		{name: "24 output exists", files: plain(func(t *testing.T) { put(t, "out.onnx", []byte("old")) }), args: "decompose m.onnx -o out.onnx", says: []string{`"out.onnx" exists (--force replaces it)`}},
		{name: "24 output of run exists", files: withData(func(t *testing.T) { put(t, "out.npz", []byte("old")) }), args: "run m.onnx --input x=x.npy -o out.npz", says: []string{`"out.npz" exists (--force replaces it)`}},
		{name: "28 output in a folder that is not there", files: plain(nil), args: "decompose m.onnx -o absent/out.onnx", says: []string{"absent"}},
		{name: "28 output in a file", files: plain(nil), args: "decompose m.onnx -o m.onnx/out.onnx", says: []string{"m.onnx"}},
		{name: "28 output is a folder", files: plain(func(t *testing.T) { mkdir(t, "dir") }), args: "decompose m.onnx -o dir --force", says: []string{`"dir" exists and is no regular file`}},
		{name: "28 output is a FIFO", files: plain(func(t *testing.T) { fifo(t, "out.onnx") }), args: "decompose m.onnx -o out.onnx --force", says: []string{`"out.onnx" exists and is no regular file`}},
		{name: "28 input is a folder", files: func(t *testing.T) bool { mkdir(t, "m.onnx"); return true }, says: []string{"m.onnx", "folder"}},
		{name: "28 input is missing", files: func(*testing.T) bool { return true }, says: []string{"m.onnx", "no such file"}},
	}
	for i := range all {
		all[i].code = exitError
	}
	return all
}
