package runtime

import (
	"math"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

func TestLSTM(t *testing.T) { checkCell(t, recurrent.LSTM) }

// refLSTM is written from "Equations (Default: f=Sigmoid, g=Tanh, h=Tanh)" of the LSTM operator. The clip threshold "is applied to the
// input of activations", so the argument of h is clipped and Ct itself is not; input_forget couples the gates: ft = 1 − it.
func refLSTM(cfg *recurrent.Config, acts []recurrent.Activation, x, h, c []float64, w, r [][]float64, b, p []float64) (nextH, nextC []float64) {
	H := cfg.Hidden
	nextH, nextC = make([]float64, H), make([]float64, H)
	for k := range H {
		// rows of W and R: i, o, f, c; columns of P: i, o, f
		sum := func(gate int) float64 {
			row := gate*H + k
			return dot(x, w[row]) + dot(h, r[row]) + b[row] + b[4*H+row]
		}
		it := refActivation(cfg, acts[0], sum(0)+p[k]*c[k])
		ft := refActivation(cfg, acts[0], sum(2)+p[2*H+k]*c[k])
		if cfg.InputForget {
			ft = 1 - it
		}
		ct := refActivation(cfg, acts[1], sum(3))
		nextC[k] = ft*c[k] + it*ct
		ot := refActivation(cfg, acts[0], sum(1)+p[H+k]*nextC[k])
		nextH[k] = ot * refActivation(cfg, acts[2], nextC[k])
	}
	return nextH, nextC
}

// TestClipBoundsArgumentOfH: the specification applies clip "to the input of activations", and h is one. ONNX Runtime 1.30 leaves the
// argument of h unclipped (it would give o·tanh(C') = 0.59 here), so clipped models may differ there. C' itself is not clipped by either.
func TestClipBoundsArgumentOfH(t *testing.T) {
	const clip = 0.5
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	l := &layerCase{steps: 1, batch: 1, inputs: 1, x: []float64{10}, w: []float64{1, 1, 1, 1}, r: make([]float64, 4), c0: []float64{2},
		cfg: recurrent.Config{Op: recurrent.LSTM, Hidden: 1, Direction: recurrent.Forward, Clip: clip,
			Activations: []recurrent.Activation{{Name: "Sigmoid"}, {Name: "Tanh"}, {Name: "Tanh"}}}}
	out, err := runLayerCase(l, onnx.Double)
	if err != nil {
		t.Fatal(err)
	}
	wantC := sigmoid(clip)*2 + sigmoid(clip)*math.Tanh(clip)
	wantH := sigmoid(clip) * math.Tanh(clip)
	if h, c := asFloat64(out[1])[0], asFloat64(out[2])[0]; math.Abs(h-wantH) > 1e-12 || math.Abs(c-wantC) > 1e-12 {
		t.Errorf("H' = %v, C' = %v; the specification gives %v, %v", h, c, wantH, wantC)
	}
}
