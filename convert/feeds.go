package convert

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/trconvert/trconvert/onnx"
)

// A verification runs models on random inputs made from the declared types and shapes. What a model accepts beyond those (a
// window of at least 512 samples, a sampling rate of 16000, a batch of 1) is found by trying: trial k fixes the sizes of free dimensions, the kind of
// integers and the sign of reals.
type trial struct {
	sizes   []int // of the free dimensions in order of appearance, the last for all further ones
	names   naming
	scalar  int64 // value of integer scalars (a sampling rate, a mode)
	integer int   // largest integer in other inputs; 0 means zeros
	reals   func(*rand.Rand) float64
}

// naming says which nameless dimensions are meant to be equal.
type naming int

const (
	byAxis    naming = iota // those on the same axis: [T, B, …] beside states [1, B, …]
	ofFirst                 // the first input's are apart; all others are its first, the batch: [B, T, …] beside states [1, B, …]
	allTheOne               // all
)

func signed(r *rand.Rand) float64   { return 0.5 * r.NormFloat64() }
func positive(r *rand.Rand) float64 { return 0.5 * math.Abs(r.NormFloat64()) }

// trials go from what most models accept to the particular. Batch and length come as (3,5), as one, and both ways round; audio models
// want frames of 256 to 1536 samples.
var trials = []trial{
	{sizes: []int{3, 5, 2, 4}, names: byAxis, scalar: 16000, integer: 4, reals: signed},
	{sizes: []int{1, 7, 2, 4}, names: ofFirst, scalar: 8000, integer: 4, reals: signed},
	{sizes: []int{5, 1, 1, 3}, names: byAxis, scalar: 1, integer: 4, reals: signed},
	{sizes: []int{3, 6, 2, 4}, names: ofFirst, scalar: 1, integer: 4, reals: signed},
	{sizes: []int{1, 576, 2, 4}, names: ofFirst, scalar: 16000, integer: 4, reals: signed},
	{sizes: []int{1, 288, 2, 4}, names: ofFirst, scalar: 8000, integer: 4, reals: signed},
	{sizes: []int{2, 576, 2, 4}, names: ofFirst, scalar: 16000, integer: 4, reals: signed},
	{sizes: []int{1}, names: allTheOne, scalar: 16000, integer: 4, reals: signed},
	{sizes: []int{4}, names: allTheOne, scalar: 8000, integer: 4, reals: signed},
	{sizes: []int{4}, names: allTheOne, scalar: 1, integer: 1, reals: signed},
	{sizes: []int{1}, names: allTheOne, scalar: 1, integer: 1, reals: positive},
	{sizes: []int{4}, names: allTheOne, scalar: 0, integer: 0, reals: positive},
	{sizes: []int{1, 32, 32, 32}, names: byAxis, scalar: 8000, integer: 1, reals: positive},
	{sizes: []int{1, 1536, 2, 4}, names: ofFirst, scalar: 16000, integer: 1, reals: positive},
}

// wantedFeeds is how many inputs a verification runs where the model accepts as many.
const wantedFeeds = 3

// maxFeedElements bounds one random input, so that a declared shape cannot ask for all memory.
const maxFeedElements = 1 << 27

// runner runs one model on one engine.
type runner func(ctx context.Context, feeds map[string]*onnx.Array) (map[string]*onnx.Array, error)

// sample is an accepted input and what the reference model made of it.
type sample struct {
	feeds, outputs map[string]*onnx.Array
}

// acceptedFeeds tries random inputs until the reference model has run on wantedFeeds of them. It gives fewer, with the last
// error, where the model rejects the rest. The inputs depend on the declarations alone.
func acceptedFeeds(ctx context.Context, inputs []*onnx.ValueInfo, run runner) ([]sample, error) {
	var (
		got  []sample
		last error
	)
	for k, t := range trials {
		feeds, err := t.feeds(inputs, uint64(k))
		if err != nil {
			return got, err
		}
		out, err := run(ctx, feeds)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			last = err
			continue
		}
		if !anyFinite(out) {
			last = fmt.Errorf("every output is NaN or infinite on random inputs")
			continue
		}
		if got = append(got, sample{feeds, out}); len(got) == wantedFeeds {
			return got, nil
		}
	}
	return got, last
}

// feeds makes one array for every input.
func (t trial) feeds(inputs []*onnx.ValueInfo, stream uint64) (map[string]*onnx.Array, error) {
	var (
		size  = make(map[string]int)
		small = math.MaxInt // of the free dimensions, for lengths
		dims  = make([][]int, len(inputs))
	)
	for k, in := range inputs {
		if in.Type == nil || in.Type.Kind != "tensor" {
			return nil, fmt.Errorf("input %q is not a tensor of a declared type", in.Name)
		}
		total := 1
		for axis, d := range in.Type.Shape {
			n := int(d.Value)
			if !d.Known {
				symbol := d.Param
				if symbol == "" {
					symbol = t.names.symbol(k, axis)
				}
				if _, ok := size[symbol]; !ok {
					size[symbol] = t.sizes[min(len(size), len(t.sizes)-1)]
				}
				n = size[symbol]
				small = min(small, n)
			}
			if n < 0 || n > 0 && total > maxFeedElements/n {
				return nil, fmt.Errorf("input %q: %d elements and more are too many for a verification", in.Name, total)
			}
			total *= n
			dims[k] = append(dims[k], n)
		}
	}
	rng := rand.New(rand.NewPCG(0x7472_636f_6e76, stream))
	feeds := make(map[string]*onnx.Array, len(inputs))
	for k, in := range inputs {
		a, err := t.array(in.Type.Elem, dims[k], small, rng)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", in.Name, err)
		}
		feeds[in.Name] = a
	}
	return feeds, nil
}

// symbol names a nameless dimension; the null byte keeps it apart from the model's own symbols.
func (n naming) symbol(input, axis int) string {
	switch {
	case n == allTheOne, n == ofFirst && input > 0:
		axis = 0
	}
	return fmt.Sprintf("\x00axis %d", axis)
}

// array fills one input. Integers lie between 1 and t.integer, and not above the smallest free dimension, so that they serve as
// lengths and as rows of an embedding alike.
func (t trial) array(elem onnx.DataType, dims []int, small int, rng *rand.Rand) (*onnx.Array, error) {
	n := 1
	for _, d := range dims {
		n *= d
	}
	v := make([]float64, n)
	for i := range v {
		switch {
		case isFloating(elem):
			v[i] = t.reals(rng)
		case elem == onnx.Bool:
			v[i] = float64(rng.IntN(2))
		case len(dims) == 0:
			v[i] = float64(t.scalar)
		case t.integer > 0:
			v[i] = float64(1 + rng.IntN(max(1, min(t.integer, small))))
		}
	}
	if len(dims) == 0 && (elem == onnx.Int8 || elem == onnx.Uint8) {
		v[0] = 1
	}
	return narrow(elem, dims, v)
}

func anyFinite(outputs map[string]*onnx.Array) bool {
	for _, a := range outputs {
		v, err := floats(a)
		if err != nil || len(v) == 0 {
			return true
		}
		for _, x := range v {
			if !math.IsNaN(x) && !math.IsInf(x, 0) {
				return true
			}
		}
	}
	return len(outputs) == 0
}
