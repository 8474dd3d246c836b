// Package export lowers sites and their factors to ONNX patches and to other formats' files.
package export

import (
	"context"
	"errors"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

var errNotYet = errors.New("export: not written yet")

// Form is how a factored input projection is written in ONNX.
type Form string

// The three forms.
const (
	Bottleneck Form = "bottleneck" // cores merged in-graph to R and L, one MatMul, standard recurrent node with W = L
	Cores      Form = "cores"      // input side contracted in two merged groups: least memory
	Dense      Form = "dense"      // Ŵ itself; terminal
)

// Options say how sites are lowered.
type Options struct {
	Form        Form
	MergeOutput bool // bottleneck, cores: store L itself as the ring's single output core
}

// Replacement pairs the sites that share one W with its factor.
type Replacement struct {
	Sites  []*recurrent.Site
	Factor *tensor.Factor
}

// Lower builds one patch that replaces W of all sites by their factors and records the rings in metadata_props.
func Lower(ctx context.Context, m *onnx.Model, rs []Replacement, o Options) (*onnx.Patch, error) {
	return nil, errNotYet
}

// Record describes one ring that a model's metadata_props hold.
type Record struct {
	Sites             []string // names of the recurrent nodes' sites
	Format            string
	Form              Form
	InModes, OutModes []int
	Ranks             []int
	In, Out           int
	Cores             []string // initializer names, in ring order
	MergedOutput      bool
}

// Records reads the rings of a compact model; a model that is not compact has none. Records that disagree with the graph are an error.
func Records(m *onnx.Model) ([]Record, error) { return nil, errNotYet }

// Factor reads a record's cores from the model.
func (r Record) Factor(ctx context.Context, m *onnx.Model) (*tensor.Factor, error) {
	return nil, errNotYet
}

// Expand undoes Lower in memory: a model with Ŵ as dense initializers and the records removed, so that a compact model can be
// decomposed again. A model without records is returned as it is.
func Expand(ctx context.Context, m *onnx.Model) (*onnx.Model, error) { return nil, errNotYet }
