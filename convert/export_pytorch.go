package convert

import (
	"context"
	"errors"
	"io"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/pytorch"
	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/onnx"
)

// exportPyTorch is the target pytorch: a module, its weights and a program that trains them.
func exportPyTorch(ctx context.Context, e *exporting) (*product, error) {
	m, err := pytorch.Print(ctx, e.model, pytorch.Options{Trainable: trainedTensors})
	var lacks *pytorch.UnsupportedError
	if errors.As(err, &lacks) {
		return nil, &UnsupportedError{File: e.o.Model, Err: err}
	}
	if err != nil {
		return nil, inFile(e.o.Model, err)
	}
	p := &product{files: map[string]content{pytorch.WeightsFile: func(w io.Writer) error { return safetensors.Write(w, m.Weights) }}}
	for name, text := range m.Files {
		p.files[name] = raw(text)
	}
	r := e.report
	r.Inputs, r.Outputs, r.Weights = describe(trueInputs(e.model)), describe(e.model.Graph.Outputs), export.Float32
	for _, t := range m.Weights.Tensors {
		r.Output.Parameters += int64(t.Array.Elements())
	}
	return p, nil
}

// trainedTensors are the tensors of a model that training may change.
func trainedTensors(full *onnx.Model, records []export.Record) map[*onnx.Tensor]bool {
	trained := map[*onnx.Tensor]bool{}
	for _, w := range weightsOf(full, records) {
		trained[w.tensor] = true
	}
	return trained
}
