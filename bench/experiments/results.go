package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"

	"github.com/trconvert/trconvert/runtime/dataset"
)

// size is what a set's arrays say.
type size struct{ inputs, classes int }

func sizeOf(folder string) (s size, err error) {
	x, err := dataset.ReadNPZFile(filepath.Join(folder, "test.npz"), "x") // the smaller of the two
	if err != nil {
		return s, err
	}
	labels, err := dataset.ReadNPZFile(filepath.Join(folder, "train.npz"), "label")
	if err != nil {
		return s, err
	}
	dims := x["x"].Dims
	classes, ok := labels["label"].Data.([]int64)
	if len(dims) != 3 || !ok || len(classes) == 0 {
		return s, fmt.Errorf("%s: x has dims %v, label type %v, want rank 3 and int64", folder, dims, labels["label"].Type)
	}
	return size{dims[2], int(slices.Max(classes)) + 1}, nil
}

// store is the file of results.
type store struct {
	file *os.File
	done map[string]run
	runs []run // in the order of the file
}

func openStore(path string) (*store, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	s := &store{file: f, done: map[string]run{}}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r run
		if err := json.Unmarshal(bytes.TrimSpace(lines.Bytes()), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		s.add(r)
	}
	return s, nil
}

func (s *store) close() { s.file.Close() }

func (s *store) add(r run) {
	s.done[r.key()] = r
	s.runs = append(s.runs, r)
}

// once carries a run out unless its result is there.
func (s *store) once(ctx context.Context, o *options, set *set, r run) error {
	if _, ok := s.done[r.key()]; ok {
		return nil
	}
	if r.half {
		whole := r
		whole.Method = methodWhole
		r.Epochs = max(1, s.done[whole.key()].Epochs/2)
	}
	if err := o.carryOut(ctx, set, &r); err != nil {
		if ctx.Err() == nil && r.Format == "svd" { // far enough down there is none
			log.Printf("%s: %v", r.key(), err)
			return nil
		}
		return err
	}
	log.Printf("%s: %d numbers for W, accuracy %.4f before, %.4f after %d epochs, %.0f s", r.key(), r.W, r.Before, r.Accuracy, r.Epochs, r.Seconds)
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := s.file.Write(append(line, '\n')); err != nil {
		return err
	}
	s.add(r)
	return nil
}

// group is the runs that differ in nothing but the seed.
type group struct {
	run
	accuracy, before []float64
}

func (g *group) median() float64 { return median(g.accuracy) }

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// groups sorts the runs of an experiment by set, size, method and format.
func (s *store) groups(experiment string) []*group {
	byKey, list := map[string]*group{}, []*group{}
	for _, r := range s.runs {
		if r.Experiment != experiment {
			continue
		}
		same := r
		same.Seed = 0
		g := byKey[same.key()]
		if g == nil {
			g = &group{run: same}
			byKey[same.key()], list = g, append(list, g)
		}
		g.accuracy, g.before = append(g.accuracy, r.Accuracy), append(g.before, r.Before)
	}
	slices.SortStableFunc(list, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.Set, b.Set), cmp.Compare(a.Ratio, b.Ratio), cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Format, b.Format), cmp.Compare(a.Method, b.Method))
	})
	return list
}

// print writes a table in Markdown.
func (s *store) print(w io.Writer, experiment string) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, "| set | W / | rank | format | start and training | numbers for W | before, % | after, % | range | seeds |")
	fmt.Fprintln(b, "|---|--:|--:|---|---|--:|--:|--:|---|--:|")
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	for _, g := range s.groups(experiment) {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %d | %.1f | %.1f | %.1f–%.1f | %d |\n", g.Set, number(g.Ratio), number(g.Rank), g.Format, g.Method, g.W,
			100*median(g.before), 100*g.median(), 100*slices.Min(g.accuracy), 100*slices.Max(g.accuracy), len(g.accuracy))
	}
	return b.Flush()
}
