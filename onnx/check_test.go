package onnx

import "testing"

// Every model that ONNX Runtime or the ONNX project's own checker accepts is well-formed.
func TestCheckAcceptsRealModels(t *testing.T) {
	for _, folder := range []string{"models", "onnx-node", "data"} {
		t.Run(folder, func(t *testing.T) {
			for _, file := range sharedFiles(t, folder, ".onnx") {
				m, err := OpenFile(t.Context(), file, OpenOptions{})
				if err != nil {
					t.Error(err)
					continue
				}
				if err := Check(m); err != nil {
					t.Error(err)
				}
				m.Close()
			}
		})
	}
}
