package onnx

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"
)

// TestPagesAreLetGo reads a mapped payload once and checks that the mapping is not in this process's memory afterwards.
func TestPagesAreLetGo(t *testing.T) {
	const size = 64 << 20
	p := rawTensor("w", 0)
	p.Dims[0], p.RawData = size/4, make([]byte, size)
	path := saveModel(t, t.TempDir(), "m.onnx", protoModel(p))
	data, err := proto.Marshal(protoModel(p))
	if err != nil {
		t.Fatal(err)
	}
	m := openModel(t, path)
	before := sharedPages(t)
	sum := sha256.New()
	if _, err := m.Encode(sum); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("the encoded bytes differ")
	}
	a, err := m.Graph.Initializers[0].Array()
	if err != nil || a.Elements() != size/4 {
		t.Fatal(err)
	}
	if grown := (sharedPages(t) - before) * os.Getpagesize(); grown > 2*readPiece {
		t.Errorf("%d bytes of file pages stay in memory", grown)
	}
}

// sharedPages is the number of resident pages that belong to files, from the third figure of /proc/self/statm.
func sharedPages(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	var total, resident, shared int
	if _, err := fmt.Sscan(string(b), &total, &resident, &shared); err != nil {
		t.Skip(err)
	}
	return shared
}
