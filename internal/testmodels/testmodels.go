// Package testmodels generates the models of testdata/models: everything this project's tests and documents convert is made here, from
// seeds, so that no one else's file is needed.
//
// Expected outputs are not made here: testdata/models/expect.py computes them with NumPy after the ONNX specification, an oracle that
// shares no code with this project.
package testmodels

import (
	"archive/zip"
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// heldBack is the number of labelled clips in gestures.npz, trained that in gestures_train.npz, and trial the number in the stored test of gestures.onnx.
const (
	heldBack = 160
	trained  = 480
	trial    = 3
)

// Files returns every generated file by its path below testdata/models: NAME.onnx, NAME/test_data_set_0/input_K.pb, gestures.npz, whose clips
// the classifier was not fitted to, and gestures_train.npz, a part of those that it was fitted to.
func Files() (map[string][]byte, error) {
	marshal := proto.MarshalOptions{Deterministic: true}.Marshal
	files := map[string][]byte{}
	for name, g := range graphs() {
		b, err := marshal(model(g))
		if err != nil {
			return nil, describe(name, err)
		}
		files[name+".onnx"] = b
		in := inputs(g)
		if name == "gestures" {
			in = []*onnxpb.TensorProto{trialFrames()}
		}
		for k, t := range in {
			if b, err = marshal(t); err != nil {
				return nil, describe(name, err)
			}
			files[filepath.Join(name, "test_data_set_0", "input_"+string(rune('0'+k))+".pb")] = b
		}
	}
	for name, clips := range map[string]map[string]*onnx.Array{"gestures.npz": Clips("test", heldBack), "gestures_train.npz": Clips("train", trained)} {
		z, err := deflated(clips)
		if err != nil {
			return nil, describe(name, err)
		}
		files[name] = z
	}
	return files, nil
}

// deflated writes a compressed .npz: the frames are mostly dark.
func deflated(arrays map[string]*onnx.Array) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		f, err := z.Create(name + ".npy")
		if err != nil {
			return nil, err
		}
		if err := dataset.WriteNPY(f, arrays[name]); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return b.Bytes(), err
}

// Clips makes n labelled gestures as arrays frames [n, steps, pixels] (grey values as uint8) and label [n]. The streams "train" and "test" share no clip;
// gestures.onnx was fitted to the first 2400 of "train".
func Clips(stream string, n int) map[string]*onnx.Array {
	frames, labels := make([]uint8, 0, n*steps*pixels), make([]int64, n)
	for i, c := range clips(stream, n) {
		labels[i] = int64(c.label)
		for t := range c.pixels {
			frames = append(frames, c.pixels[t][:]...)
		}
	}
	return map[string]*onnx.Array{
		"frames": {Type: onnx.Uint8, Dims: []int{n, steps, pixels}, Data: frames},
		"label":  {Type: onnx.Int64, Dims: []int{n}, Data: labels},
	}
}

func trialFrames() *onnxpb.TensorProto {
	var grey []float64
	for _, c := range clips("trial", trial) {
		for t := range c.pixels {
			for _, v := range c.pixels[t] {
				grey = append(grey, float64(v))
			}
		}
	}
	return tensor("frames", onnx.Float, []int64{trial, steps, pixels}, grey)
}

// Write writes all files below dir.
func Write(dir string) error {
	files, err := Files()
	if err != nil {
		return err
	}
	for name, b := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
