//go:build unix

package onnx

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// TestTruncatedUnderMapping cuts a file while it is mapped: reading what is gone is an error, not a crash.
func TestTruncatedUnderMapping(t *testing.T) {
	dir := t.TempDir()
	path := saveModel(t, dir, "in.onnx", protoModel(rawTensor("raw", 1<<18), typedTensor("typed", 1<<18)))
	m := openModel(t, path)
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	for _, x := range m.Graph.Initializers {
		if _, err := x.Array(); !errors.Is(err, errFault) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", x, err)
		}
	}
	if _, err := m.Encode(&strings.Builder{}); !errors.Is(err, errFault) {
		t.Errorf("Encode: %v", err)
	}
	for _, above := range []int64{0, 1000} {
		err := m.WriteFile(context.Background(), filepath.Join(dir, "out.onnx"), WriteOptions{ExternalAbove: above})
		if !errors.Is(err, errFault) {
			t.Errorf("WriteFile: %v", err)
		}
	}
	checkFolder(t, dir, "in.onnx")
}

// TestPipe reads a model from a pipe, which cannot be mapped.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	in := saveModel(t, dir, "in.onnx", protoModel(rawTensor("a", 1000)))
	data, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		_, _ = w.Write(data)
		w.Close()
	}()
	name := "/dev/fd/" + strconv.Itoa(int(r.Fd()))
	if _, err := os.Stat(name); err != nil {
		t.Skip(err)
	}
	m := openModel(t, name)
	checkFloats(t, m)
	if m.FileBytes() != int64(len(data)) {
		t.Errorf("FileBytes is %d", m.FileBytes())
	}
	if _, err := OpenFile(context.Background(), "/dev/null", OpenOptions{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("/dev/null: %v", err)
	}
}

