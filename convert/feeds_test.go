package convert

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

func input(name string, t onnx.DataType, dims ...any) *onnx.ValueInfo {
	info := &onnx.TypeInfo{Kind: "tensor", Elem: t, HasShape: true}
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			info.Shape = append(info.Shape, onnx.Dim{Known: true, Value: int64(d)})
		case string:
			info.Shape = append(info.Shape, onnx.Dim{Param: d})
		}
	}
	return &onnx.ValueInfo{Name: name, Type: info}
}

func TestFeedsFollowTheDeclarations(t *testing.T) {
	inputs := []*onnx.ValueInfo{
		input("x", onnx.Float, "batch", "time", 7),
		input("h", onnx.Double, 1, "batch", 4),
		input("lengths", onnx.Int64, "batch"),
		input("sr", onnx.Int32),
		input("mask", onnx.Bool, "batch", "time"),
		input("nameless", onnx.Float16, "", 3),
	}
	for k, tr := range trials {
		feeds, err := tr.feeds(inputs, uint64(k))
		if err != nil {
			t.Fatalf("trial %d: %v", k, err)
		}
		x := feeds["x"].Dims
		batch, time := x[0], x[1]
		if x[2] != 7 || !slices.Equal(feeds["h"].Dims, []int{1, batch, 4}) || !slices.Equal(feeds["lengths"].Dims, []int{batch}) ||
			len(feeds["sr"].Dims) != 0 || !slices.Equal(feeds["mask"].Dims, []int{batch, time}) {
			t.Errorf("trial %d: dims do not follow the symbols: %v %v %v", k, x, feeds["h"].Dims, feeds["lengths"].Dims)
		}
		for _, in := range inputs {
			if feeds[in.Name].Type != in.Type.Elem {
				t.Errorf("trial %d: input %q has type %v, want %v", k, in.Name, feeds[in.Name].Type, in.Type.Elem)
			}
		}
		for _, l := range feeds["lengths"].Data.([]int64) {
			if l < 0 || int(l) > time || l == 0 && tr.integer > 0 {
				t.Errorf("trial %d: length %d of %d steps", k, l, time)
			}
		}
		again, err := tr.feeds(inputs, uint64(k))
		if err != nil || !reflect.DeepEqual(feeds, again) {
			t.Errorf("trial %d: the feeds differ from call to call", k)
		}
	}
}

func TestFeedsAreBounded(t *testing.T) {
	_, err := trials[0].feeds([]*onnx.ValueInfo{input("x", onnx.Float, 1<<40, 1<<40)}, 0)
	if err == nil || !strings.Contains(err.Error(), `input "x"`) {
		t.Errorf("got %v, want an error that names the input", err)
	}
}

func TestAcceptedFeedsLookForWhatTheModelTakes(t *testing.T) {
	inputs := []*onnx.ValueInfo{input("x", onnx.Float, "batch", "samples"), input("sr", onnx.Int64)}
	run := func(_ context.Context, f map[string]*onnx.Array) (map[string]*onnx.Array, error) {
		if f["x"].Dims[1] < 512 {
			return nil, errors.New("too few samples")
		}
		if r := f["sr"].Data.([]int64)[0]; r != 16000 {
			return nil, errors.New("bad rate")
		}
		return vector(1), nil
	}
	samples, err := acceptedFeeds(t.Context(), inputs, run)
	if err != nil || len(samples) != wantedFeeds {
		t.Fatalf("%d samples, %v; want %d", len(samples), err, wantedFeeds)
	}

	never := func(context.Context, map[string]*onnx.Array) (map[string]*onnx.Array, error) {
		return nil, errors.New("never")
	}
	if samples, err := acceptedFeeds(t.Context(), inputs, never); len(samples) != 0 || err == nil || err.Error() != "never" {
		t.Errorf("%d samples, %v; want none and the model's own error", len(samples), err)
	}
}

func TestAcceptedFeedsStopWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	run := func(ctx context.Context, _ map[string]*onnx.Array) (map[string]*onnx.Array, error) {
		return nil, ctx.Err()
	}
	if _, err := acceptedFeeds(ctx, []*onnx.ValueInfo{input("x", onnx.Float, 1)}, run); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}
