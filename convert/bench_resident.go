package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"runtime/debug"
	"strings"

	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// Resident is the memory in bytes that a model adds to a process that has the engine open and the inputs at hand. It is what the system counts as resident: weights on the heap, pages
// of a mapped file that were read, and the pages of the engine's own code that the model's operators run, which are the same for all models alike. Each is the median of several processes.
type Resident struct {
	Loaded Number `json:"loaded_bytes"` // when the model takes inputs
	Used   Number `json:"used_bytes"`   // after some runs, Go's garbage collected
	Peak   Number `json:"peak_bytes"`   // the most there ever was, from the beginning of the load to the last run
}

func notMeasured() Resident {
	nan := Number(math.NaN())
	return Resident{nan, nan, nan}
}

const (
	residentRounds = 3 // processes for each model on each engine
	residentRuns   = 5 // runs in a process
)

// residentRequest is what a child is asked.
type residentRequest struct {
	Model   string `json:"model"`
	Engine  string `json:"engine"`
	Library string `json:"library"`
	Feeds   string `json:"feeds"` // an .npz file
	Threads int    `json:"threads"`
	Follow  bool   `json:"follow_links"`
}

// weigh measures the memory of all contenders in processes of their own, and enters all results.
func (b *bench) weigh(ctx context.Context) error {
	if b.o.Child != nil {
		if err := b.weighAll(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.warn("no-memory", "", "memory was not measured: "+message(err))
		}
	}
	b.compare()
	for _, t := range b.contenders {
		b.report.Results = append(b.report.Results, t.result)
	}
	return nil
}

func (b *bench) weighAll(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "trconvert-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	feeds := filepath.Join(dir, "feeds.npz")
	f, err := os.Create(feeds)
	if err != nil {
		return err
	}
	if err := errors.Join(dataset.WriteNPZ(f, b.feeds), f.Close()); err != nil {
		return err
	}
	for _, t := range b.running() {
		r := &t.result
		var loaded, used, peak []float64
		for range residentRounds {
			one, err := b.ask(ctx, residentRequest{r.File, r.Engine, b.o.Library, feeds, b.o.Threads, b.o.Files.FollowLinks})
			if err != nil {
				return fmt.Errorf("%q on engine %s: %w", r.File, r.Engine, err)
			}
			loaded, used, peak = append(loaded, float64(one.Loaded)), append(used, float64(one.Used)), append(peak, float64(one.Peak))
		}
		r.Resident = Resident{Number(median(loaded)), Number(median(used)), Number(median(peak))}
	}
	return nil
}

// ask has a child measure.
func (b *bench) ask(ctx context.Context, request residentRequest) (Resident, error) {
	in, err := json.Marshal(request)
	if err != nil {
		return Resident{}, err
	}
	var out, messages bytes.Buffer
	cmd := b.o.Child(ctx)
	if cmd == nil {
		return Resident{}, errors.New("no process can be started for it")
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &messages
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(messages.String()); text != "" {
			err = errors.New(text)
		}
		return Resident{}, err
	}
	var r Resident
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return Resident{}, fmt.Errorf("the measuring process answers %.80q: %w", out.String(), err)
	}
	return r, nil
}

// ServeResident is the work of the process that BenchOptions.Child starts: it reads a request from r, loads and runs the model, and writes its memory to w.
func ServeResident(ctx context.Context, r io.Reader, w io.Writer) error {
	var q residentRequest
	if err := json.NewDecoder(r).Decode(&q); err != nil {
		return fmt.Errorf("convert: bench: the request for a measurement: %w", err)
	}
	o := BenchOptions{Threads: q.Threads, Files: Files{FollowLinks: q.Follow}}
	if q.Threads > 0 {
		goruntime.GOMAXPROCS(q.Threads)
	}
	feeds, err := residentFeeds(ctx, q, o)
	if err != nil {
		return err
	}
	var library *ort.Engine
	if q.Engine != Engines[0] {
		if library, err = ort.Open(ort.Options{Library: q.Library, Threads: q.Threads}); err != nil {
			return err
		}
	}
	before, err := settled()
	if err != nil {
		return err
	}
	resetPeak()
	run, stop, err := openOn(ctx, q.Model, q.Engine, library, o)
	if err != nil {
		return err
	}
	defer stop()
	loaded, err := settled()
	if err != nil {
		return err
	}
	for range residentRuns {
		if _, err := run(ctx, feeds); err != nil {
			return err
		}
	}
	peak, err := peakResident()
	if err != nil {
		return err
	}
	used, err := settled()
	if err != nil {
		return err
	}
	goruntime.KeepAlive(feeds) // they are part of before, and the model is what is measured
	goruntime.KeepAlive(run)
	grown := func(bytes int64) Number { return Number(max(0, bytes-before)) }
	return json.NewEncoder(w).Encode(Resident{Loaded: grown(loaded), Used: grown(used), Peak: grown(max(peak, loaded, used))})
}

// residentFeeds reads the inputs in the model's types: an .npz file knows fewer.
func residentFeeds(ctx context.Context, q residentRequest, o BenchOptions) (map[string]*onnx.Array, error) {
	feeds, err := dataset.ReadNPZFile(q.Feeds)
	if err != nil {
		return nil, err
	}
	m, err := onnx.OpenFile(ctx, q.Model, onnx.OpenOptions{FollowLinks: o.Files.FollowLinks})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	for _, in := range trueInputs(m) {
		a := feeds[in.Name]
		if a == nil || in.Type == nil {
			continue
		}
		if feeds[in.Name], err = dataset.Cast(a, in.Type.Elem); err != nil {
			return nil, fmt.Errorf("convert: bench: input %q: %w", in.Name, err)
		}
	}
	return feeds, nil
}

// settled is the resident memory after garbage was given back to the system.
func settled() (int64, error) {
	debug.FreeOSMemory()
	return resident()
}

var errNoMemory = errors.New("this system does not tell a process its resident memory")
