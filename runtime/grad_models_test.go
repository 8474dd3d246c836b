package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// floatTensors lists the stored floating tensors of all scopes, in order.
func floatTensors(m *onnx.Model) []*onnx.Tensor {
	var list []*onnx.Tensor
	add := func(t *onnx.Tensor) {
		if t != nil && isFloat(t.Type) {
			list = append(list, t)
		}
	}
	var walk func(g *onnx.Graph)
	walk = func(g *onnx.Graph) {
		for _, t := range g.Initializers {
			add(t)
		}
		for _, n := range g.Nodes {
			if v := n.Attr("value"); n.OpType == "Constant" && v != nil {
				add(v.T)
			}
			for _, b := range n.Subgraphs() {
				walk(b)
			}
		}
	}
	walk(m.Graph)
	for _, f := range m.Functions {
		walk(f.Body)
	}
	return list
}

// modelsAtHand lists the models beside the repository whose gradients are tested.
func modelsAtHand(t *testing.T) []string {
	t.Helper()
	var models []string
	for _, name := range []string{"models/visible", "models/torch-export", "models/synthetic"} {
		for _, dir := range subfolders(t, sharedFolder(t, name)) {
			models = append(models, filepath.Join(dir, "model.onnx"))
		}
	}
	dense, err := filepath.Glob(filepath.Join(sharedFolder(t, "data"), "*", "dense*.onnx"))
	if err != nil || len(dense) == 0 {
		t.Fatalf("no data models (%v)", err)
	}
	return append(models, dense...)
}

// TestModelsHaveGradients: with all stored floats of a model as parameters no operator lacks a gradient. Along random directions the gradient of the model in double must agree with
// central differences, and the gradient of the model as it is with that of the model in double.
func TestModelsHaveGradients(t *testing.T) {
	for _, path := range modelsAtHand(t) {
		t.Run(strings.TrimPrefix(filepath.ToSlash(path), "../../shared/"), func(t *testing.T) {
			m := openModel(t, path)
			training, err := CompileTraining(t.Context(), m, floatTensors(m), Options{})
			var u *UnsupportedError
			if errors.As(err, &u) {
				t.Fatalf("no gradient of %v", u.Counts)
			}
			if err != nil {
				t.Fatal(err)
			}
			feeds := modelFeeds(t, path, training.Program())
			wide := inDouble(t, path)
			if wide == nil || len(training.Parameters()) == 0 {
				return // stores its tensors elsewhere
			}
			double, err := CompileTraining(t.Context(), wide, floatTensors(wide), Options{})
			if err != nil {
				t.Fatal(err)
			}
			wideFeeds := map[string]*Tensor{}
			for name, x := range feeds {
				if wideFeeds[name] = x; isFloat(x.Type) {
					if wideFeeds[name], err = cast(x, onnx.Double); err != nil {
						t.Fatal(err)
					}
				}
			}
			for k := range uint64(2) {
				if err := checkDirection(t.Context(), double, wideFeeds, k); err != nil {
					t.Errorf("direction %d: %v", k, err)
				}
			}
			if err := comparePrecision(t.Context(), training, feeds, double, wideFeeds); err != nil {
				t.Error(err)
			}
		})
	}
}

