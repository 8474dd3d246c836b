// Package recurrent finds the LSTM, GRU and RNN nodes of a model and reads their complete configuration.
package recurrent

import (
	"github.com/trconvert/trconvert/onnx"
)

// Op is the kind of cell.
type Op string

// The three cells and their gates in ONNX order.
const (
	LSTM Op = "LSTM" // gates i, o, f, c
	GRU  Op = "GRU"  // gates z, r, h
	RNN  Op = "RNN"
)

// Gates is the number of gate blocks in W and R: 4, 3 or 1 (0 for an operator this package does not know).
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
	Input int           // I, columns of W; 0 where it is not known before the model runs
	Elem  onnx.DataType // element type of W: Float, Float16, BFloat16 or Double; Undefined where it is not known
	Config

	Decomposable bool
	Reason       string // why not
	// SharedWith lists the other sites whose W is the same value.
	SharedWith []*Site
	// UsedElsewhere says that a source of W has readers besides these sites, so that the dense copy stays in the file.
	UsedElsewhere bool
	// Warnings are remarks for the report; Weight adds its own.
	Warnings []string

	values  *values
	origins origins // of W
}

// Rows is D·G·H, the rows of W in C order (direction, gate, unit).
func (s *Site) Rows() int { return s.Direction.Count() * s.Op.Gates() * s.Hidden }

// WParameters is the number of elements of W, D·G·H·I, without reading it.
func (s *Site) WParameters() int64 { return int64(s.Rows()) * int64(s.Input) }

// RParameters is the number of elements of R, D·G·H·H, without reading it.
func (s *Site) RParameters() int64 { return int64(s.Rows()) * int64(s.Hidden) }

// Ceiling is the most by which the two matrices of the layer can shrink together when W alone is decomposed: (w+r)/r = (I+H)/H.
// It is 1 where hidden or input size is not known.
func (s *Site) Ceiling() float64 {
	if s.RParameters() == 0 {
		return 1
	}
	return float64(s.WParameters()+s.RParameters()) / float64(s.RParameters())
}

// UnsupportedError names a site, an attribute (or input) and the value that cannot be honoured.
type UnsupportedError struct {
	Site, Attribute, Value, What string
}

func (e *UnsupportedError) Error() string {
	return "recurrent: " + e.Site + ": " + e.Attribute + "=" + e.Value + ": " + e.What
}
