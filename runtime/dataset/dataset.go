// Package dataset reads .npy, .npz, .csv and ONNX test_data_set folders into feeds and shuffled batches for a model.
//
// What an array means is told by its rank. An array of the input's rank + 1 (+ 2 with [Options.States]) has samples (and steps) in front;
// one of equal rank whose axis 0 is symbolic in the model, or differs from it, has the batch there; one of equal rank whose dims are all fixed
// and equal is a constant. [Options.BatchAxis] says otherwise where that is wrong, as for time-major inputs. In a test_data_set folder
// each input_K.pb is one whole feed.
//
// Labels are classes (integers from 0, per sample or per step; [Ignore] where there is none) or targets of any shape behind the sample axis. Which of the
// two is the caller's to know: see [Dataset.Classes] and [Dataset.CheckTargets].
//
// Arrays are held in memory as long as they fit [Options.Memory], float16 as float16. Of a larger .npy, and of a larger .npz member that is not
// compressed, only the rows of a batch are read from where they lie; the checksum of such a member is not compared. A larger compressed member and the numbers
// of a larger .csv are unfolded once, to a file in the folder for temporary files. The files of a larger test_data_set folder are read again whenever they are wanted.
// Arrays in Fortran order, whose rows do not lie together, are always in memory. Files are read by position and not mapped: one that shrinks meanwhile is an error
// and not a signal.
package dataset

import (
	"context"
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// DefaultMemory is what [Options.Memory] is where it is 0: 512 MiB.
const DefaultMemory = 512 << 20

// Options say how arrays become samples.
type Options struct {
	// BatchAxis names the batch axis of an input. For arrays of equal rank the samples lie along it; samples that have an axis of their
	// own in front are joined along it, which is only done where it is given.
	BatchAxis map[string]int
	States    map[string]string // output name to input name of a stream's states; the arrays then carry sample and step axes
	// Labels names the labels, "" for none: an array of an .npz, a column of a .csv (by its header, or without one by its number from 1, -1
	// the last), an .npy file beside the data's .npy, or in a test_data_set folder a file NAME.pb of each set or an output of the model (output_K.pb).
	Labels string
	// Lengths names an .npz array of one integer for each sample: the steps that count where samples are padded, at least 1. It may be an input of the
	// model, as sequence_lens is. "" for none.
	Lengths string
	Memory  int64 // bytes of arrays that are held in memory; 0: DefaultMemory
}

// Dataset is a list of samples for one model. It is read-only and safe for concurrent use.
type Dataset struct {
	path    string
	rows    int   // samples in the file
	index   []int // those of a part, nil for all
	fixed   int   // samples that a model with a fixed batch takes at once, else 1
	joins   bool  // samples can be joined to a batch of any size
	streams bool
	steps   int
	inputs  []*series
	labels  *labels
	lengths []int
	files   *files
}

// Open reads path (its kind told by name and content) and checks every array against the model's true inputs (those that are not
// initializers). Arrays for state inputs are not read: a state starts at zero and is the caller's. Other arrays of an .npz that are neither an input nor
// the labels nor the lengths are not read either.
//
// Elements stay as they are stored and are cast to the input's type feed by feed; that they fit is checked here. Errors name the file, the array
// and both shapes. Close the data set to give back its files.
func Open(ctx context.Context, path string, m *onnx.Model, o Options) (*Dataset, error) {
	b, err := newBinder(path, m, o)
	if err != nil {
		return nil, err
	}
	d, err := b.open(ctx)
	if err != nil {
		b.files.close()
		return nil, err
	}
	return d, nil
}

// Close gives back what is open or was unfolded to a temporary file. Parts made by Split share the files. It may be called again; feeds that
// are still wanted afterwards may be errors. An unclosed data set is closed when it is garbage.
func (d *Dataset) Close() error { return d.files.close() }

// at is the number in the file of sample i.
func (d *Dataset) at(i int) int {
	if d.index != nil {
		return d.index[i]
	}
	return i
}

// Len is the number of samples: of rows along the batch axis, of sets of a folder, of streams with States.
func (d *Dataset) Len() int {
	if d.index != nil {
		return len(d.index)
	}
	return d.rows
}

// Steps is the number of steps of each stream, 1 without States.
func (d *Dataset) Steps() int { return d.steps }

// MaxBatch is how many samples one Feeds call may join: Len where all batch dimensions are symbolic, K where the model fixes them at K, 1 where
// they are not known.
func (d *Dataset) MaxBatch() int {
	if d.joins {
		return d.Len()
	}
	return d.fixed
}

// Feeds returns the inputs for samples [from, to) as one batch of at most MaxBatch, at one step of the streams (0 without States). Where
// the model's batch dimension is fixed at K and the samples are fewer, those that follow fill it up, from the first again behind the last. State inputs are left
// to the caller. The arrays may share the dataset's memory and must not be written to.
func (d *Dataset) Feeds(from, to, step int) (map[string]*onnx.Array, error) {
	n := d.Len()
	if from < 0 || to <= from || to > n || to-from > d.MaxBatch() || step < 0 || step >= d.steps {
		return nil, fmt.Errorf("dataset: samples [%d, %d) at step %d: there are %d samples of %d steps, at most %d in one batch", from, to, step, n, d.steps, d.MaxBatch())
	}
	samples := make([]int, 0, max(to-from, d.fixed))
	for i := from; i < max(to, from+d.fixed); i++ {
		samples = append(samples, d.at(i%n))
	}
	feeds := make(map[string]*onnx.Array, len(d.inputs))
	for _, s := range d.inputs {
		a, err := s.feed(samples, window{step: step, steps: 1})
		if err != nil {
			return nil, err
		}
		feeds[s.name] = a
	}
	return feeds, nil
}

// CheckFinite reads all inputs and names the first value that is NaN or infinite, as Batches does when it meets one.
func (d *Dataset) CheckFinite(ctx context.Context) error {
	for _, s := range d.inputs {
		for k, a := range s.parts {
			err := a.blocks(func(from int, data any) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				block := &onnx.Array{Type: a.typ, Data: data}
				i := nonFinite(block)
				if i < 0 {
					return nil
				}
				set := ""
				if len(s.parts) > 1 {
					set = fmt.Sprintf("set %d, ", k)
				}
				return fmt.Errorf("dataset: %s: %sat %s: %v is not a finite number", quote(s.from), set, indexString(a.dims, from+i), element(block, i))
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