// inDouble is a model with all its float32 and float16 tensors and values in double; nil if tensors are stored in files of their own.
func inDouble(t *testing.T, path string) *onnx.Model {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m onnxpb.ModelProto
	if err := proto.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	stored := true
	double := int32(onnx.Double)
	single := func(typ int32) bool { return typ == int32(onnx.Float) || typ == int32(onnx.Float16) }
	widen := func(x *onnxpb.TensorProto) {
		if stored = stored && len(x.GetExternalData()) == 0; !stored || !single(x.GetDataType()) {
			return
		}
		if x.GetDataType() == int32(onnx.Float16) {
			for r := x.GetRawData(); len(r) >= 2; r = r[2:] {
				x.Int32Data = append(x.Int32Data, int32(binary.LittleEndian.Uint16(r)))
			}
			for _, bits := range x.Int32Data {
				x.FloatData = append(x.FloatData, onnx.Float16ToFloat32(uint16(bits)))
			}
			x.RawData, x.Int32Data = nil, nil
		}
		for r := x.GetRawData(); len(r) >= 4; r = r[4:] {
			x.FloatData = append(x.FloatData, math.Float32frombits(binary.LittleEndian.Uint32(r)))
		}
		for _, v := range x.FloatData {
			x.DoubleData = append(x.DoubleData, float64(v))
		}
		x.RawData, x.FloatData, x.DataType = nil, nil, &double
	}
	declare := func(list []*onnxpb.ValueInfoProto) {
		for _, v := range list {
			if tt := v.GetType().GetTensorType(); single(tt.GetElemType()) {
				tt.ElemType = &double
			}
		}
	}
	var nodes func(list []*onnxpb.NodeProto)
	graph := func(g *onnxpb.GraphProto) {
		for _, x := range g.Initializer {
			widen(x)
		}
		declare(g.Input)
		declare(g.Output)
		declare(g.ValueInfo)
		nodes(g.Node)
	}
	nodes = func(list []*onnxpb.NodeProto) {
		for _, n := range list {
			for _, a := range n.Attribute {
				switch {
				case a.T != nil:
					widen(a.T)
				case a.G != nil:
					graph(a.G)
				case (a.GetName() == "to" || a.GetName() == "dtype") && single(int32(a.GetI())):
					a.I = proto.Int64(int64(onnx.Double))
				case a.GetName() == "value_float":
					replacement := tensorAttr("value", &onnxpb.TensorProto{DataType: &double, DoubleData: []float64{float64(a.GetF())}})
					proto.Reset(a)
					proto.Merge(a, replacement)
				}
			}
		}
	}
	graph(m.Graph)
	for _, f := range m.Functions {
		nodes(f.Node)
	}
	if !stored {
		return nil
	}
	if b, err = proto.Marshal(&m); err != nil {
		t.Fatal(err)
	}
	wide, err := onnx.Decode("double", b)
	if err != nil {
		t.Fatal(err)
	}
	return wide
}

