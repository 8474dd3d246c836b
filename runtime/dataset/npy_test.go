package dataset

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trconvert/trconvert/onnx"
)

// count returns arange(24) in an array's own Go type, the values that testdata/make.py wrote with NumPy.
func count(a *onnx.Array) []float64 {
	out := make([]float64, reflect.ValueOf(a.Data).Len())
	for i := range out {
		switch d := a.Data.(type) {
		case []complex64:
			out[i] = float64(real(d[i]))
		case []complex128:
			out[i] = real(d[i])
		case []uint16:
			out[i] = float64(d[i])
			if a.Type == onnx.Float16 {
				out[i] = float64(onnx.Float16ToFloat32(d[i]))
			}
		case []bool:
			if d[i] {
				out[i] = 1
			}
		default:
			out[i] = reflect.ValueOf(a.Data).Index(i).Convert(reflect.TypeFor[float64]()).Float()
		}
	}
	return out
}

func TestReadNPZFileWrittenByNumPy(t *testing.T) {
	arrays, err := ReadNPZFile("testdata/stored.npz")
	if err != nil {
		t.Fatal(err)
	}
	if len(arrays) != 29 {
		t.Errorf("read %d arrays, NumPy wrote 29", len(arrays))
	}
	for name, a := range arrays {
		switch name {
		case "scalar":
			if len(a.Dims) != 0 || a.Data.([]float64)[0] != 7 {
				t.Errorf("scalar: %v", a)
			}
			continue
		case "empty":
			if !reflect.DeepEqual(a.Dims, []int{0, 3}) || len(a.Data.([]float32)) != 0 {
				t.Errorf("empty: %v", a)
			}
			continue
		}
		if want := npyTypes[strings.TrimLeft(name, "lb")]; name != "bool" && a.Type != want {
			t.Errorf("%s: type %v, want %v", name, a.Type, want)
		}
		for i, v := range count(a) {
			want := float64(i)
			if name == "bool" {
				want = float64(i % 2)
			}
			if v != want {
				t.Errorf("%s: element %d is %v, NumPy wrote %v", name, i, v, want)
				break
			}
		}
	}
	deflated, err := ReadNPZFile("testdata/deflated.npz", "lstm/x:0")
	if err != nil || len(deflated) != 1 || deflated["lstm/x:0"].Data.([]float32)[23] != 23 {
		t.Errorf("deflated: %v, %v", deflated, err)
	}
	if _, err := ReadNPZFile("testdata/deflated.npz", "y"); err == nil || !strings.Contains(err.Error(), `no array "y" (there are "lstm/x:0", "label")`) {
		t.Errorf("missing member: %v", err)
	}
}

func TestReadNPYVersions(t *testing.T) {
	for _, name := range []string{"v1.npy", "v2.npy", "v3.npy"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		a, err := ReadNPY(bytes.NewReader(b), name)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range a.Data.([]float32) {
			if v != float32(i) {
				t.Fatalf("%s: element %d is %v", name, i, v)
			}
		}
	}
}

// npy builds a file of version 1.0 around any header text.
func npy(header string, data []byte) []byte {
	b := append([]byte(npyMagic+"\x01\x00"), binary.LittleEndian.AppendUint16(nil, uint16(len(header)))...)
	return append(append(b, header...), data...)
}

func TestReadNPYRefuses(t *testing.T) {
	dict := func(descr, shape string) []byte {
		return npy("{'descr': "+descr+", 'fortran_order': False, 'shape': "+shape+", }\n", make([]byte, 16))
	}
	file := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	long := append([]byte(npyMagic+"\x02\x00"), binary.LittleEndian.AppendUint32(nil, 1<<31)...)
	tests := map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, "end too early"},
		"html":              {[]byte("<html>....."), "instead of the .npy magic"},
		"version":           {[]byte(npyMagic + "\x04\x00\x00\x00"), "version 4.0"},
		"header too long":   {long, "limit of 65536"},
		"header cut":        {npy("{'descr': '<f4'", nil)[:14], "end too early"},
		"object":            {file("object.npy"), "pickles"},
		"text":              {file("text.npy"), "is text"},
		"record":            {file("record.npy"), "structured"},
		"long double":       {file("longdouble.npy"), "not one of bool"},
		"no byte order":     {dict("'f4'", "(4,)"), "byte order"},
		"native byte order": {dict("'=f4'", "(4,)"), "byte order"},
		"negative":          {dict("'<f4'", "(-1, 4)"), "-1 is negative"},
		"dim overflow":      {dict("'<f4'", "(99999999999999999999,)"), "overflows"},
		"product overflow":  {dict("'<f8'", "(4294967296, 4294967296)"), "overflows"},
		"byte overflow":     {dict("'<c16'", "(1152921504606846976,)"), "overflows"},
		"huge with little":  {dict("'<f4'", "(1000000, 1000000)"), "only 16 are there"},
		"too many dims":     {dict("'<f4'", "("+strings.Repeat("1, ", 65)+")"), "more than 64"},
		"shape not a tuple": {dict("'<f4'", "[4]"), "tuple"},
		"shape an int":      {dict("'<f4'", "(4)"), "comma"},
		"twice":             {npy("{'descr': '<f4', 'descr': '<f4', }", nil), "twice"},
		"unknown key":       {npy("{'descr': '<f4', 'evil': 1}", nil), `unknown key "evil"`},
		"missing key":       {npy("{'descr': '<f4', 'fortran_order': False}", nil), "needs descr"},
		"trailing":          {npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()} + 1", nil), "goes on"},
		"escape":            {npy(`{'desc\x72': '<f4'}`, nil), "escape"},
		"not a dict":        {npy("__import__('os')", nil), "not a dict"},
		"truth":             {npy("{'descr': '<f4', 'fortran_order': 1, 'shape': ()}", nil), "neither True nor False"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := ReadNPY(bytes.NewReader(tt.data), "bad\x1b[31m.npy")
			if err == nil {
				t.Fatalf("accepted: %v", a)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
			if strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("error %q prints an escape character", err)
			}
		})
	}
}

