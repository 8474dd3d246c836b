package pytorch

import (
	"bytes"
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/export/weights"
	"github.com/trconvert/trconvert/onnx"
)

//go:embed library
var libraryFiles embed.FS

//go:embed files.py
var filesText string

//go:embed model.py
var modelText string

//go:embed train.py
var trainProgram []byte

// libraryOrder is the order of the files of functions that modules call.
var libraryOrder = []string{"elements", "arrays", "windows", "recurrent", "factored"}

// libraryText is all of them.
func libraryText() (string, error) {
	var parts []string
	for _, name := range libraryOrder {
		text, err := libraryFiles.ReadFile("library/" + name + ".py")
		if err != nil {
			return "", fmt.Errorf("pytorch: library: %w", err)
		}
		parts = append(parts, strings.TrimSpace(string(text)))
	}
	return strings.Join(parts, "\n\n\n"), nil
}

// block is a part of the library, which is printed where it is used.
type block struct {
	names []string // that it defines
	needs []string // that it mentions
	text  string
}

var (
	defines  = regexp.MustCompile(`(?m)^(?:def|class) (\w+)|^(\w+) = `)
	mentions = regexp.MustCompile(`\b_[a-z]\w*|\b_[A-Z]+\b|\bFactored\b`)
)

// blocks splits the library where two blank lines stand.
func blocks(text string) []block {
	var all []block
	for _, part := range strings.Split(text, "\n\n\n") {
		b := block{text: strings.TrimSpace(part) + "\n", needs: mentions.FindAllString(part, -1)}
		for _, m := range defines.FindAllStringSubmatch(part, -1) {
			b.names = append(b.names, m[1]+m[2])
		}
		all = append(all, b)
	}
	return all
}

// pruned is the part of the library that is used, in its order.
func pruned(text string, used map[string]bool) []string {
	all := blocks(text)
	taken := make([]bool, len(all))
	for more := true; more; {
		more = false
		for k, b := range all {
			if taken[k] || !slices.ContainsFunc(b.names, func(name string) bool { return used[name] }) {
				continue
			}
			taken[k], more = true, true
			for _, name := range b.needs {
				used[name] = true
			}
		}
	}
	var out []string
	for k, b := range all {
		if taken[k] {
			out = append(out, b.text)
		}
	}
	return out
}

// module puts model.py together.
func (p *printer) module(set *weights.Set, fingerprint string) ([]byte, error) {
	library, err := libraryText()
	if err != nil {
		return nil, err
	}
	init := p.constructor(set)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", header)
	fmt.Fprintf(&b, "HERE = os.path.dirname(os.path.abspath(__file__))\nWEIGHTS_FILE = os.path.join(HERE, %q)\n\n", WeightsFile)
	fmt.Fprintf(&b, "# The model that the weights belong to: trconvert import compares it.\nMODEL = %q\n\n", fingerprint)
	p.ports(&b, "INPUTS", "of forward, in this order: name in the ONNX model, type and dims, where an integer is fixed", p.inputs())
	p.ports(&b, "OUTPUTS", "of forward: one, or a tuple", p.model.Graph.Outputs)
	b.WriteString("# Weights by the names that trconvert has for them, and where Model holds them.\nWEIGHTS = {\n")
	for _, f := range p.fields {
		fmt.Fprintf(&b, "    %s: %q,\n", quote(f.weight.Name), f.ident)
	}
	b.WriteString("}\n")
	if len(p.ringList) > 0 {
		p.used["Factored"] = true
	}
	for _, part := range append(pruned(library, p.used), strings.TrimSpace(filesText)+"\n") {
		fmt.Fprintf(&b, "\n\n%s", part)
	}
	b.WriteString("\n\nclass Model(nn.Module):\n")
	fmt.Fprintf(&b, "    \"\"\"Runs as the ONNX model does; batch and time are as long as the inputs.\"\"\"\n\n%s\n", init)
	var args []string
	for _, v := range p.inputs() {
		args = append(args, ", "+p.local(place{p.model.Graph, v.Name}))
	}
	fmt.Fprintf(&b, "    def forward(self%s):\n%s\n%s", strings.Join(args, ""), p.body.String(), modelText)
	return b.Bytes(), nil
}

