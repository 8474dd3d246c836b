package gates

import (
	"slices"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// separate puts a copy (a product with ones) before every Reshape whose operand others read as well, where one of the readers is an operation on elements. Small runtimes give a Reshape the
// memory of its operand, and onnx-go's then computes the operation in place, in the memory that two names stand for.
func (e *emitter) separate() {
	readers := map[string][]*onnxpb.NodeProto{}
	for _, n := range e.graph.Node {
		for _, in := range n.Input {
			readers[in] = append(readers[in], n)
		}
	}
	// Whether the memory of a value may be written by a reader, of itself or of another shape of it.
	var written func(name string) bool
	written = func(name string) bool {
		return slices.ContainsFunc(readers[name], func(n *onnxpb.NodeProto) bool {
			switch n.GetOpType() {
			case "Reshape":
				return n.Input[0] == name && written(n.Output[0])
			case "MatMul", "Concat", "Transpose":
				return false
			}
			return true
		})
	}
	var nodes []*onnxpb.NodeProto
	for _, n := range e.graph.Node {
		if from := n.Input[0]; n.GetOpType() == "Reshape" && len(readers[from]) > 1 && written(from) {
			dims := e.held[from]
			ones := e.filled(from+".ones", dims, 1)
			copied := e.used.Fresh(from + ".copy")
			nodes = append(nodes, node("Mul", []string{from, ones.name}, copied))
			n.Input[0] = copied
		}
		nodes = append(nodes, n)
	}
	e.graph.Node = nodes
}
