package onnx

// DataType is TensorProto.DataType; the values are those of onnx-ml.proto.
type DataType int32

// Element types of tensors.
const (
	Undefined      DataType = 0
	Float          DataType = 1
	Uint8          DataType = 2
	Int8           DataType = 3
	Uint16         DataType = 4
	Int16          DataType = 5
	Int32          DataType = 6
	Int64          DataType = 7
	String         DataType = 8
	Bool           DataType = 9
	Float16        DataType = 10
	Double         DataType = 11
	Uint32         DataType = 12
	Uint64         DataType = 13
	Complex64      DataType = 14
	Complex128     DataType = 15
	BFloat16       DataType = 16
	Float8E4M3FN   DataType = 17
	Float8E4M3FNUZ DataType = 18
	Float8E5M2     DataType = 19
	Float8E5M2FNUZ DataType = 20
	Uint4          DataType = 21
	Int4           DataType = 22
	Float4E2M1     DataType = 23
	Float8E8M0     DataType = 24
	Uint2          DataType = 25
	Int2           DataType = 26
)

// Opset is one entry of opset_import. Domain "" and "ai.onnx" are the same domain and are reported as "".
type Opset struct {
	Domain  string
	Version int64
}

// KeyValue is one StringStringEntryProto.
type KeyValue struct{ Key, Value string }

// Function is a model-local function; its body is a scope of its own that sees no outer names.
type Function struct {
	Name, Domain, Overload string
	Inputs, Outputs        []string
	Attributes             []string     // formal attribute names, those with a default last
	Defaults               []*Attribute // default values of formal attributes
	Opsets                 []Opset
	Body                   *Graph // Inputs and Outputs carry no type
}

// Graph is one scope: the main graph, the body of If, Loop or Scan, or a function's body.
// Views are read-only; edits go through [Patch].
type Graph struct {
	Name         string
	Nodes        []*Node
	Initializers []*Tensor
	Sparse       []*SparseTensor
	Inputs       []*ValueInfo
	Outputs      []*ValueInfo
	ValueInfos   []*ValueInfo

	Model     *Model
	Owner     *Node     // the node that holds this body, nil for the main graph and functions
	OwnerAttr string    // name of the attribute that holds it
	Function  *Function // set on a function's body

	src message
}

// Node is one operator. Optional inputs that are absent are empty names.
type Node struct {
	Name, OpType, Domain, Overload string
	Inputs, Outputs                []string
	Attributes                     []*Attribute
	Graph                          *Graph // the scope it stands in
	Index                          int    // position in Graph.Nodes

	src message
}

// AttributeType is AttributeProto.AttributeType.
type AttributeType int32

// Attribute types.
const (
	AttrUndefined AttributeType = 0
	AttrFloat     AttributeType = 1
	AttrInt       AttributeType = 2
	AttrString    AttributeType = 3
	AttrTensor    AttributeType = 4
	AttrGraph     AttributeType = 5
	AttrFloats    AttributeType = 6
	AttrInts      AttributeType = 7
	AttrStrings   AttributeType = 8
	AttrTensors   AttributeType = 9
	AttrGraphs    AttributeType = 10
	AttrSparse    AttributeType = 11
	AttrSparses   AttributeType = 12
	AttrType      AttributeType = 13
	AttrTypes     AttributeType = 14
)

// Attribute is one AttributeProto. Type is inferred from the field that is set where an old writer left it out.
type Attribute struct {
	Name    string
	Type    AttributeType
	RefName string // ref_attr_name: inside functions, the function's attribute it stands for

	F       float32
	I       int64
	S       []byte
	T       *Tensor
	G       *Graph
	Floats  []float32
	Ints    []int64
	Strings [][]byte
	Tensors []*Tensor
	Graphs  []*Graph
	Sparse  *SparseTensor
	Sparses []*SparseTensor

	src message
}

// ValueInfo names a graph input, output or intermediate value and its type.
type ValueInfo struct {
	Name string
	Type *TypeInfo // nil where the file has none

	src message
}

// TypeInfo is the part of TypeProto that tensors use. Kind is "tensor", "sequence", "map", "optional" or "sparse".
type TypeInfo struct {
	Kind     string
	Elem     DataType
	HasShape bool
	Shape    []Dim
	Of       *TypeInfo // element type of sequence and optional
}

// Dim is a dimension: a value (Known), a symbol (Param) or nothing.
type Dim struct {
	Known bool
	Value int64
	Param string
}

// Tensor is one TensorProto whose payload is not read before [Tensor.Array].
type Tensor struct {
	Name     string
	Type     DataType
	Dims     []int64
	External *External // nil where the payload is in the model file

	Graph *Graph // scope of an initializer, nil for attribute values
	model *Model
	data  tensorData
	src   message
}

// External is where the payload of an external tensor lies. Location is a path relative to the model's folder, with
// slashes. Decoding refuses one that is absolute or has "..", a backslash or a colon in it; reading refuses what leaves
// the folder through a symbolic link (except with [OpenOptions].FollowLinks) and what is no regular file.
type External struct {
	Location string
	Offset   int64
	Length   int64 // -1 where the file does not say
	Checksum string
}

// SparseTensor is one SparseTensorProto; the program knows its name and size but never expands it.
type SparseTensor struct {
	Name    string
	Type    DataType
	Dims    []int64
	Values  *Tensor
	Indices *Tensor

	src message
}

// message is what a view is encoded from. A decoded message has raw, its bytes without tag and length, and is written
// as these; an edited or new one has raw nil and is written field by field, so that it keeps the order it was decoded
// in. Messages that hold no views may have raw alone.
type message struct {
	raw    []byte
	offset int64 // byte offset of raw in the file, for errors; -1 where there is none
	fields []field
}

// field is one field of a message, or (number 0) a run of fields between two that matter. raw holds tag, length and
// value as they stood; child, where it is not nil, is the view that the value was decoded to (a *Graph, *Function,
// *Node, *Attribute, *Tensor, *SparseTensor or *ValueInfo) or the [payload] it is written from. A field with a child
// and without raw gets a new tag and length.
type field struct {
	number int32
	raw    []byte
	child  any
}
