package convert

import (
	"context"
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/finetune"
)

// meanFrames is how many frames of a layer make its mean.
const meanFrames = 4096

// mean sums up the frames that arrive at a ring.
type mean struct {
	sum   []float64
	count int
	err   error
}

// add takes X […, I], padding included: any mean will do, this one is only a good one.
func (m *mean) add(x *onnx.Array) {
	n := len(m.sum)
	if m.err != nil {
		return
	}
	if len(x.Dims) == 0 || x.Dims[len(x.Dims)-1] != n {
		m.err = fmt.Errorf("input X has dims %v, the layer %d inputs", x.Dims, n)
		return
	}
	v, err := recurrent.Floats(x)
	if err != nil {
		m.err = err
		return
	}
	for i := 0; i < len(v); i += n {
		for k, e := range v[i : i+n] {
			m.sum[k] += float64(e)
		}
		m.count++
	}
}

// centred lists the rings all of whose cores are trained, with the mean of their frames where their layer's bias is trained too.
func (t *tuning) centred(ctx context.Context) ([]finetune.Ring, error) {
	var rings []finetune.Ring
	means := map[runtime.Observed]*mean{}
	var observe []runtime.Observed
	at := map[int]runtime.Observed{}
	for _, r := range t.rings {
		f, err := r.Factor(ctx, t.model)
		if err != nil {
			return nil, inFile(t.o.Model, err)
		}
		ring := finetune.Ring{Factor: f, Cores: t.cores(r), Places: corePlaces(r)}
		if ring.Cores == nil {
			continue
		}
		if bias, reader := t.biasOf(r); bias != nil {
			ring.Bias = bias
			if means[reader] == nil {
				means[reader] = &mean{sum: make([]float64, r.In)}
				observe = append(observe, reader)
			}
			at[len(rings)] = reader
		}
		rings = append(rings, ring)
	}
	for _, r := range t.matrices {
		f, err := r.Factor(ctx, t.model)
		if err != nil {
			return nil, inFile(t.o.Model, err)
		}
		if cores := t.cores(r.Record); cores != nil {
			rings = append(rings, finetune.Ring{Factor: f, Cores: cores, Places: corePlaces(r.Record)})
		}
	}
	if len(observe) == 0 {
		return rings, nil
	}
	if err := t.means(ctx, observe, means); err != nil {
		return nil, err
	}
	for k, reader := range at {
		m := means[reader]
		if m.count == 0 {
			continue
		}
		rings[k].Mean = make([]float64, len(m.sum))
		for i, v := range m.sum {
			rings[k].Mean[i] = v / float64(m.count)
		}
	}
	return rings, nil
}

// weight finds a tensor that is trained by name and role.
func (t *tuning) weight(name string, r role) *onnx.Tensor {
	if k := slices.IndexFunc(t.weights, func(w weight) bool { return w.role == r && w.tensor.Name == name }); k >= 0 {
		return t.weights[k].tensor
	}
	return nil
}

// cores are the tensors of a factor; nil where not all of them are trained.
func (t *tuning) cores(r export.Record) []*onnx.Tensor {
	cores := make([]*onnx.Tensor, len(r.Cores))
	for i, name := range r.Cores {
		if cores[i] = t.weight(name, roleCore); cores[i] == nil {
			return nil
		}
	}
	return cores
}

// corePlaces are those of all cores of a record.
func corePlaces(r export.Record) [][]int {
	places := make([][]int, len(r.Cores))
	for k := range places {
		places[k] = r.Places(k)
	}
	return places
}

// biasOf finds the bias of the one layer that has the ring, if it is a stored tensor that is trained and no other node reads, and where the layer's frames can be seen.
func (t *tuning) biasOf(r export.Record) (*onnx.Tensor, runtime.Observed) {
	if len(r.Sites) != 1 {
		return nil, runtime.Observed{}
	}
	site := nodeOf(t.model, r.Sites[0])
	if site == nil {
		return nil, runtime.Observed{}
	}
	name := site.Input(recurrent.SlotB)
	readers := 0
	for _, n := range recurrent.Nodes(t.model) {
		if name != "" && slices.Contains(n.Node.Inputs, name) {
			readers++
		}
	}
	bias := t.weight(name, roleSite)
	if bias == nil || readers != 1 {
		return nil, runtime.Observed{}
	}
	for _, n := range site.Graph.Nodes {
		if slot := slices.Index(n.Inputs, r.Inputs[0]); slot >= 0 {
			return bias, runtime.Observed{Node: n, Slot: slot}
		}
	}
	return nil, runtime.Observed{}
}

// means runs the model over the training data, evenly thinned, until every layer has seen enough frames.
func (t *tuning) means(ctx context.Context, observe []runtime.Observed, means map[runtime.Observed]*mean) error {
	s, err := watch(ctx, t.model, runtime.Options{Threads: t.o.Threads, Observe: observe}, func(o runtime.Observed, x *onnx.Array) { means[o].add(x) })
	if err != nil {
		return inFile(t.o.Model, err)
	}
	fewest := func(map[string]*onnx.Array) (int, error) {
		n := meanFrames
		for _, m := range means {
			if m.err != nil {
				return 0, m.err
			}
			n = min(n, m.count)
		}
		return n, nil
	}
	return t.blocks(t.train.Len()).gather(ctx, t.reading(), s, meanFrames, fewest, func(int, int) {})
}

// blocks cuts the training data into blocks of size samples, of fewer where they are many or the model takes no more; frames are collected from all of them.
func (t *tuning) blocks(size int) *calibration {
	cal := &calibration{what: "data", data: t.train, block: max(1, min(size, t.train.MaxBatch(), 32))}
	for from := 0; from < t.train.Len(); from += cal.block {
		cal.collect = append(cal.collect, from)
	}
	return cal
}

// reading says how the training data are read.
func (t *tuning) reading() Calibration {
	return Calibration{Data: t.o.Data.Path, Reading: t.o.Data.Reading}
}
