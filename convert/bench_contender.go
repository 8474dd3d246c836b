package convert

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// contender is one model on one engine.
type contender struct {
	*bench
	result BenchResult
	failed error // why it is not measured

	run  runner
	stop func()

	loads, firsts, readies, times []float64 // milliseconds
	loadCPU, runCPU               []float64 // milliseconds of processors
}

func (t *contender) close() {
	if t.stop != nil {
		t.stop()
	}
	t.run, t.stop = nil, nil
}

const (
	loadRounds = 200                    // most loads of a model on an engine
	loadLeast  = 3                      // fewest
	loadTime   = 500 * time.Millisecond // after this time for each of them no further round begins

	benchRounds = 200             // most turns of a model on an engine
	benchLeast  = 7               // fewest
	benchTime   = 1 * time.Second // after this time for each of them no further round begins
	turnTime    = 2.0             // milliseconds of runs that a turn lasts at least
	turnMost    = 10              // runs in a turn
)

// load makes every model ready to run and runs it once, in turns and several times; the last ones stay.
func (b *bench) load(ctx context.Context) error {
	for _, m := range b.models {
		m.Close()
	}
	b.models = nil
	start := time.Now()
	for round := 0; round < loadRounds; round++ {
		contenders := b.running()
		if round >= loadLeast && time.Since(start) > time.Duration(len(contenders))*loadTime {
			break
		}
		for _, t := range inTurn(contenders, round) {
			b.at = t.result.File
			err := t.load(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				b.refuse(t, err)
			}
		}
	}
	if len(b.running()) == 0 {
		b.at = b.contenders[0].result.File
		return b.contenders[0].failed
	}
	for _, t := range b.running() {
		r := &t.result
		r.Load, r.First, r.Ready = Number(median(t.loads)), Number(median(t.firsts)), Number(median(t.readies))
	}
	return nil
}

// inTurn lets none always follow the same other one.
func inTurn(contenders []*contender, round int) []*contender {
	if round%2 == 1 {
		contenders = slices.Clone(contenders)
		slices.Reverse(contenders)
	}
	return contenders
}

// load opens the model, runs it once and leaves it open.
func (t *contender) load(ctx context.Context) error {
	t.close()
	begin, cpu := time.Now(), processorTime()
	var err error
	if t.run, t.stop, err = openOn(ctx, t.result.File, t.result.Engine, t.engine, t.o); err != nil {
		return err
	}
	load := since(begin)
	t.loadCPU = append(t.loadCPU, processorTime()-cpu)
	begin = time.Now()
	if _, err := t.run(ctx, t.feeds); err != nil {
		t.close()
		return err
	}
	first := since(begin)
	t.loads, t.firsts, t.readies = append(t.loads, load), append(t.firsts, first), append(t.readies, load+first)
	return nil
}

// openOn opens a model from its file on an engine.
func openOn(ctx context.Context, path, engine string, library *ort.Engine, o BenchOptions) (runner, func(), error) {
	if engine != Engines[0] {
		session, err := library.Load(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		return session.Run, session.Close, nil
	}
	m, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{FollowLinks: o.Files.FollowLinks})
	if err != nil {
		return nil, nil, err
	}
	p, err := runtime.Compile(ctx, m, runtime.Options{Threads: o.Threads})
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	return p.Run, func() { m.Close() }, nil
}

// measure runs the contenders in turns. A turn begins with a run that does not count, for the caches hold another model's weights then.
func (b *bench) measure(ctx context.Context) error {
	contenders := b.running()
	start, limit := time.Now(), time.Duration(len(contenders))*benchTime
	for round := 0; round < benchRounds && (round < benchLeast || time.Since(start) < limit); round++ {
		for _, t := range inTurn(contenders, round) {
			if t.failed != nil {
				continue
			}
			b.at = t.result.File
			err := t.turn(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				b.refuse(t, err)
			}
		}
		b.progress(max(float64(time.Since(start))/float64(limit), float64(round+1)/benchRounds))
	}
	for _, t := range b.contenders {
		t.summarise(b.report.Steps)
		t.close()
	}
	return nil
}

func (t *contender) turn(ctx context.Context) error {
	if _, err := t.run(ctx, t.feeds); err != nil {
		return err
	}
	cpu, n := processorTime(), 0
	for spent := 0.0; n < turnMost && spent < turnTime; n++ {
		begin := time.Now()
		if _, err := t.run(ctx, t.feeds); err != nil {
			return err
		}
		took := since(begin)
		t.times, spent = append(t.times, took), spent+took
	}
	t.runCPU = append(t.runCPU, (processorTime()-cpu)/float64(n))
	return nil
}

// summarise turns what was measured into figures, which are null where nothing was.
func (t *contender) summarise(steps int) {
	r := &t.result
	nan := Number(math.NaN())
	r.Median, r.Low, r.High, r.Fastest, r.Step, r.LoadCPU, r.RunCPU, r.Resident = nan, nan, nan, nan, nan, nan, nan, notMeasured()
	if t.failed != nil {
		r.Load, r.First, r.Ready = nan, nan, nan
		return
	}
	r.Runs, r.Median, r.Fastest = len(t.times), Number(median(t.times)), Number(slices.Min(t.times))
	r.Low, r.High = Number(quantile(t.times, 0.1)), Number(quantile(t.times, 0.9))
	r.LoadCPU, r.RunCPU = Number(median(t.loadCPU)), Number(median(t.runCPU))
	if steps > 0 {
		r.Step = r.Median / Number(steps)
	}
}

func since(t time.Time) float64 { return float64(time.Since(t)) / float64(time.Millisecond) }

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// quantile is the smallest of the values that at least the part q of them does not exceed.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	return s[max(0, int(math.Ceil(q*float64(len(s))))-1)]
}
