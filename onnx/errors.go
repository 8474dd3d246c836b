package onnx

import (
	"fmt"
	"slices"
	"strings"
)

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

// Lacks lists everything a model needs that some code lacks, for errors that name all of it at once.
type Lacks struct {
	Counts map[string]int    // by "domain.Op: reason"; the default domain is left out
	First  map[string]string // the first node of each, as Node.String gives it
}

// Add counts one more node that needs it.
func (l *Lacks) Add(key, node string) {
	if l.Counts == nil {
		l.Counts, l.First = map[string]int{}, map[string]string{}
	}
	if l.Counts[key]++; l.Counts[key] == 1 {
		l.First[key] = node
	}
}

// String is the list, sorted.
func (l *Lacks) String() string {
	var s []string
	for k, n := range l.Counts {
		s = append(s, fmt.Sprintf("%s (%d, first: %s)", k, n, l.First[k]))
	}
	slices.Sort(s)
	return strings.Join(s, "; ")
}
