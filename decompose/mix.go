package decompose

import "math"

// Choice is one way to store one of several things.
type Choice struct {
	Size int     // what it takes of the budget
	Loss float64 // what it adds to the loss
}

// Mix picks a choice for each thing such that the sizes add up to at most budget and the losses to as little as possible; of equal losses
// the smaller size. It returns the places of the choices, nil where no mix is within the budget.
//
// Of the mixes of the first things those that another one beats in size and loss are dropped, which loses nothing. If more than 4096 are left, so are
// those that another one in the same 4096th part of the budget beats.
func Mix(things [][]Choice, budget int) []int {
	options := make([][]option, len(things))
	for i, choices := range things {
		for _, c := range choices {
			options[i] = append(options[i], option{params: c.Size, square: c.Loss})
		}
	}
	if len(options) == 0 {
		return nil
	}
	return bestMix(options, budget)
}

// At is the error of a front at a number of parameters, on straight lines between the logarithms of its points; between the largest factor and
// the matrix itself it is that of the factor. Below the smallest point it is 1. aware tells which error counts, that on data or that of W.
func At(front []Point, params int, aware bool) float64 {
	before := -1
	for i, p := range front {
		if p.Params > params {
			break
		}
		before = i
	}
	if before < 0 {
		return 1
	}
	a := front[before]
	from := a.counts(aware)
	if before+1 == len(front) {
		return from
	}
	b := front[before+1]
	to := b.counts(aware)
	if !(from > 0 && to > 0) {
		return from
	}
	part := math.Log(float64(params)/float64(a.Params)) / math.Log(float64(b.Params)/float64(a.Params))
	return from * math.Pow(to/from, part)
}
