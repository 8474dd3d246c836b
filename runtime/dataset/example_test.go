package dataset_test

import (
	"context"
	"fmt"
	"log"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// An epoch of training: a tenth of each class is held back, the rest comes in shuffled batches.
func ExampleDataset_Batches() {
	ctx := context.Background()
	m, err := onnx.OpenFile(ctx, "../../testdata/models/gestures.onnx", onnx.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	all, err := dataset.Open(ctx, "../../testdata/models/gestures.npz", m, dataset.Options{Labels: "label"})
	if err != nil {
		log.Fatal(err)
	}
	defer all.Close()
	train, held, err := all.Split(ctx, 0.1, 1)
	if err != nil {
		log.Fatal(err)
	}
	classes, err := train.Classes(ctx, 8)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(train.Len(), held.Len(), classes.Counts)
	for b, err := range train.Batches(ctx, dataset.BatchOptions{Size: 64, Shuffle: true, Seed: 1}) {
		if err != nil {
			log.Fatal(err)
		}
		labels, err := b.Classes()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(b.Number, b.Feeds["frames"].Dims, len(labels))
	}
	// Output:
	// 144 16 [18 18 18 18 18 18 18 18]
	// 0 [64 12 1024] 64
	// 1 [64 12 1024] 64
	// 2 [16 12 1024] 16
}