// modelFeeds are the stored inputs of a model, or random ones for the data models.
func modelFeeds(t *testing.T, path string, p *Program) map[string]*Tensor {
	t.Helper()
	dir := filepath.Dir(path)
	feeds := map[string]*Tensor{}
	switch {
	case strings.Contains(path, "visible"):
		return readMeta(t, filepath.Join(dir, "io")).feeds(t, filepath.Join(dir, "io"))
	case strings.Contains(path, "synthetic"):
		feeds = readMeta(t, dir).feeds(t, dir)
		for _, v := range p.Inputs() {
			if x := feeds[v.Name]; v.Type.Elem == onnx.Float16 && x.Type == onnx.Float {
				feeds[v.Name] = narrowHalf(x, onnx.Float16)
			}
		}
		return feeds
	case strings.Contains(path, "torch-export"):
		for _, v := range p.Inputs() {
			feeds[v.Name] = readNPY(t, filepath.Join(dir, "in_"+v.Name+".npy"))
		}
		return feeds
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, v := range p.Inputs() {
		var dims []int
		for _, d := range v.Type.Shape {
			n := 3
			if d.Known {
				n = int(d.Value)
			}
			dims = append(dims, n)
		}
		x := make([]float32, elements(dims))
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		feeds[v.Name] = newTensor(onnx.Float, dims, x)
	}
	return feeds
}

// modelLoss is Σ c⊙y over the floating outputs, c random but the same in every precision.
type modelLoss struct {
	training     *Training
	feeds        map[string]*Tensor
	coefficients map[string][]float64
	magnitude    float64 // Σ |c⊙y| of the last evaluation
}

func newModelLoss(training *Training, feeds map[string]*Tensor) *modelLoss {
	return &modelLoss{training: training, feeds: feeds, coefficients: map[string][]float64{}}
}

func (l *modelLoss) value(ctx context.Context) (sum float64, pass *Pass, err error) {
	if pass, err = l.training.Forward(ctx, l.feeds, PassOptions{}); err != nil {
		return 0, nil, err
	}
	l.magnitude = 0
	for k, v := range l.training.Program().Outputs() {
		y := pass.Outputs[v.Name]
		if !isFloat(y.Type) {
			continue
		}
		c := l.coefficients[v.Name]
		if c == nil {
			rng := rand.New(rand.NewPCG(uint64(k), 11))
			for range elements(y.Dims) {
				c = append(c, float64(float32(rng.NormFloat64())))
			}
			l.coefficients[v.Name] = c
		}
		for i, e := range asFloat64(y) {
			sum += c[i] * e
			l.magnitude += math.Abs(c[i] * e)
		}
	}
	return sum, pass, nil
}

// gradient puts the gradient of the loss into the parameters.
func (l *modelLoss) gradient(ctx context.Context) error {
	_, pass, err := l.value(ctx)
	if err != nil {
		return err
	}
	d := map[string]*Tensor{}
	for name, c := range l.coefficients {
		if d[name], err = cast(newTensor(onnx.Double, pass.Outputs[name].Dims, c), pass.Outputs[name].Type); err != nil {
			return err
		}
	}
	l.training.ZeroGrad()
	return pass.Backward(ctx, d)
}

// checkDirection compares ⟨gradient, u⟩ in double with the central difference of the loss along a random direction u, whose elements are those of the parameters times random factors (seed
// 0), or such with the signs of the gradient, so that nothing cancels (seed 1). A step h errs by a multiple of h², which the difference of step 2h tells, and by the roundings of the loss,
// 64 units of Σ|c⊙y| being granted. A kink between the ends of a step shows in neither, so the steps are small, and two in three must agree.
func checkDirection(ctx context.Context, training *Training, feeds map[string]*Tensor, seed uint64) error {
	l := newModelLoss(training, feeds)
	if err := l.gradient(ctx); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 12))
	parameters := training.Parameters()
	start, direction := make([][]float64, len(parameters)), make([][]float64, len(parameters))
	along, size := 0.0, 0.0
	for k, p := range parameters {
		start[k] = slices.Clone(p.Value.Data.([]float64))
		direction[k] = make([]float64, len(start[k]))
		if len(start[k]) < 2 { // exponents, bounds and the like
			continue
		}
		for i, g := range p.Grad.Data.([]float64) {
			u := start[k][i] * rng.NormFloat64()
			if seed == 1 {
				u = math.Copysign(u, g)
			}
			direction[k][i] = u
			along += u * g
			size += math.Abs(u * g)
		}
	}
	at := func(h float64) (float64, error) {
		for k, p := range parameters {
			to := p.Value.Data.([]float64)
			for i, v := range start[k] {
				to[i] = v + h*direction[k][i]
			}
		}
		v, _, err := l.value(ctx)
		return v, err
	}
	agree := 0
	var text []string
	for _, h := range []float64{1e-6, 1e-7, 1e-8} {
		var slope [2]float64
		for k, step := range []float64{h, 2 * h} {
			up, err := at(step)
			if err != nil {
				return err
			}
			down, err := at(-step)
			if err != nil {
				return err
			}
			slope[k] = (up - down) / (2 * step)
		}
		bound := math.Abs(slope[0]-slope[1]) + 64*0x1p-53*l.magnitude/h
		text = append(text, fmt.Sprintf("%g ± %g", slope[0], bound))
		if math.Abs(along-slope[0]) <= bound && bound <= 1e-4*size {
			agree++
		}
	}
	if _, err := at(0); err != nil {
		return err
	}
	if agree < 2 {
		return fmt.Errorf("the gradient along it is %g (of %g), the differences %v", along, size, text)
	}
	return nil
}

// comparePrecision compares the gradients of a model in float32 and in double, parameter by parameter. What has one element (exponents, bounds and the like) is left out, since all may
// cancel there. Of float32's 24 bits ten must be left: the others go in the roundings of hundreds of nodes and steps forth and back, and where terms
// cancel, as behind a softmax, the gradients of whose lanes sum to zero. The one model in float16, a single layer, comes as close.
func comparePrecision(ctx context.Context, training *Training, feeds map[string]*Tensor, double *Training, wide map[string]*Tensor) error {
	if err := newModelLoss(training, feeds).gradient(ctx); err != nil {
		return err
	}
	if err := newModelLoss(double, wide).gradient(ctx); err != nil {
		return err
	}
	for k, p := range training.Parameters() {
		var diff, norm float64
		want := asFloat64(double.Parameters()[k].Grad)
		for i, g := range asFloat64(p.Grad) {
			diff += (g - want[i]) * (g - want[i])
			norm += want[i] * want[i]
		}
		if len(want) < 2 {
			continue
		}
		if !(math.Sqrt(diff) <= 0x1p-10*math.Sqrt(norm)) {
			return fmt.Errorf("the gradient of %q differs from that in double by %g of its norm", p.Tensor.Name, math.Sqrt(diff/norm))
		}
	}
	return nil
}
