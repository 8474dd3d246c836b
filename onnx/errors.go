package onnx

import "fmt"

// FormatError says that the bytes are not a valid ONNX model.
type FormatError struct {
	File   string
	Offset int64  // byte offset in the file, -1 where unknown
	Path   string // graph path: `graph.node[12] LSTM "encoder/rnn" attribute "direction"`
	What   string // what is wrong, with both values, and what to do
}

func (e *FormatError) Error() string {
	s := "onnx: "
	if e.File != "" {
		s += printable(e.File) + ": "
	}
	if e.Path != "" {
		s += e.Path + ": "
	}
	s += e.What
	if e.Offset >= 0 {
		s += fmt.Sprintf(" (byte offset %d)", e.Offset)
	}
	return s
}

// UnsupportedError says that the model is valid but uses what this package does not do.
type UnsupportedError struct {
	File string
	Path string
	What string
}

func (e *UnsupportedError) Error() string {
	s := "onnx: "
	if e.File != "" {
		s += printable(e.File) + ": "
	}
	if e.Path != "" {
		s += e.Path + ": "
	}
	return s + e.What
}
