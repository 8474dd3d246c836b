package seed

import "testing"

func TestStreamsDependOnRootAndNamesOnly(t *testing.T) {
	first := func(root uint64, names ...string) uint64 { return Stream(root, names...).Uint64() }
	if first(1, "a", "b") != first(1, "a", "b") {
		t.Error("the same stream gave other numbers")
	}
	seen := map[uint64]string{}
	for what, v := range map[string]uint64{
		"1 a b": first(1, "a", "b"), "2 a b": first(2, "a", "b"), "1 ab": first(1, "ab"), "1 a b empty": first(1, "a", "b", ""), "1": first(1),
	} {
		if other, ok := seen[v]; ok {
			t.Errorf("streams %q and %q begin alike", what, other)
		}
		seen[v] = what
	}
}

// The numbers stand in files that people keep: they must not change with a version of this package.
func TestStreamIsPCG(t *testing.T) {
	if got, again := Stream(7, "x").Uint64(), Stream(7, "x").Uint64(); got != again || got == 0 {
		t.Errorf("first number %d, then %d", got, again)
	}
	if n := Normal(Stream(7, "x"), 5); len(n) != 5 || n[0] == n[1] {
		t.Errorf("normal numbers %v", n)
	}
}
