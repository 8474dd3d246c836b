package source

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// SampleSteps is the number of steps of a sample stream.
const SampleSteps = 5

// stream makes Program.Stream: a model with states in its interface is called as it is; in others the time axis is followed from the inputs to the outputs,
// and the states of recurrent nodes are kept. Why that cannot be done goes to Program.NoStream.
func (l *lowerer) stream(g *graph) error {
	var err error
	if len(l.options.States) > 0 {
		err = l.explicitStream(g)
	} else {
		err = l.implicitStream(g)
	}
	var lacks *lack
	var unsupported *UnsupportedError
	switch {
	case errors.As(err, &lacks):
		l.program.NoStream = lacks.Error()
	case errors.As(err, &unsupported):
		l.program.NoStream = unsupported.Error()
	default:
		return err
	}
	return nil
}

// explicitStream turns the inputs and outputs that options pair into states.
func (l *lowerer) explicitStream(g *graph) error {
	e, err := l.entry(g, false)
	if err != nil {
		return err
	}
	var outs []string
	for out := range l.options.States {
		outs = append(outs, out)
	}
	slices.Sort(outs)
	state := map[string]int{} // by input
	for _, out := range outs {
		in := l.options.States[out]
		o, i := portNamed(e.Outputs, out), portNamed(e.Inputs, in)
		switch {
		case o < 0:
			return fmt.Errorf("export: source code: state %q: the model has no such output", out)
		case i < 0:
			return fmt.Errorf("export: source code: state %q: the model has no such input", in)
		case !slices.Equal(e.Outputs[o].Dims, e.Inputs[i].Dims) || e.Outputs[o].Buf.Elem != Float32 || e.Inputs[i].Buf.Elem != Float32:
			return fmt.Errorf("export: source code: state %q of %v%v comes back as %q of %v%v (want floats of the same dims)", in, e.Inputs[i].Type, e.Inputs[i].Dims, out, e.Outputs[o].Type, e.Outputs[o].Dims)
		}
		if _, twice := state[in]; twice {
			return fmt.Errorf("export: source code: state %q comes back twice", in)
		}
		port := e.Inputs[i]
		port.Buf.Space, port.Buf.Index = State, len(l.program.States)
		state[in] = port.Buf.Index
		l.program.States = append(l.program.States, port)
		b := e.Outputs[o].Buf // computed in the arena, then kept: other nodes may still read the old state
		b.Space, b.Index = Arena, 0
		e.Steps = append(e.Steps, copyStep(port.Buf, b))
	}
	nameports(l.program.States, "state")
	drop := func(ports []Port, is func(Port) bool) []Port {
		ports = slices.DeleteFunc(ports, is)
		for k := range ports {
			ports[k].Buf.Index = k
		}
		return ports
	}
	e.Inputs = drop(e.Inputs, func(p Port) bool { _, is := state[p.Name]; return is })
	e.Outputs = drop(e.Outputs, func(p Port) bool { _, is := l.options.States[p.Name]; return is })
	if e.Samples, err = l.explicitSamples(g); err != nil {
		return err
	}
	l.program.Stream = e
	return nil
}

func portNamed(ports []Port, name string) int {
	return slices.IndexFunc(ports, func(p Port) bool { return p.Name == name })
}

