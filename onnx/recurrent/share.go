package recurrent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math"
	"sort"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
)

// compareBytes is the largest payload that is read to find out whether two tensors are copies of each other.
const compareBytes = 16 << 20

// maxShared bounds the nodes that may share one W: each lists all others.
const maxShared = 1024

// maxChain bounds the chains that are compared; what lies deeper is equal to itself only.
const maxChain = 10000

// share finds sites whose W is one value, be it the same name, equal chains over the same tensors (as the branches of an If hold
// them), or equal copies of the tensors, and fills SharedWith and UsedElsewhere. Functions see no outer names, so only sites under
// one root are compared.
func share(ctx context.Context, v *values, sites []*Site) error {
	s := &signer{v: v, ids: map[string]int{}, memo: map[valueKey]int{}, tensors: map[*onnx.Tensor]int{}}
	if err := s.identify(ctx, sites); err != nil {
		return err
	}
	type key struct {
		root *onnx.Graph
		id   int
	}
	groups, order := map[key][]*Site{}, []key{}
	for _, site := range sites {
		if !site.Decomposable {
			continue
		}
		k := key{root(site.Node.Graph), s.value(site.Node.Graph, site.Node.Input(SlotW), 0)}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], site)
	}
	for _, k := range order {
		group := groups[k]
		if len(group) > maxShared {
			for _, site := range group {
				site.Decomposable = false
				site.Reason = fmt.Sprintf("W is shared by %d nodes, more than %d", len(group), maxShared)
			}
			continue
		}
		elsewhere := v.usedElsewhere(group)
		for _, site := range group {
			site.UsedElsewhere = elsewhere
			for _, other := range group {
				if other != site {
					site.SharedWith = append(site.SharedWith, other)
				}
			}
		}
	}
	return nil
}

// signer gives equal numbers to values that are computed alike from equal tensors.
type signer struct {
	v       *values
	ids     map[string]int // canonical text of a node or tensor to its number
	memo    map[valueKey]int
	tensors map[*onnx.Tensor]int
}

func (s *signer) id(text string) int {
	n, ok := s.ids[text]
	if !ok {
		n = len(s.ids)
		s.ids[text] = n
	}
	return n
}

// value numbers a value; Identity is looked through.
func (s *signer) value(g *onnx.Graph, name string, depth int) int {
	def, ok := s.v.index.Resolve(g, name)
	if !ok {
		return s.id("missing\x00" + name)
	}
	key := valueKey{def.Graph, name}
	if n, ok := s.memo[key]; ok {
		return n
	}
	itself := s.id(fmt.Sprintf("value\x00%p\x00%s", def.Graph, name))
	if depth > maxChain {
		return itself
	}
	s.memo[key] = itself // a cycle, which a checked model has not, ends here
	var n int
	switch {
	case def.Node != nil && def.Node.OpType == "Identity" && isDefaultDomain(def.Node.Domain):
		n = s.value(def.Graph, def.Node.Input(0), depth+1)
	case def.Node != nil && constantTensor(def.Node) != nil:
		n = s.tensor(constantTensor(def.Node))
	case def.Node != nil:
		n = s.node(def.Node, def.Slot, depth)
	case def.Tensor != nil:
		n = s.tensor(def.Tensor)
	default:
		n = itself
	}
	s.memo[key] = n
	return n
}

// node numbers one output of a node by its operator, attributes and inputs.
func (s *signer) node(n *onnx.Node, slot, depth int) int {
	parts := make([]string, 0, len(n.Attributes)+len(n.Inputs))
	for _, a := range n.Attributes {
		parts = append(parts, a.Name+"="+s.attribute(a))
	}
	sort.Strings(parts)
	for _, in := range n.Inputs {
		if in == "" {
			parts = append(parts, "-")
		} else {
			parts = append(parts, strconv.Itoa(s.value(n.Graph, in, depth+1)))
		}
	}
	return s.id(fmt.Sprintf("node\x00%s\x00%s\x00%s\x00%d\x00%q", n.Domain, n.OpType, n.Overload, slot, parts))
}

