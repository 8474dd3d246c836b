package convert

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/export/weights"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// metadataArray is the array of an .npz file that holds the metadata of its weights: the bytes of a JSON object that maps strings to strings, as uint8.
const metadataArray = "__metadata__"

// WeightFiles are the endings of the files that weights are read from.
var WeightFiles = []string{".safetensors", ".npz"}

// writeNPZ writes weights as an .npz file.
func writeNPZ(w io.Writer, f *safetensors.File) error {
	text, err := json.Marshal(f.Metadata)
	if err != nil {
		return fmt.Errorf("convert: metadata: %w", err)
	}
	arrays := map[string]*onnx.Array{metadataArray: {Type: onnx.Uint8, Dims: []int{len(text)}, Data: text}}
	for _, t := range f.Tensors {
		arrays[t.Name] = t.Array
	}
	return dataset.WriteNPZ(w, arrays)
}

// weightsFile reads the weights of a model.
func weightsFile(ctx context.Context, m *onnx.Model) (*safetensors.File, error) {
	set, err := weights.Of(m)
	if err != nil {
		return nil, err
	}
	return set.File(ctx)
}

// readWeights reads a file of weights by its ending.
func readWeights(ctx context.Context, path string) (*safetensors.File, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".safetensors":
		return safetensors.ReadFile(ctx, path)
	case ".npz":
		return readWeightsNPZ(path)
	}
	return nil, &OptionError{Option: "WEIGHTS", Value: path, What: "is no file of weights by its ending", Valid: WeightFiles}
}

func readWeightsNPZ(path string) (*safetensors.File, error) {
	arrays, err := dataset.ReadNPZFile(path)
	if err != nil {
		return nil, err
	}
	f := &safetensors.File{}
	for _, name := range sortedNames(arrays) {
		if name != metadataArray {
			f.Tensors = append(f.Tensors, safetensors.Tensor{Name: name, Array: arrays[name]})
			continue
		}
		text, ok := arrays[name].Data.([]uint8)
		if !ok || len(arrays[name].Dims) != 1 {
			return nil, fmt.Errorf("convert: %s: array %q is %v %v, want the bytes of a JSON object as uint8 [n]", strconv.Quote(path), name, arrays[name].Type, arrays[name].Dims)
		}
		if err := json.Unmarshal(text, &f.Metadata); err != nil {
			return nil, fmt.Errorf("convert: %s: array %q: %w", strconv.Quote(path), name, err)
		}
	}
	return f, nil
}