func TestLyingShapeDoesNotAllocate(t *testing.T) {
	lie := npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000,), }\n", make([]byte, 1000))
	got := testing.AllocsPerRun(1, func() { _, _ = ReadNPY(bytes.NewReader(lie), "lie") })
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, _ = ReadNPY(bytes.NewReader(lie), "lie")
		}
	})
	if per := r.AllocedBytesPerOp(); per > 4<<20 {
		t.Errorf("a file of %d bytes made the reader allocate %d (%v allocations)", len(lie), per, got)
	}
}

func TestHalvesAgreeWithNumPy(t *testing.T) {
	z, err := ReadNPZFile("testdata/halves.npz")
	if err != nil {
		t.Fatal(err)
	}
	exact, bits := z["exact"].Data.([]float32), z["bits"].Data.([]uint16)
	for i, b := range bits {
		if got := onnx.Float16ToFloat32(b); math.Float32bits(got) != math.Float32bits(exact[i]) && got == got {
			t.Errorf("float16 %#04x is %v, NumPy says %v", b, got, exact[i])
		}
		if back := onnx.Float32ToFloat16(exact[i]); back != b && exact[i] == exact[i] {
			t.Errorf("float16 %#04x comes back as %#04x", b, back)
		}
	}
	wide, rounded := z["wide"].Data.([]float32), z["rounded"].Data.([]uint16)
	for i, f := range wide {
		if got := onnx.Float32ToFloat16(f); got != rounded[i] {
			t.Errorf("%v rounds to %#04x, NumPy says %#04x", f, got, rounded[i])
		}
	}
}

