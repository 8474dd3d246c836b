//go:build !((darwin || freebsd || linux || windows) && (amd64 || arm64))

package ort

import (
	"context"
	goruntime "runtime"

	"github.com/trconvert/trconvert/onnx"
)

// Engine is not available on this system.
type Engine struct{}

// Open always fails on this system.
func Open(Options) (*Engine, error) {
	return nil, &LibraryError{"", "shared libraries are not opened on " + goruntime.GOOS + "/" + goruntime.GOARCH + " (use another engine)"}
}

// Version is empty.
func (e *Engine) Version() string { return "" }

// Run always fails on this system.
func (e *Engine) Run(context.Context, string, map[string]*onnx.Array) (map[string]*onnx.Array, error) {
	_, err := Open(Options{})
	return nil, err
}

// Load always fails on this system.
func (e *Engine) Load(context.Context, string) (*Session, error) {
	_, err := Open(Options{})
	return nil, err
}

// Session is not available on this system.
type Session struct{}

// Inputs is empty.
func (s *Session) Inputs() []string { return nil }

// Outputs is empty.
func (s *Session) Outputs() []string { return nil }

// Run always fails on this system.
func (s *Session) Run(context.Context, map[string]*onnx.Array) (map[string]*onnx.Array, error) {
	_, err := Open(Options{})
	return nil, err
}

// Close does nothing.
func (s *Session) Close() {}
