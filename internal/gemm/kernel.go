package gemm

import "os"

// KernelVariable is the environment variable that names the kernels to use instead of the best the processor has: avx512, avx2 or go.
const KernelVariable = "TRCONVERT_KERNEL"

// kernel is one of the sets of kernels, picked once.
type kernel struct {
	name string
	f32  *tier[float32] // nil for portable Go
	f64  *tier[float64]

	copyRows                 func(rows, cols int, src *float32, ss int, dst *float32, ds, ahead int) // fetching the row ahead on the way
	widenRows                func(rows, cols int, src *float32, ss int, dst *float64, ds, ahead int)
	eliminate16, eliminate32 func(w int, x *float64) (done int) // of panels of 16 and 32

	transposeWiden func(n, k int, src *float32, ss int, dst *float64, ds int) // n times widenSquare rows of k elements, k a positive multiple of it
}

const widenSquare = 8

var portable = kernel{name: "go"}

// current is the set in use. Only tests change it.
var current = pick(os.Getenv(KernelVariable))

// Kernel names the kernels in use: avx512, avx2 or go.
func Kernel() string { return current.name }

// pick returns the named set, or the best one if the processor lacks it or there is no such name.
func pick(name string) kernel {
	sets := kernels()
	for _, k := range sets {
		if k.name == name {
			return k
		}
	}
	return sets[0]
}

// tierOf is the set's tier for an element type, nil for portable Go.
func tierOf[C float]() *tier[C] {
	if t, ok := any(current.f32).(*tier[C]); ok {
		return t
	}
	t, _ := any(current.f64).(*tier[C])
	return t
}

// Kernels names the sets of kernels this processor can run, the best first. The last is go.
func Kernels() []string {
	var names []string
	for _, k := range kernels() {
		names = append(names, k.name)
	}
	return names
}
