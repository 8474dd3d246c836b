package tensor

// Groups is a way to contract a frame with a ring's input cores in two merged groups: A [r_0, N1, r_m] from the first m cores and
// B [r_m, N2, r_n] from the others.
type Groups struct {
	At        int  // m
	LeftFirst bool // A before B
	Numbers   int  // of both groups
	Memory    int  // Numbers and the intermediates of a batch of frames
	Products  int  // multiplications for one frame
}

// batchFrames is the number of frames whose intermediates count as memory, a small batch of short sequences. It only sets the
// balance between groups, which are held once, and intermediates, which every frame needs.
const batchFrames = 64

// ChooseGroups takes, among the splits of two input modes or more that need at most twice the fewest multiplications, the one with the
// least memory; the first one of equals. ranks are the ring's r_0 … r_{d−1}. Per frame and with N1·N2 covering I, the costs are
//
//	B first: N1·N2·r_m·r_n + N1·r_m·r_0·r_n products, N1·r_m·r_n intermediates
//	A first: N1·N2·r_0·r_m + N2·r_m·r_0·r_n products, N2·r_0·r_m intermediates
func ChooseGroups(inModes, ranks []int) Groups {
	n := len(inModes)
	r0, rn := ranks[0], ranks[n]
	var all []Groups
	for m := 1; m < n; m++ {
		n1, n2, rm := product(inModes[:m]), product(inModes[m:]), ranks[m]
		groups := r0*n1*rm + rm*n2*rn
		all = append(all,
			Groups{At: m, Numbers: groups, Memory: groups + batchFrames*n1*rm*rn, Products: n1*n2*rm*rn + n1*rm*r0*rn},
			Groups{At: m, LeftFirst: true, Numbers: groups, Memory: groups + batchFrames*n2*r0*rm, Products: n1*n2*r0*rm + n2*rm*r0*rn})
	}
	fewest := all[0].Products
	for _, s := range all {
		fewest = min(fewest, s.Products)
	}
	var best *Groups
	for k := range all {
		if all[k].Products <= 2*fewest && (best == nil || all[k].Memory < best.Memory) {
			best = &all[k]
		}
	}
	return *best
}
