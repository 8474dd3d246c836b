//go:build !unix

package convert

import "math"

// processorTime is not known here.
func processorTime() float64 { return math.NaN() }
