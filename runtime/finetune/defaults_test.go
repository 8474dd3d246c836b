package finetune

import (
	"testing"
)

// TestDefaultEpochs: the epochs follow from the steps that a training shall have, by hand: 24 streams of 400 steps are 6 batches of 4 in 8 windows of 50, 100 steps 2 windows.
func TestDefaultEpochs(t *testing.T) {
	for _, c := range []struct {
		of            Setting
		batch, epochs int
	}{
		{Setting{Samples: 320, Labels: true}, 32, 240},
		{Setting{Samples: 360, Teacher: true}, 32, 200},
		{Setting{Samples: 24, Teacher: true, Streams: true, Steps: 400}, 4, 10},
		{Setting{Samples: 24, Teacher: true, Streams: true, Steps: 100}, 4, 40},
		{Setting{Samples: 3, Streams: true, Steps: 51}, 3, 240},
		{Setting{Samples: 3, Streams: true}, 3, 480},
		{Setting{Streams: true}, 4, 480},
	} {
		r := Defaults(c.of)
		if r.Options.Batch != c.batch || r.Options.Epochs != c.epochs {
			t.Errorf("%+v: batches of %d, %d epochs, want %d and %d", c.of, r.Options.Batch, r.Options.Epochs, c.batch, c.epochs)
		}
	}
}
