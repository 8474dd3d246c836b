package gemm

import "testing"

// forKernels runs a test on every set of kernels that the processor supports.
func forKernels(t *testing.T, test func(t *testing.T)) {
	for _, k := range kernels() {
		t.Run(k.name, func(t *testing.T) {
			useKernel(t, k)
			test(t)
		})
	}
}

// useKernel makes every product until the end of the test run on the named kernels.
func useKernel(t testing.TB, k kernel) {
	old := current
	current = k
	t.Cleanup(func() { current = old })
}

func TestPick(t *testing.T) {
	for _, k := range kernels() {
		if got := pick(k.name).name; got != k.name {
			t.Errorf("asked for %s, got %s", k.name, got)
		}
	}
	best := kernels()[0].name
	t.Logf("best set: %s", best)
	for _, name := range []string{"", "sse9"} {
		if got := pick(name).name; got != best {
			t.Errorf("pick(%q) is %s, not the best set, %s", name, got, best)
		}
	}
}
