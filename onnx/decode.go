package onnx

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// What a model may hold. A view takes more memory than its bytes, up to some 200 times for an empty node or attribute;
// the limits keep all views of a hostile file below about 1 GiB.
const (
	maxDepth  = 100     // nested messages, as in protobuf's own C++ parser
	maxWeight = 1 << 24 // 8 for each node, attribute, tensor, value info and type, 1 for each field, name and string
	viewCost  = 8
)

// Versions this package knows: the newest in the operator tests that ONNX publishes. An unknown version may have changed
// what a field or an operator means.
const (
	maxIRVersion = 13
	maxOpset     = 27
)

// decoder builds the views of one model.
type decoder struct {
	ctx   context.Context // nil where decoding is short
	model *Model
	file  string
	depth int
	spent int // of maxWeight
	limit int
	ticks int // calls of count
	path  []pathPart
}

// pathPart is one step of the way from the model to the message being decoded.
type pathPart struct {
	name string // "graph", "node", …
	view any    // named in the path once it is decoded that far
	pos  int    // position in a list, -1 outside of one
}

func (d *decoder) push(name string, view any, pos int) {
	d.path = append(d.path, pathPart{name, view, pos})
}

func (d *decoder) pop() { d.path = d.path[:len(d.path)-1] }

// errorf makes a FormatError at the current path.
func (d *decoder) errorf(offset int64, format string, args ...any) error {
	return &FormatError{File: d.file, Offset: offset, Path: d.pathString(), What: fmt.Sprintf(format, args...)}
}

func (d *decoder) pathString() string {
	s := ""
	for _, p := range d.path {
		switch {
		case s == "":
		case p.name == "attribute":
			s += " "
		default:
			s += "."
		}
		s += p.name
		if p.pos >= 0 {
			s += fmt.Sprintf("[%d]", p.pos)
		}
		if label := viewLabel(p.view); label != "" {
			s += " " + label
		}
	}
	return s
}

// wire adds file and path to an error of a wireReader.
func (d *decoder) wire(r *wireReader) error {
	if r.err == nil {
		return nil
	}
	return &FormatError{File: d.file, Offset: r.at, Path: d.pathString(), What: r.item}
}

// enter counts one level of nesting; leave it with d.depth--.
func (d *decoder) enter(offset int64) error {
	d.depth++
	if d.depth > maxDepth {
		return d.errorf(offset, "messages are nested more than %d deep", maxDepth)
	}
	return nil
}

// count counts what takes memory of its own: 1, or viewCost for a view.
func (d *decoder) count(offset int64, cost int) error {
	d.spent += cost
	if d.spent > d.limit {
		return d.errorf(offset, "too many nodes, attributes, tensors and names (a weight of %d, with %d for each view and 1 for each field, is allowed)",
			d.limit, viewCost)
	}
	if d.ticks++; d.ctx != nil && d.ticks%1024 == 0 {
		return d.ctx.Err()
	}
	return nil
}

// room makes an empty list with room for the fields of a message and counts them, 1 for each.
func (d *decoder) room(r *wireReader) ([]field, error) {
	n := r.left(d.limit - d.spent + 1)
	if err := d.count(r.base, n); err != nil {
		return nil, err
	}
	return make([]field, 0, n), nil
}

// cost is what a field counts for.
func (f *field) cost() int {
	if f.child != nil {
		return viewCost
	}
	return 1
}

func (d *decoder) reader(kind string, b []byte, base int64) *wireReader {
	return &wireReader{kind: kind, buf: b, base: base}
}

// want checks the wire type of a known field.
func (d *decoder) want(r *wireReader, typ protowire.Type) error {
	if r.typ == typ {
		return nil
	}
	return d.errorf(r.offset, "%s: field %d has wire type %d, want %d", r.kind, r.number, r.typ, typ)
}

func (d *decoder) int64(r *wireReader, to *int64) error {
	if err := d.want(r, protowire.VarintType); err != nil {
		return err
	}
	*to = int64(r.bits)
	return nil
}

func (d *decoder) string(r *wireReader, to *string) error {
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	*to = string(r.value)
	return nil
}

func (d *decoder) addString(r *wireReader, to *[]string) error {
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	if err := d.count(r.offset, 1); err != nil {
		return err
	}
	*to = append(*to, string(r.value))
	return nil
}

