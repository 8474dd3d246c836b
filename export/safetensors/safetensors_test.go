package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/onnx"
)

// file puts a header and elements together as the format's description says.
func file(header string, elements ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), elements...)
}

func read(t *testing.T, data []byte) (*safetensors.File, error) {
	t.Helper()
	return safetensors.Read(t.Context(), bytes.NewReader(data), int64(len(data)), "w.safetensors")
}

// TestRead reads files written by hand after the format's description.
func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want safetensors.File
	}{
		"nothing":         {file(`{}`), safetensors.File{}},
		"metadata":        {file(`{"__metadata__":{"format":"pt","é":""}}   `), safetensors.File{Metadata: map[string]string{"format": "pt", "é": ""}}},
		"empty":           {file(`{"a":{"dtype":"F32","shape":[2,0],"data_offsets":[0,0]}}`), tensors("a", onnx.Float, []int{2, 0}, []float32{})},
		"scalar":          {file(`{"a":{"shape":[],"data_offsets":[0,4],"dtype":"F32"}}`, 0, 0, 128, 63), tensors("a", onnx.Float, []int{}, []float32{1})},
		"whitespace":      {file("{ \"a\" : {\"dtype\":\"U8\",\n\"shape\":[ 2 ], \"data_offsets\":[0 ,2]} }", 7, 8), tensors("a", onnx.Uint8, []int{2}, []uint8{7, 8})},
		"float16":         {file(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}`, 0, 0x3c), tensors("a", onnx.Float16, []int{1}, []uint16{0x3c00})},
		"bool":            {file(`{"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}`, 0, 1), tensors("a", onnx.Bool, []int{2}, []bool{false, true})},
		"not by position": {file(`{"b":{"dtype":"I8","shape":[1],"data_offsets":[2,3]},"a":{"dtype":"I16","shape":[1],"data_offsets":[0,2]}}`, 1, 1, 255), two()},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(t, c.data)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func tensors(name string, typ onnx.DataType, dims []int, data any) safetensors.File {
	return safetensors.File{Tensors: []safetensors.Tensor{{Name: name, Array: &onnx.Array{Type: typ, Dims: dims, Data: data}}}}
}

func two() safetensors.File {
	f := tensors("a", onnx.Int16, []int{1}, []int16{257})
	f.Tensors = append(f.Tensors, tensors("b", onnx.Int8, []int{1}, []int8{-1}).Tensors...)
	return f
}

// TestWrite holds the writer to bytes written by hand: aligned tensors first, names sorted, a header padded to 8 bytes.
func TestWrite(t *testing.T) {
	f := &safetensors.File{
		Metadata: map[string]string{"b": "2", "a": "1"},
		Tensors: []safetensors.Tensor{
			{Name: "z", Array: &onnx.Array{Type: onnx.Int8, Dims: []int{1}, Data: []int8{-2}}},
			{Name: "y", Array: &onnx.Array{Type: onnx.Float, Dims: nil, Data: []float32{1}}},
			{Name: "x", Array: &onnx.Array{Type: onnx.Float, Dims: []int{0}, Data: []float32{}}},
		},
	}
	var got bytes.Buffer
	if err := safetensors.Write(&got, f); err != nil {
		t.Fatal(err)
	}
	header := `{"__metadata__":{"a":"1","b":"2"},"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"y":{"dtype":"F32","shape":[],"data_offsets":[0,4]},` +
		`"z":{"dtype":"I8","shape":[1],"data_offsets":[4,5]}}`
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	if d := cmp.Diff(file(header, 0, 0, 128, 63, 254), got.Bytes()); d != "" {
		t.Error(d)
	}
	for k, j := 0, len(f.Tensors)-1; k < j; k, j = k+1, j-1 {
		f.Tensors[k], f.Tensors[j] = f.Tensors[j], f.Tensors[k]
	}
	var again bytes.Buffer
	if err := safetensors.Write(&again, f); err != nil || !bytes.Equal(got.Bytes(), again.Bytes()) {
		t.Errorf("the order of the tensors changes the bytes (%v)", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	good := &onnx.Array{Type: onnx.Float, Dims: []int{1}, Data: []float32{1}}
	for name, c := range map[string]struct {
		file safetensors.File
		says string
	}{
		"twice":          {safetensors.File{Tensors: []safetensors.Tensor{{Name: "a", Array: good}, {Name: "a", Array: good}}}, `tensor "a" is there twice`},
		"metadata":       {safetensors.File{Tensors: []safetensors.Tensor{{Name: "__metadata__", Array: good}}}, "that of the metadata"},
		"not UTF-8":      {safetensors.File{Tensors: []safetensors.Tensor{{Name: "\xff", Array: good}}}, "not UTF-8"},
		"text not UTF-8": {safetensors.File{Metadata: map[string]string{"k": "\xff"}}, `metadata "k" is not UTF-8`},
		"strings":        {tensors("a", onnx.String, []int{1}, []string{"x"}), "no elements of type string"},
		"short":          {tensors("a", onnx.Float, []int{2}, []float32{1}), "a"},
	} {
		t.Run(name, func(t *testing.T) {
			err := safetensors.Write(&bytes.Buffer{}, &c.file)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

// TestReadRefuses breaks each rule of the format; errors name the file, the tensor and both values.
func TestReadRefuses(t *testing.T) {
	const a = `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`
	eight := make([]byte, 8)
	long := binary.LittleEndian.AppendUint64(nil, safetensors.MaxHeader+1)
	for name, c := range map[string]struct {
		data   []byte
		tensor string
		says   []string
	}{
		"empty":                  {nil, "", []string{"0 bytes", "(8)"}},
		"header beyond the file": {binary.LittleEndian.AppendUint64(nil, 100), "", []string{"declares 100 bytes", "holds 0"}},
		"header beyond 100 MB":   {long, "", []string{"100000001", "100000000"}},
		"zip":                    {[]byte("PK\x03\x04\x14\x00\x00\x00\x08\x00"), "", []string{"zip archive"}},
		"pickle":                 {[]byte("\x80\x02}q\x00X\x01\x00\x00\x00"), "", []string{"pickle"}},
		"header of nothing":      {file(``), "", []string{"begin with {"}},
		"list":                   {file(`[]`), "", []string{"begin with {"}},
		"space before":           {file(` {}`), "", []string{"begin with {"}},
		"not UTF-8":              {file("{\"\xff\":{}}"), "", []string{"UTF-8"}},
		"cut off":                {file(`{"a":{"dtype":`), "a", []string{"unexpected EOF"}},
		"goes on":                {file(`{} {}`), "", []string{"goes on", "{}"}},
		"newline behind":         {file("{}\n"), "", []string{"goes on"}},
		"twice":                  {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "", []string{`"a" is there twice`}},
		"twice, escaped":         {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 1, 2), "", []string{`"a" is there twice`}},
		"key twice":              {file(`{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "a", []string{`"dtype" is there twice`}},
		"metadata twice":         {file(`{"__metadata__":{"k":"1","k":"2"}}`), "", []string{`"k" twice`}},
		"metadata of numbers":    {file(`{"__metadata__":{"k":1}}`), "", []string{"__metadata__", "string is wanted"}},
		"metadata nested":        {file(`{"__metadata__":{"k":{}}}`), "", []string{"__metadata__", "string is wanted"}},
		"no dtype":               {file(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), "a", []string{"2 of the keys"}},
		"unknown key":            {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, 1), "a", []string{`unknown key "x"`}},
		"unknown dtype":          {file(`{"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}}`, eight...), "a", []string{`"f32"`}},
		"dtype a number":         {file(`{"a":{"dtype":1,"shape":[2],"data_offsets":[0,8]}}`, eight...), "a", []string{"dtype", "string"}},
		"shape a number":         {file(`{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}`, eight...), "a", []string{"shape"}},
		"shape negative":         {file(`{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, eight...), "a", []string{"shape", `"-2"`}},
		"shape of a fraction":    {file(`{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}`, eight...), "a", []string{"shape", `"2.0"`}},
		"shape overflows":        {file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}`, eight...), "a", []string{"2⁶³"}},
		"shape beyond 64 bits":   {file(`{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]}}`, eight...), "a", []string{"18446744073709551616"}},
		"shape wraps to fit":     {file(`{"a":{"dtype":"F32","shape":[2305843009213693954],"data_offsets":[0,8]}}`, eight...), "a", []string{"2⁶³"}},
		"deep shape":             {file(`{"a":{"dtype":"U8","shape":[1`+strings.Repeat(",1", 64)+`],"data_offsets":[0,1]}}`, 1), "a", []string{"65 dims", "64"}},
		"one offset":             {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}`, eight...), "a", []string{"1 numbers, want 2"}},
		"backwards":              {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, eight...), "a", []string{"[8, 0]", "before they begin"}},
		"beyond the end":         {file(a, 1, 2, 3, 4), "a", []string{"[0, 8]", "4 bytes"}},
		"shape disagrees":        {file(`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, eight...), "a", []string{"takes 12 bytes", "span 8"}},
		"dtype disagrees":        {file(`{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}}`, eight...), "a", []string{"F64", "16 bytes", "span 8"}},
		"overlap":                {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 1, 2, 3), "b", []string{"overlap", `"a"`, "[1, 3]", "end at 2"}},
		"same range":             {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 1, 2), "b", []string{"overlap"}},
		"hole":                   {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 1, 2, 3), "b", []string{"hole after 1"}},
		"hole at the start":      {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 1, 2), "a", []string{"hole after 0"}},
		"bytes behind":           {file(a, append(eight, 9)...), "", []string{"take 8 bytes", "holds 9"}},
		"bytes without tensors":  {file(`{}`, 1), "", []string{"take 0 bytes", "holds 1"}},
		"bool of two":            {file(`{"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}`, 2), "a", []string{"is 2, want 0 or 1"}},
		"control characters":     {file(`{"\u001b[2J":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}}`, 1), "\x1b[2J", []string{`"\x1b[2J"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, c.data)
			var broken *safetensors.FormatError
			if !errors.As(err, &broken) {
				t.Fatalf("%v is no FormatError", err)
			}
			if broken.Tensor != c.tensor {
				t.Errorf("it names tensor %q, want %q: %v", broken.Tensor, c.tensor, err)
			}
			for _, want := range append(c.says, `"w.safetensors"`) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %s", err, want)
				}
			}
		})
	}
}

// TestReadFile asks for a regular file.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := safetensors.ReadFile(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := safetensors.ReadFile(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	path := filepath.Join(dir, "w")
	if err := os.WriteFile(path, file(`{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}`, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.ReadFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if x := f.Tensor("a").Data.([]float64); !math.IsNaN(x[0]) {
		t.Errorf("%v, want NaN, which the format allows", x)
	}
	if f.Tensor("b") != nil {
		t.Error("a tensor that is not there")
	}
}

// FuzzRead asks the reader for no panic, memory within bounds, and files whose content the writer gives back.
func FuzzRead(f *testing.F) {
	f.Add(file(`{}`))
	f.Add(file(`{"__metadata__":{"a":"b"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, make([]byte, 8)...))
	f.Add(file(`{"b":{"dtype":"I8","shape":[1],"data_offsets":[2,3]},"a":{"dtype":"I16","shape":[1],"data_offsets":[0,2]}}`, 1, 1, 255))
	f.Add(file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}`, make([]byte, 8)...))
	f.Add(file(`{"a":{"dtype":"BOOL","shape":[0,9],"data_offsets":[0,0]},"a`))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := read(t, data)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := safetensors.Write(&out, first); err != nil {
			t.Fatalf("what was read is not written: %v", err)
		}
		again, err := read(t, out.Bytes())
		if err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		if len(again.Tensors) != len(first.Tensors) || len(first.Metadata) > 0 && !cmp.Equal(first.Metadata, again.Metadata) {
			t.Fatalf("%d tensors and %v, want %d and %v", len(again.Tensors), again.Metadata, len(first.Tensors), first.Metadata)
		}
		for _, want := range first.Tensors {
			got := again.Tensor(want.Name)
			x, _ := want.Array.Bytes()
			y, _ := got.Bytes()
			if got.Type != want.Array.Type || !cmp.Equal(got.Dims, want.Array.Dims) || !bytes.Equal(x, y) {
				t.Errorf("tensor %q has changed", want.Name)
			}
		}
	})
}
