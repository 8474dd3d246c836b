package tensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func randomFactor(seed uint64, in int, inModes, outModes, ranks []int) *Factor {
	r := rand.New(rand.NewPCG(seed, 0))
	modes := append(slices.Clone(inModes), outModes...)
	f := &Factor{Format: "tr", Out: product(outModes), In: in, InModes: inModes, OutModes: outModes}
	for k, m := range modes {
		c := Core{ranks[k], m, ranks[(k+1)%len(ranks)], nil}
		for range c.Left * c.Mode * c.Right {
			c.Data = append(c.Data, float32(r.NormFloat64()/math.Sqrt(float64(c.Left))))
		}
		f.Cores = append(f.Cores, c)
	}
	return f
}

// randomMatrixTrain is a TT-matrix.
func randomMatrixTrain(seed uint64, in int, inModes, outModes, ranks []int) *Factor {
	r := rand.New(rand.NewPCG(seed, 0))
	f := &Factor{Format: "ttm", Out: product(outModes), In: in, InModes: inModes, OutModes: outModes}
	for k := range inModes {
		c := Core{ranks[k], outModes[k] * inModes[k], ranks[(k+1)%len(ranks)], nil}
		for range c.Left * c.Mode * c.Right {
			c.Data = append(c.Data, float32(r.NormFloat64()/math.Sqrt(float64(c.Left))))
		}
		f.Cores = append(f.Cores, c)
	}
	return f
}

// digits writes i in mixed radix, the last mode fastest.
func digits(i int, modes []int) []int {
	d := make([]int, len(modes))
	for k := len(modes) - 1; k >= 0; k-- {
		d[k], i = i%modes[k], i/modes[k]
	}
	return d
}

// byDefinition is Ŵ[o, i] as the trace of a product of core slices: of the cores i_1 … i_n, o_1 … o_m, or for a TT-matrix of the
// cores (o_1, i_1) … (o_d, i_d).
func byDefinition(f *Factor) []float64 {
	w := make([]float64, f.Out*f.In)
	for o := range f.Out {
		for i := range f.In {
			cols, rows := digits(i, f.InModes), digits(o, f.OutModes)
			index := slices.Concat(cols, rows)
			if f.Format == "ttm" {
				index = index[:len(cols)]
				for k := range index {
					index[k] += rows[k] * f.InModes[k]
				}
			}
			r0 := f.Cores[0].Left
			for start := range r0 {
				row := make([]float64, r0)
				row[start] = 1
				for k, c := range f.Cores {
					next := make([]float64, c.Right)
					for p, v := range row {
						for q := range next {
							next[q] += v * float64(c.Data[(p*c.Mode+index[k])*c.Right+q])
						}
					}
					row = next
				}
				w[o*f.In+i] += row[start]
			}
		}
	}
	return w
}

var factors = map[string]*Factor{
	"ring":             randomFactor(1, 24, []int{4, 2, 3}, []int{2, 5}, []int{2, 3, 4, 2, 3}),
	"padded ring":      randomFactor(2, 23, []int{4, 2, 3}, []int{2, 5}, []int{2, 3, 4, 2, 3}),
	"train":            randomFactor(3, 12, []int{3, 4}, []int{2, 2, 2}, []int{1, 3, 5, 4, 2}),
	"svd":              randomFactor(4, 7, []int{7}, []int{6}, []int{1, 3}),
	"rank one":         randomFactor(5, 5, []int{5}, []int{3, 2}, []int{1, 1, 1}),
	"more than blocks": randomFactor(6, 2100, []int{42, 50}, []int{13, 10}, []int{2, 3, 2, 2}),

	"TT-matrix":                  randomMatrixTrain(7, 24, []int{4, 2, 3}, []int{2, 5, 3}, []int{1, 3, 4}),
	"padded TT-matrix":           randomMatrixTrain(8, 22, []int{4, 2, 3}, []int{2, 5, 3}, []int{1, 2, 3}),
	"TT-matrix with modes of 1":  randomMatrixTrain(9, 12, []int{4, 1, 3}, []int{1, 5, 1}, []int{1, 2, 3}),
	"TT-matrix of two pairs":     randomMatrixTrain(10, 12, []int{4, 3}, []int{2, 5}, []int{1, 6}),
	"TT-matrix of many blocks":   randomMatrixTrain(11, 590, []int{6, 10, 10}, []int{5, 6, 7}, []int{1, 3, 2}),
	"TT-matrix of rank one":      randomMatrixTrain(12, 6, []int{2, 3}, []int{3, 2}, []int{1, 1}),
	"TT-matrix, rows only first": randomMatrixTrain(13, 6, []int{1, 6}, []int{5, 1}, []int{1, 2}),
}