// addInts appends the values of a packed or unpacked repeated integer field.
func (d *decoder) addInts(r *wireReader, to *[]int64) error {
	if r.typ == protowire.VarintType {
		*to = append(*to, int64(r.bits))
		return nil
	}
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	for at := 0; at < len(r.value); {
		v, n := protowire.ConsumeVarint(r.value[at:])
		if n < 0 {
			return d.errorf(r.valueOffset(), "%s: field %d: packed value %d: %s", r.kind, r.number, len(*to), varintError(n))
		}
		*to = append(*to, int64(v))
		at += n
	}
	return nil
}

// decodeModel fills m from data, which lies at offset 0 of the file.
func decodeModel(ctx context.Context, m *Model, file string, data []byte) error {
	d := &decoder{ctx: ctx, model: m, file: file, limit: maxWeight}
	m.src = message{raw: data}
	err := d.modelFields(m, data)
	if err == nil {
		err = d.modelChecks(m)
	}
	if err != nil && ctx.Err() == nil {
		if what := sniff(data, "model"); what != "" {
			return &FormatError{File: file, Offset: -1, What: what}
		}
	}
	return err
}

func (d *decoder) modelFields(m *Model, data []byte) error {
	r := d.reader("ModelProto", data, 0)
	var rest []wireField // functions wait for the graph, whose errors are the more telling ones
	for r.next() {
		f := field{number: r.number, raw: r.raw}
		var err error
		switch r.number {
		case 1:
			err = d.int64(r, &m.IRVersion)
		case 2:
			err = d.string(r, &m.ProducerName)
		case 3:
			err = d.string(r, &m.ProducerVersion)
		case 4:
			err = d.string(r, &m.Domain)
		case 5:
			err = d.int64(r, &m.ModelVersion)
		case 6:
			err = d.string(r, &m.Doc)
		case 7:
			if err = d.want(r, protowire.BytesType); err != nil {
				break
			}
			if m.Graph != nil {
				return d.errorf(r.offset, "ModelProto: a second graph")
			}
			m.Graph = &Graph{Model: m}
			d.push("graph", m.Graph, -1)
			err = d.graph(m.Graph, r.value, r.valueOffset())
			d.pop()
			f.child = m.Graph
		case 8:
			err = d.opset(r, &m.Opsets)
		case 14:
			err = d.keyValue(r, &m.Metadata)
		case 20:
			m.warn("training-info", "training_info", "it is kept as it is; external data it refers to does not come along to another file")
		case 25:
			if err = d.want(r, protowire.BytesType); err != nil {
				break
			}
			fn := &Function{}
			m.Functions = append(m.Functions, fn)
			rest = append(rest, r.wireField)
			f.child = fn
		}
		if err == nil {
			err = d.count(r.offset, f.cost())
		}
		if err != nil {
			return err
		}
		m.src.fields = append(m.src.fields, f)
	}
	if r.err != nil {
		return d.wire(r)
	}
	for i := range rest {
		d.push("functions", m.Functions[i], i)
		if err := d.function(m.Functions[i], rest[i].value, rest[i].valueOffset()); err != nil {
			return err
		}
		d.pop()
	}
	return nil
}

