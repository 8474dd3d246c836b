// Package recurrent finds the LSTM, GRU and RNN nodes of a model and reads their complete configuration.
package recurrent

import (
	"context"
	"errors"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/tensor"
)

var errNotYet = errors.New("recurrent: not written yet")

// Op is the kind of cell.
type Op string

// The three cells and their gates in ONNX order.
const (
	LSTM Op = "LSTM" // gates i, o, f, c
	GRU  Op = "GRU"  // gates z, r, h
	RNN  Op = "RNN"
)

// Gates is the number of gate blocks in W and R: 4, 3 or 1.
func (o Op) Gates() int { return cells[o].gates }

// Direction of a node; Bidirectional has two.
type Direction string

// Directions.
const (
	Forward       Direction = "forward"
	Reverse       Direction = "reverse"
	Bidirectional Direction = "bidirectional"
)

// Count is the leading dimension of W: 1 or 2.
func (d Direction) Count() int {
	if d == Bidirectional {
		return 2
	}
	return 1
}

// Activation is one activation function with the parameters the specification gives it (defaults filled in).
type Activation struct {
	Name        string // canonical spelling: Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, Softsign, Softplus
	Alpha, Beta float32
}

// Site is one recurrent node with its path.
type Site struct {
	Name  string // unique in the model: the node's name, else its first output, prefixed by the scope's path
	Node  *onnx.Node
	Input int // I, columns of W
	Config

	Decomposable bool
	Reason       string // why not
	// SharedWith lists the other sites whose W is the same value.
	SharedWith []*Site
	// UsedElsewhere says that a source of W has readers besides these sites, so that the dense copy stays in the file.
	UsedElsewhere bool
}

// Rows is D·G·H, the rows of W in C order (direction, gate, unit).
func (s *Site) Rows() int { return s.Direction.Count() * s.Op.Gates() * s.Hidden }

// Find lists every recurrent node in every scope, in file order. A broken node (shapes that disagree) is an error; a node that
// cannot be decomposed is a Site with Decomposable false and a Reason.
func Find(ctx context.Context, m *onnx.Model) ([]*Site, error) { return nil, errNotYet }

// Weight reads W as a float32 matrix [D·G·H, I]; float16, bfloat16 and double are converted. NaN and Inf are errors that name the first index.
func (s *Site) Weight(ctx context.Context) (*tensor.Dense, error) { return nil, errNotYet }

// UnsupportedError names a site, an attribute (or input) and the value that cannot be honoured.
type UnsupportedError struct {
	Site, Attribute, Value, What string
}

func (e *UnsupportedError) Error() string {
	return "recurrent: " + e.Site + ": " + e.Attribute + "=" + e.Value + ": " + e.What
}
