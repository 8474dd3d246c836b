// Package onnxpb holds the generated Go types of onnx-ml.proto under the proto package trconvert.onnx.
package onnxpb

// Placeholders until the generated file is here.
type (
	TensorProto struct{}
	NodeProto   struct{}
)
