// Package dataset reads .npy, .npz, .csv and ONNX test_data_set folders into feeds for a model.
package dataset

import (
	"context"
	"errors"
	"io"

	"github.com/trconvert/trconvert/onnx"
)

var errNotYet = errors.New("dataset: not written yet")

// Options say how arrays become samples (CLI.md, DATA).
type Options struct {
	BatchAxis map[string]int    // --batch-axis NAME=K
	States    map[string]string // --state OUT=IN: output name to input name; the arrays then carry sample and step axes
	Labels    string            // name of the label array, "" for none
}

// Dataset is a list of samples for one model.
type Dataset struct{}

// Open reads path (its kind told by name and content) and checks every array against the model's true inputs.
func Open(ctx context.Context, path string, m *onnx.Model, o Options) (*Dataset, error) {
	return nil, errNotYet
}

// Len is the number of samples (streams, with States).
func (d *Dataset) Len() int { return 0 }

// Steps is the number of steps of each stream, 1 without States.
func (d *Dataset) Steps() int { return 1 }

// Feeds returns the inputs for samples [from, to) as one batch where the model's batch axis is symbolic, or for one sample (to = from+1)
// otherwise; step counts within a stream. State inputs are left to the caller.
func (d *Dataset) Feeds(from, to, step int) (map[string]*onnx.Array, error) { return nil, errNotYet }

// MaxBatch is how many samples one Feeds call may join: 1 where the model's batch dimension is fixed at 1.
func (d *Dataset) MaxBatch() int { return 1 }

// ReadNPY reads one array; Fortran order and big-endian data are converted, object arrays refused.
func ReadNPY(r io.Reader, name string) (*onnx.Array, error) { return nil, errNotYet }

// WriteNPY writes one array in format version 1.0.
func WriteNPY(w io.Writer, a *onnx.Array) error { return errNotYet }

// WriteNPZ writes arrays under their names, sorted, uncompressed and without times.
func WriteNPZ(w io.Writer, arrays map[string]*onnx.Array) error { return errNotYet }

// ReadNPZFile opens an .npz file and reads the named members (all where names is empty).
func ReadNPZFile(path string, names ...string) (map[string]*onnx.Array, error) { return nil, errNotYet }
