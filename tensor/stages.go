package tensor

import "math"

// Stages is a way to contract a frame with a chain whose modes are dealt in order and whose cores may carry modes of both kinds: the
// cores are merged to two groups, A from the first At cores, with M1 row states and N1 column states, and B from the others, with M2 and
// N2. R is the number of states of the bonds between them.
//
//	A first: A [M1·R, N1] · X [N1, N2] → [M1, R·N2];  that · B [R·N2, M2] → [M1, M2]
//	B first: X [N1, N2] · B [N2, R·M2] → [N1·R, M2];  A [M1, N1·R] · that → [M1, M2]
//
// No axes of frames change places.
type Stages struct {
	At             int
	LeftFirst      bool // A before B
	M1, N1, M2, N2 int
	R              int
	Numbers        int // of both groups
	Features       int // between the stages, for a frame
	Products       int // multiplications for a frame
	Memory         int // Numbers and the features of a batch of frames
}

// ChooseStages takes, among the cuts of a chain of two cores or more that need at most twice the fewest multiplications, the one with the
// least memory; the first one of equals. For a frame the costs are
//
//	A first: M1·R·N1·N2 + M1·R·N2·M2 products, M1·R·N2 features
//	B first: N1·N2·R·M2 + M1·N1·R·M2 products, N1·R·M2 features
func ChooseStages(slots []Slot, ranks []int) Stages {
	var all []Stages
	fewest := math.MaxInt
	for at := 1; at < len(slots); at++ {
		for _, left := range []bool{false, true} {
			s := stagesAt(slots, ranks, at, left)
			fewest = min(fewest, s.Products)
			all = append(all, s)
		}
	}
	best := -1
	for k, s := range all {
		if s.Products/2 <= fewest && (best < 0 || s.Memory < all[best].Memory) {
			best = k
		}
	}
	return all[best]
}

func stagesAt(slots []Slot, ranks []int, at int, leftFirst bool) Stages {
	s := Stages{At: at, LeftFirst: leftFirst, M1: 1, N1: 1, M2: 1, N2: 1, R: ranks[0] * ranks[at]}
	for k, slot := range slots {
		if k < at {
			s.M1, s.N1 = s.M1*max(slot.Row, 1), s.N1*max(slot.Col, 1)
		} else {
			s.M2, s.N2 = s.M2*max(slot.Row, 1), s.N2*max(slot.Col, 1)
		}
	}
	s.Numbers = s.R * (s.M1*s.N1 + s.M2*s.N2)
	if leftFirst {
		s.Features = s.M1 * s.R * s.N2
		s.Products = s.Features * (s.N1 + s.M2)
	} else {
		s.Features = s.N1 * s.R * s.M2
		s.Products = s.Features * (s.N2 + s.M1)
	}
	s.Memory = s.Numbers + batchFrames*s.Features
	return s
}

// Stages yield pre-activations of out numbers. A standard recurrent node then takes them as its input, with the identity [out, out] for
// its W, which costs out² products a frame and out² numbers in memory. Faster reports that both together need at most half the products
// of the dense layer (products over frames of batches in small matrices run at about half the speed), Smaller that less memory is taken than
// by the dense matrix.
func (s Stages) Faster(out, in int) bool { return 2*(s.Products+out*out) <= out*in }

// Smaller is explained at [Stages.Faster].
func (s Stages) Smaller(out, in int) bool { return s.Numbers+out*out < out*in }

// Stages are the stages chosen for a factor. They serve those without sides; where there are sides, see [ChooseGroups].
func (f *Factor) Stages() Stages { return ChooseStages(f.Slots(), f.Ranks()) }

// StagesAt are the stages of a factor at a given cut, B first.
func (f *Factor) StagesAt(at int) Stages { return stagesAt(f.Slots(), f.Ranks(), at, false) }
