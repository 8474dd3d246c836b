package pages

import "testing"

// Advice on memory of any size and alignment leaves its contents alone.
func TestLargeKeepsContents(t *testing.T) {
	for _, n := range []int{0, 1, 1000, worthIt / 4, worthIt/4 + 12345} {
		for _, skip := range []int{0, 1, 3} {
			x := make([]float32, n+skip)[skip:]
			for i := range x {
				x[i] = float32(i)
			}
			Large(x)
			for i, v := range x {
				if v != float32(i) {
					t.Fatalf("%d elements: element %d is %v", n, i, v)
				}
			}
		}
	}
}
