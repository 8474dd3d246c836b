package finetune

import (
	"fmt"
	"hash"
	"math"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/tensor"
)

// Ring is a factored layer that is trained as one thing. It changes how training goes, not what a model computes:
//
// The cores start balanced: each is scaled to the geometric mean of their Frobenius norms, which leaves Ŵ as it is. A step of an optimizer that
// moves all numbers by about as much then changes every core by about the same share.
//
// With a mean μ of the layer's frames, training moves the cores as if the layer were
//
//	Ŵ·(x − μ) + b′,   b′ = b + Ŵ·μ,
//
// so that cores learn from what differs between the frames and not from their mean, for which the bias stands. The bias that is stored stays b: when a step changes
// Ŵ to Ŵ⁺ it becomes b⁺ = b + Δb′ − (Ŵ⁺−Ŵ)·μ. This is exact for any μ.
type Ring struct {
	Factor *tensor.Factor // its shape: format, modes and ranks; the elements of the cores are not read
	Cores  []*onnx.Tensor // in the factor's order, all of them in Options.Groups
	Places [][]int        // of each core, for each number of its tensor, the number of the factor's core; nil: the same
	Bias   *onnx.Tensor   // B [D, 2·G·H] of the only layer that has Ŵ, in Options.Groups; nil: no mean is taken off
	Mean   []float64      // μ [In]; nil: none is taken off
}

// centred says whether the ring has a mean.
func (r *Ring) centred() bool { return r.Bias != nil && r.Mean != nil }

// hash adds the ring to what a checkpoint depends on.
func (r *Ring) hash(h hash.Hash) {
	fmt.Fprintf(h, "%q %v %v %v %v %v\n", r.Factor.Format, r.Factor.In, r.Factor.Out, r.Factor.InModes, r.Factor.OutModes, r.Factor.Ranks())
	for _, t := range r.Cores {
		fmt.Fprintf(h, "%q\n", t.Name)
	}
	if r.centred() {
		fmt.Fprintf(h, "%q %v\n", r.Bias.Name, r.Mean)
	}
}

// ring is a Ring at work.
type ring struct {
	cores  []*weight
	places [][]int // nil for a core whose tensor has the factor's order
	bias   *weight // nil: not centred
	plan   *tensor.Plan
	mean   []float64 // μ, padded to the product of the modes
	wide   [][]float64
	rows   int // G·H, the rows of Ŵ for one direction
}

// newRing checks that a Ring fits the weights.
func newRing(r *Ring, weights map[*onnx.Tensor]*weight) (*ring, error) {
	if r.Places != nil && len(r.Places) != len(r.Cores) {
		return nil, fmt.Errorf("finetune: ring: %d cores, places of %d", len(r.Cores), len(r.Places))
	}
	if r.Factor == nil || len(r.Cores) != len(r.Factor.Cores) {
		return nil, fmt.Errorf("finetune: ring: %d cores, its factor has another number or is missing", len(r.Cores))
	}
	out := &ring{places: make([][]int, len(r.Cores))}
	for k, t := range r.Cores {
		w := weights[t]
		if w == nil {
			return nil, fmt.Errorf("finetune: ring: core %v: is in no group", t)
		}
		c := r.Factor.Cores[k]
		if n := c.Left * c.Mode * c.Right; n != w.Value.Elements() {
			return nil, fmt.Errorf("finetune: ring: core %v: has %d elements, its factor %d", t, w.Value.Elements(), n)
		}
		if r.Places != nil && r.Places[k] != nil {
			if err := permutation(r.Places[k], w.Value.Elements()); err != nil {
				return nil, fmt.Errorf("finetune: ring: core %v: %w", t, err)
			}
			out.places[k] = r.Places[k]
		}
		out.cores = append(out.cores, w)
	}
	if !r.centred() {
		return out, nil
	}
	if out.bias = weights[r.Bias]; out.bias == nil {
		return nil, fmt.Errorf("finetune: ring: bias %v: is in no group", r.Bias)
	}
	if len(r.Mean) != r.Factor.In {
		return nil, fmt.Errorf("finetune: ring: a mean of %d elements for a layer of %d inputs", len(r.Mean), r.Factor.In)
	}
	if d := out.bias.Value.Dims; len(d) != 2 || d[0]*d[1] != 2*r.Factor.Out {
		return nil, fmt.Errorf("finetune: ring: bias %v: has dims %v, the layer %d rows", r.Bias, d, r.Factor.Out)
	}
	out.rows = out.bias.Value.Dims[1] / 2
	columns := 1
	for _, n := range r.Factor.InModes {
		columns *= n
	}
	out.mean = make([]float64, columns)
	copy(out.mean, r.Mean)
	var err error
	out.plan, err = tensor.NewPlan(r.Factor.Network().Apply(1), tensor.FewestFLOPs)
	if err != nil {
		return nil, fmt.Errorf("finetune: ring: %w", err)
	}
	for _, w := range out.cores {
		out.wide = append(out.wide, make([]float64, w.Value.Elements()))
	}
	out.wide = append(out.wide, out.mean)
	return out, nil
}