// modelChecks are the promises of the whole model that need no graph analysis.
func (d *decoder) modelChecks(m *Model) error {
	switch {
	case m.Graph == nil && m.IRVersion == 0:
		return d.errorf(-1, "not an ONNX model: it holds neither ir_version nor graph")
	case m.Graph == nil:
		return d.errorf(-1, "the model has no graph")
	case m.IRVersion <= 0:
		return d.errorf(-1, "ir_version is %d (versions count from 1; the field must be present)", m.IRVersion)
	case m.IRVersion > maxIRVersion:
		return &UnsupportedError{File: d.file, What: fmt.Sprintf("IR version %d is unknown: this program knows 1 to %d, and a newer one may "+
			"have changed what a field means (export for an older IR version, or update)", m.IRVersion, maxIRVersion)}
	case len(m.Opsets) == 0 && m.IRVersion >= 3:
		return d.errorf(-1, "the model has no opset_import (required since IR version 3; this is version %d)", m.IRVersion)
	}
	if len(m.Opsets) == 0 {
		// Before IR version 3 there was one operator set, version 1.
		m.Opsets = []Opset{{Version: 1}}
	}
	if err := d.opsetChecks("", m.Opsets); err != nil {
		return err
	}
	for i, f := range m.Functions {
		if err := d.opsetChecks(fmt.Sprintf("functions[%d] %s", i, viewLabel(f)), f.Opsets); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) opsetChecks(path string, opsets []Opset) error {
	seen := make(map[string]int64, len(opsets))
	for _, o := range opsets {
		if v, ok := seen[o.Domain]; ok {
			return &FormatError{File: d.file, Offset: -1, Path: path,
				What: fmt.Sprintf("opset_import names domain %q twice, versions %d and %d", o.Domain, v, o.Version)}
		}
		seen[o.Domain] = o.Version
		if o.Domain == "" && o.Version > maxOpset {
			return &UnsupportedError{File: d.file, Path: path, What: fmt.Sprintf("opset %d is unknown: this program knows 1 to %d, and a newer one "+
				"may have changed what an operator does (export with an older opset, or update)", o.Version, maxOpset)}
		}
		if o.Version < 1 {
			return &FormatError{File: d.file, Offset: -1, Path: path,
				What: fmt.Sprintf("opset_import of domain %q has version %d (versions count from 1)", o.Domain, o.Version)}
		}
	}
	return nil
}

func (d *decoder) opset(r *wireReader, to *[]Opset) error {
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	var o Opset
	in := d.reader("OperatorSetIdProto", r.value, r.valueOffset())
	for in.next() {
		var err error
		switch in.number {
		case 1:
			err = d.string(in, &o.Domain)
		case 2:
			err = d.int64(in, &o.Version)
		}
		if err != nil {
			return err
		}
	}
	o.Domain = plainDomain(o.Domain)
	*to = append(*to, o)
	return d.wire(in)
}

// plainDomain gives the default operator domain its one name, "".
func plainDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

func (d *decoder) keyValue(r *wireReader, to *[]KeyValue) error {
	if err := d.want(r, protowire.BytesType); err != nil {
		return err
	}
	if err := d.count(r.offset, 1); err != nil {
		return err
	}
	var kv KeyValue
	in := d.reader("StringStringEntryProto", r.value, r.valueOffset())
	for in.next() {
		var err error
		switch in.number {
		case 1:
			err = d.string(in, &kv.Key)
		case 2:
			err = d.string(in, &kv.Value)
		}
		if err != nil {
			return err
		}
	}
	*to = append(*to, kv)
	return d.wire(in)
}

func (d *decoder) function(fn *Function, data []byte, base int64) error {
	if err := d.enter(base); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	body := &Graph{Model: d.model, Function: fn}
	fn.Body = body
	body.src = message{raw: data, offset: base}
	var outer []string
	r := d.reader("FunctionProto", data, base)
	for r.next() {
		f := field{number: r.number, raw: r.raw}
		var err error
		switch r.number {
		case 1:
			err = d.string(r, &fn.Name)
		case 4:
			err = d.addString(r, &fn.Inputs)
		case 5:
			err = d.addString(r, &fn.Outputs)
		case 6:
			err = d.addString(r, &fn.Attributes)
		case 7:
			f.child, err = d.addNode(body, r)
		case 9:
			err = d.opset(r, &fn.Opsets)
		case 10:
			err = d.string(r, &fn.Domain)
		case 11:
			a := &Attribute{}
			if err = d.attribute(a, nil, r); err == nil {
				outer = append(outer, a.Name)
				fn.Defaults = append(fn.Defaults, a)
			}
			f.child = a
		case 12:
			f.child, err = d.addValueInfo(&body.ValueInfos, "value_info", r)
		case 13:
			err = d.string(r, &fn.Overload)
		}
		if err == nil {
			err = d.count(r.offset, f.cost())
		}
		if err != nil {
			return err
		}
		body.src.fields = append(body.src.fields, f)
	}
	fn.Domain = plainDomain(fn.Domain)
	fn.Attributes = append(fn.Attributes, outer...)
	body.Name = fn.Name
	for _, name := range fn.Inputs {
		body.Inputs = append(body.Inputs, &ValueInfo{Name: name})
	}
	for _, name := range fn.Outputs {
		body.Outputs = append(body.Outputs, &ValueInfo{Name: name})
	}
	return d.wire(r)
}

// Decode decodes a model held in memory; name stands for the file in errors. External data cannot be read. The model
// refers to data, which must not change while it is in use.
func Decode(name string, data []byte) (*Model, error) {
	m := &Model{origin: newOrigin(name)}
	if err := decodeModel(context.Background(), m, name, data); err != nil {
		return nil, err
	}
	m.origin.bytes = int64(len(data))
	m.inspect()
	return m, nil
}
