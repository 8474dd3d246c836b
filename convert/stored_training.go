package convert

import (
	"context"
	"fmt"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
	"github.com/trconvert/trconvert/runtime/finetune"
)

// unpack makes of a model what is trained, in float32, and what the result is written into, in the storage that is wanted.
func (t *tuning) unpack(ctx context.Context, m *onnx.Model) error {
	full, err := export.Restore(ctx, m)
	if err != nil {
		return err
	}
	if full != m {
		t.closers = append(t.closers, func() { full.Close() })
	}
	t.model, t.written = full, m
	if t.o.Weights == "" {
		t.report.Weights, err = storageOf(m)
		return err
	}
	patch, err := export.Store(ctx, full, export.StoreOptions{Storage: t.o.Weights})
	if err != nil {
		return err
	}
	if t.written, err = patch.Apply(ctx); err != nil {
		return err
	}
	t.closers = append(t.closers, func() { t.written.Close() })
	t.report.Weights, err = storageOf(t.written)
	return err
}

// roundings are those of the trained tensors that are written in fewer bits.
func (t *tuning) roundings() (map[*onnx.Tensor]finetune.Rounding, error) {
	stored, err := export.RestoredTensors(t.written, t.model)
	if err != nil {
		return nil, err
	}
	roundings := map[*onnx.Tensor]finetune.Rounding{}
	for _, w := range t.weights {
		if s, ok := stored[w.tensor]; ok {
			roundings[w.tensor] = s
		}
	}
	return roundings, nil
}

// pack puts what was trained into the model that is written. Back come the patch and the values, in the types of the tensors.
func (t *tuning) pack(r *finetune.Result) (*onnx.Patch, map[*onnx.Tensor]*onnx.Array, error) {
	values := make(map[*onnx.Tensor]*onnx.Array, len(r.Parameters))
	for _, p := range r.Parameters {
		v, err := dataset.Cast(p.Value, p.Tensor.Type) // 16-bit tensors were trained in float32
		if err != nil {
			return nil, nil, fmt.Errorf("convert: %v: %w", p.Tensor, err)
		}
		values[p.Tensor] = v
	}
	patch, err := export.Rewrite(t.written, t.model, values)
	return patch, values, err
}
