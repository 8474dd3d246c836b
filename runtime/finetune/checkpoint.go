package finetune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// Checkpoints say where a training can be taken up again. A checkpoint is one file, [CheckpointFile], of a folder; it is written beside its place, synced and renamed, so that
// whatever goes wrong the one before stays as it was.
type Checkpoints struct {
	Dir     string // "": none; made where it is missing
	Every   int    // optimizer steps between checkpoints inside of epochs (of streams, where they begin anew); 0: behind each epoch only
	Resume  bool   // go on from the checkpoint that is there; without one training begins
	Replace bool   // an existing checkpoint that is not resumed is overwritten; otherwise it is an error
}

// CheckpointFile is the name of the checkpoint in its folder.
const CheckpointFile = "finetune.ckpt"

// CheckpointError says why a checkpoint cannot be resumed.
type CheckpointError struct {
	Path string
	What string
}

func (e *CheckpointError) Error() string {
	return fmt.Sprintf("finetune: checkpoint %q: %s", e.Path, e.What)
}

func (t *trainer) checkpointPath() string {
	return filepath.Join(t.options.Checkpoints.Dir, CheckpointFile)
}

// resume takes the state from the checkpoint where that is wanted and there is one.
func (t *trainer) resume() (bool, error) {
	c := t.options.Checkpoints
	if c.Dir == "" {
		return false, nil
	}
	path := t.checkpointPath()
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(c.Dir, 0o777); err != nil {
			return false, fmt.Errorf("finetune: checkpoint: %w", err)
		}
		return false, nil
	case err != nil:
		return false, fmt.Errorf("finetune: checkpoint: %w", err)
	case !c.Resume && !c.Replace:
		return false, &CheckpointError{path, "exists already (resume it, or take another folder)"}
	case !c.Resume:
		return false, nil
	case !info.Mode().IsRegular():
		return false, &CheckpointError{path, "is no regular file"}
	}
	if err := t.fresh(); err != nil {
		return false, err
	}
	t.state.best.values = cloneAll(t.state.values)
	data, err := readBounded(path, t.largestCheckpoint())
	if err != nil {
		return false, err
	}
	file, err := decodeCheckpoint(data)
	if err != nil {
		return false, &CheckpointError{path, err.Error()}
	}
	if what := file.identity.differs(t.identity); what != "" {
		return false, &CheckpointError{path, what}
	}
	if err := t.restore(file); err != nil {
		return false, &CheckpointError{path, err.Error()}
	}
	return true, nil
}

// largestCheckpoint is more than any checkpoint of this training takes.
func (t *trainer) largestCheckpoint() int64 {
	var n int64 = 1 << 20
	for _, a := range append(t.state.all(), t.state.all()...) {
		n += int64(a.Elements())*8 + 64
	}
	for _, a := range t.state.values {
		n += int64(a.Elements())*8 + 64
	}
	for _, f := range t.identity {
		n += int64(len(f.name) + len(f.value) + 16)
	}
	return n + int64(t.options.Epochs)*64 + int64(len(t.options.Trial.Starts))*8
}

// readBounded reads a file that must not be larger than limit.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("finetune: checkpoint: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("finetune: checkpoint: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, &CheckpointError{path, fmt.Sprintf("has more than %d bytes, which no checkpoint of this training has", limit)}
	}
	return data, nil
}

// restore puts the state of a checkpoint in place of the present one.
func (t *trainer) restore(file *checkpoint) error {
	s := t.state
	lists := []struct {
		what string
		to   []*onnx.Array
	}{{"parameters", s.values}, {"optimizer state", s.moments}, {"average", s.average}, {"best parameters", s.best.values}, {"last good state", nil}}
	middle := file.state.batch > 0
	if middle {
		s.good = cloneAll(s.all())
		lists[4].to = s.good
	}
	if len(file.arrays) != len(lists) {
		return fmt.Errorf("has %d lists of arrays, want %d", len(file.arrays), len(lists))
	}
	for k, l := range lists {
		if len(file.arrays[k]) != len(l.to) {
			return fmt.Errorf("%s: has %d arrays, this training %d", l.what, len(file.arrays[k]), len(l.to))
		}
		for i, a := range file.arrays[k] {
			if a.Type != l.to[i].Type || a.Elements() != l.to[i].Elements() {
				return fmt.Errorf("%s: array %d has %d elements of %v, this training %d of %v", l.what, i, a.Elements(), a.Type, l.to[i].Elements(), l.to[i].Type)
			}
			if at, bad := notFinite(a); bad {
				return fmt.Errorf("%s: element %d of array %d is NaN or infinite", l.what, at, i)
			}
		}
	}
	f := file.state
	switch {
	case f.epoch > t.options.Epochs || f.epoch != len(f.history):
		return fmt.Errorf("stands in epoch %d, with the figures of %d epochs of %d", f.epoch+1, len(f.history), t.options.Epochs)
	case f.batch >= t.steps || f.batch%t.windows != 0:
		return fmt.Errorf("stands at step %d of an epoch of %d", f.batch, t.steps)
	case f.start != 0 && f.start >= len(t.options.Trial.Starts) || len(f.trials) > len(t.options.Trial.Starts):
		return fmt.Errorf("began at start %d of %d trials, there are %d", f.start, len(f.trials), len(t.options.Trial.Starts))
	case f.best.number > f.epoch:
		return fmt.Errorf("has its best epoch %d before it has run (it stands in epoch %d)", f.best.number, f.epoch+1)
	case !(f.scale > 0 && f.scale <= 1) || !(f.plateau.factor > 0 && f.plateau.factor <= 1):
		return fmt.Errorf("scales the rate with %v and %v", f.scale, f.plateau.factor)
	}
	for k, l := range lists {
		copyAll(l.to, file.arrays[k])
	}
	f.values, f.moments, f.average, f.good, f.best.values = s.values, s.moments, s.average, s.good, s.best.values
	*s = f
	return nil
}

// save writes a checkpoint.
func (t *trainer) save(ctx context.Context) error {
	dir := t.options.Checkpoints.Dir
	if dir == "" {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	write := func(w io.Writer) error { return encodeCheckpoint(w, t.identity, t.state) }
	if err := replaceFile(dir, CheckpointFile, write); err != nil {
		return fmt.Errorf("finetune: checkpoint %q cannot be written (the one before is intact): %w", t.checkpointPath(), err)
	}
	return nil
}

// replaceFile writes a file beside its place, syncs it and renames it.
func replaceFile(dir, name string, write func(io.Writer) error) (err error) {
	temporary := filepath.Join(dir, name+".part")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temporary)
		}
	}()
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
		return err
	}
	if goruntime.GOOS == "windows" { // which syncs no folders
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// fact is one thing that two trainings must have in common for one to go on where the other was.
type fact struct{ name, value string }

// identity is all of them, in a fixed order.
type identity []fact

// differs names the first fact in which identities differ, "" where there is none.
func (id identity) differs(from identity) string {
	known := map[string]string{}
	for _, f := range id {
		known[f.name] = f.value
	}
	for _, f := range from {
		if v, ok := known[f.name]; !ok || v != f.value {
			return fmt.Sprintf("is of another training: its %s is %s, this one's %s", f.name, brief(v), brief(f.value))
		}
	}
	if len(id) != len(from) {
		return fmt.Sprintf("is of another training: it has %d facts, this one %d", len(id), len(from))
	}
	return ""
}

// brief quotes a value, cut to a length that can be read.
func brief(v string) string {
	const most = 200
	if len(v) > most {
		v = strings.ToValidUTF8(v[:most], "") + "…"
	}
	return fmt.Sprintf("%q", v)
}
