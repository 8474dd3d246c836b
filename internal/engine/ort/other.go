//go:build !((darwin || freebsd || linux || windows) && (amd64 || arm64)) || noort

package ort

import (
	"context"
	goruntime "runtime"

	"github.com/trconvert/trconvert/onnx"
)

// Engine is not available on this system, or in a build with the tag noort.
type Engine struct{}

// Open always fails here.
func Open(Options) (*Engine, error) {
	return nil, &LibraryError{"", "this build for " + goruntime.GOOS + "/" + goruntime.GOARCH + " opens no shared libraries (use another engine)"}
}

// Version is empty.
func (e *Engine) Version() string { return "" }

// Run always fails here.
func (e *Engine) Run(context.Context, string, map[string]*onnx.Array) (map[string]*onnx.Array, error) {
	_, err := Open(Options{})
	return nil, err
}

// Load always fails here.
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

// Run always fails here.
func (s *Session) Run(context.Context, map[string]*onnx.Array) (map[string]*onnx.Array, error) {
	_, err := Open(Options{})
	return nil, err
}

// Close does nothing.
func (s *Session) Close() {}