func TestFactorAgreesWithTheDefinition(t *testing.T) {
	for name, f := range factors {
		t.Run(name, func(t *testing.T) {
			if err := f.Validate(); err != nil {
				t.Fatal(err)
			}
			want := byDefinition(f)
			got := f.Reconstruct()
			if !slices.Equal(got.Dims, []int{f.Out, f.In}) {
				t.Fatalf("reconstructed %v, want [%d %d]", got.Dims, f.Out, f.In)
			}
			for i, v := range want {
				if math.Abs(float64(got.Data[i])-v) > 1e-6*(1+math.Abs(v)) {
					t.Fatalf("Ŵ[%d] = %v, want %v", i, got.Data[i], v)
				}
			}
			if f.Cut() == 0 {
				return
			}
			left, right := f.Sides()
			for o := range f.Out {
				for i := range f.In {
					var s float64
					for c := range f.Cut() {
						s += float64(left.Data[o*f.Cut()+c]) * float64(right.Data[i*f.Cut()+c])
					}
					if v := want[o*f.In+i]; math.Abs(s-v) > 1e-5*(1+math.Abs(v)) {
						t.Fatalf("(L·Rᵀ)[%d,%d] = %v, want %v", o, i, s, v)
					}
				}
			}
		})
	}
}

func TestFactorError(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for name, f := range factors {
		w := NewDense(f.Out, f.In)
		want := byDefinition(f)
		var diff, norm float64
		for i := range w.Data {
			w.Data[i] = float32(want[i] + 0.3*r.NormFloat64())
			diff += (float64(w.Data[i]) - want[i]) * (float64(w.Data[i]) - want[i])
			norm += float64(w.Data[i]) * float64(w.Data[i])
		}
		if got, want := f.Error(w), math.Sqrt(diff/norm); math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: error %v, want %v", name, got, want)
		}
	}
}

// The networks of a factor and its sides, contracted by a plan, must give what the merging code gives.
func TestPlansOfAFactor(t *testing.T) {
	type network struct {
		net  Network
		with []*Dense
		want []float32
	}
	for name, f := range factors {
		if f.Out*f.In > 10000 {
			continue
		}
		padded := *f
		padded.In = product(f.InModes)
		n := len(f.InModes)
		x := NewDense(append([]int{3}, f.InModes...)...)
		for i := range x.Data {
			x.Data[i] = float32(i%7) - 3
		}
		w := byDefinition(&padded)
		y := make([]float32, 3*f.Out)
		for b := range 3 {
			for o := range f.Out {
				var s float64
				for i := range padded.In {
					s += float64(x.Data[b*padded.In+i]) * w[o*padded.In+i]
				}
				y[b*f.Out+o] = float32(s)
			}
		}
		networks := map[string]network{
			"whole":   {f.Network(), f.Tensors(), narrow(w)},
			"forward": {f.Network().Apply(3), append(f.Tensors(), x), y},
		}
		if f.HasSides() {
			left, right := padded.Sides()
			networks["input side"] = network{f.InputSide(), f.Tensors()[:n], right.Data}
			networks["output side"] = network{f.OutputSide(), f.Tensors()[n:], left.Data}
		}
		for what, c := range networks {
			plan, err := NewPlan(c.net, FewestFLOPs)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, what, err)
			}
			got, err := plan.Run(c.with...)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, what, err)
			}
			for i, v := range c.want {
				if math.Abs(float64(got.Data[i]-v)) > 1e-4*(1+math.Abs(float64(v))) {
					t.Fatalf("%s, %s: element %d is %v, want %v\n%v", name, what, i, got.Data[i], v, plan)
				}
			}
			inOrder, err := PlanInOrder(c.net)
			if err != nil || plan.Cost.FLOPs > inOrder.Cost.FLOPs*(1+1e-12) {
				t.Errorf("%s, %s: plan costs %v, the plain order %v", name, what, plan.Cost, inOrder.Cost)
			}
		}
	}
}

