package finetune

import (
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// Link is the function that turns logits into an output.
type Link uint8

// The links. LogSoftmax counts as Softmax: both have the same logits.
const (
	Plain   Link = iota // the output is what the loss reads
	Softmax             // probabilities of classes
	Sigmoid             // probabilities of yes
)

func (l Link) String() string { return [...]string{"plain", "softmax", "sigmoid"}[l] }

// Head is an output of a model as objectives read it: in front of a last Softmax, LogSoftmax or Sigmoid, where losses are exact for logits of any size.
type Head struct {
	Output string // name of the model's output
	Value  string // value of the main graph that the loss reads
	Link   Link   // between the two

	axis     int  // of the classes in Value, negative from the end
	flat     bool // the classes are all axes from axis on
	elements bool // each element stands for itself
}

// FindHead looks what an output of the main graph comes from. Nodes that only move elements (Identity, Dropout, Squeeze, Unsqueeze, Transpose) between the last
// function and the output are passed over. Where there is no such function the output counts as logits along its last axis, see [Head.Elements].
func FindHead(m *onnx.Model, output string) (Head, error) {
	makers := map[string]*onnx.Node{}
	for _, n := range m.Graph.Nodes {
		for _, name := range n.Outputs {
			makers[name] = n
		}
	}
	h := Head{Output: output, Value: output, axis: -1}
	declared := false
	for _, v := range m.Graph.Outputs {
		declared = declared || v.Name == output
	}
	if makers[output] == nil && !declared {
		return h, fmt.Errorf("finetune: output %q: the model has no such value", output)
	}
	name := output
	for range m.Graph.Nodes {
		n := makers[name]
		if n == nil || n.Domain != "" && n.Domain != "ai.onnx" || n.Output(0) != name {
			return h, nil
		}
		switch n.OpType {
		case "Identity", "Dropout", "Squeeze", "Unsqueeze", "Transpose":
			name = n.Input(0)
		case "Sigmoid":
			h.Value, h.Link, h.elements = n.Input(0), Sigmoid, true
			return h, nil
		case "Softmax", "LogSoftmax":
			h.Value, h.Link = n.Input(0), Softmax
			return h, h.softmaxAxis(n)
		default:
			return h, nil
		}
	}
	return h, nil
}

// softmaxAxis reads the class axis: the specification's default is the last since opset 13; before, all axes from 1 on.
func (h *Head) softmaxAxis(n *onnx.Node) error {
	newer := n.Graph.Opset(n.Domain) >= 13
	axis := int64(1)
	if newer {
		axis = -1
	}
	axis, err := n.AttrInt("axis", axis)
	if err != nil {
		return fmt.Errorf("finetune: %v: %w", n, err)
	}
	if axis < -64 || axis > 64 {
		return fmt.Errorf("finetune: %v: axis %d is out of range", n, axis)
	}
	h.axis, h.flat = int(axis), !newer && axis >= 0
	return nil
}

// Elements is the head with every element standing for itself, as squared errors and yes-or-no losses see it.
func (h Head) Elements() Head {
	h.elements, h.flat = true, false
	return h
}

// Itself is the head whose loss reads the output as it is.
func (h Head) Itself() Head {
	return Head{Output: h.Output, Value: h.Output, axis: -1, elements: true}
}
