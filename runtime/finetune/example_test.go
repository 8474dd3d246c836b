package finetune_test

import (
	"context"
	"fmt"
	"log"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
	"github.com/trconvert/trconvert/runtime/finetune"
)

// A classifier's readout is trained on labelled clips, a fifth of which judge the epochs.
func ExampleTrain() {
	ctx := context.Background()
	const folder = "../../testdata/models/"
	m, err := onnx.OpenFile(ctx, folder+"gestures.onnx", onnx.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	clips, err := dataset.Open(ctx, folder+"gestures.npz", m, dataset.Options{Labels: "label"})
	if err != nil {
		log.Fatal(err)
	}
	defer clips.Close()
	train, held, err := clips.Split(ctx, 0.2, 1)
	if err != nil {
		log.Fatal(err)
	}
	head, err := finetune.FindHead(m, "logits")
	if err != nil {
		log.Fatal(err)
	}
	var readout finetune.Group
	for _, t := range m.Graph.Initializers {
		if t.Name == "readout.weight" || t.Name == "readout.bias" {
			readout.Tensors = append(readout.Tensors, t)
		}
	}
	o := finetune.Defaults(finetune.Setting{Samples: train.Len(), Labels: true}).Options
	o.Groups = []finetune.Group{readout}
	o.Epochs = 3
	result, err := finetune.Train(ctx, m, train, held, finetune.CrossEntropy{Head: head}, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(result.History), "epochs,", result.Trained, "numbers were trained; the loss is not higher:", result.After.Loss <= result.Before.Loss)
	// Output: 3 epochs, 520 numbers were trained; the loss is not higher: true
}
