package recurrent

import (
	"context"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Whatever decodes: sites or an error, never a panic; what is called decomposable has a matrix of the size it says, or an error.
func FuzzFind(f *testing.F) {
	seed := func(change func(*tinyModel)) {
		tiny := newTiny(1)
		change(tiny)
		data, err := proto.Marshal(tiny.ModelProto)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	seed(func(*tinyModel) {})
	seed(func(m *tinyModel) {
		m.lstm.Attribute = append(m.lstm.Attribute, attrString("direction", "bidirectional"))
	})
	seed(func(m *tinyModel) {
		m.init("W").Name, m.init("W").Dims = proto.String("W0"), []int64{12, 4}
		m.Graph.Initializer = append(m.Graph.Initializer, intTensor("axes", 0))
		m.prepend(op("Unsqueeze", []string{"W0", "axes"}, "W"))
		second := proto.Clone(m.lstm).(*onnxpb.NodeProto)
		second.Output = []string{"Y2"}
		m.Graph.Node = append(m.Graph.Node, second)
	})
	seed(func(m *tinyModel) {
		m.lstm.OpType = proto.String("GRU")
		m.lstm.Attribute[0].I = proto.Int64(4)
		m.dropInit("R")
		m.Graph.Input = append(m.Graph.Input, valueInfo("R", onnx.Float, 1, 12, 4))
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnx.Decode("fuzz.onnx", data)
		if err != nil {
			return
		}
		Diagnose(m)
		sites, err := Find(context.Background(), m)
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, s := range sites {
			if names[s.Name] {
				t.Errorf("two sites are called %q", s.Name)
			}
			names[s.Name] = true
			if s.Decomposable == (s.Reason != "") {
				t.Errorf("%q: decomposable %v, reason %q", s.Name, s.Decomposable, s.Reason)
			}
			w, err := s.Weight(context.Background())
			if err == nil && (len(w.Data) == 0 || int64(len(w.Data)) != s.WParameters()) {
				t.Errorf("%q: W has %d numbers, the site says %d", s.Name, len(w.Data), s.WParameters())
			}
		}
	})
}
