package runtime

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildBatchNorm: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html. Inference is Y = (X − mean)/√(var + ε)·scale + B
// with the given statistics. Training (training_mode, opset 14 on) uses those of the batch and gives running ones:
// running·momentum + batch·(1 − momentum), with the population variance.
func buildBatchNorm(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 5, 5); err != nil {
		return nil, err
	}
	n.ignore("consumed_inputs")
	if n.opset < 9 && n.int("spatial", 1) == 0 {
		return nil, unsupportedf("spatial = 0")
	}
	if n.opset < 7 && n.int("is_test", 0) == 0 {
		return nil, unsupportedf("training (is_test = 0)")
	}
	training := n.opset >= 14 && n.bool("training_mode", false)
	if !training {
		for k := 1; k < n.outputs(); k++ {
			if n.wants(k) {
				return nil, unsupportedf("statistics as outputs outside training_mode")
			}
		}
	}
	b := batchNorm{epsilon: float64(n.float("epsilon", 1e-5)), momentum: float64(n.float("momentum", 0.9)), training: training}
	// Statistics may have another type than the data, so the data alone is widened.
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		x := in[0]
		if isHalf(x.Type) {
			x = widenHalf(x)
		}
		var out []*Tensor
		var err error
		switch d := x.Data.(type) {
		case []float32:
			out, err = batchNormOf(b, x, in[1:], d)
		case []float64:
			out, err = batchNormOf(b, x, in[1:], d)
		default:
			err = unsupportedType(x.Type)
		}
		if err != nil {
			return nil, err
		}
		if isHalf(in[0].Type) {
			out[0] = narrowHalf(out[0], in[0].Type)
		}
		return out, nil
	}), nil
}

type batchNorm struct {
	epsilon, momentum float64
	training          bool
}

// batchNormOf normalises t, whose elements are x; params are scale, bias, mean and variance.
func batchNormOf[T floating](b batchNorm, t *Tensor, params []*Tensor, x []T) ([]*Tensor, error) {
	dims := t.Dims
	channels := 1
	if len(dims) > 1 {
		channels = dims[1]
	}
	var arg [4][]float64
	for k := range arg {
		v, err := convertTo[float64](params[k])
		if err != nil {
			return nil, err
		}
		if len(v) != channels {
			return nil, fmt.Errorf("input %d has shape %v, want [%d] for input of shape %v", k+1, params[k].Dims, channels, dims)
		}
		arg[k] = v
	}
	area := 1
	if len(dims) > 2 {
		area = elements(dims[2:])
	}
	mean, variance := arg[2], arg[3]
	var out []*Tensor
	if b.training {
		mean, variance = channelStatistics(x, channels, area)
		running := func(slot int, now []float64) (*Tensor, error) {
			v := make([]float64, channels)
			for c := range v {
				v[c] = arg[slot][c]*b.momentum + now[c]*(1-b.momentum)
			}
			return cast(newTensor(onnx.Double, []int{channels}, v), params[slot].Type)
		}
		m, err := running(2, mean)
		if err != nil {
			return nil, err
		}
		v, err := running(3, variance)
		if err != nil {
			return nil, err
		}
		out = []*Tensor{m, v}
	}
	y := make([]T, len(x))
	for i := 0; i < len(x); i += area {
		c := i / area % channels
		gain := arg[0][c] / math.Sqrt(variance[c]+b.epsilon)
		shift := arg[1][c] - mean[c]*gain
		for j := i; j < i+area; j++ {
			y[j] = T(float64(x[j])*gain + shift)
		}
	}
	return append([]*Tensor{newTensor(t.Type, dims, y)}, out...), nil
}

// channelStatistics are mean and population variance of each channel of an [N, C, area] tensor.
func channelStatistics[T floating](x []T, channels, area int) (mean, variance []float64) {
	mean, variance = make([]float64, channels), make([]float64, channels)
	n := float64(len(x)) / float64(max(channels, 1))
	sum := func(to []float64, f func(c int, v float64) float64) {
		for i := 0; i < len(x); i += area {
			c := i / area % channels
			for _, v := range x[i : i+area] {
				to[c] += f(c, float64(v))
			}
		}
		for c := range to {
			to[c] /= n
		}
	}
	sum(mean, func(_ int, v float64) float64 { return v })
	sum(variance, func(c int, v float64) float64 { return (v - mean[c]) * (v - mean[c]) })
	return mean, variance
}

