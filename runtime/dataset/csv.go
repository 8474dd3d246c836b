package dataset

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// loadCSV reads a table of numbers for a model with one input. The first line is a header where it holds anything but numbers.
//
// A row is a sample where its columns are as many as the elements of one sample, otherwise a frame: one step of a sequence whose frames are as
// long as the input's last dimension. With a fixed number of steps T each T rows are a sample, otherwise the file is one sequence. With states a row is one
// step of one stream.
func (b *binder) loadCSV(ctx context.Context, r io.Reader) error {
	in, err := b.single(".csv")
	if err != nil {
		return err
	}
	values := &numbers{files: b.files, limit: b.memory}
	t, err := readTable(ctxReader{ctx, r}, b.options.Labels, values)
	if err != nil {
		return fmt.Errorf("dataset: %s: %w", quote(b.path), err)
	}
	dims, rowsPerSample, err := b.csvShape(in, t.rows, t.columns)
	if err != nil {
		return fmt.Errorf("dataset: %s: %d rows of %d columns, the input %s is %s: %w", quote(b.path), t.rows, t.columns, quote(in.Name), dimsString(in.Type), err)
	}
	if b.arrays[in.Name], err = values.stored(dims, b.path); err != nil {
		return fmt.Errorf("dataset: %s: %w", quote(b.path), err)
	}
	if b.options.Labels != "" {
		l := &stored{typ: onnx.Double, dims: []int{t.rows}, data: t.labels, name: b.path}
		if whole, err := cast(t.labels, onnx.Double, onnx.Int64); err == nil {
			l.typ, l.data = onnx.Int64, whole
		}
		if rowsPerSample > 1 {
			l.dims = []int{t.rows / rowsPerSample, rowsPerSample}
		}
		b.labels = &labels{from: b.path + ": column " + b.options.Labels, parts: []*stored{l}}
	}
	return nil
}

// csvShape says how rows become samples; the shape it returns always has the sample axis (and the step axis) in front, except
// where samples lie along the input's own axis 0.
func (b *binder) csvShape(in *onnx.ValueInfo, rows, columns int) (dims []int, rowsPerSample int, err error) {
	if !in.Type.HasShape || len(in.Type.Shape) == 0 {
		return nil, 0, errors.New("the input's rank must be known and not 0 (use an .npy)")
	}
	want := in.Type.Shape
	batch, given := b.options.BatchAxis[in.Name]
	if !given && len(want) > 1 && want[1].Known && want[1].Value == 1 && !(want[0].Known && want[0].Value == 1) && len(want) == 3 {
		batch = 1 // [T, 1, I]
	}
	last := len(want) - 1
	// One sample: symbolic dims count as 1, the last one as the number of columns.
	sample := make([]int, len(want))
	elements := 1
	for k, d := range want {
		switch {
		case d.Known && (k != batch || len(want) == 1):
			sample[k] = int(d.Value)
		case k == last && (k != batch || len(want) == 1):
			sample[k] = columns
		default:
			sample[k] = 1
		}
		elements *= max(sample[k], 1)
		if elements > math.MaxInt32 {
			elements = math.MaxInt32
		}
	}
	time := -1
	if len(want) == 3 && batch != last {
		time = 1 - batch
	}
	openTime := time >= 0 && !want[time].Known
	switch {
	case len(b.options.States) > 0 && elements == columns:
		return append([]int{1, rows}, sample...), rows, nil
	case elements == columns && !openTime:
		if len(want) > 1 && batch == 0 {
			return append([]int{rows}, sample[1:]...), 1, nil
		}
		return append([]int{rows}, sample...), 1, nil
	case time >= 0 && sample[last] == columns && len(b.options.States) == 0:
		steps := rows
		if want[time].Known {
			steps = int(want[time].Value)
			if steps < 1 || rows%steps != 0 {
				return nil, 0, fmt.Errorf("%d frames are no multiple of the input's %d steps", rows, steps)
			}
		}
		sample[time] = steps
		if batch == 0 && !want[0].Known {
			return append([]int{rows / steps}, sample[1:]...), steps, nil
		}
		return append([]int{rows / steps}, sample...), steps, nil
	}
	return nil, 0, fmt.Errorf("a row is neither a sample of %d numbers nor a frame of %d", elements, sample[last])
}

// table is the shape of a .csv file and its column of labels.
type table struct {
	rows, columns int
	labels        []float64
}

// readTable adds the numbers that are no labels to values.
func readTable(r io.Reader, labels string, values *numbers) (*table, error) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	c.TrimLeadingSpace = true
	t := &table{}
	labelColumn, fields := -1, 0
	for first := true; ; first = false {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, csv.ErrFieldCount) {
			line, _ := c.FieldPos(0)
			return nil, fmt.Errorf("line %d has %d columns, the first line has %d", line, len(record), fields)
		}
		if err != nil {
			return nil, err
		}
		if first {
			fields = len(record)
			record[0] = strings.TrimPrefix(record[0], "\ufeff")
			if !slices.ContainsFunc(record, func(s string) bool { return !isNumber(s) }) {
				if labelColumn, err = columnNumber(labels, fields); err != nil {
					return nil, err
				}
			} else {
				if labelColumn = slices.Index(record, labels); labels != "" && labelColumn < 0 {
					return nil, fmt.Errorf("the header has no column of labels %s (it has %s)", quote(labels), quoteAll(record))
				}
				continue
			}
		}
		for k, s := range record {
			v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				line, column := c.FieldPos(k)
				return nil, fmt.Errorf("line %d, column %d (field %d): %s is not a finite number", line, column, k+1, clip(s))
			}
			if k == labelColumn {
				t.labels = append(t.labels, v)
			} else if err := values.add(v); err != nil {
				return nil, err
			}
		}
		t.rows++
	}
	t.columns = fields
	if labelColumn >= 0 {
		t.columns--
	}
	if t.rows == 0 || t.columns == 0 {
		return nil, fmt.Errorf("%d rows of %d columns: there are no numbers", t.rows, t.columns)
	}
	return t, nil
}

// columnNumber is the column of labels in a table without a header line, -1 for none.
func columnNumber(labels string, fields int) (int, error) {
	if labels == "" {
		return -1, nil
	}
	n, err := strconv.Atoi(labels)
	switch {
	case err != nil:
		return 0, fmt.Errorf("no header line names the column of labels %s (without one, give its number: 1 is the first column, -1 the last)", quote(labels))
	case n >= 1 && n <= fields:
		return n - 1, nil
	case n <= -1 && n >= -fields:
		return fields + n, nil
	}
	return 0, fmt.Errorf("labels in column %d: there are %d columns (1 is the first, -1 the last)", n, fields)
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return err == nil
}
