package decompose

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

const (
	refineSteps = 12   // of conjugate gradients for a core
	refineTol   = 1e-4 // of a core's squared gradient
	// refineWork bounds the multiplications of a refinement; matrices of which it does not allow one sweep are left as they are.
	refineWork = 4e11
)

// refinement fits all cores of a factor, of whatever format, to frames: with all other cores fixed, ‖W − Ŵ‖_C² is a quadratic in one core, on
// which conjugate gradients take some steps. Each step lowers the error.
//
// With J the linear map from the core to Ŵᵀ, a step needs J·p (the network with p for the core), C·(J·p), and Jᵀ of that (the way back).
type refinement struct {
	plan   *tensor.Plan // of Ŵᵀ [∏ InModes, Out]
	metric *trals.Metric
	in     int
	out    int
	cores  [][]float64
	e, ec  []float64 // E = (W − Ŵ)ᵀ [In, Out] and C·E
}

// refine lowers the error of f on the frames of the job's metric, and returns the sweeps that took; 0 where it would take too long.
func (j *job) refine(ctx context.Context, f *tensor.Factor) (int, error) {
	width := 2 * math.Min(float64(j.In), 768) // of the products with C, which has a low rank where there are many columns
	sweep := float64(refineSteps*len(f.Cores)) * width * float64(j.In) * float64(j.Out())
	most := min(cmp.Or(j.o.Sweeps, trals.DefaultSweeps), int(refineWork/sweep))
	if most < 1 {
		return 0, nil
	}
	net := f.Network()
	net.Rows, net.Cols = net.Cols, net.Rows
	plan, err := tensor.NewPlan(net, tensor.FewestFLOPs)
	if err != nil {
		return 0, err
	}
	r := &refinement{plan: plan, metric: j.Metric, in: j.In, out: j.Out()}
	for _, c := range f.Cores {
		x := make([]float64, len(c.Data))
		for i, v := range c.Data {
			x[i] = float64(v)
		}
		r.cores = append(r.cores, x)
	}
	w := f.Reconstruct()
	r.e = make([]float64, r.in*r.out)
	for o := range r.out {
		for i := range r.in {
			r.e[i*r.out+o] = float64(j.w.Data[o*r.in+i]) - float64(w.Data[o*r.in+i])
		}
	}
	r.ec = r.metric.Times(r.e, r.out)
	before, tol := product64(r.e, r.ec), cmp.Or(j.o.Tol, trals.DefaultTol)
	sweeps, still := 0, 0
	for sweeps < most && still < 2 {
		for k := range r.cores {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			if err := r.descend(k); err != nil {
				return 0, err
			}
		}
		sweeps++
		now := product64(r.e, r.ec)
		if math.Sqrt(before)-math.Sqrt(now) <= tol*math.Sqrt(before) {
			still++
		} else {
			still = 0
		}
		before = now
	}
	for k := range f.Cores {
		for i, v := range r.cores[k] {
			f.Cores[k].Data[i] = float32(v)
		}
	}
	return sweeps, nil
}

// descend moves core k.
func (r *refinement) descend(k int) error {
	e, err := r.with(k, r.cores[k])
	if err != nil {
		return err
	}
	residual, err := r.back(e, k, r.ec)
	if err != nil {
		return err
	}
	p := slices.Clone(residual)
	square := product64(residual, residual)
	enough := refineTol * square
	for range refineSteps {
		if !(square > enough) {
			return nil
		}
		if e, err = r.with(k, p); err != nil {
			return err
		}
		jp := e.Result[:len(r.e)]
		cjp := r.metric.Times(jp, r.out)
		curvature := product64(jp, cjp)
		if !(curvature > 0) {
			return nil
		}
		step := square / curvature
		add(r.cores[k], step, p)
		add(r.e, -step, jp)
		add(r.ec, -step, cjp)
		if residual, err = r.back(e, k, r.ec); err != nil {
			return err
		}
		next := product64(residual, residual)
		for i, v := range residual {
			p[i] = v + next/square*p[i]
		}
		square = next
	}
	return nil
}

// with is the network with p in the place of core k. Its result begins with J·p [In, Out].
func (r *refinement) with(k int, p []float64) (*tensor.Evaluation[float64], error) {
	cores := slices.Clone(r.cores)
	cores[k] = p
	return tensor.Evaluate(r.plan, cores...)
}

// back is Jᵀ·d for d [In, Out], whatever e has in the place of core k; rows of padding weigh nothing.
func (r *refinement) back(e *tensor.Evaluation[float64], k int, d []float64) ([]float64, error) {
	full := make([]float64, len(e.Result))
	copy(full, d)
	grads, err := e.Backward(full)
	if err != nil {
		return nil, err
	}
	return grads[k], nil
}

func product64(x, y []float64) float64 {
	var s float64
	for i, v := range x {
		s += v * y[i]
	}
	return s
}

// add is y += a·x.
func add(y []float64, a float64, x []float64) {
	for i, v := range x {
		y[i] += a * v
	}
}
