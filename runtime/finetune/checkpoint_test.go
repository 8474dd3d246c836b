package finetune

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trconvert/trconvert/onnx"
)

// resumable is a training with everything that a checkpoint has to keep: an average, momenta, several starts, a plateau, noise and early stopping.
func resumable(t testing.TB, dir string, epochs int) func(ctx context.Context, observe func(Event)) (*Result, error) {
	m, train, val, objective, o := xor(t)
	o.Epochs, o.Average, o.Noise.Input, o.Batch, o.Optimizer.Rate = epochs, 0.9, 0.05, 40, 1
	o.Schedule = Schedule{Shape: Plateau, WarmUp: 1, Patience: 1}
	zeros := map[*onnx.Tensor]*onnx.Array{o.Groups[1].Tensors[0]: floatArray([]int{8}, make([]float32, 8))}
	o.Trial = Trial{Starts: []Start{{Name: "stored"}, {Name: "zero", Values: zeros, Rate: 1}}, Epochs: 2}
	if dir != "" {
		o.Checkpoints = Checkpoints{Dir: dir, Every: 2, Resume: true}
	}
	return func(ctx context.Context, observe func(Event)) (*Result, error) {
		o.Observe = observe
		return Train(ctx, m, train, val, objective, o)
	}
}

// bytesOf are the bits of the parameters and figures of a result, without times.
func bytesOf(r *Result) []byte {
	var b bytes.Buffer
	for _, p := range r.Parameters {
		raw, err := p.Value.Bytes()
		if err != nil {
			panic(err)
		}
		b.Write(raw)
	}
	for _, e := range r.History {
		fmt.Fprintf(&b, "%d %x %x %x\n", e.Number, e.TrainLoss, e.ValLoss, e.Metric)
	}
	fmt.Fprintf(&b, "%v %v %d %v %d %s %v", r.Before, r.After, r.BestEpoch, r.Status, r.BackOffs, r.Start, r.Trials)
	return b.Bytes()
}