// TestExternalFiles covers what a data file may turn out to be on the disk.
func TestExternalFiles(t *testing.T) {
	ctx := context.Background()
	base := t.TempDir()
	dir := filepath.Join(base, "model")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	values := rawFloats(halves(10))
	digest := sha1.Sum(values)
	sum := hex.EncodeToString(digest[:])
	saveFile(t, base, "secret.bin", values)
	saveFile(t, dir, "w.bin", values)
	saveFile(t, dir, "names.bin", values)
	saveFile(t, filepath.Join(dir, "sub"), "w.bin", values)
	for name, target := range map[string]string{
		"out.bin": "../secret.bin", "absolute.bin": filepath.Join(base, "secret.bin"), "inside.bin": "sub/w.bin", "up": "..", "dangling.bin": "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "names.bin"), filepath.Join(base, "second.bin")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		location string
		keys     []string
		want     string // error, "" where the values are read
		follow   string // the same with FollowLinks
	}{
		{"w.bin", nil, "", ""},
		{"./w.bin", nil, "", ""},
		{"sub/w.bin", nil, "", ""},
		{"inside.bin", nil, "", ""},
		{"out.bin", nil, "behind a symbolic link", ""},
		{"absolute.bin", nil, "behind a symbolic link", ""},
		{"up/secret.bin", nil, "behind a symbolic link", ""},
		{"dangling.bin", nil, "no such file", "no such file"},
		{"absent.bin", nil, "no such file", "no such file"},
		{"absent/w.bin", nil, "no such file", "no such file"},
		{"w.bin/w.bin", nil, "not a directory", "not a directory"},
		{"sub", nil, "not a regular file", "not a regular file"},
		{"fifo", nil, "not a regular file", "not a regular file"},
		{"names.bin", nil, "", ""},
		{"w.bin", []string{"length", "40"}, "", ""},
		{"w.bin", []string{"offset", "4"}, "offset 4 + 40 bytes reach beyond the file's 40 bytes", "reach beyond"},
		{"w.bin", []string{"offset", "9223372036854775807"}, "reach beyond", "reach beyond"},
		{"w.bin", []string{"checksum", sum}, "", ""},
		{"w.bin", []string{"checksum", strings.Repeat("0", 40)}, "SHA-1 is " + sum, "SHA-1"},
	} {
		path := saveModel(t, dir, "m.onnx", protoModel(externalTensor("W", 10, c.location, c.keys...)))
		for _, follow := range []bool{false, true} {
			want := c.want
			if follow {
				want = c.follow
			}
			m, err := OpenFile(ctx, path, OpenOptions{FollowLinks: follow})
			if err != nil {
				t.Errorf("%s: %v", c.location, err)
				continue
			}
			_, err = m.Graph.Initializers[0].Array()
			switch {
			case want == "" && err == nil:
				checkFloats(t, m)
			case want == "" || err == nil || !strings.Contains(err.Error(), want):
				t.Errorf("%s, follow %v: %v, want %q", c.location, follow, err, want)
			case !strings.Contains(err.Error(), `initializer "W": external data "`+c.location):
				t.Errorf("%s: the error does not name the tensor: %v", c.location, err)
			}
			hard := false
			for _, w := range m.Warnings() {
				hard = hard || w.Code == "external-hard-link"
			}
			if hard != (c.location == "names.bin") {
				t.Errorf("%s: warnings %v", c.location, m.Warnings())
			}
			m.Close()
		}
	}
	// A model in memory has no folder.
	b, err := os.ReadFile(filepath.Join(dir, "m.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode("m", b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Graph.Initializers[0].Array(); err == nil || !strings.Contains(err.Error(), "from memory") {
		t.Errorf("in memory: %v", err)
	}
}

// TestExternalOverlap warns of ranges that more than one tensor claims.
func TestExternalOverlap(t *testing.T) {
	dir := t.TempDir()
	saveFile(t, dir, "w.bin", rawFloats(halves(100)))
	m := openModel(t, saveModel(t, dir, "m.onnx", protoModel(
		externalTensor("a", 10, "w.bin"), externalTensor("b", 10, "w.bin", "offset", "36"),
		externalTensor("c", 10, "./w.bin", "offset", "80"), externalTensor("d", 10, "w.bin", "offset", "80"), externalTensor("e", 0, "w.bin", "offset", "100"),
		externalTensor("f", 20, "w.bin", "offset", "200"), externalTensor("g", 2, "w.bin", "offset", "208"),
		externalTensor("h", 2, "w.bin", "offset", "240"))))
	var got []string
	for _, w := range m.Warnings() {
		got = append(got, w.Code+" "+w.Path+": "+w.Text)
	}
	want := []string{
		`external-overlap initializer "b": bytes 36 to 76 of "w.bin" are also claimed by initializer "a" (bytes 0 to 40)`,
		`external-overlap initializer "d": shares bytes 80 to 120 of "w.bin" with initializer "c"`,
		`external-overlap initializer "g": bytes 208 to 216 of "w.bin" are also claimed by initializer "f" (bytes 200 to 280)`,
		`external-overlap initializer "h": bytes 240 to 248 of "w.bin" are also claimed by initializer "f" (bytes 200 to 280)`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("warnings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if size := m.FileBytes() - m.origin.bytes; size != 76+40+80 {
		t.Errorf("external data counts %d bytes, want 76 + 40 + 80", size)
	}
}

// TestConcurrentReaders reads one model from many sides at once; it is for the race detector.
func TestConcurrentReaders(t *testing.T) {
	dir := t.TempDir()
	values := rawFloats(halves(1000))
	digest := sha1.Sum(values)
	saveFile(t, dir, "w.bin", values)
	m := openModel(t, saveModel(t, dir, "m.onnx", protoModel(rawTensor("a", 1<<19), typedTensor("b", 100),
		externalTensor("c", 1000, "w.bin", "checksum", hex.EncodeToString(digest[:])))))
	var group sync.WaitGroup
	for k := range 4 {
		group.Go(func() {
			checkFloats(t, m)
			if err := m.WriteFile(context.Background(), filepath.Join(dir, "out"+strconv.Itoa(k)), WriteOptions{ExternalAbove: int64(1000 * k)}); err != nil {
				t.Error(err)
			}
			_ = m.FileBytes()
		})
	}
	group.Wait()
}

// TestChangedUnderMapping overwrites payloads while they are mapped: reading them gives other values or an error, but
// never a panic.
func TestChangedUnderMapping(t *testing.T) {
	dir := t.TempDir()
	longs := make([]int64, 500)
	p := protoModel(typedTensor("floats", 500), &onnxpb.TensorProto{Name: proto.String("longs"), DataType: proto.Int32(7), Dims: []int64{500}, Int64Data: longs},
		&onnxpb.TensorProto{Name: proto.String("pairs"), DataType: proto.Int32(int32(Int4)), Dims: []int64{1000}, Int32Data: make([]int32, 500)})
	path := saveModel(t, dir, "m.onnx", p)
	m := openModel(t, path)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := m.Size()
	for fill := range 256 {
		if _, err := f.WriteAt(bytes.Repeat([]byte{byte(fill)}, int(size)), 0); err != nil {
			t.Fatal(err)
		}
		for _, x := range m.Graph.Initializers {
			if a, err := x.Array(); err == nil && a.Check() != nil {
				t.Errorf("fill %d: %s: %v", fill, x, a.Check())
			}
		}
	}
}
