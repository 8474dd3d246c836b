package runtime

import (
	"context"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/trconvert/trconvert/onnx"
)

// directConv is the definition of Conv: y[n, m, o] = b[m] + Σ_{c,k} w[m, c, k]·x[n, g·C/G + c, o·stride + k·dilation − begin].
func directConv(x, w, b *Tensor, geometry window, group int, out []int) []float64 {
	xs, ws := asFloat64(x), asFloat64(w)
	perIn, perOut := w.Dims[1], w.Dims[0]/group
	space, kernel := x.Dims[2:], w.Dims[2:]
	var y []float64
	for n := range x.Dims[0] {
		for m := range w.Dims[0] {
			o := make([]int, len(out))
			for more := elements(out) > 0; more; more = increment(o, out) {
				sum := 0.0
				if b != nil {
					sum = asFloat64(b)[m]
				}
				for c := range perIn {
					k := make([]int, len(kernel))
					for more := true; more; more = increment(k, kernel) {
						from, weight, inside := n*x.Dims[1]+m/perOut*perIn+c, m*perIn+c, true
						for d := range k {
							i := o[d]*geometry.strides[d] + k[d]*geometry.dilations[d] - geometry.begin[d]
							inside = inside && i >= 0 && i < space[d]
							from, weight = from*space[d]+i, weight*kernel[d]+k[d]
						}
						if inside {
							sum += ws[weight] * xs[from]
						}
					}
				}
				y = append(y, sum)
			}
		}
	}
	return y
}

// wave fills a tensor with numbers that do not repeat.
func wave(typ onnx.DataType, dims ...int) *Tensor {
	v := make([]float64, elements(dims))
	for i := range v {
		v[i] = math.Sin(float64(i)*1.7 + float64(len(v)))
	}
	return floats(typ, dims, v)
}

func testCall() *call {
	return &call{ctx: context.Background(), node: &nodeInfo{node: &onnx.Node{}}}
}

func closeTo(got *Tensor, want []float64, tol float64) error {
	g := asFloat64(got)
	if len(g) != len(want) {
		return fmt.Errorf("%d elements, want %d", len(g), len(want))
	}
	for i := range want {
		if !(math.Abs(g[i]-want[i]) <= tol*(1+math.Abs(want[i]))) {
			return fmt.Errorf("element %d is %v, want %v", i, g[i], want[i])
		}
	}
	return nil
}

// TestConvDefinition: the oracle is the defining sum in float64.
func TestConvDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rank := rapid.IntRange(1, 3).Draw(t, "rank")
		small := func(name string, lo, hi int) []int {
			return rapid.SliceOfN(rapid.IntRange(lo, hi), rank, rank).Draw(t, name)
		}
		group := rapid.IntRange(1, 3).Draw(t, "group")
		w := window{strides: small("strides", 1, 3), dilations: small("dilations", 1, 2), begin: small("begin", 0, 2), end: small("end", 0, 2)}
		perIn, perOut := rapid.IntRange(1, 2).Draw(t, "in"), rapid.IntRange(1, 2).Draw(t, "out")
		x := wave(onnx.Double, append([]int{rapid.IntRange(1, 2).Draw(t, "batch"), group * perIn}, small("space", 5, 6)...)...)
		k := wave(onnx.Double, append([]int{group * perOut, perIn}, small("kernel", 1, 3)...)...)
		b := wave(onnx.Double, group*perOut)
		got, err := conv[float64](testCall(), w, int64(group), []*Tensor{x, k, b})
		if err != nil {
			t.Fatal(err)
		}
		for d, o := range got.Dims[2:] {
			span := (k.Dims[2+d]-1)*w.dilations[d] + 1
			if want := (x.Dims[2+d]+w.begin[d]+w.end[d]-span)/w.strides[d] + 1; o != want {
				t.Fatalf("axis %d has size %d, want %d", d, o, want)
			}
		}
		if err := closeTo(got, directConv(x, k, b, w, group, got.Dims[2:]), 1e-12); err != nil {
			t.Fatal(err)
		}
	})
}

// TestConvBlocks: results of several blocks of output positions, cut within rows; the oracle is the defining sum.
func TestConvBlocks(t *testing.T) {
	for _, c := range []struct{ x, k []int }{
		{[]int{1, 8, 20011}, []int{2, 8, 9}},
		{[]int{1, 40, 70, 71}, []int{3, 40, 3, 3}},
	} {
		rank := len(c.k) - 2
		ones := make([]int, rank)
		for d := range ones {
			ones[d] = 1
		}
		w := window{strides: ones, dilations: ones, begin: ones, end: ones}
		x, k := wave(onnx.Float, c.x...), wave(onnx.Float, c.k...)
		got, err := conv[float32](testCall(), w, 1, []*Tensor{x, k})
		if err != nil {
			t.Fatal(err)
		}
		if elements(c.k[1:])*elements(got.Dims[2:]) <= patchElements {
			t.Fatalf("%v is one block", c.x)
		}
		if err := closeTo(got, directConv(x, k, nil, w, 1, got.Dims[2:]), 1e-4); err != nil {
			t.Errorf("%v: %v", c.x, err)
		}
	}
}

