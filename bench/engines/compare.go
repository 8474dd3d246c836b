package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// difference compares all outputs with those that are wanted: the largest difference of an element over the largest element of its tensor, the worst of the outputs.
func difference(got, want map[string]*onnx.Array) outcome {
	worst := outcome{bound: bound32}
	for name, w := range want {
		g := got[name]
		switch {
		case g == nil:
			return outcome{failed: fmt.Sprintf("output %q is missing", name)}
		case g.Type != w.Type || !slices.Equal(g.Dims, w.Dims):
			return outcome{failed: fmt.Sprintf("output %q is %v %v, wanted %v %v", name, g.Type, g.Dims, w.Type, w.Dims)}
		}
		bound := boundOfType(w.Type)
		a, errA := numbers(g)
		b, errB := numbers(w)
		if errA != nil || errB != nil {
			return outcome{failed: fmt.Sprintf("output %q: %v", name, errA)}
		}
		if d := relative(a, b); !(d/bound <= worst.difference/worst.bound) {
			worst = outcome{difference: d, bound: bound}
		}
	}
	return worst
}

// boundOf is the largest bound of some outputs.
func boundOf(outputs map[string]*onnx.Array) float64 {
	bound := bound32
	for _, a := range outputs {
		bound = max(bound, boundOfType(a.Type))
	}
	return bound
}

func boundOfType(t onnx.DataType) float64 {
	if t == onnx.Float16 || t == onnx.BFloat16 {
		return bound16
	}
	return bound32
}

// relative is max|a−b| / max|b|; elements that are the same, infinite or not, or NaN on both sides, do not differ.
func relative(a, b []float64) float64 {
	off, top := 0.0, 1e-6
	for k, v := range b {
		if a[k] == v || math.IsNaN(a[k]) && math.IsNaN(v) {
			continue
		}
		if d := math.Abs(a[k] - v); !(d <= off) {
			off = d
		}
	}
	for _, v := range b {
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			top = max(top, math.Abs(v))
		}
	}
	return off / top
}

func numbers(a *onnx.Array) ([]float64, error) {
	if b, ok := a.Data.([]bool); ok {
		v := make([]float64, len(b))
		for k, x := range b {
			if x {
				v[k] = 1
			}
		}
		return v, nil
	}
	return a.Float64s()
}
