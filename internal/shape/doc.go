// Package shape moves elements of any type: Transpose, Slice, Concat, Gather, Expand and the like, generic over the element type. It serves
// constant evaluation in package onnx and the operators of package runtime.
package shape
