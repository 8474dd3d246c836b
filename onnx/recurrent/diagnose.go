package recurrent

import (
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// Diagnose explains a model in which no recurrent node stands: it looks for cells that an exporter wrote out as matrix products and
// gate functions, in the bodies of Loop and Scan or unrolled step by step, and says how to export them as one node. It returns ""
// for a model that has recurrent nodes.
func Diagnose(m *onnx.Model) string {
	if m.Graph == nil || len(Nodes(m)) > 0 {
		return ""
	}
	var loops []string
	for _, g := range m.Scopes() {
		if n := g.Owner; n != nil && (n.OpType == "Loop" || n.OpType == "Scan") && count(g).cell() {
			loops = append(loops, fmt.Sprintf("%s %q", n.OpType, label(n)))
		}
	}
	const prefix = "the model has no LSTM, GRU or RNN node: "
	if len(loops) > 0 {
		more := ""
		if len(loops) > 1 {
			more = fmt.Sprintf(" and %d more", len(loops)-1)
		}
		return prefix + "its cells are written out as matrix products and gate functions in the body of " + loops[0] + more +
			", the weights carried through the loop, so there is nothing to decompose (re-export so that each layer stays one node: " +
			"Keras models from Keras 2 with tf2onnx 1.9.3 or later, which recognises its LSTM loops; PyTorch models with nn.LSTM, nn.GRU or nn.RNN)"
	}
	if c := count(m.Graph); c.products >= 2 && c.sigmoids >= 2 && c.tanhs >= 2 {
		return prefix + fmt.Sprintf("%d matrix products, %d Sigmoid and %d Tanh nodes look like cells unrolled step by step", c.products, c.sigmoids, c.tanhs) +
			" (re-export with the layer as one node: nn.LSTM, nn.GRU or nn.RNN instead of their Cell modules in PyTorch, unroll=False in Keras)"
	}
	return prefix + "there is nothing to decompose"
}

// census counts the operators that cells are written out with.
type census struct{ products, sigmoids, tanhs int }

func (c census) cell() bool { return c.products > 0 && (c.sigmoids > 0 || c.tanhs > 0) }

func count(g *onnx.Graph) census {
	var c census
	for _, n := range g.Nodes {
		switch n.OpType {
		case "MatMul", "Gemm":
			c.products++
		case "Sigmoid", "HardSigmoid":
			c.sigmoids++
		case "Tanh":
			c.tanhs++
		}
	}
	return c
}