const header = `"""A model that trconvert exported for PyTorch, 1.13 or later.

    import model
    net = model.load()             # weights.safetensors beside this file
    y = net(x)
    net.train(); …                 # train it, here or with train.py
    net.save_weights("w.safetensors")

and then

    trconvert import COMPACT.onnx w.safetensors -o TRAINED.onnx

Rows of recurrent weights are in the order of ONNX: gates i, o, f, c of LSTM and z, r, h of GRU.
"""
import base64
import json
import math
import os
import struct

import torch
import torch.nn.functional as F
from torch import nn`

// quote is a string of Python.
func quote(s string) string { return strconv.QuoteToASCII(s) }

// ports writes the table of inputs or outputs.
func (p *printer) ports(b *bytes.Buffer, name, comment string, values []*onnx.ValueInfo) {
	fmt.Fprintf(b, "# %s.\n%s = [\n", comment, name)
	for _, v := range values {
		dtype, dims := "None", "None"
		if v.Type != nil && v.Type.Kind == "tensor" {
			if s := dtypes[v.Type.Elem]; s != "" {
				dtype = s
			}
			if v.Type.HasShape {
				var parts []string
				for _, d := range v.Type.Shape {
					switch {
					case d.Known:
						parts = append(parts, strconv.FormatInt(d.Value, 10))
					case d.Param != "":
						parts = append(parts, quote(d.Param))
					default:
						parts = append(parts, "None")
					}
				}
				dims = "[" + strings.Join(parts, ", ") + "]"
			}
		}
		kind := ""
		if def, ok := p.ix.Resolve(p.model.Graph, v.Name); ok && def.Node != nil {
			kind = def.Node.OpType
		}
		fmt.Fprintf(b, "    (%s, %s, %s, %s),\n", quote(v.Name), dtype, dims, quote(kind))
	}
	b.WriteString("]\n\n")
}

// constructor writes __init__, and lists all weights of the model in fields.
func (p *printer) constructor(set *weights.Set) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "        "+format+"\n", args...) }
	b.WriteString("    def __init__(self):\n")
	line("super().__init__()")
	line("self.metadata = {}")
	for _, r := range p.ringList {
		var shapes []string
		for _, t := range r.cores {
			shapes = append(shapes, list(t.Dims))
		}
		rec := r.record
		orders := ""
		if rec.Orders != nil {
			quoted := make([]string, len(rec.Orders))
			for k, o := range rec.Orders {
				quoted[k] = quote(o)
			}
			orders = fmt.Sprintf(", %s, [%s]", list(rec.Ranks), strings.Join(quoted, ", "))
		}
		line("self.%s = Factored(%q, %s, %s, [%s], %d, %d, %s%s)", r.ident, rec.Format, list(rec.InModes), list(rec.OutModes), strings.Join(shapes, ", "), rec.In, r.rows, boolean(rec.MergedOutput), orders)
	}
	held := map[*weights.Weight]bool{}
	for _, f := range p.fields {
		held[f.weight] = true
	}
	tensors := map[*weights.Weight]*onnx.Tensor{}
	for t, w := range p.weights {
		tensors[w] = t
	}
	for k := range set.Weights {
		if w := &set.Weights[k]; !held[w] {
			// Nothing that the outputs need reads it: it goes along, for import wants it.
			p.fields = append(p.fields, field{ident: p.ident(w.Name), weight: w, tensor: tensors[w]})
		}
	}
	for _, f := range p.fields {
		zeros := "torch.zeros(" + list(f.tensor.Dims)
		if f.tensor.Type == onnx.Double {
			zeros += ", dtype=torch.float64"
		}
		zeros += ")"
		switch {
		case f.core:
		case f.trainable:
			line("self.%s = nn.Parameter(%s)", f.ident, zeros)
		default:
			line("self.register_buffer(%q, %s)", f.ident, zeros)
		}
	}
	for _, c := range p.consts {
		line("self.%s = %s", c.ident, c.value)
	}
	return b.String()
}
