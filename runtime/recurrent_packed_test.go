package runtime

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

var defaultActivations = map[recurrent.Op][]recurrent.Activation{
	recurrent.LSTM: {{Name: "Sigmoid"}, {Name: "Tanh"}, {Name: "Tanh"}},
	recurrent.GRU:  {{Name: "Sigmoid"}, {Name: "Tanh"}},
	recurrent.RNN:  {{Name: "Tanh"}},
}

// TestDefaultCells compares the vector kernels, and stretches of every length, with the scalar references.
func TestDefaultCells(t *testing.T) {
	old := stretchElements
	defer func() { stretchElements = old }()
	for _, op := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		t.Run(string(op), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				l := drawLayer(t, op)
				l.cfg.Clip, l.cfg.InputForget, l.p, l.cfg.Activations = 0, false, nil, nil
				for range l.dirs() {
					l.cfg.Activations = append(l.cfg.Activations, defaultActivations[op]...)
				}
				stretchElements = l.batch * l.rows() * rapid.IntRange(0, 5).Draw(t, "stretch")
				l.check(t, onnx.Float, 1e-5)
				l.check(t, onnx.Double, 1e-11)
			})
		})
	}
}

// largeLayer is big enough for several goroutines in every part of a layer.
func largeLayer(op recurrent.Op) *layerCase {
	l := &layerCase{steps: 5, batch: 70, inputs: 40, cfg: recurrent.Config{Op: op, Hidden: 130, Direction: recurrent.Bidirectional,
		Activations: append(slices.Clone(defaultActivations[op]), defaultActivations[op]...)}}
	rng := rand.New(rand.NewPCG(5, 6))
	normal := func(n int) []float64 {
		v := make([]float64, n)
		for k := range v {
			v[k] = float64(float32(rng.NormFloat64() * 0.1))
		}
		return v
	}
	gh := l.rows()
	l.x, l.w, l.r, l.b = normal(l.steps*l.batch*l.inputs), normal(2*gh*l.inputs), normal(2*gh*l.cfg.Hidden), normal(4*gh)
	return l
}

// TestLayerBitsDoNotDependOnThreads runs a node with its weights kept, in one goroutine and in several at once.
func TestLayerBitsDoNotDependOnThreads(t *testing.T) {
	defer gemm.SetThreads(0)
	for _, kind := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		l := largeLayer(kind)
		in := l.arrays(onnx.Float)
		op := &recurrentOp{cfg: l.cfg, fixed: true}
		run := func() []*Tensor {
			out, err := op.run(&call{ctx: context.Background(), node: &nodeInfo{read: []bool{true, true, true}}}, in)
			if err != nil {
				t.Error(err)
			}
			return out
		}
		gemm.SetThreads(1)
		want := run()
		gemm.SetThreads(3)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for k, o := range run() {
					if o != nil && !slices.Equal(o.Data.([]float32), want[k].Data.([]float32)) {
						t.Errorf("%s: output %d of three threads differs from that of one", kind, k)
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestLargeLayer compares a layer of many goroutines with the scalar reference.
func TestLargeLayer(t *testing.T) {
	for _, kind := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		largeLayer(kind).check(t, onnx.Float, 1e-5)
	}
}

// TestKeptWeights runs one node of constant weights on several inputs and batches: what it keeps must not depend on them.
func TestKeptWeights(t *testing.T) {
	l := largeLayer(recurrent.LSTM)
	op := &recurrentOp{cfg: l.cfg, fixed: true}
	for _, batch := range []int{3, 7, 1} {
		l.batch = batch
		l.x = l.x[:l.steps*batch*l.inputs]
		out, err := op.run(&call{ctx: context.Background(), node: &nodeInfo{read: []bool{true, true, true}}}, l.arrays(onnx.Float))
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := runLayerCase(l, onnx.Float)
		if err != nil {
			t.Fatal(err)
		}
		for k := range out {
			if !slices.Equal(out[k].Data.([]float32), fresh[k].Data.([]float32)) {
				t.Errorf("batch %d: output %d differs from that of a fresh node", batch, k)
			}
		}
	}
}