func mustTrain(t testing.TB, train func(context.Context, func(Event)) (*Result, error)) *Result {
	t.Helper()
	r, err := train(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func checkpointBytes(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Oracle: the run that nobody disturbs. Each step, epoch and trial is once the last thing that happens before the context ends.
func TestResumeAfterEveryEvent(t *testing.T) {
	undisturbed := t.TempDir()
	events := 0
	var rates []float64
	r, err := resumable(t, undisturbed, 6)(context.Background(), func(e Event) {
		if events++; e.Kind == Stepped && e.Trial == "" {
			rates = append(rates, e.Rate)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if first, last := slices.Max(rates), rates[len(rates)-1]; last >= first {
		t.Fatalf("the plateau never lowered the rate: %v and %v", first, last)
	}
	want, file := bytesOf(r), checkpointBytes(t, undisturbed)
	if plain := mustTrain(t, resumable(t, "", 6)); !bytes.Equal(bytesOf(plain), want) {
		t.Error("writing checkpoints changes the result")
	}
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for last := 1; last <= events; last += stride {
		dir := t.TempDir()
		train := resumable(t, dir, 6)
		ctx, cancel := context.WithCancel(context.Background())
		seen := 0
		r, err := train(ctx, func(Event) {
			if seen++; seen == last {
				cancel()
			}
		})
		if err == nil && r.Status != Cancelled && last < events {
			t.Fatalf("event %d: status %v after the context ended", last, r.Status)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("event %d: %v", last, err)
		}
		if got := bytesOf(mustTrain(t, train)); !bytes.Equal(got, want) {
			t.Fatalf("cut off after event %d of %d and resumed: another result", last, events)
		}
		if !bytes.Equal(checkpointBytes(t, dir), file) {
			t.Fatalf("cut off after event %d of %d and resumed: another checkpoint", last, events)
		}
	}
}

const victimVariable = "FINETUNE_TEST_VICTIM"

// TestVictim is no test but the process that TestResumeAfterKill kills.
func TestVictim(t *testing.T) {
	dir := os.Getenv(victimVariable)
	if dir == "" {
		t.Skip("runs as a process of TestResumeAfterKill")
	}
	r := mustTrain(t, resumable(t, dir, 60))
	if err := os.WriteFile(filepath.Join(dir, "done"), bytesOf(r), 0o666); err != nil {
		t.Fatal(err)
	}
}

// Oracle: the run that nobody disturbs. A process is killed at random moments and begun again until it has been killed ten times and has ended.
func TestResumeAfterKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for seconds")
	}
	want := bytesOf(mustTrain(t, resumable(t, "", 60)))
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	dir := t.TempDir()
	kills, resumed := 0, 0
	for attempt := 0; kills < 10; attempt++ {
		if attempt == 200 {
			t.Fatalf("only %d kills in %d attempts", kills, attempt)
		}
		victim := exec.Command(os.Args[0], "-test.run=^TestVictim$")
		victim.Env = append(os.Environ(), victimVariable+"="+dir)
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(5+r.IntN(60)) * time.Millisecond)
		_ = victim.Process.Kill()
		if err := victim.Wait(); err != nil {
			kills++
			if _, err := os.Stat(filepath.Join(dir, CheckpointFile)); err == nil {
				resumed++
			}
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, "done")) // the process was faster: look at what it did, and begin another
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("after %d kills: another result (%v)", kills, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if got := bytesOf(mustTrain(t, resumable(t, dir, 60))); !bytes.Equal(got, want) {
		t.Error("another result in the end")
	}
	t.Logf("%d of %d kills left a checkpoint", resumed, kills)
}

// tampered gives a checkpoint with a changed body and a checksum that fits.
func tampered(data []byte, change func([]byte) []byte) []byte {
	body := change(bytes.Clone(data[:len(data)-sha256.Size]))
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

func TestBadCheckpoints(t *testing.T) {
	dir := t.TempDir()
	train := resumable(t, dir, 3)
	mustTrain(t, train)
	good := checkpointBytes(t, dir)
	path := filepath.Join(dir, CheckpointFile)
	nan := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN())))
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":           {nil, "begins otherwise"},
		"text":            {[]byte("<html>a page that is no checkpoint at all</html>"), "begins otherwise"},
		"version":         {tampered(good, func(b []byte) []byte { b[8] = 9; return b }), "version 9, this program knows version 1"},
		"cut off":         {good[:len(good)-1], "checksum"},
		"cut off early":   {good[:14], "cut off after 14 bytes"},
		"a flipped bit":   {append(append(bytes.Clone(good[:100]), good[100]^1), good[101:]...), "checksum"},
		"something after": {tampered(good, func(b []byte) []byte { return append(b, 0) }), "1 bytes behind its end"},
		"oversized":       {append(bytes.Clone(good), make([]byte, 4<<20)...), "no checkpoint of this training"},
		"NaN":             {tampered(good, func(b []byte) []byte { copy(b[len(b)-4-4:], nan); return b }), "NaN"},
		"a huge count":    {tampered(good, func(b []byte) []byte { copy(b[12:], []byte{255, 255, 255, 127}); return b }), "items of at least"},
		"a negative one":  {tampered(good, func(b []byte) []byte { copy(b[12:], []byte{255, 255, 255, 255}); return b }), "count of 4294967295"},
	} {
		if err := os.WriteFile(path, tt.data, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := train(context.Background(), nil)
		var ce *CheckpointError
		if !errors.As(err, &ce) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
		if now := checkpointBytes(t, dir); !bytes.Equal(now, tt.data) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestCheckpointsOfOtherTrainings(t *testing.T) {
	dir := t.TempDir()
	m, train, val, objective, o := xor(t)
	o.Epochs, o.Checkpoints = 2, Checkpoints{Dir: dir, Resume: true}
	run := func(o Options) error {
		_, err := Train(context.Background(), m, train, val, objective, o)
		return err
	}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"seed":      {func(o *Options) { o.Seed = 7 }, []string{"seed", `"1"`, `"7"`}},
		"epochs":    {func(o *Options) { o.Epochs = 9 }, []string{"epochs", `"2"`, `"9"`}},
		"batch":     {func(o *Options) { o.Batch = 8 }, []string{"batch", `"16"`, `"8"`}},
		"optimizer": {func(o *Options) { o.Optimizer.Rate = 0.5 }, []string{"optimizer", "0.03", "0.5"}},
		"tensors":   {func(o *Options) { o.Groups = o.Groups[:1] }, []string{"groups of tensors"}},
		"replace":   {func(o *Options) { o.Checkpoints.Resume = false }, []string{"exists already"}},
	} {
		other := o
		tt.change(&other)
		err := run(other)
		var ce *CheckpointError
		if !errors.As(err, &ce) {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", name, err, want)
			}
		}
	}
	other := perceptron(t, 4, "N", 2, 8, 2)
	o.Groups = []Group{{Name: "matrices", Tensors: tensors(t, other, "A C"), Decay: 1}, {Name: "biases", Tensors: tensors(t, other, "a c")}}
	if _, err := Train(context.Background(), other, train, val, objective, o); err == nil || !strings.Contains(err.Error(), "its model is") {
		t.Errorf("another model gives %v", err)
	}
	o.Checkpoints = Checkpoints{Dir: dir, Replace: true}
	if _, err := Train(context.Background(), other, train, val, objective, o); err != nil {
		t.Errorf("replacing a checkpoint: %v", err)
	}
}

// A checkpoint that cannot be written, here since a folder stands in the place of the temporary file, is an error, and the one before stays as it was.
func TestCheckpointsThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	train := resumable(t, dir, 6)
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := train(ctx, func(e Event) {
		if e.Kind == EpochEnded && e.Trial == "" && e.Epoch == 3 {
			cancel()
		}
	}); err != nil {
		t.Fatal(err)
	}
	before := checkpointBytes(t, dir)
	blocked := filepath.Join(dir, CheckpointFile+".part")
	if err := os.MkdirAll(filepath.Join(blocked, "full"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := train(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "the one before is intact") {
		t.Errorf("error %v", err)
	}
	if !bytes.Equal(checkpointBytes(t, dir), before) {
		t.Error("the last checkpoint was touched")
	}
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	if got, want := bytesOf(mustTrain(t, train)), bytesOf(mustTrain(t, resumable(t, "", 6))); !bytes.Equal(got, want) {
		t.Error("another result afterwards")
	}
}

func encoded(t testing.TB, id identity, s *state) []byte {
	var b bytes.Buffer
	if err := encodeCheckpoint(&b, id, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzDecodeCheckpoint: no bytes make the reader panic, and what it accepts it would write again.
func FuzzDecodeCheckpoint(f *testing.F) {
	values := []*onnx.Array{floatArray([]int{2}, []float32{1, 2}), doubles([]int{1}, 3)}
	small := &state{scale: 1, batch: 1, trials: []float64{1}, history: []Epoch{{Number: 1}}, values: values, moments: values, average: values[:1], good: values}
	small.best.values = values
	good := encoded(f, identity{{"seed", "1"}}, small)
	f.Add(good[:len(good)-sha256.Size])
	f.Add([]byte(checkpointMagic))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body)
		c, err := decodeCheckpoint(append(bytes.Clone(body), sum[:]...))
		if err != nil {
			return
		}
		s := c.state
		s.values, s.moments, s.average, s.best.values, s.good = c.arrays[0], c.arrays[1], c.arrays[2], c.arrays[3], c.arrays[4]
		if s.batch == 0 && s.good != nil {
			return
		}
		if again := encoded(t, c.identity, &s); !bytes.Equal(again[:len(again)-sha256.Size], body) {
			t.Error("encoding what was decoded gives other bytes")
		}
	})
}