// explicitSamples runs a few steps with the same inputs.
func (l *lowerer) explicitSamples(g *graph) ([]Sample, error) {
	p, err := runtime.Compile(l.ctx, g.model, runtime.Options{Overrides: l.quants})
	if err != nil {
		return nil, err
	}
	feeds := maps.Clone(g.feeds)
	isState := map[string]bool{}
	for _, in := range l.options.States {
		isState[in] = true
		if feeds[in], err = onnx.ZeroArray(feeds[in].Type, feeds[in].Dims); err != nil {
			return nil, err
		}
	}
	var samples []Sample
	for range SampleSteps {
		out, err := p.Run(l.ctx, feeds)
		if err != nil {
			return nil, err
		}
		s := Sample{}
		for _, v := range g.inputs {
			if !isState[v.Name] {
				s.Inputs = append(s.Inputs, feeds[v.Name])
			}
		}
		for _, v := range g.outputs {
			if in, ok := l.options.States[v.Name]; ok {
				feeds[in] = out[v.Name]
			} else {
				s.Outputs = append(s.Outputs, out[v.Name])
			}
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// implicitStream lowers the model for one time step.
func (l *lowerer) implicitStream(whole *graph) error {
	t, err := l.timeline(whole)
	if err != nil {
		return err
	}
	gs := t.step
	e, err := l.entry(gs, true)
	if err != nil {
		return err
	}
	p, err := runtime.Compile(l.ctx, t.Model, runtime.Options{Overrides: l.quants})
	if err != nil {
		return err
	}
	for k := range SampleSteps {
		feeds := t.Samples(k, 1)
		out, err := p.Run(l.ctx, t.Samples(0, k+1))
		if err != nil {
			return lacksf("the model does not run with %d steps: %v", k+1, err)
		}
		s := Sample{}
		for _, v := range t.whole.inputs {
			s.Inputs = append(s.Inputs, feeds[v.Name])
		}
		for _, v := range t.whole.outputs {
			a := out[v.Name]
			if axis := t.Outputs[v.Name]; axis >= 0 {
				a = Part(a, axis, k, 1)
			}
			s.Outputs = append(s.Outputs, a)
		}
		e.Samples = append(e.Samples, s)
	}
	nameports(l.program.States, "state")
	l.program.Stream = e
	return nil
}

// Part cuts count entries of an axis out of an array.
func Part(a *onnx.Array, axis, first, count int) *onnx.Array {
	outer, n, inner := size(a.Dims[:axis]), a.Dims[axis], size(a.Dims[axis+1:])
	from := reflect.ValueOf(a.Data)
	to := reflect.MakeSlice(from.Type(), 0, outer*count*inner)
	for o := range outer {
		at := (o*n + first) * inner
		to = reflect.AppendSlice(to, from.Slice(at, at+count*inner))
	}
	dims := slices.Clone(a.Dims)
	dims[axis] = count
	return &onnx.Array{Type: a.Type, Dims: dims, Data: to.Interface()}
}

// freeDim is the name of time axes in the model that timed gives.
const freeDim = "trconvert time"

// timed finds the time axes of the inputs. It gives the graph of a model in which they are symbolic, for SampleSteps steps, and what its values are in a stream.
func (l *lowerer) timed(whole *graph) (g *graph, axes, labels map[string]int, err error) {
	choices := [][]int{{}} // an axis of each input, −1 for none
	for _, v := range whole.inputs {
		if v.Type == nil || !v.Type.HasShape {
			return nil, nil, nil, lacksf("input %q has no declared rank", v.Name)
		}
		var more [][]int
		for axis := len(v.Type.Shape) - 1; axis >= -1; axis-- {
			for _, c := range choices {
				more = append(more, append(slices.Clone(c), axis))
			}
		}
		if choices = more; len(choices) > 256 {
			return nil, nil, nil, lacksf("too many inputs to look for time axes in")
		}
	}
	o := l.options
	o.Feeds = nil
	o.Dims = maps.Clone(o.Dims)
	if o.Dims == nil {
		o.Dims = map[string]int{}
	}
	o.Dims[freeDim] = SampleSteps
	reason := lacksf("no axis of the inputs is the time of the recurrent nodes")
	for _, c := range choices {
		axes := map[string]int{}
		for k, axis := range c {
			if axis >= 0 {
				axes[whole.inputs[k].Name] = axis
			}
		}
		if len(axes) == 0 {
			continue
		}
		free, err := freeTime(whole.model, axes)
		if err != nil {
			return nil, nil, nil, err
		}
		g, err := newGraph(l.ctx, free, o)
		if err != nil {
			if errors.Is(err, l.ctx.Err()) && l.ctx.Err() != nil {
				return nil, nil, nil, err
			}
			continue // constants of the model contradict another number of steps
		}
		labels, err := g.follow(axes, l.given)
		if err != nil {
			var f *followError
			if errors.As(err, &f) && f.reached {
				reason = lacksf("%s", f.reason)
			}
			continue
		}
		return g, axes, labels, nil
	}
	return nil, nil, nil, reason
}

// freeTime gives the model with other declared dims of its inputs and none of its inner values.
func freeTime(m *onnx.Model, axes map[string]int) (*onnx.Model, error) {
	p, err := toProto(m)
	if err != nil {
		return nil, err
	}
	for _, v := range p.GetGraph().GetInput() {
		if axis, ok := axes[v.GetName()]; ok {
			v.GetType().GetTensorType().GetShape().GetDim()[axis] = &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: freeDim}}
		}
	}
	for _, v := range p.GetGraph().GetOutput() {
		if t := v.GetType().GetTensorType(); t != nil {
			t.Shape = nil
		}
	}
	p.Graph.ValueInfo = nil
	return onnx.FromProto(m.File(), p)
}

// streamStates replaces the initial states of a recurrent node by those of the stream.
func (n *node) streamStates(s *Recurrent, size int) {
	state := func(name string, from **Buffer) {
		b := &Buffer{Elem: Float32, Len: size, Space: State, Index: len(n.program.States)}
		n.program.States = append(n.program.States, Port{Name: name, Type: onnx.Float, Dims: []int{size}, Buf: b, Init: *from})
		*from = b
	}
	name := fmt.Sprintf("s%d", len(n.program.States))
	state(name+"_h", &s.H0)
	if s.Config.Op == recurrent.LSTM {
		state(name+"_c", &s.C0)
	}
}

// saveStates keeps the states after the step.
func (n *node) saveStates(s *Recurrent) {
	for _, k := range []struct{ state, out **Buffer }{{&s.H0, &s.YH}, {&s.C0, &s.YC}} {
		switch {
		case *k.state == nil:
		case *k.out == nil:
			*k.out = *k.state
		default:
			n.add(copyStep(*k.state, *k.out))
		}
	}
}
