package dataset

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
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
		d, err := Open(context.Background(), path, m, Options{})
		if err != nil {
			return
		}
		for i := range d.Len() {
			if _, err := d.Feeds(i, i+1, 0); err != nil {
				t.Fatal(err)
			}
		}
	})
}