// balance scales the cores to one norm. Cores of zeros, and those whose norms differ by more than float32 holds, stay.
func (r *ring) balance() {
	var sum float64
	norms := make([]float64, len(r.cores))
	for k, w := range r.cores {
		v, _ := floatsOf(w.Value)
		var square float64
		for i := range w.Value.Elements() {
			square += v.at(i) * v.at(i)
		}
		norms[k] = math.Sqrt(square)
		sum += math.Log(norms[k])
	}
	mean := math.Exp(sum / float64(len(norms)))
	if !(mean > 1e-30 && mean < 1e30) {
		return
	}
	for k, w := range r.cores {
		by := mean / norms[k]
		switch v := w.Value.Data.(type) {
		case []float32:
			scaleAll(v, float32(by))
		case []float64:
			scaleAll(v, by)
		}
	}
}

func scaleAll[T float32 | float64](v []T, by T) {
	for i := range v {
		v[i] *= by
	}
}

// offset is Ŵ·μ of the present cores, with what its way back needs.
func (r *ring) offset() (*tensor.Evaluation[float64], error) {
	for k, w := range r.cores {
		v, _ := floatsOf(w.Value)
		for i := range r.wide[k] {
			r.wide[k][r.place(k, i)] = v.at(i)
		}
	}
	return tensor.Evaluate(r.plan, r.wide...)
}

// centre adds to the gradients of the cores what comes through b = b′ − Ŵ·μ, and returns Ŵ·μ.
func (r *ring) centre() ([]float64, error) {
	if r.bias == nil {
		return nil, nil
	}
	e, err := r.offset()
	if err != nil {
		return nil, err
	}
	b, _ := floatsOf(r.bias.Grad)
	grad := make([]float64, len(e.Result))
	for o := range grad {
		grad[o] = -b.at(r.at(o))
	}
	grads, err := e.Backward(grad)
	if err != nil {
		return nil, err
	}
	for k, w := range r.cores {
		g, _ := floatsOf(w.Grad)
		for i := range grads[k] {
			g.add(i, grads[k][r.place(k, i)])
		}
	}
	return e.Result, nil
}

// follow corrects the bias after a step, before which Ŵ·μ was old.
func (r *ring) follow(old []float64) error {
	if r.bias == nil {
		return nil
	}
	e, err := r.offset()
	if err != nil {
		return err
	}
	b, _ := floatsOf(r.bias.Value)
	for o, v := range e.Result {
		b.add(r.at(o), old[o]-v)
	}
	return nil
}

// place is where number i of a core's tensor stands in the factor's core.
func (r *ring) place(k, i int) int {
	if places := r.places[k]; places != nil {
		return places[i]
	}
	return i
}

// permutation asks places to be one of n numbers.
func permutation(places []int, n int) error {
	if len(places) != n {
		return fmt.Errorf("%d places for %d numbers", len(places), n)
	}
	seen := make([]bool, n)
	for _, at := range places {
		if at < 0 || at >= n || seen[at] {
			return fmt.Errorf("the places are no permutation of 0 to %d", n-1)
		}
		seen[at] = true
	}
	return nil
}

// at is where the input bias of row o of Ŵ (direction, gate, unit) stands in B.
func (r *ring) at(o int) int { return o/r.rows*2*r.rows + o%r.rows }