// TestConvTransposeIsAdjoint: the oracle is the definition of the transpose, ⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩ for all x and y.
func TestConvTransposeIsAdjoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rank := rapid.IntRange(1, 3).Draw(t, "rank")
		small := func(name string, lo, hi int) []int {
			return rapid.SliceOfN(rapid.IntRange(lo, hi), rank, rank).Draw(t, name)
		}
		group := rapid.IntRange(1, 2).Draw(t, "group")
		w := window{strides: small("strides", 1, 3), dilations: small("dilations", 1, 2), begin: small("begin", 0, 1), end: small("end", 0, 1)}
		x := wave(onnx.Double, append([]int{2, 2 * group}, small("space", 5, 7)...)...)
		k := wave(onnx.Double, append([]int{3 * group, 2}, small("kernel", 1, 3)...)...)
		forward, err := conv[float64](testCall(), w, int64(group), []*Tensor{x, k})
		if err != nil {
			t.Fatal(err)
		}
		y := wave(onnx.Double, forward.Dims...)
		// output_padding makes up for what the stride left over.
		tc := transposedConv{window: w, group: int64(group), extra: make([]int64, rank)}
		for d := range rank {
			span := (k.Dims[2+d]-1)*w.dilations[d] + 1
			tc.extra[d] = int64((x.Dims[2+d] + w.begin[d] + w.end[d] - span) % w.strides[d])
		}
		back, err := convTranspose[float64](testCall(), tc, []*Tensor{y, k})
		if err != nil {
			t.Fatal(err)
		}
		if !sameDims(back.Dims, x.Dims) {
			t.Fatalf("the transpose gives shape %v, want %v", back.Dims, x.Dims)
		}
		left, right := dot(asFloat64(forward), asFloat64(y)), dot(asFloat64(x), asFloat64(back))
		if !(math.Abs(left-right) <= 1e-11*(1+math.Abs(left))) {
			t.Fatalf("⟨conv x, y⟩ = %v, ⟨x, convᵀ y⟩ = %v", left, right)
		}
	})
}

// TestEinsumDefinition: the oracle is the sum over all labels, term by term.
func TestEinsumDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := "abcd"
		sizes := map[byte]int{'a': 2, 'b': 3, 'c': 1, 'd': 2}
		n := rapid.IntRange(1, 3).Draw(t, "operands")
		text := ""
		var in []*Tensor
		used := map[byte]bool{}
		var terms []string
		for k := range n {
			term := ""
			var dims []int
			for range rapid.IntRange(0, 3).Draw(t, "rank") {
				l := labels[rapid.IntRange(0, 3).Draw(t, "label")]
				term += string(l)
				dims = append(dims, sizes[l])
				used[l] = true
			}
			if k > 0 {
				text += ","
			}
			text += term
			terms = append(terms, term)
			in = append(in, wave(onnx.Double, dims...))
		}
		output := ""
		var outDims []int
		for _, l := range rapid.Permutation([]byte(labels)).Draw(t, "order") {
			if used[l] && rapid.Bool().Draw(t, "keep") {
				output += string(l)
				outDims = append(outDims, sizes[l])
			}
		}
		eq, err := parseEinsum(text+"->"+output, n)
		if err != nil {
			t.Fatal(err)
		}
		got, err := einsum[float64](testCall(), eq, in)
		if err != nil {
			t.Fatalf("%s->%s: %v", text, output, err)
		}
		if !sameDims(got.Dims, outDims) {
			t.Fatalf("%s->%s has shape %v, want %v", text, output, got.Dims, outDims)
		}
		want := make([]float64, elements(outDims))
		free := []int{sizes['a'], sizes['b'], sizes['c'], sizes['d']}
		for d, l := range []byte(labels) {
			if !used[l] {
				free[d] = 1
			}
		}
		index := make([]int, 4)
		offset := func(term string) int {
			at := 0
			for _, l := range []byte(term) {
				at = at*sizes[l] + index[l-'a']
			}
			return at
		}
		for more := true; more; more = increment(index, free) {
			product := 1.0
			for k, term := range terms {
				product *= asFloat64(in[k])[offset(term)]
			}
			want[offset(output)] += product
		}
		if err := closeTo(got, want, 1e-12); err != nil {
			t.Fatalf("%s->%s: %v", text, output, err)
		}
	})
}
