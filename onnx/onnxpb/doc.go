// Package onnxpb holds the Go types of the ONNX schema, generated from trconvert-onnx.proto: the messages of
// onnx-ml.proto and onnx-data.proto (proto2) under the proto package trconvert.onnx.
package onnxpb

//go:generate go -C gen run . ../trconvert-onnx.proto ../onnx.pb.go
