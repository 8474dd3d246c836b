package runtime

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trconvert/trconvert/internal/shape"
)

// TestUnitTranspose: the oracle is the definition, y[i_perm(0), i_perm(1), …] = x[i_0, i_1, …]: the elements keep their order exactly if
// unitTranspose says so.
func TestUnitTranspose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := rapid.SliceOfN(rapid.IntRange(1, 3), 0, 4).Draw(t, "dims")
		perm := make([]int64, len(dims))
		for k := range perm {
			perm[k] = int64(k)
		}
		perm = rapid.Permutation(perm).Draw(t, "perm")
		strides := shape.Strides(dims)
		var want, order []int
		for _, p := range perm {
			want = append(want, dims[p])
		}
		at := make([]int, len(dims))
		for more := true; more; more = increment(at, want) {
			from := 0
			for k, p := range perm {
				from += at[k] * strides[p]
			}
			order = append(order, from)
		}
		got := unitTranspose(dims, perm)
		if got == nil {
			if slices.IsSorted(order) && len(dims) > 0 {
				t.Fatalf("%v by %v moves nothing", dims, perm)
			}
			return
		}
		if !slices.IsSorted(order) || !slices.Equal(got, want) {
			t.Fatalf("%v by %v: dims %v, want %v, elements come from %v", dims, perm, got, want, order)
		}
	})
	for _, perm := range [][]int64{{0, 0}, {0}, {0, 2}, {-1, 0}} {
		if unitTranspose([]int{1, 1}, perm) != nil {
			t.Errorf("permutation %v of two axes was taken", perm)
		}
	}
}

// TestLargeTranspose compares transpositions that several goroutines share with their definition.
func TestLargeTranspose(t *testing.T) {
	const long = sharedTranspose / 3
	for _, dims := range [][]int{{5, long, 5}, {long, 5, 5}, {3, long + 1, 8}, {long + 3, 3, 1}, {4, long, 1}, {2, long, 9}, {600, 601, 1}} {
		src := make([]float32, elements(dims))
		for k := range src {
			src[k] = float32(k)
		}
		out, err := transposed(nil, f32(dims, src...), []int64{1, 0, 2})
		if err != nil {
			t.Fatal(err)
		}
		if !sameDims(out[0].Dims, []int{dims[1], dims[0], dims[2]}) {
			t.Fatalf("%v: dims %v", dims, out[0].Dims)
		}
		for k, v := range out[0].Data.([]float32) {
			j, i, c := k/dims[2]/dims[0], k/dims[2]%dims[0], k%dims[2]
			if want := src[(i*dims[1]+j)*dims[2]+c]; v != want {
				t.Fatalf("%v: element %d,%d,%d is %v, want %v", dims, j, i, c, v, want)
			}
		}
	}
}

// TestRotatedAxes compares transpositions that move leading axes behind the others with their definition.
func TestRotatedAxes(t *testing.T) {
	for _, dims := range [][]int{{3, 4, 5}, {17, 1, 33}, {1, 40, 2}, {sharedTranspose/40 + 3, 5, 9}, {7, sharedTranspose/70 + 1, 11}} {
		src := make([]float32, elements(dims))
		for k := range src {
			src[k] = float32(k)
		}
		for _, perm := range [][]int64{{1, 2, 0}, {2, 0, 1}} {
			out, err := transposed(nil, f32(dims, src...), perm)
			if err != nil {
				t.Fatal(err)
			}
			d := []int{dims[perm[0]], dims[perm[1]], dims[perm[2]]}
			if !sameDims(out[0].Dims, d) {
				t.Fatalf("%v by %v: dims %v, want %v", dims, perm, out[0].Dims, d)
			}
			var at [3]int
			for k, v := range out[0].Data.([]float32) {
				at[perm[0]], at[perm[1]], at[perm[2]] = k/d[2]/d[1], k/d[2]%d[1], k%d[2]
				if want := src[(at[0]*dims[1]+at[1])*dims[2]+at[2]]; v != want {
					t.Fatalf("%v by %v: element %d is %v, want %v", dims, perm, k, v, want)
				}
			}
		}
	}
	for _, perm := range [][]int64{nil, {0, 1}, {1, 0, 2}, {2, 1, 0}, {-1, 0}, {3, 0, 1}, {1, 1, 0}} {
		if k := rotation(perm); k != 0 {
			t.Errorf("permutation %v was taken for a rotation by %d", perm, k)
		}
	}
}
