package onnx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// TestRoundTripModels checks, on every model of the test material, that decoding and encoding gives the input's bytes,
// both from the untouched model and with every message on the way to the nodes made anew.
func TestRoundTripModels(t *testing.T) {
	files := sharedFiles(t, ".", ".onnx")
	if len(files) < 300 {
		t.Fatalf("only %d models found", len(files))
	}
	for _, path := range files {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := OpenFile(context.Background(), path, OpenOptions{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		checkEncodes(t, path, m, want)
		if m.FileBytes() < int64(len(want)) {
			t.Errorf("%s: FileBytes %d is below the file's %d", path, m.FileBytes(), len(want))
		}
		if m.Size() != int64(len(want)) {
			t.Errorf("%s: Size is %d, the file has %d bytes", path, m.Size(), len(want))
		}
		derived, _ := m.derive()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		for _, g := range derived.Scopes() {
			touch(g)
			for _, n := range g.Nodes {
				n.src.raw = nil
			}
		}
		checkEncodes(t, path+" (touched)", derived, want)
		if err := derived.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d models", len(files))
}

func checkEncodes(t *testing.T, name string, m *Model, want []byte) {
	t.Helper()
	var got bytes.Buffer
	n, err := m.Encode(&got)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if n != int64(got.Len()) || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s: encoding gives %d bytes (reported %d) that differ from the input's %d", name, got.Len(), n, len(want))
	}
}

// TestRoundTripValues reads the inputs and outputs stored with ONNX's operator tests: tensors come out as they went in,
// and every tensor, also inside sequences and optionals, decodes to the payload that the generated types see.
func TestRoundTripValues(t *testing.T) {
	tensors, others := 0, 0
	for _, path := range sharedFiles(t, "onnx-node", "model.onnx") {
		m, err := OpenFile(context.Background(), path, OpenOptions{})
		if err != nil {
			t.Error(err)
			continue
		}
		dir := filepath.Dir(path)
		for kind, infos := range map[string][]*ValueInfo{"input": m.Graph.Inputs, "output": m.Graph.Outputs} {
			for k, info := range infos {
				name := filepath.Join(dir, "test_data_set_0", fmt.Sprintf("%s_%d.pb", kind, k))
				data, err := os.ReadFile(name)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				} else if err != nil {
					t.Fatal(err)
				}
				v, err := DecodeValue(name, data, info.Type)
				if err != nil {
					t.Error(err)
					continue
				}
				if v.Kind == "tensor" {
					tensors++
					if got, err := EncodeTensor(v.Tensor); err != nil || !bytes.Equal(got, data) {
						t.Errorf("%s: encoding differs from the input (%v)", name, err)
					}
				} else {
					others++
				}
				checkValue(t, name, v, data)
			}
		}
		m.Close()
	}
	if tensors < 1000 || others < 1 {
		t.Errorf("only %d tensors and %d other values found", tensors, others)
	}
	t.Logf("%d tensors, %d sequences and optionals", tensors, others)
}

// checkValue compares a decoded value with the same bytes in the generated types.
func checkValue(t *testing.T, name string, v *Value, data []byte) {
	t.Helper()
	switch v.Kind {
	case "tensor":
		p := &onnxpb.TensorProto{}
		if err := proto.Unmarshal(data, p); err != nil {
			t.Fatal(err)
		}
		checkTensor(t, name, v.Tensor, p)
	case "sequence":
		p := &onnxpb.SequenceProto{}
		if err := proto.Unmarshal(data, p); err != nil {
			t.Fatal(err)
		}
		if len(v.Elems) != len(p.TensorValues)+len(p.SequenceValues)+len(p.OptionalValues) {
			t.Errorf("%s: %d elements", name, len(v.Elems))
			return
		}
		for i, tp := range p.TensorValues {
			checkTensor(t, name, v.Elems[i].Tensor, tp)
		}
	case "optional":
		p := &onnxpb.OptionalProto{}
		if err := proto.Unmarshal(data, p); err != nil {
			t.Fatal(err)
		}
		switch {
		case p.TensorValue != nil:
			checkTensor(t, name, v.Of.Tensor, p.TensorValue)
		case p.SequenceValue != nil:
			if v.Of.Kind != "sequence" || len(v.Of.Elems) != len(p.SequenceValue.TensorValues) {
				t.Errorf("%s: %+v", name, v.Of)
				return
			}
			for i, tp := range p.SequenceValue.TensorValues {
				checkTensor(t, name, v.Of.Elems[i].Tensor, tp)
			}
		case v.Of != nil:
			t.Errorf("%s: an empty optional holds %+v", name, v.Of)
		}
	}
}

// checkTensor compares a decoded tensor with the generated type's.
func checkTensor(t *testing.T, name string, got *Tensor, want *onnxpb.TensorProto) {
	t.Helper()
	if got.Name != want.GetName() || int32(got.Type) != want.GetDataType() || !slices.Equal(got.Dims, want.Dims) {
		t.Errorf("%s: %q %s %v, want %q %d %v", name, got.Name, got.Type, got.Dims, want.GetName(), want.GetDataType(), want.Dims)
		return
	}
	a, err := got.Array()
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if err := a.Check(); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if got.Type == String {
		for i, s := range a.Data.([]string) {
			if s != string(want.StringData[i]) {
				t.Errorf("%s: string %d is %q, want %q", name, i, s, want.StringData[i])
			}
		}
		return
	}
	b, err := a.Bytes()
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if want.RawData != nil && !bytes.Equal(b, want.RawData) {
		t.Errorf("%s: payload differs from raw_data", name)
	}
	for i, v := range want.FloatData {
		if f := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])); math.Float32bits(f) != math.Float32bits(v) {
			t.Errorf("%s: float %d is %v, want %v", name, i, f, v)
		}
	}
}
