package export_test

import (
	"context"
	"fmt"
	"log"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// A ring of four cores put in place of W, and found again in the model that results.
func ExampleLower() {
	ctx := context.Background()
	m, err := onnx.OpenFile(ctx, "../testdata/models/gru_lbr0.onnx", onnx.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	sites, err := recurrent.Find(ctx, m)
	if err != nil {
		log.Fatal(err)
	}
	s := sites[0]
	f := &tensor.Factor{Format: "tr", Out: s.Rows(), In: s.Input, InModes: []int{1, s.Input}, OutModes: []int{s.Rows(), 1}}
	for _, mode := range []int{1, s.Input, s.Rows(), 1} {
		f.Cores = append(f.Cores, tensor.Core{Left: 2, Mode: mode, Right: 2, Data: make([]float32, 4*mode)})
	}
	p, err := export.Lower(ctx, m, []export.Replacement{{Sites: sites, Factor: f}}, export.Options{})
	if err != nil {
		log.Fatal(err)
	}
	compact, err := p.Apply(ctx)
	if err != nil {
		log.Fatal(err)
	}
	records, err := export.Records(compact)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range records {
		fmt.Printf("%s: %s of %d cores, ranks %v, %d features a frame\n", r.Sites[0], r.Format, len(r.Cores), r.Ranks, r.Cut())
	}
	// Output:
	// layer: tr of 4 cores, ranks [2 2 2 2], 4 features a frame
}
