// Package shape moves elements of any type: Transpose, Slice, Concat, Gather, Expand and the like, generic over the
// element type. It serves constant evaluation in package onnx and the operators of package runtime.
//
// Tensors are given as a slice in C order and its dims; dims are []int, while numbers that come out of a model (axes,
// starts, repeats, indices) are []int64 as ONNX has them, and may be negative where ONNX allows it. Nothing here panics
// on such numbers: every function checks them and the length of the slice, and computes the size of its result with
// overflow checks and against a limit in elements (0: none) before it allocates.
//
// Inputs are never changed, and results never share memory with inputs. Errors say which
// values disagree; callers put the node or the operator in front.
package shape
