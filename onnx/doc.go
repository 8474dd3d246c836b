// Package onnx reads, edits and writes ONNX models without losing anything.
//
// A decoded [Model] is a tree of read-only views. Every message of it remembers the bytes it was decoded from, and
// encoding emits those bytes again for each message that no [Patch] touched, whatever order or packing their writer
// chose, unknown fields included. Weights stay in the memory-mapped file until [Tensor.Array] is called: opening a
// model costs time and memory for its nodes and names, not for its weights.
//
// # Trust
//
// A model file is data from somewhere. Decoding is bounded in depth, in time and in memory by the bytes really
// present; a tensor's declared dims are compared with its payload before anything is allocated for them. External
// data is read below the model's folder only, see [External]. A mapped file that is truncated while it is in use gives
// an error where other programs crash. Names are escaped wherever a message prints them.
//
// # Errors
//
// A [FormatError] says that the bytes are no valid model, with the place in the file and in the graph. An
// [UnsupportedError] says that the model is valid as far as one can see but uses what this package does not know, such
// as a newer IR version. What is no error but worth knowing is in [Model.Warnings].
//
// # Sources
//
// The messages are those of onnx-ml.proto and onnx-data.proto; their meaning is that of the ONNX intermediate
// representation (docs/IR.md and docs/ExternalData.md of https://github.com/onnx/onnx).
package onnx
