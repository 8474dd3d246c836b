package dataset

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

// checkArray fails where elements and shape disagree, which would make later slices panic.
func checkArray(t *testing.T, a *onnx.Array) {
	t.Helper()
	n, _, err := extent(a.Dims, 1)
	if err != nil || reflect.ValueOf(a.Data).Len() != n {
		t.Fatalf("shape %v holds %d elements (%v)", a.Dims, reflect.ValueOf(a.Data).Len(), err)
	}
}

// seedFiles adds small files: the fuzzer spends its time on shrinking large ones.
func seedFiles(f *testing.F, pattern string) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 4<<10 {
			f.Add(b)
		}
	}
}

// FuzzNPY: whatever is read is consistent, and written and read again it is the same.
func FuzzNPY(f *testing.F) {
	seedFiles(f, "testdata/*.npy")
	f.Add(npy("{'descr': '>c8', 'fortran_order': True, 'shape': (2, 1L), }\n", make([]byte, 16)))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ReadNPY(bytes.NewReader(b), "fuzz")
		if err != nil {
			return
		}
		checkArray(t, a)
		var out, again bytes.Buffer
		if err := WriteNPY(&out, a); err != nil {
			t.Fatal(err)
		}
		back, err := ReadNPY(bytes.NewReader(out.Bytes()), "again")
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteNPY(&again, back); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
			t.Fatalf("%v: the array that was read back is written as % x, before as % x", err, again.Bytes(), out.Bytes())
		}
	})
}

// FuzzNPZ: no archive makes reading or feeding panic.
func FuzzNPZ(f *testing.F) {
	seedFiles(f, "testdata/*.npz")
	for _, arrays := range []map[string]*onnx.Array{{"lstm/x:0": ramp(2, 3, 4)}, {"lstm/x:0": ramp(2, 1, 3, 4), "label": ints([]int{2}, 0, 1)}} {
		var b bytes.Buffer
		if err := WriteNPZ(&b, arrays); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	m := model(value("lstm/x:0", onnx.Float, -1, 3, 4))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		z, err := openNPZ(bytes.NewReader(b), int64(len(b)), "fuzz")
		if err == nil {
			if arrays, err := z.read(context.Background(), z.names); err == nil {
				for _, a := range arrays {
					checkArray(t, a)
				}
			}
		}
		path := filepath.Join(dir, "x.npz")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		bothWays(t, path, m, Options{})
		bothWays(t, path, m, Options{Labels: "label"})
	})
}

// FuzzCSV: no table makes reading, feeding or counting its labels panic.
func FuzzCSV(f *testing.F) {
	for _, c := range []struct{ content, labels string }{
		{"1,2\n3,4\n", ""}, {"a,label,b\n1,7,2\n3,8,4\n", "label"}, {"1,2,-1\n3,4,1\n", "-1"}, {"\ufeffl,v,w\n0.5,\"1\", 2e3\n", "l"}, {"1,2,1e300\n", "3"}, {"1\n2\n", "1"},
	} {
		for shape := range 4 {
			f.Add(c.content, c.labels, uint8(shape))
		}
	}
	models := []*onnx.Model{
		model(value("x", onnx.Float, -1, 2)), model(value("x", onnx.Float, -1, -2, 2)), model(value("x", onnx.Float, 2, 1, 1)), model(value("x", onnx.Int64, 2, 2)),
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content, labels string, shape uint8) {
		path := filepath.Join(dir, "x.csv")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		bothWays(t, path, models[int(shape)%len(models)], Options{Labels: labels})
	})
}

// bothWays opens a data set in memory and from its file, which must agree in everything but a wrong checksum, which is not seen in the file.
func bothWays(t *testing.T, path string, m *onnx.Model, o Options) {
	t.Helper()
	var seen [2]string
	for k, memory := range []int64{0, 1} {
		o.Memory = memory
		seen[k] = everything(t, path, m, o)
	}
	if seen[0] != seen[1] && !strings.Contains(seen[0], zip.ErrChecksum.Error()) {
		t.Fatalf("in memory: %s\nfrom the file: %s", seen[0], seen[1])
	}
}

// everything is what a data set tells, errors included.
func everything(t *testing.T, path string, m *onnx.Model, o Options) string {
	ctx := context.Background()
	d, err := Open(ctx, path, m, o)
	if err != nil {
		if errors.Is(err, zip.ErrChecksum) {
			return zip.ErrChecksum.Error()
		}
		return "error"
	}
	defer d.Close()
	var b strings.Builder
	for from := 0; from < d.Len(); from += d.MaxBatch() {
		feeds, err := d.Feeds(from, min(from+d.MaxBatch(), d.Len()), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range sortedKeys(feeds) {
			checkArray(t, feeds[name])
			fmt.Fprintln(&b, name, *feeds[name])
		}
	}
	for batch, err := range d.Batches(ctx, BatchOptions{Shuffle: true}) {
		if err != nil {
			fmt.Fprintln(&b, err)
			break
		}
		fmt.Fprintln(&b, batch.Index, batch.Weights, batch.Labels)
		if batch.Labels != nil {
			checkArray(t, batch.Labels)
		}
	}
	if d.HasLabels() {
		classes, err := d.Classes(ctx, 0)
		if err == nil {
			fmt.Fprintln(&b, len(classes.Counts), classes.Ignored)
		}
		fmt.Fprintln(&b, err, d.CheckTargets(ctx, nil))
	}
	if _, held, err := d.Split(ctx, 0.3, 1); err == nil {
		fmt.Fprintln(&b, held.index)
	}
	return b.String()
}
