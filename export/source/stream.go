package source

import "github.com/trconvert/trconvert/onnx"

func (l *lowerer) stream(m *onnx.Model, g *graph) error { return nil }

func (n *node) streamStates(s *Recurrent, size int) {}
func (n *node) saveStates(s *Recurrent)             {}
