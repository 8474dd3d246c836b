package convert

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
)

// openModel opens a model and checks its graph, so that a broken one is told before any work is done for it.
func openModel(ctx context.Context, path string, f Files) (*onnx.Model, error) {
	m, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{FollowLinks: f.FollowLinks})
	if err != nil {
		return nil, err
	}
	if err := onnx.Check(m); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// noticed lists what was noticed when a model was opened.
func noticed(m *onnx.Model) []Warning {
	all := []Warning{}
	for _, w := range m.Warnings() {
		all = append(all, Warning(w))
	}
	return all
}

// inFile names the file in errors of packages that know none.
func inFile(path string, err error) error {
	var (
		format      *onnx.FormatError
		unsupported *onnx.UnsupportedError
	)
	if err == nil || errors.As(err, &format) || errors.As(err, &unsupported) {
		return err
	}
	return fmt.Errorf("convert: %s: %w", strconv.Quote(path), err)
}
