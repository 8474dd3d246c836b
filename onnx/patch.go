package onnx

import (
	"context"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Patch collects edits of a model; Apply makes a new model and leaves the old one unchanged.
// Edits address views of the model the patch was made for.
type Patch struct{}

// NewPatch starts an empty patch.
func NewPatch(m *Model) *Patch { return nil }

// Fresh returns a name unused in every scope of the model and not handed out before; it is base itself where that is free.
func (p *Patch) Fresh(base string) string { return "" }

// AddInitializer adds an initializer to scope g; in models of IR < 4 it is added to the main graph's inputs too.
// Inside functions, which have no initializers, it becomes a Constant node at the top of the body.
func (p *Patch) AddInitializer(g *Graph, t *onnxpb.TensorProto) {}

// AddInitializerArray adds a large initializer without a protobuf copy: the payload is written straight from a.Data.
func (p *Patch) AddInitializerArray(g *Graph, name string, a *Array) {}

// InsertBefore adds a node just before an existing one, after those inserted there earlier.
func (p *Patch) InsertBefore(at *Node, n *onnxpb.NodeProto) {}

// Prepend adds a node at the top of scope g, after those prepended earlier.
func (p *Patch) Prepend(g *Graph, n *onnxpb.NodeProto) {}

// SetInput rewires input slot of n to name (the node's other bytes stay).
func (p *Patch) SetInput(n *Node, slot int, name string) {}

// RemoveNode removes a node; its outputs must have no reader left when the patch is applied.
func (p *Patch) RemoveNode(n *Node) {}

// SetMetadata sets (or with value "" removes) one metadata_props entry.
func (p *Patch) SetMetadata(key, value string) {}

// Apply checks the model, makes the edits, removes initializers and chains of nodes that the edits made dead (what was dead before
// stays), and checks the result. An error leaves everything unchanged.
func (p *Patch) Apply(ctx context.Context) (*Model, error) { return nil, errNotYet }