// normalise standardises runs of consecutive elements: y = (x − mean)/√(var + ε), with the mean and population variance of each
// run of length n. With rms set the mean is taken as 0. It returns 1/√(var + ε) of each run as inverse.
func normalise[T floating](x []T, n int, epsilon float64, rms bool) (y []T, mean, inverse []float64) {
	y = make([]T, len(x))
	if n == 0 {
		return y, nil, nil
	}
	runs := len(x) / n
	mean, inverse = make([]float64, runs), make([]float64, runs)
	for r := range runs {
		row := x[r*n : (r+1)*n]
		m, v := 0.0, 0.0
		if !rms {
			for _, e := range row {
				m += float64(e)
			}
			m /= float64(n)
		}
		for _, e := range row {
			v += (float64(e) - m) * (float64(e) - m)
		}
		s := 1 / math.Sqrt(v/float64(n)+epsilon)
		to := y[r*n : (r+1)*n]
		for i, e := range row {
			to[i] = T((float64(e) - m) * s)
		}
		mean[r], inverse[r] = m, s
	}
	return y, mean, inverse
}

// buildLayerNorm: https://onnx.ai/onnx/operators/onnx__LayerNormalization.html. Scale and B broadcast to the normalised dims.
func buildLayerNorm(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 3); err != nil {
		return nil, err
	}
	if s := n.int("stash_type", int64(onnx.Float)); s != int64(onnx.Float) && s != int64(onnx.BFloat16) && s != int64(onnx.Double) && s != int64(onnx.Float16) {
		return nil, unsupportedf("stash_type = %d", s)
	}
	axis, epsilon := n.int("axis", -1), float64(n.float("epsilon", 1e-5))
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
		switch d := in[0].Data.(type) {
		case []float32:
			return layerNorm(c, in, d, axis, epsilon, false)
		case []float64:
			return layerNorm(c, in, d, axis, epsilon, false)
		}
		return nil, unsupportedType(in[0].Type)
	}, 1, 2), nil
}

// buildRMSNorm: https://onnx.ai/onnx/operators/onnx__RMSNormalization.html
func buildRMSNorm(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	n.ignore("stash_type")
	axis, epsilon := n.int("axis", -1), float64(n.float("epsilon", 1e-5))
	return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
		var out []*Tensor
		var err error
		switch d := in[0].Data.(type) {
		case []float32:
			out, err = layerNorm(c, in, d, axis, epsilon, true)
		case []float64:
			out, err = layerNorm(c, in, d, axis, epsilon, true)
		default:
			err = unsupportedType(in[0].Type)
		}
		if err != nil {
			return nil, err
		}
		return out[:1], nil
	}), nil
}

func layerNorm[T floating](_ *call, in []*Tensor, x []T, axis int64, epsilon float64, rms bool) ([]*Tensor, error) {
	dims := in[0].Dims
	k, err := shape.Axis(axis, len(dims))
	if err != nil {
		return nil, err
	}
	data, mean, inverse := normalise(x, elements(dims[k:]), epsilon, rms)
	y := newTensor(in[0].Type, dims, data)
	for slot, op := range []arithOp{opMul, opAdd} {
		t := optional(in, slot+1)
		if t == nil {
			continue
		}
		if len(t.Dims) > len(dims) {
			return nil, fmt.Errorf("input %d has shape %v, which does not broadcast to %v", slot+1, t.Dims, dims)
		}
		z, err := arith(op, y, t)
		if err != nil {
			return nil, err
		}
		if elements(z.Dims) != len(data) {
			return nil, fmt.Errorf("input %d has shape %v, which does not broadcast to %v", slot+1, t.Dims, dims)
		}
		y = z
	}
	reduced := append([]int{}, dims...)
	for d := k; d < len(dims); d++ {
		reduced[d] = 1
	}
	if len(mean) != elements(reduced) { // an empty run
		mean, inverse = make([]float64, elements(reduced)), make([]float64, elements(reduced))
	}
	out := []*Tensor{y}
	for _, v := range [][]float64{mean, inverse} {
		t, err := cast(newTensor(onnx.Double, reduced, v), in[0].Type)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}
