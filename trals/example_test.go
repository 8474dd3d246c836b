package trals_test

import (
	"context"
	"fmt"
	"log"
	"math"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// waves is a tensor that is smooth in all of its modes, and so has a ring of small ranks.
func waves(dims ...int) *tensor.Dense {
	x := tensor.NewDense(dims...)
	for i := range x.Data {
		phase := 0.3
		for k, j := range x.Index(i) {
			phase += float64(j) / float64(k+2)
		}
		x.Data[i] = float32(math.Sin(phase) + 0.5*math.Cos(2*phase))
	}
	return x
}

func numbers(cores []tensor.Core) (n int) {
	for _, c := range cores {
		n += len(c.Data)
	}
	return n
}

// Any dense tensor of two modes or more: a start from the cut, then two random ones; the best ring is kept.
func ExampleDecompose() {
	x := waves(6, 8, 5, 7, 4)
	res, err := trals.Decompose(context.Background(), x, trals.Options{
		Ranks:    []int{3, 3, 4, 4, 3}, // r_0 … r_4, r_0 closing the ring
		Sweeps:   200,
		Tol:      1e-6,
		Restarts: 2, // random starts after the first one
		Seed:     1,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d numbers instead of %d, error below 1e-3: %v\n", numbers(res.Cores), len(x.Data), res.RelativeError < 1e-3)
	// Output: 350 numbers instead of 6720, error below 1e-3: true
}

// A result is a start: here the sweeps go on from where another call ended.
func ExampleDecompose_warmStart() {
	x := waves(6, 8, 5, 7, 4)
	o := trals.Options{Ranks: []int{1, 3, 3, 3, 3}, Sweeps: 2}
	first, err := trals.Decompose(context.Background(), x, o)
	if err != nil {
		log.Fatal(err)
	}
	o.Init, o.Start, o.Sweeps = trals.InitGiven, first.Cores, 50
	o.Ranks = nil
	for _, c := range first.Cores {
		o.Ranks = append(o.Ranks, c.Left) // as they came out: ranks beyond use are lowered
	}
	next, err := trals.Decompose(context.Background(), x, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("no worse:", next.RelativeError <= first.RelativeError*(1+1e-6))
	// Output: no worse: true
}

// Ranks come down without the tensor: rounding keeps what an accuracy needs.
func ExampleRound() {
	x := waves(6, 8, 5, 7, 4)
	res, err := trals.Decompose(context.Background(), x, trals.Options{Ranks: []int{1, 6, 8, 8, 4}, Sweeps: 50})
	if err != nil {
		log.Fatal(err)
	}
	small, err := trals.Round(res.Cores, trals.SVDOptions{Accuracy: 1e-3})
	if err != nil {
		log.Fatal(err)
	}
	var ranks []int
	for _, c := range small.Cores {
		ranks = append(ranks, c.Left)
	}
	fmt.Printf("ranks %v, changed by less than 1e-3: %v\n", ranks, small.RelativeError < 1e-3)
	// Output: ranks [1 4 4 4 4], changed by less than 1e-3: true
}

// A matrix whose sides are split into modes; the analysis of its spectrum serves every choice of modes and ranks.
func ExampleMatrix_Decompose() {
	w := waves(8, 6, 9, 10)
	w.Dims = []int{48, 90} // [out, in]
	m, err := trals.NewMatrix(context.Background(), w, 16)
	if err != nil {
		log.Fatal(err)
	}
	for _, rank := range []int{1, 2} {
		res, err := m.Decompose(context.Background(), []int{9, 10}, []int{8, 6}, trals.Options{Ranks: []int{rank, rank, rank, rank}, Sweeps: 100})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("rank %d: %d numbers, not below the bound: %v\n", rank, numbers(res.Cores), res.RelativeError >= res.LowerBound)
	}
	// Output:
	// rank 1: 33 numbers, not below the bound: true
	// rank 2: 132 numbers, not below the bound: true
}
