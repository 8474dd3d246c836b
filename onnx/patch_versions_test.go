package onnx

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// versioned is a model of an old format with an initializer that is an input as it must be there, and a function.
func versioned(ir int64) *onnxpb.ModelProto {
	p := protoModel()
	p.IrVersion = proto.Int64(ir)
	p.OpsetImport = []*onnxpb.OperatorSetIdProto{{Domain: proto.String("ai.onnx"), Version: proto.Int64(9)}, {Domain: proto.String("other"), Version: proto.Int64(2)}}
	p.Functions = []*onnxpb.FunctionProto{{Name: proto.String("f"), Domain: proto.String("other"), Input: []string{"a"}, Output: []string{"b"},
		Node:        []*onnxpb.NodeProto{{OpType: proto.String("Relu"), Input: []string{"a"}, Output: []string{"b"}}},
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(10)}}}}
	return p
}

// TestSetVersions reads the written bytes with the generated types: nothing but the versions changes.
func TestSetVersions(t *testing.T) {
	p := versioned(7)
	m, err := FromProto("m", p)
	if err != nil {
		t.Fatal(err)
	}
	patch := NewPatch(m)
	patch.SetOpset(m.Graph, "", 13)
	patch.SetOpset(m.Functions[0].Body, "ai.onnx", 13)
	patch.SetIRVersion(8)
	out, err := patch.Apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := out.Encode(&b); err != nil {
		t.Fatal(err)
	}
	got := &onnxpb.ModelProto{}
	if err := proto.Unmarshal([]byte(b.String()), got); err != nil {
		t.Fatal(err)
	}
	want := proto.Clone(p).(*onnxpb.ModelProto)
	want.IrVersion = proto.Int64(8)
	want.OpsetImport[0] = &onnxpb.OperatorSetIdProto{Domain: proto.String(""), Version: proto.Int64(13)}
	want.Functions[0].OpsetImport[0] = &onnxpb.OperatorSetIdProto{Domain: proto.String(""), Version: proto.Int64(13)}
	if !proto.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if out.Opset("") != 13 || out.Opset("other") != 2 || out.IRVersion != 8 || m.Opset("") != 9 {
		t.Errorf("the views have opsets %v and IR %d, those of the old model %v", out.Opsets, out.IRVersion, m.Opsets)
	}
}

func TestSetVersionsRefuses(t *testing.T) {
	m, err := FromProto("m", versioned(7))
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Patch){
		"domain \"missing\"": func(p *Patch) { p.SetOpset(m.Graph, "missing", 1) },
		"version 0":          func(p *Patch) { p.SetOpset(m.Graph, "", 0) },
		"SetIRVersion: 0":    func(p *Patch) { p.SetIRVersion(0) },
		"is nil":             func(p *Patch) { p.SetOpset(nil, "", 13) },
	} {
		p := NewPatch(m)
		edit(p)
		if _, err := p.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error with %s", err, name)
		}
	}
}
