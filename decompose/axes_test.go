package decompose

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAxisChoices(t *testing.T) {
	for _, c := range []struct {
		given []int
		want  [][]int
	}{
		{[]int{4, 2, 5, 8, 6, 5, 3, 2}, [][]int{{4, 2, 5, 8, 6, 5, 3, 2}}},
		{[]int{32, 16}, [][]int{{32, 16}}},
		{[]int{160, 120, 3}, [][]int{{160, 120, 3}, {16, 10, 12, 10, 3}, {8, 5, 4, 6, 5, 4, 3}}},
		{[]int{4, 256}, [][]int{{4, 256}, {4, 16, 16}, {4, 8, 8, 4}}},
		{[]int{61, 4}, [][]int{{61, 4}}}, // a prime
		{[]int{122}, [][]int{{122}, {61, 2}}},
	} {
		if d := cmp.Diff(c.want, axisChoices(c.given)); d != "" {
			t.Errorf("%v: (-want +got)\n%s", c.given, d)
		}
	}
}