func TestWriteNPYReadBack(t *testing.T) {
	arrays, err := ReadNPZFile("testdata/stored.npz")
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := WriteNPZ(&first, arrays); err != nil {
		t.Fatal(err)
	}
	if err := WriteNPZ(&second, arrays); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("the same arrays gave other bytes (%v)", err)
	}
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := os.WriteFile(path, first.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	back, err := ReadNPZFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(arrays, back); d != "" {
		t.Errorf("written and read back (-want +got):\n%s", d)
	}
	// NumPy writes this array itself, so its bytes are the oracle of the header.
	var v1 bytes.Buffer
	if err := WriteNPY(&v1, &onnx.Array{Type: onnx.Float, Dims: []int{2}, Data: []float32{1, 2}}); err != nil {
		t.Fatal(err)
	}
	want := "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }" + strings.Repeat(" ", 60) + "\n\x00\x00\x80\x3f\x00\x00\x00\x40"
	if v1.String() != want {
		t.Errorf("wrote %q, NumPy %q", v1.String(), want)
	}
	bf := &onnx.Array{Type: onnx.BFloat16, Dims: []int{1}, Data: []uint16{0x3fc0}}
	v1.Reset()
	if err := WriteNPY(&v1, bf); err != nil || !bytes.HasSuffix(v1.Bytes(), []byte{0, 0, 0xc0, 0x3f}) {
		t.Errorf("bfloat16 1.5 is written as % x, %v", v1.Bytes(), err)
	}
	for name, a := range map[string]*onnx.Array{
		"strings":     {Type: onnx.String, Dims: []int{1}, Data: []string{"x"}},
		"wrong count": {Type: onnx.Float, Dims: []int{3}, Data: []float32{1}},
		"float8":      {Type: onnx.Float8E5M2, Dims: []int{1}, Data: []uint8{1}},
	} {
		if err := WriteNPY(&v1, a); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	if err := WriteNPZ(&v1, map[string]*onnx.Array{"../x": bf}); err == nil {
		t.Error("a name that leads out of its folder was written")
	}
}

// zipOf builds an archive; edit may change its bytes.
func zipOf(t *testing.T, method uint16, members [][2]string, edit func([]byte)) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		f, err := z.CreateHeader(&zip.FileHeader{Name: m[0], Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(m[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(b.Bytes())
	}
	path := filepath.Join(t.TempDir(), "x.npz")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadNPZRefuses(t *testing.T) {
	one := string(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", []byte{0, 0, 128, 63}))
	zeros := 20 << 20
	bomb := string(npy(fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }\n", zeros), make([]byte, zeros)))
	half := string(npy(fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }\n", zeros/2), make([]byte, zeros/2)))
	// directory edits the 32-bit field at an offset of the first central directory record (APPNOTE.TXT 4.3.12).
	directory := func(offset int, value uint32) func([]byte) {
		return func(b []byte) {
			binary.LittleEndian.PutUint32(b[bytes.Index(b, []byte("PK\x01\x02"))+offset:], value)
		}
	}
	tests := map[string]struct {
		path, want string
	}{
		"bomb":            {zipOf(t, zip.Deflate, [][2]string{{"x.npy", bomb}}, nil), "zip bomb"},
		"many small":      {zipOf(t, zip.Deflate, [][2]string{{"x.npy", half}, {"y.npy", half}}, nil), "zip bomb"},
		"path up":         {zipOf(t, zip.Store, [][2]string{{"../x.npy", one}}, nil), "leads out"},
		"path inside":     {zipOf(t, zip.Store, [][2]string{{"a/../../x.npy", one}}, nil), "leads out"},
		"absolute":        {zipOf(t, zip.Store, [][2]string{{"/etc/x.npy", one}}, nil), "absolute"},
		"drive":           {zipOf(t, zip.Store, [][2]string{{"C:x.npy", one}}, nil), "absolute"},
		"backslash":       {zipOf(t, zip.Store, [][2]string{{`a\x.npy`, one}}, nil), "backslash"},
		"control":         {zipOf(t, zip.Store, [][2]string{{"a\x1b.npy", one}}, nil), "control"},
		"twice":           {zipOf(t, zip.Store, [][2]string{{"x.npy", one}, {"x.npy", one}}, nil), "twice"},
		"no array":        {zipOf(t, zip.Store, [][2]string{{"readme.txt", "x"}}, nil), "not an .npy array"},
		"bytes behind":    {zipOf(t, zip.Deflate, [][2]string{{"x.npy", one + "more"}}, nil), "the file holds"},
		"stored too long": {zipOf(t, zip.Deflate, [][2]string{{"x.npy", one}}, directory(20, 1<<30)), "the file has"},
		"full too long":   {zipOf(t, zip.Deflate, [][2]string{{"x.npy", one}}, directory(24, 1<<30)), "zip bomb"},
		"full a bit long": {zipOf(t, zip.Deflate, [][2]string{{"x.npy", one}}, directory(24, uint32(len(one)+4))), "the file holds 8"},
		"stored differs":  {zipOf(t, zip.Store, [][2]string{{"x.npy", one}}, directory(24, uint32(len(one)+4))), "not compressed"},
		"checksum":        {zipOf(t, zip.Deflate, [][2]string{{"x.npy", one}}, directory(16, 12345)), "checksum"},
		"encrypted":       {zipOf(t, zip.Store, [][2]string{{"x.npy", one}}, directory(8, 0x00000001)), "encrypted"},
		"method":          {zipOf(t, zip.Store, [][2]string{{"x.npy", one}}, directory(10, 12)), "method 12"},
		"not a zip":       {"testdata/v1.npy", "not a valid zip"},
		"folder":          {"testdata", "not a regular file"},
		"absent":          {"testdata/absent.npz", "no such file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ReadNPZFile(tt.path)
			if err == nil {
				t.Fatalf("accepted: %v", got)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
		})
	}
}

// zip64 sizes far beyond the file, in the extra field of the directory (APPNOTE.TXT 4.5.3).
func TestReadNPZZip64Lies(t *testing.T) {
	name := "x.npy"
	le := binary.LittleEndian
	extra := le.AppendUint16(le.AppendUint16(nil, 1), 16)
	extra = le.AppendUint64(le.AppendUint64(extra, 1<<62), 1<<61) // full, stored
	local := append([]byte("PK\x03\x04"), make([]byte, 26)...)
	le.PutUint16(local[26:], uint16(len(name)))
	local = append(local, name...)
	dir := append([]byte("PK\x01\x02"), make([]byte, 42)...)
	le.PutUint16(dir[6:], 45)
	le.PutUint32(dir[20:], math.MaxUint32)
	le.PutUint32(dir[24:], math.MaxUint32)
	le.PutUint16(dir[28:], uint16(len(name)))
	le.PutUint16(dir[30:], uint16(len(extra)))
	dir = append(append(dir, name...), extra...)
	end := append([]byte("PK\x05\x06"), make([]byte, 18)...)
	le.PutUint16(end[8:], 1)
	le.PutUint16(end[10:], 1)
	le.PutUint32(end[12:], uint32(len(dir)))
	le.PutUint32(end[16:], uint32(len(local)))
	path := filepath.Join(t.TempDir(), "lie.npz")
	if err := os.WriteFile(path, append(append(local, dir...), end...), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadNPZFile(path)
	if err == nil || !strings.Contains(err.Error(), "declares 2305843009213693952 stored bytes") {
		t.Errorf("error %v", err)
	}
}
