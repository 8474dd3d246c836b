package convert

import (
	"context"
	"io"

	"github.com/trconvert/trconvert/export/safetensors"
)

// exportSafetensors is the target safetensors: the weights as they are stored, under the names of package weights.
func exportSafetensors(ctx context.Context, e *exporting) (*product, error) {
	return e.weightFile(ctx, safetensors.Write)
}

// exportNPZ is the target npz: the same as arrays of NumPy, and what describes them as one array more.
func exportNPZ(ctx context.Context, e *exporting) (*product, error) {
	return e.weightFile(ctx, writeNPZ)
}

func (e *exporting) weightFile(ctx context.Context, write func(io.Writer, *safetensors.File) error) (*product, error) {
	f, err := weightsFile(ctx, e.model)
	if err != nil {
		return nil, inFile(e.o.Model, err)
	}
	if e.report.Weights, err = storageOf(e.model); err != nil {
		return nil, err
	}
	for _, t := range f.Tensors {
		e.report.Output.Parameters += int64(t.Array.Elements())
	}
	return &product{file: func(w io.Writer) error { return write(w, f) }}, nil
}
