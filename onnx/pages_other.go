//go:build !linux

package onnx

// dropPages does nothing: the system decides alone which pages of a mapping stay in memory.
func dropPages([]byte) {}
