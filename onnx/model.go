package onnx

import "sync/atomic"

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

	origin   *origin
	closed   atomic.Bool
	warnings []Warning
	src      message
}

// OpenOptions say how a file is opened; the zero value is the default.
type OpenOptions struct {
	FollowLinks bool // external data may lie behind symbolic links
}
