package tensor

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// parseNetwork reads a line of testdata/networks.txt.
func parseNetwork(line string) (Network, error) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	label := map[rune]int{}
	var net Network
	for _, f := range fields[1:] {
		var name rune
		var size int
		if _, err := fmt.Sscanf(f, "%c=%d", &name, &size); err != nil {
			return net, err
		}
		label[name] = len(net.Dims)
		net.Dims = append(net.Dims, size)
	}
	labels := func(s string) []int {
		var ls []int
		for _, c := range s {
			ls = append(ls, label[c])
		}
		return ls
	}
	in, out, _ := strings.Cut(fields[0], "->")
	for _, s := range strings.Split(in, ",") {
		net.Tensors = append(net.Tensors, labels(s))
	}
	rows, cols, _ := strings.Cut(out, "|")
	net.Rows, net.Cols = labels(rows), labels(cols)
	return net, net.Validate()
}

// contractNaively sums the product of all elements over all values of all labels: the definition.
func contractNaively(net Network, ts []*Dense) []float64 {
	out := make([]float64, product(net.shape(net.Open())))
	value := make([]int, len(net.Dims))
	at := func(labels []int) int {
		i := 0
		for _, l := range labels {
			i = i*net.Dims[l] + value[l]
		}
		return i
	}
	for {
		v := 1.0
		for t, x := range ts {
			v *= float64(x.Data[at(net.Tensors[t])])
		}
		out[at(net.Open())] += v
		k := len(value) - 1
		for ; k >= 0; k-- {
			if value[k]++; value[k] < net.Dims[k] {
				break
			}
			value[k] = 0
		}
		if k < 0 {
			return out
		}
	}
}

func hardCases(t *testing.T) map[string]Network {
	file, err := os.Open("testdata/networks.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cases := map[string]Network{}
	for s := bufio.NewScanner(file); s.Scan(); {
		if line := strings.TrimSpace(s.Text()); line != "" && line[0] != '#' {
			net, err := parseNetwork(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			cases[line] = net
		}
	}
	if len(cases) < 20 {
		t.Fatalf("read only %d networks", len(cases))
	}
	return cases
}

var planners = map[string]func(Network) (*Plan, error){
	"FLOPs":    func(n Network) (*Plan, error) { return NewPlan(n, FewestFLOPs) },
	"memory":   func(n Network) (*Plan, error) { return NewPlan(n, LeastMemory) },
	"in order": PlanInOrder,
	"intervals": func(n Network) (*Plan, error) {
		return newPlan(n, searchIntervals(n, FewestFLOPs)), nil
	},
}

func TestEveryPlannerAgreesWithTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for line, net := range hardCases(t) {
		var ts []*Dense
		for _, labels := range net.Tensors {
			x := NewDense(net.shape(labels)...)
			for i := range x.Data {
				x.Data[i] = float32(r.NormFloat64())
			}
			ts = append(ts, x)
		}
		want := contractNaively(net, ts)
		for name, planner := range planners {
			plan, err := planner(net)
			if err != nil {
				t.Fatalf("%s, %s: %v", line, name, err)
			}
			got, err := plan.Run(ts...)
			if err != nil {
				t.Fatalf("%s, %s: %v", line, name, err)
			}
			scale := 0.0
			for _, v := range want {
				scale = max(scale, math.Abs(v))
			}
			for i, v := range want {
				if d := math.Abs(float64(got.Data[i]) - v); d > 2e-7*scale {
					t.Errorf("%s, %s: element %d is %v, want %v\n%v", line, name, i, got.Data[i], v, plan)
					break
				}
			}
		}
	}
}

// cheapest tries every order of pairwise contractions.
func cheapest(net Network, objective Objective, parts [][]int, c Cost) Cost {
	if len(parts) == 1 {
		return c
	}
	best := Cost{math.Inf(1), math.Inf(1)}
	for i := range parts {
		for j := range i {
			joined := append(slices.Clone(parts[i]), parts[j]...)
			outer := net.outer(func(t int) bool { return slices.Contains(joined, t) })
			all := slices.Clone(outer)
			for _, l := range net.outer(func(t int) bool { return slices.Contains(parts[i], t) }) {
				if !slices.Contains(all, l) {
					all = append(all, l)
				}
			}
			rest := [][]int{joined}
			for k, p := range parts {
				if k != i && k != j {
					rest = append(rest, p)
				}
			}
			next := Cost{c.FLOPs + 2*net.elements(all), max(c.Largest, net.elements(outer))}
			if got := cheapest(net, objective, rest, next); objective.less(got, best) {
				best = got
			}
		}
	}
	return best
}

func TestPlanIsOptimal(t *testing.T) {
	for line, net := range hardCases(t) {
		if len(net.Tensors) > 5 {
			continue
		}
		var parts [][]int
		for i := range net.Tensors {
			parts = append(parts, []int{i})
		}
		for _, objective := range []Objective{FewestFLOPs, LeastMemory} {
			want := cheapest(net, objective, parts, Cost{})
			plan, _ := NewPlan(net, objective)
			if math.Abs(plan.Cost.FLOPs-want.FLOPs) > 1e-9*want.FLOPs || plan.Cost.Largest != want.Largest {
				t.Errorf("%s, objective %d: plan costs %+v, the cheapest order %+v", line, objective, plan.Cost, want)
			}
		}
	}
}

func TestPlanIsRepeatable(t *testing.T) {
	for line, net := range hardCases(t) {
		a, _ := NewPlan(net, FewestFLOPs)
		b, _ := NewPlan(net, FewestFLOPs)
		if a.String() != b.String() || !slices.Equal(a.Final, b.Final) {
			t.Errorf("%s: two plans differ:\n%v\n%v", line, a, b)
		}
	}
}

func TestNetworkValidate(t *testing.T) {
	for name, net := range map[string]Network{
		"no tensors":              {},
		"size 0":                  {Dims: []int{0}, Tensors: [][]int{{0}}, Rows: []int{0}},
		"unknown label":           {Dims: []int{2}, Tensors: [][]int{{1}}, Rows: []int{1}},
		"label twice on one":      {Dims: []int{2}, Tensors: [][]int{{0, 0}}},
		"label on three":          {Dims: []int{2}, Tensors: [][]int{{0}, {0}, {0}}},
		"neither open nor summed": {Dims: []int{2}, Tensors: [][]int{{0}}},
		"summed and open":         {Dims: []int{2}, Tensors: [][]int{{0}, {0}}, Rows: []int{0}},
		"open twice":              {Dims: []int{2}, Tensors: [][]int{{0}}, Rows: []int{0}, Cols: []int{0}},
		"open nowhere":            {Dims: []int{2, 3}, Tensors: [][]int{{0}}, Rows: []int{0}, Cols: []int{1}},
	} {
		if _, err := NewPlan(net, FewestFLOPs); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPlanRefusesOtherShapes(t *testing.T) {
	net := Network{Dims: []int{2, 3, 4}, Tensors: [][]int{{0, 1}, {1, 2}}, Rows: []int{0}, Cols: []int{2}}
	plan, err := NewPlan(net, FewestFLOPs)
	if err != nil {
		t.Fatal(err)
	}
	for name, ts := range map[string][]*Dense{
		"too few":    {NewDense(2, 3)},
		"transposed": {NewDense(3, 2), NewDense(3, 4)},
		"short data": {{Dims: []int{2, 3}, Data: make([]float32, 5)}, NewDense(3, 4)},
	} {
		if _, err := plan.Run(ts...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
