package dataset

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/onnx"
)

// sparse leaves holes where zeros are written, so that a large file takes no room.
type sparse struct{ f *os.File }

func (s sparse) Write(p []byte) (int, error) {
	for _, c := range p {
		if c != 0 {
			return s.f.Write(p)
		}
	}
	_, err := s.f.Seek(int64(len(p)), io.SeekCurrent)
	return len(p), err
}

// allocated is how many bytes f allocates.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// The data of a large set: float16 rows of 16·1024, and labels. Row r begins with r/64.
const (
	bigRows = 10000
	bigRow  = 16 * 1024
)

func writeBigNPY(t *testing.T, w io.Writer) {
	t.Helper()
	dict := fmt.Sprintf("{'descr': '<f2', 'fortran_order': False, 'shape': (%d, 16, 1024), }", bigRows)
	if _, err := w.Write(npy(dict+strings.Repeat(" ", 63-(10+len(dict))%64)+"\n", nil)); err != nil {
		t.Fatal(err)
	}
	row := make([]byte, 2*bigRow)
	for r := range bigRows {
		h := onnx.Float32ToFloat16(float32(r) / 64)
		for _, part := range [][]byte{{byte(h), byte(h >> 8)}, row[2:]} {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A set of 328 MB is opened and read with the memory of its batches: what a batch allocates is its rows as the model wants them and a
// buffer for reading; what opening allocates does not depend on the size.
func TestBatchesOfALargeFileTakeTheMemoryOfTheirRows(t *testing.T) {
	dir := t.TempDir()
	create := func(name string, write func(w io.Writer)) string {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		write(sparse{f})
		if at, err := f.Seek(0, io.SeekCurrent); err != nil || f.Truncate(at) != nil {
			t.Fatal("the file cannot be ended")
		}
		return f.Name()
	}
	npyPath := create("x.npy", func(w io.Writer) { writeBigNPY(t, w) })
	npzPath := create("x.npz", func(w io.Writer) {
		z := zip.NewWriter(w)
		m, err := z.CreateHeader(&zip.FileHeader{Name: "x.npy", Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		writeBigNPY(t, m)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	})
	m := model(value("x", onnx.Float, -1, 16, 1024))
	for _, path := range []string{npyPath, npzPath} {
		if st, err := os.Stat(path); err != nil || st.Size() < 300e6 {
			t.Fatalf("%s: %v, %v", path, st, err)
		}
		var d *Dataset
		var err error
		if n := allocated(func() { d, err = Open(context.Background(), path, m, Options{Memory: 64 << 20}) }); n > 1<<20 || err != nil {
			t.Fatalf("%s: opening it allocates %d bytes; %v", path, n, err)
		}
		const size = 16
		batches := 0
		n := allocated(func() {
			for b, err := range d.Batches(context.Background(), BatchOptions{Size: size, Shuffle: true, Seed: 3}) {
				if err != nil {
					t.Fatal(err)
				}
				x := b.Feeds["x"].Data.([]float32)
				for i, r := range b.Index {
					want := onnx.Float16ToFloat32(onnx.Float32ToFloat16(float32(r) / 64))
					if x[i*bigRow] != want || x[(i+1)*bigRow-1] != 0 {
						t.Fatalf("%s: row %d begins with %v, want %v", path, r, x[i*bigRow], want)
					}
				}
				if batches++; batches == 40 {
					break
				}
			}
		})
		const rows = size * bigRow * 4         // as they are fed
		const buffers = size*bigRow*2 + 16<<10 // for reading, and what is small
		const index = bigRows*8 + bigRows*8/8  // the order of the epoch
		if most := int64(batches*(rows+buffers) + index); n > most {
			t.Errorf("%s: %d batches allocate %d bytes, more than the %d of their rows and buffers", path, batches, n, most)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// deflated writes an .npz whose members are compressed.
func deflated(t *testing.T, arrays map[string]*onnx.Array) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range sortedKeys(arrays) {
		w, err := z.Create(name + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteNPY(w, arrays[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "deflated.npz", b.String())
}

func useTemp(t *testing.T, dir string) {
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
}

func empty(t *testing.T, dir string) bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) == 0
}

// A compressed array of 16 MB goes through a temporary file, which is gone when the set is closed or could not be opened.
func TestCompressedArraysUnfoldToATemporaryFile(t *testing.T) {
	const rows, row = 256, 16 * 1024
	bits := make([]uint16, rows*row)
	r := seed.Stream(1, "deflated")
	for i := range bits {
		bits[i] = uint16(r.Uint32N(0x7c00))
	}
	path := deflated(t, map[string]*onnx.Array{"x": {Type: onnx.Float16, Dims: []int{rows, row}, Data: bits}, "label": ints([]int{rows}, make([]int64, rows)...)})
	temp := t.TempDir()
	useTemp(t, temp)
	m := model(value("x", onnx.Float, -1, row))
	var d *Dataset
	var err error
	if n := allocated(func() { d, err = Open(context.Background(), path, m, Options{Labels: "label", Memory: 1 << 20}) }); err != nil || n > 1<<20 {
		t.Fatalf("opening it allocates %d bytes; %v", n, err)
	}
	for _, b := range epoch(t, d, BatchOptions{Size: 7, Shuffle: true}) {
		x := b.Feeds["x"].Data.([]float32)
		for i, k := range b.Index {
			if got, want := x[i*row+5], onnx.Float16ToFloat32(bits[k*row+5]); got != want {
				t.Fatalf("row %d holds %v, want %v", k, got, want)
			}
		}
	}
	train, _, err := d.Split(context.Background(), 0.1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if !empty(t, temp) {
		t.Error("the temporary file is still there")
	}
	if err := batchesError(train, BatchOptions{}); err == nil || !strings.Contains(err.Error(), "deflated.npz: x.npy") {
		t.Errorf("a batch of a closed set: %v", err)
	}

	// The checksum of what was unfolded is compared.
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if _, err := Open(context.Background(), writeFile(t, "x.npz", string(raw)), m, Options{Memory: 1}); err == nil || !strings.Contains(err.Error(), "x.npz: ") {
		t.Errorf("a flipped bit: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, path, m, Options{Memory: 1}); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("cancelled: %v", err)
	}
	if !empty(t, temp) {
		t.Error("a temporary file is left of a set that could not be opened")
	}
	useTemp(t, filepath.Join(temp, "none"))
	if _, err := Open(context.Background(), path, m, Options{Memory: 1}); err == nil || !strings.Contains(err.Error(), "unfolded to the folder of temporary files") {
		t.Errorf("no folder for temporary files: %v", err)
	}
}

// What is read row by row is what is read at once, for each of the files NumPy has written.
func TestArraysInFilesEqualThoseInMemory(t *testing.T) {
	for _, name := range []string{"v1.npy", "v2.npy", "v3.npy"} {
		path := filepath.Join("testdata", name)
		want, err := ReadNPYFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		st, _ := f.Stat()
		s, err := inFile(context.Background(), f, 0, st.Size(), path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.all()
		if err != nil || !reflect.DeepEqual(got, want.Data) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want.Data)
		}
	}
	for _, archive := range []string{"testdata/stored.npz", "testdata/deflated.npz"} {
		want, err := ReadNPZFile(archive)
		if err != nil {
			t.Fatal(err)
		}
		f, size, err := openRegular(archive)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := openNPZ(f, size, archive)
		if err != nil {
			t.Fatal(err)
		}
		b := &binder{files: &files{}}
		defer b.files.close()
		for _, name := range z.names {
			s, err := b.member(context.Background(), z, f, name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.all()
			if diff := cmp.Diff(want[name], &onnx.Array{Type: s.typ, Dims: s.dims, Data: got}); err != nil || diff != "" {
				t.Errorf("%s: %s: %v (-want +got):\n%s", archive, name, err, diff)
			}
		}
	}
}

// A file that shrinks or vanishes behind an open set is an error, not a signal.
func TestFilesThatShrink(t *testing.T) {
	var b strings.Builder
	if err := WriteNPY(&b, ramp(100, 2)); err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, "x.npy", b.String())
	d := open(t, model(value("x", onnx.Float, -1, 2)), path, Options{})["file"]
	if err := os.Truncate(path, 400); err != nil {
		t.Fatal(err)
	}
	if err := batchesError(d, BatchOptions{}); err == nil || !strings.Contains(err.Error(), "x.npy") || !strings.Contains(err.Error(), "too early") {
		t.Errorf("a file that has shrunk: %v", err)
	}

	dir := t.TempDir()
	file := filepath.Join(dir, "input_0.pb")
	writeTensor(t, file, "x", ramp(3, 2))
	d = open(t, model(value("x", onnx.Float, -1, 2)), dir, Options{})["file"]
	writeTensor(t, file, "x", ramp(4, 2))
	if err := batchesError(d, BatchOptions{}); err == nil || !strings.Contains(err.Error(), "[4, 2]") || !strings.Contains(err.Error(), "[3, 2]") {
		t.Errorf("a tensor that has changed: %v", err)
	}
}

// Numbers of a table that do not fit go to a temporary file.
func TestLargeTables(t *testing.T) {
	temp := t.TempDir()
	useTemp(t, temp)
	var b strings.Builder
	for k := range 5000 {
		fmt.Fprintf(&b, "%d,%d,%d\n", k, -k, k%3)
	}
	path := writeFile(t, "x.csv", b.String())
	m := model(value("x", onnx.Float, -1, 2))
	d, err := Open(context.Background(), path, m, Options{Labels: "-1", Memory: 1000})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range epoch(t, d, BatchOptions{Size: 100, Shuffle: true}) {
		x, l := b.Feeds["x"].Data.([]float32), b.Labels.Data.([]int64)
		for i, k := range b.Index {
			if n++; x[2*i] != float32(k) || x[2*i+1] != float32(-k) || l[i] != int64(k%3) {
				t.Fatalf("row %d holds %v and the label %d", k, x[2*i:2*i+2], l[i])
			}
		}
	}
	if d.inputs[0].parts[0].file == nil || n != 5000 {
		t.Errorf("%d rows, file %v", n, d.inputs[0].parts[0].file)
	}
	if d.Close(); !empty(t, temp) {
		t.Error("the temporary file is still there")
	}
	useTemp(t, filepath.Join(temp, "none"))
	if _, err := Open(context.Background(), path, m, Options{Labels: "-1", Memory: 1000}); err == nil || !strings.Contains(err.Error(), "temporary files") || !strings.Contains(err.Error(), "x.csv") {
		t.Errorf("no folder for temporary files: %v", err)
	}
}

// One batch of 32 rows of 40960 float16 numbers, shuffled: what a training step waits for.
func BenchmarkBatch(b *testing.B) {
	const rows, row = 512, 40960
	bits := make([]uint16, rows*row)
	for i := range bits {
		bits[i] = uint16(i*31) & 0x3bff
	}
	path := filepath.Join(b.TempDir(), "x.npy")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := WriteNPY(f, &onnx.Array{Type: onnx.Float16, Dims: []int{rows, row}, Data: bits}); err != nil {
		b.Fatal(err)
	}
	f.Close()
	for _, place := range []struct {
		name   string
		memory int64
	}{{"memory", 0}, {"file", 1}} {
		b.Run("from="+place.name, func(b *testing.B) {
			d, err := Open(context.Background(), path, model(value("x", onnx.Float, -1, row)), Options{Memory: place.memory})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			b.SetBytes(32 * row * 2)
			for n := 0; n < b.N; {
				for _, err := range d.Batches(context.Background(), BatchOptions{Shuffle: true}) {
					if err != nil {
						b.Fatal(err)
					}
					if n++; n == b.N {
						break
					}
				}
			}
		})
	}
}