func (s *signer) attribute(a *onnx.Attribute) string {
	switch a.Type {
	case onnx.AttrFloat:
		return "f" + strconv.FormatUint(uint64(math.Float32bits(a.F)), 16)
	case onnx.AttrInt:
		return "i" + strconv.FormatInt(a.I, 10)
	case onnx.AttrString:
		return "s" + string(a.S)
	case onnx.AttrInts:
		return "I" + fmt.Sprint(a.Ints)
	case onnx.AttrFloats:
		return "F" + fmt.Sprint(a.Floats)
	case onnx.AttrStrings:
		return "S" + fmt.Sprintf("%q", a.Strings)
	case onnx.AttrTensor:
		if a.T != nil {
			return "t" + strconv.Itoa(s.tensor(a.T))
		}
	}
	return fmt.Sprintf("p%p", a) // bodies and the like are equal to themselves only
}

// tensor numbers a tensor: by content if identify has read it, else by itself.
func (s *signer) tensor(t *onnx.Tensor) int {
	n, ok := s.tensors[t]
	if !ok {
		n = s.id(s.content(t))
		s.tensors[t] = n
	}
	return n
}

// content is the canonical text of a small tensor (the axes and bounds of Slice, Unsqueeze, …), which may be read at once.
func (s *signer) content(t *onnx.Tensor) string {
	if t.Bytes() <= 1024 {
		if a, err := t.Array(); err == nil {
			return fmt.Sprintf("tensor\x00%d\x00%v\x00%v", a.Type, a.Dims, a.Data)
		}
	}
	return fmt.Sprintf("tensor\x00%p", t)
}

// identify reads those large sources of all W that may be copies of one another. A payload that cannot be read is a copy of
// nothing; Weight will say what is wrong with it.
func (s *signer) identify(ctx context.Context, sites []*Site) error {
	alike := map[string][]*onnx.Tensor{}
	seen := map[*onnx.Tensor]bool{}
	var order []string
	for _, site := range sites {
		if !site.Decomposable {
			continue
		}
		for _, o := range site.origins.tensors {
			t := o.tensor
			if seen[t] || t.Bytes() <= 1024 || t.Bytes() > compareBytes {
				continue
			}
			seen[t] = true
			k := fmt.Sprint(t.Type, t.Dims)
			if alike[k] == nil {
				order = append(order, k)
			}
			alike[k] = append(alike[k], t)
		}
	}
	for _, k := range order {
		if len(alike[k]) < 2 {
			continue
		}
		for _, t := range alike[k] {
			if err := ctx.Err(); err != nil {
				return err
			}
			a, err := t.Array()
			if err != nil {
				continue
			}
			if sum, ok := digest(a); ok {
				s.tensors[t] = s.id("sum\x00" + k + "\x00" + sum)
			}
		}
	}
	return nil
}

// digest hashes the elements of a floating or byte array.
func digest(a *onnx.Array) (string, bool) {
	h := sha256.New()
	switch d := a.Data.(type) {
	case []float32:
		hashChunks(h, d, func(b []byte, x float32) []byte { return binary.LittleEndian.AppendUint32(b, math.Float32bits(x)) })
	case []float64:
		hashChunks(h, d, func(b []byte, x float64) []byte { return binary.LittleEndian.AppendUint64(b, math.Float64bits(x)) })
	case []uint16:
		hashChunks(h, d, binary.LittleEndian.AppendUint16)
	default:
		return "", false
	}
	return string(h.Sum(nil)), true
}

func hashChunks[T any](h hash.Hash, data []T, add func([]byte, T) []byte) {
	var buf [8192]byte
	for len(data) > 0 {
		n := min(len(data), 1024)
		b := buf[:0]
		for _, x := range data[:n] {
			b = add(b, x)
		}
		h.Write(b)
		data = data[n:]
	}
}
