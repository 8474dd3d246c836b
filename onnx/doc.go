// Package onnx reads, edits and writes ONNX models without losing anything.
//
// A decoded [Model] is a tree of read-only views. Every message of it remembers the bytes it was decoded from, and
// encoding emits those bytes again for each message that no [Patch] touched, whatever order or packing their writer
// chose. Weights stay in the memory-mapped file until [Tensor.Array] is called.
package onnx
