package decompose

import (
	"fmt"
	"math"
	"strings"

	"github.com/trconvert/trconvert/tensor"
)

// Limits of what is taken for meant.
const (
	maxRank    = 4096
	maxPadding = 1.05 // input modes may multiply to this much more than the columns
	maxSide    = math.MaxInt32
)

// checkOptions fills in defaults and refuses what cannot be meant.
func checkOptions(ms []Matrix, b Budget, o Options) (Budget, Options, error) {
	set := 0
	for _, is := range []bool{b.Rank != 0, len(b.Ranks) > 0, b.Ratio != 0, b.MaxError != 0, b.MaxParams != 0} {
		if is {
			set++
		}
	}
	if set == 0 {
		b.Ratio = 10
	}
	fail := func(option, format string, args ...any) (Budget, Options, error) {
		return b, o, &OptionError{Option: option, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case set > 1:
		return fail("budget", "%d budgets are given (give one of rank, ranks, ratio, max-error and max-params)", set)
	case b.Rank < 0 || b.Rank > maxRank:
		return fail("rank", "%d (1 to %d are possible)", b.Rank, maxRank)
	case math.IsNaN(b.Ratio) || math.IsInf(b.Ratio, 0) || b.Ratio != 0 && b.Ratio < 1:
		return fail("ratio", "%v (a number of 1 or more)", b.Ratio)
	case math.IsNaN(b.MaxError) || b.MaxError < 0 || b.MaxError > 1:
		return fail("max-error", "%v (relative: above 0, at most 1)", b.MaxError)
	case b.MaxParams < 0:
		return fail("max-params", "%d (1 or more)", b.MaxParams)
	case o.Sweeps < 0:
		return fail("sweeps", "%d (0 for the default, or more)", o.Sweeps)
	case math.IsNaN(o.Tol) || o.Tol < 0 || o.Tol >= 1:
		return fail("tol", "%v (0 or more, below 1)", o.Tol)
	case o.Restarts < 0 || o.Restarts > 1000:
		return fail("restarts", "%d (0 to 1000)", o.Restarts)
	}
	for k, r := range b.Ranks {
		if r < 1 || r > maxRank {
			return fail("ranks", "r_%d is %d (1 to %d are possible)", k, r, maxRank)
		}
	}
	for _, c := range []struct {
		option string
		value  *string
		known  []string // the first is the default
	}{
		{"format", &o.Format, formatNames()},
		{"method", &o.Method, []string{"als", "svd"}},
		{"init", &o.Init, []string{"svd", "random"}},
	} {
		if *c.value == "" {
			*c.value = c.known[0]
		}
		known := false
		for _, k := range c.known {
			known = known || *c.value == k
		}
		if !known {
			return fail(c.option, "%q is unknown (%s)", *c.value, strings.Join(c.known, ", "))
		}
	}
	if o.Format == auto && (b.Rank > 0 || len(b.Ranks) > 0) {
		o.Format = "tr" // given ranks are those of a ring
	}
	if o.Method == "svd" && o.Init == "random" {
		return fail("method", "svd with init random would leave the random start (use method als)")
	}
	if o.Format == "ttm" && len(b.Ranks) > 0 && b.Ranks[0] != 1 {
		return fail("ranks", "a TT-matrix has r_0 = 1, not %d", b.Ranks[0])
	}
	if o.Format == "svd" && len(o.InModes)+len(o.OutModes) > 0 {
		return fail("in-modes, out-modes", "format svd has no modes (use tr, tt or ttm)")
	}
	if o.Format != "svd" && len(b.Ranks) > 0 && b.Ranks[0] != 1 && !closed(o.Format) {
		return fail("ranks", "format %s has r_0 = 1, not %d (use format tr)", o.Format, b.Ranks[0])
	}
	if o.Format == "svd" && len(b.Ranks) > 0 && (len(b.Ranks) > 2 || len(b.Ranks) == 2 && b.Ranks[0] != 1) {
		return fail("ranks", "%v: a truncated SVD has one rank (or 1,k)", b.Ranks)
	}
	for _, m := range ms {
		if err := checkMatrix(m, b, o); err != nil {
			return b, o, err
		}
	}
	return b, o, nil
}

// checkMatrix checks a matrix's declared shape, and options against it.
func checkMatrix(m Matrix, b Budget, o Options) error {
	fail := func(option, format string, args ...any) error {
		return &OptionError{Option: option, Matrix: m.Name, Problem: fmt.Sprintf(format, args...)}
	}
	out := 1
	for _, n := range []int{m.Directions, m.Gates, m.Hidden} {
		if n < 1 || n > maxSide/out {
			return fail("shape", "%d directions × %d gates × %d units", m.Directions, m.Gates, m.Hidden)
		}
		out *= n
	}
	if m.In < 1 || m.In > maxSide {
		return fail("shape", "%d columns", m.In)
	}
	if o.InModes != nil {
		n, err := modesProduct(o.InModes, leastMode(o.Format))
		switch {
		case err != nil:
			return fail("in-modes", "%s: %v", times(o.InModes), err)
		case n < m.In:
			return fail("in-modes", "%s multiplies to %d, but the matrix has %d columns (choose %d to %d)", times(o.InModes), n, m.In, m.In, padLimit(m.In))
		case n > padLimit(m.In):
			return fail("in-modes", "%s multiplies to %d, more than 5 %% above the %d columns (choose %d to %d)", times(o.InModes), n, m.In, m.In, padLimit(m.In))
		}
	}
	if o.OutModes != nil {
		n, err := modesProduct(o.OutModes, leastMode(o.Format))
		switch {
		case err != nil:
			return fail("out-modes", "%s: %v", times(o.OutModes), err)
		case n != out:
			return fail("out-modes", "%s multiplies to %d, but the matrix has %d rows = %d directions × %d gates × %d units (rows cannot be padded)",
				times(o.OutModes), n, out, m.Directions, m.Gates, m.Hidden)
		}
	}
	if r := max(b.Rank, last(b.Ranks)); o.Format == "svd" && r > min(out, m.In) {
		return fail("rank", "%d is more than the %d singular values of a %d×%d matrix", r, min(out, m.In), out, m.In)
	}
	if o.InModes != nil && o.OutModes != nil {
		return checkModes(b, o, fail)
	}
	return nil
}

// checkModes checks given modes of both sides against the format and given ranks.
func checkModes(b Budget, o Options, fail func(option, format string, args ...any) error) error {
	if o.Format == auto {
		return nil
	}
	format, err := tensor.FormatOf(o.Format)
	if err != nil {
		return err
	}
	slots, err := format.Deal(o.InModes, o.OutModes)
	if err != nil {
		return fail("in-modes, out-modes", "%s | %s: %v", times(o.InModes), times(o.OutModes), err)
	}
	for _, s := range slots {
		if s.Size() == 1 {
			return fail("in-modes, out-modes", "%s | %s: a core with the modes %d and %d has nothing to carry", times(o.InModes), times(o.OutModes), s.Col, s.Row)
		}
	}
	if len(b.Ranks) > 0 && len(b.Ranks) != len(slots) {
		return fail("ranks", "%d ranks for %d cores (one for each core of %s | %s)", len(b.Ranks), len(slots), times(o.InModes), times(o.OutModes))
	}
	return nil
}

func closed(format string) bool {
	f, err := tensor.FormatOf(format)
	return err == nil && f.Closed
}

// leastMode is the smallest mode that may be given: where modes are paired, a 1 lets a core go without one.
func leastMode(format string) int {
	if format == tensor.TTMatrix {
		return 1
	}
	return 2
}

func padLimit(n int) int { return int(float64(n) * maxPadding) }

func modesProduct(modes []int, least int) (int, error) {
	n := 1
	for _, m := range modes {
		if m < least {
			return 0, fmt.Errorf("mode %d (%d or more)", m, least)
		}
		if m > maxSide/n {
			return 0, fmt.Errorf("the product is above %d", maxSide)
		}
		n *= m
	}
	return n, nil
}

func times(modes []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(modes), "[]"), " ", "x")
}

func last(x []int) int {
	if len(x) == 0 {
		return 0
	}
	return x[len(x)-1]
}
