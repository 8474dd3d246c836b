package onnx

import (
	"context"
	"errors"
	"io"
)

var errNotYet = errors.New("onnx: not written yet")

// Model is a decoded ONNX model. It is read-only and safe for concurrent readers. Close it after the last use of any
// view or payload; Models made by [Patch.Apply] keep their origin open until both are closed.
type Model struct {
	IRVersion       int64
	Opsets          []Opset
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Metadata        []KeyValue
	Graph           *Graph
	Functions       []*Function

	src message
}

// OpenOptions say how a file is opened; the zero value is the default.
type OpenOptions struct {
	FollowLinks bool // external data may lie behind symbolic links
}

// OpenFile maps the file and decodes everything but the weights.
func OpenFile(ctx context.Context, path string, opts OpenOptions) (*Model, error) {
	return nil, errNotYet
}

// Decode decodes a model held in memory; name stands for the file in errors. External data cannot be read.
func Decode(name string, data []byte) (*Model, error) { return nil, errNotYet }

// Close unmaps the file.
func (m *Model) Close() error { return nil }

// File is the path the model was opened from ("" for models in memory).
func (m *Model) File() string { return "" }

// Opset returns the version of an operator domain that the model imports, 0 where it does not.
func (m *Model) Opset(domain string) int64 { return 0 }

// Size is the number of bytes Encode writes.
func (m *Model) Size() int64 { return 0 }

// FileBytes is the size of the file as opened plus the external data it refers to.
func (m *Model) FileBytes() int64 { return 0 }

// Parameters counts the elements of all initializers (and Constant tensors of floating type) in every scope.
func (m *Model) Parameters() int64 { return 0 }

// Encode writes the model; an unpatched model gives back its input bytes.
func (m *Model) Encode(w io.Writer) (int64, error) { return 0, errNotYet }

// WriteOptions say how a file is written.
type WriteOptions struct {
	Force bool // replace an existing file (never the model's own input or its data files)
	// Check, if set, is called with the path of the complete temporary file before it is renamed into place; an error
	// removes it and is returned.
	Check func(path string) error
	// ExternalAbove is the encoded size from which initializers move to "<file>.data"; 0 means 2 GiB − 16 MiB.
	ExternalAbove int64
}

// WriteFile writes the model to a temporary sibling folder, syncs, checks and renames it into place. External payloads of the
// input are taken into the file, or into its own "<file>.data" above the limit.
func (m *Model) WriteFile(ctx context.Context, path string, opts WriteOptions) error {
	return errNotYet
}

// Path names the scope: "" for the main graph, otherwise a chain such as `If_23.else_branch/If_0.then_branch`, or
// `function domain.name`.
func (g *Graph) Path() string { return "" }

// Attr returns an attribute by name, nil where the node has none.
func (n *Node) Attr(name string) *Attribute { return nil }

// String names the node in errors: `graph.node[12] LSTM "encoder/rnn"`, with the scope's path before it.
func (n *Node) String() string { return "" }

// Input returns the k-th input name, "" where absent.
func (n *Node) Input(k int) string { return "" }

// Output returns the k-th output name, "" where absent.
func (n *Node) Output(k int) string { return "" }

// Subgraphs returns the bodies the node holds, in attribute order.
func (n *Node) Subgraphs() []*Graph { return nil }

// Elements is the product of the dims. The decoder has checked that it does not overflow.
func (t *Tensor) Elements() int64 { return 0 }

// Bytes is the number of payload bytes as stored.
func (t *Tensor) Bytes() int64 { return 0 }

// Array decodes the payload (raw or typed fields, or external data) and checks it against Dims.
func (t *Tensor) Array() (*Array, error) { return nil, errNotYet }
