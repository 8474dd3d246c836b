package onnx

import (
	"bytes"
	"os"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"
)

// seeds gives a fuzz target small models of our own, and those of the test material where it is there.
func seeds(f *testing.F, suffix string) {
	for _, p := range []proto.Message{protoModel(rawTensor("a", 4), typedTensor("b", 4)), protoModel(externalTensor("w", 4, "w.bin", "offset", "16")), nestedModel(2),
		rawTensor("a", 4), typedTensor("b", 4)} {
		b, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	if _, err := os.Stat("../../shared"); err != nil {
		return
	}
	for _, path := range sharedFiles(f, ".", suffix) {
		if b, err := os.ReadFile(path); err == nil && len(b) < 4096 {
			f.Add(b)
		}
	}
}

// allocated says how many bytes do allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzDecode decodes anything: it never panics, takes memory in proportion to the input, and what decodes encodes to
// the same bytes, untouched and made anew.
func FuzzDecode(f *testing.F) {
	seeds(f, ".onnx")
	f.Fuzz(func(t *testing.T, data []byte) {
		var m *Model
		var err error
		used := allocated(func() { m, err = Decode("fuzz", data) })
		if limit := uint64(1<<20 + 400*len(data)); used > limit {
			t.Errorf("%d bytes of input allocate %d", len(data), used)
		}
		if err != nil {
			return
		}
		checkEncodes(t, "fuzz", m, data)
		derived, _ := m.derive()
		for _, g := range derived.Scopes() {
			touch(g)
			for _, n := range g.Nodes {
				n.src.raw = nil
				_ = n.String()
			}
			_ = g.Path()
		}
		var again bytes.Buffer
		if _, err := derived.Encode(&again); err != nil {
			t.Error(err)
		}
		m2, err := Decode("again", again.Bytes())
		if err != nil {
			t.Fatalf("made anew it does not decode: %v", err)
		}
		if a, b := len(m.Scopes()), len(m2.Scopes()); a != b || m.Parameters() != m2.Parameters() {
			t.Errorf("made anew it has %d scopes and %d parameters, want %d and %d", b, m2.Parameters(), a, m.Parameters())
		}
		_ = m.Warnings()
	})
}

// FuzzTensor decodes anything as a tensor and reads its values: it never panics and takes memory in proportion to the
// input.
func FuzzTensor(f *testing.F) {
	seeds(f, ".pb")
	f.Fuzz(func(t *testing.T, data []byte) {
		used := allocated(func() {
			x, err := DecodeTensor("fuzz", data)
			if err != nil {
				return
			}
			b, err := EncodeTensor(x)
			if err != nil || !bytes.Equal(b, data) {
				t.Errorf("encoding differs (%v)", err)
			}
			a, err := x.Array()
			if err != nil {
				return
			}
			if err := a.Check(); err != nil {
				t.Error(err)
			}
			if a.Type == String {
				return
			}
			raw, err := a.Bytes()
			if size, _ := x.Type.rawBytes(x.Elements()); err != nil || int64(len(raw)) != size {
				t.Errorf("%d raw bytes, want %d (%v)", len(raw), size, err)
			}
		})
		if limit := uint64(1<<20 + 400*len(data)); used > limit {
			t.Errorf("%d bytes of input allocate %d", len(data), used)
		}
		if v, err := DecodeSequence("fuzz", data); err == nil && v == nil {
			t.Error("a sequence without value or error")
		}
		if v, err := DecodeOptional("fuzz", data); err == nil && v == nil {
			t.Error("an optional without value or error")
		}
	})
}
