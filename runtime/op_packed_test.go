package runtime

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// TestConvOfConstantWeights runs one kept convolution on inputs of several sizes; the oracle is the defining sum.
func TestConvOfConstantWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rank := rapid.IntRange(1, 3).Draw(t, "rank")
		small := func(name string, lo, hi int) []int {
			return rapid.SliceOfN(rapid.IntRange(lo, hi), rank, rank).Draw(t, name)
		}
		group, perIn, perOut := rapid.IntRange(1, 2).Draw(t, "group"), rapid.IntRange(1, 3).Draw(t, "in"), rapid.IntRange(leastChannels, 20).Draw(t, "out")
		w := window{strides: small("strides", 1, 3), dilations: small("dilations", 1, 2), begin: small("begin", 0, 3), end: small("end", 0, 3)}
		k, b := wave(onnx.Float, append([]int{group * perOut, perIn}, small("kernel", 1, 3)...)...), wave(onnx.Float, group*perOut)
		kept := &keptConv{groups: make([]packedMatrix, group)}
		for run := range 3 {
			x := wave(onnx.Float, append([]int{rapid.IntRange(1, 2).Draw(t, "batch"), group * perIn}, small(fmt.Sprint("space", run), 5, 8)...)...)
			got, err := convWith[float32](testCall(), w, int64(group), []*Tensor{x, k, b}, kept)
			if err != nil {
				t.Fatal(err)
			}
			if err := closeTo(got, directConv(x, k, b, w, group, got.Dims[2:]), 1e-5); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestProductsWithConstants compiles MatMul and Gemm with a stored right operand; the oracle is the defining sum in float64.
func TestProductsWithConstants(t *testing.T) {
	for _, s := range []struct{ m, n, k int }{{1, 1, 1}, {1, 40, 7}, {3, 2, 300}, {5, 17, 33}, {70, 65, 20}} {
		for _, transposed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%dx%dx%d/%v", s.m, s.n, s.k, transposed), func(t *testing.T) {
				a, b, c := wave(onnx.Float, s.m, s.k), wave(onnx.Float, s.k, s.n), wave(onnx.Float, s.n)
				stored := b.Data.([]float32)
				dims := []int64{int64(s.k), int64(s.n)}
				product := node("MatMul", "a b", "y")
				if transposed {
					stored = make([]float32, s.k*s.n)
					for i := range s.k {
						for j := range s.n {
							stored[j*s.k+i] = b.Data.([]float32)[i*s.n+j]
						}
					}
					dims = []int64{int64(s.n), int64(s.k)}
					product = node("Gemm", "a b c", "y", intAttr("transB", 1), floatAttr("alpha", 0.5), floatAttr("beta", 2))
				}
				m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("a", onnx.Float, -1, -1)}, untyped("y"),
					[]*onnxpb.TensorProto{initFloats("b", dims, stored...), initFloats("c", []int64{int64(s.n)}, c.Data.([]float32)...)}, product))
				p := compileModel(t, m, Options{})
				want := make([]float64, s.m*s.n)
				for i := range s.m {
					for j := range s.n {
						sum := 0.0
						for l := range s.k {
							sum += asFloat64(a)[i*s.k+l] * asFloat64(b)[l*s.n+j]
						}
						if transposed {
							sum = sum/2 + 2*asFloat64(c)[j]
						}
						want[i*s.n+j] = sum
					}
				}
				for range 2 {
					out, err := p.Run(context.Background(), map[string]*Tensor{"a": a})
					if err != nil {
						t.Fatal(err)
					}
					if err := closeTo(out["y"], want, 1e-4); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}