func TestFormats(t *testing.T) {
	if _, err := FormatOf("cp"); err == nil || !strings.Contains(err.Error(), `"cp" is unknown (known are svd, tr, tt, ttm)`) {
		t.Errorf("unknown format: %v", err)
	}
	for want, f := range map[string]*Factor{
		"there are 2 and 3":   {Format: "ttm", Out: 8, In: 4, InModes: []int{2, 2}, OutModes: []int{2, 2, 2}},
		"there are 1 and 1":   {Format: "ttm", Out: 8, In: 4, InModes: []int{4}, OutModes: []int{8}},
		"format tt is open":   func() *Factor { g := *factors["ring"]; g.Format = "tt"; return &g }(),
		`format "" is`:        {Out: 8, In: 4, InModes: []int{4}, OutModes: []int{8}},
		"product overflows":   {Format: "ttm", Out: math.MaxInt / 2, In: math.MaxInt / 2, InModes: []int{math.MaxInt / 2, 1}, OutModes: []int{math.MaxInt / 2, 1}, Cores: []Core{{1, 0, 1, nil}, {1, 1, 1, []float32{1}}}},
		"which need 3":        func() *Factor { g := *factors["TT-matrix"]; g.Cores = g.Cores[:2]; return &g }(),
		"core 1 has mode 10,": func() *Factor { g := *factors["TT-matrix"]; g.InModes = []int{4, 3, 2}; return &g }(),
	} {
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	for name, f := range factors {
		if err := f.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if f.HasSides() != (f.Format != "ttm") || (f.Cut() > 0) != f.HasSides() {
			t.Errorf("%s, format %s: sides %v, cut %d", name, f.Format, f.HasSides(), f.Cut())
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a taken name is registered")
		}
	}()
	RegisterFormat(Format{Name: "tr"})
}

func TestFactorValidate(t *testing.T) {
	for want, change := range map[string]func(f *Factor){
		"4 cores for input modes":    func(f *Factor) { f.Cores = f.Cores[:4] },
		"does not cover 25 columns":  func(f *Factor) { f.In = 25 },
		"but the matrix has 11 rows": func(f *Factor) { f.Out = 11 },
		"has mode 4, but the mode":   func(f *Factor) { f.InModes = []int{3, 2, 4} },
		"core 1 begins with 4":       func(f *Factor) { f.Cores[1].Left = 4 },
		"a rank is at least 1":       func(f *Factor) { f.Cores[0].Left = 0 },
		"but holds 23 numbers":       func(f *Factor) { f.Cores[0].Data = f.Cores[0].Data[1:] },
		"NaN at index 5":             func(f *Factor) { f.Cores[2].Data[5] = float32(math.NaN()) },
		"0 input and 2 output":       func(f *Factor) { f.InModes = nil },
		"do not multiply":            func(f *Factor) { f.OutModes = []int{math.MaxInt, 3} },
	} {
		f := randomFactor(1, 24, []int{4, 2, 3}, []int{2, 5}, []int{2, 3, 4, 2, 3})
		change(f)
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestUnfoldings(t *testing.T) {
	x := NewDense(2, 3, 4)
	for i := range x.Data {
		x.Data[i] = float32(i)
	}
	for n := range 3 {
		classical, cyclic := x.Unfold(n), x.UnfoldCyclic(n)
		for flat, v := range x.Data {
			ix := x.Index(flat)
			col := 0
			for k := range 3 {
				if k != n {
					col = col*x.Dims[k] + ix[k]
				}
			}
			if got := classical.Data[ix[n]*classical.Dims[1]+col]; got != v {
				t.Fatalf("X_(%d) at %v is %v, want %v", n, ix, got, v)
			}
			col = 0
			for k := 1; k < 3; k++ {
				m := (n + k) % 3
				col = col*x.Dims[m] + ix[m]
			}
			if got := cyclic.Data[ix[n]*cyclic.Dims[1]+col]; got != v {
				t.Fatalf("X_[%d] at %v is %v, want %v", n, ix, got, v)
			}
		}
	}
}

func TestDenseValidate(t *testing.T) {
	for _, d := range []*Dense{{[]int{2, 3}, make([]float32, 5)}, {[]int{-1}, nil}, {[]int{math.MaxInt, 2, 0}, nil}} {
		if d.Validate() == nil {
			t.Errorf("dims %v with %d elements accepted", d.Dims, len(d.Data))
		}
	}
	if err := NewDense(2, 0, 3).Validate(); err != nil {
		t.Error(err)
	}
	x := NewDense(2, 2)
	x.Data[2] = float32(math.Inf(-1))
	if x.FirstNonFinite() != 2 || !slices.Equal(x.Index(2), []int{1, 0}) {
		t.Errorf("first non-finite element at %d", x.FirstNonFinite())
	}
}

func TestSquaredNormIsAccurate(t *testing.T) {
	x := NewDense(1 << 20)
	for i := range x.Data {
		x.Data[i] = 0.1
	}
	v := float64(float32(0.1))
	if got, want := x.SquaredNorm(), v*v*(1<<20); math.Abs(got-want) > 1e-9*want {
		t.Errorf("squared norm %v, want %v", got, want)
	}
}

// A ring with four cores: rank 3, input modes 4·5, output modes 2·3.
func ExampleFactor() {
	f := randomFactor(7, 20, []int{4, 5}, []int{2, 3}, []int{3, 3, 3, 3})
	fmt.Println("ranks", f.Ranks(), "numbers", f.Params(), "instead of", f.Out*f.In)
	left, right := f.Sides()
	fmt.Println("W = L·Rᵀ with L", left.Dims, "and R", right.Dims)
	fmt.Printf("error against itself %.0f\n", f.Error(f.Reconstruct())*1e6)
	// Output:
	// ranks [3 3 3 3] numbers 126 instead of 120
	// W = L·Rᵀ with L [6 9] and R [20 9]
	// error against itself 0
}

// The order in which to apply a ring to a batch depends on the batch: a plan finds it.
func ExampleNewPlan() {
	f := randomFactor(7, 4096, []int{8, 8, 8, 8}, []int{4, 8, 8}, []int{4, 4, 4, 4, 4, 4, 4})
	for _, batch := range []int{1, 1000} {
		plan, err := NewPlan(f.Network().Apply(batch), FewestFLOPs)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("batch %d: %.1f million FLOPs, dense %.1f million\n", batch, plan.Cost.FLOPs/1e6, 2*float64(batch)*4096*256/1e6)
	}
	// Output:
	// batch 1: 0.2 million FLOPs, dense 2.1 million
	// batch 1000: 139.8 million FLOPs, dense 2097.2 million
}
