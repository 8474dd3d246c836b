package runtime

import (
	"testing"

	"github.com/trconvert/trconvert/onnx/recurrent"
)

func TestRNN(t *testing.T) { checkCell(t, recurrent.RNN) }

// refRNN is written from "Equations (Default: f=Tanh)" of the RNN operator.
func refRNN(cfg *recurrent.Config, acts []recurrent.Activation, x, h, _ []float64, w, r [][]float64, b, _ []float64) (nextH, nextC []float64) {
	H := cfg.Hidden
	nextH = make([]float64, H)
	for k := range H {
		nextH[k] = refActivation(cfg, acts[0], dot(x, w[k])+dot(h, r[k])+b[k]+b[H+k])
	}
	return nextH, make([]float64, H)
}
