package recurrent_test

import (
	"context"
	"fmt"
	"log"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// The recurrent layers of a model, and by how much decomposing W alone can shrink each.
func ExampleFind() {
	ctx := context.Background()
	m, err := onnx.OpenFile(ctx, "../../testdata/models/if_outer_w.onnx", onnx.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	sites, err := recurrent.Find(ctx, m)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range sites {
		fmt.Printf("%s: %s %s, W [%d, %d], shared with %d, at most %.1f×\n", s.Name, s.Op, s.Direction, s.Rows(), s.Input, len(s.SharedWith), s.Ceiling())
	}
	// Output:
	// choose.then_branch/then/layer: LSTM forward, W [96, 96], shared with 1, at most 5.0×
	// choose.else_branch/else/layer: LSTM reverse, W [96, 96], shared with 1, at most 5.0×
}
