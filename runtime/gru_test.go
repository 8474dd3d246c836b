package runtime

import (
	"testing"

	"github.com/trconvert/trconvert/onnx/recurrent"
)

func TestGRU(t *testing.T) { checkCell(t, recurrent.GRU) }

// refGRU is written from "Equations (Default: f=Sigmoid, g=Tanh)" of the GRU operator.
func refGRU(cfg *recurrent.Config, acts []recurrent.Activation, x, h, _ []float64, w, r [][]float64, b, _ []float64) (nextH, nextC []float64) {
	H := cfg.Hidden
	zt, rt := make([]float64, H), make([]float64, H)
	for k := range H {
		zt[k] = refActivation(cfg, acts[0], dot(x, w[k])+dot(h, r[k])+b[k]+b[3*H+k])
		rt[k] = refActivation(cfg, acts[0], dot(x, w[H+k])+dot(h, r[H+k])+b[H+k]+b[4*H+k])
	}
	reset := make([]float64, H) // rt (.) Ht-1
	for k := range H {
		reset[k] = rt[k] * h[k]
	}
	nextH = make([]float64, H)
	for k := range H {
		wbh, rbh := b[2*H+k], b[5*H+k]
		arg := dot(x, w[2*H+k]) + wbh
		if cfg.LinearBeforeReset {
			arg += rt[k] * (dot(h, r[2*H+k]) + rbh)
		} else {
			arg += dot(reset, r[2*H+k]) + rbh
		}
		nextH[k] = (1-zt[k])*refActivation(cfg, acts[1], arg) + zt[k]*h[k]
	}
	return nextH, make([]float64, H)
}
