package pytorch

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// printRecurrent prints LSTM, GRU and RNN.
func printRecurrent(n *node) {
	c, err := recurrent.ParseConfig(n.Node, n.opset)
	if err != nil {
		n.refuse("%v", err)
		return
	}
	for _, a := range n.Attributes {
		n.asked[a.Name] = true // ParseConfig ignores none
	}
	x, w := n.in(recurrent.SlotX), n.in(recurrent.SlotW)
	if r := n.rings[n.Node]; r != nil {
		x, w = n.value(n.Graph, r.record.Inputs[r.index[n.Node]]), "self."+r.ident
	}
	var activations []string
	for _, a := range c.Activations {
		activations = append(activations, fmt.Sprintf("(%q, %s, %s)", a.Name, float(a.Alpha), float(a.Beta)))
	}
	variant := c.InputForget || c.LinearBeforeReset
	outs := 2
	initialC, peepholes := "None", "None"
	if c.Op == recurrent.LSTM {
		outs, initialC, peepholes = 3, n.in(recurrent.SlotInitialC), n.in(recurrent.SlotP)
	}
	call := n.calls("_recurrent", strconv.Quote(string(c.Op)), x, w, n.in(recurrent.SlotR), n.in(recurrent.SlotB), n.in(recurrent.SlotSequenceLens),
		n.in(recurrent.SlotInitialH), initialC, peepholes,
		strconv.Quote(string(c.Direction)), strconv.Itoa(c.Layout), "["+strings.Join(activations, ", ")+"]", float(c.Clip), boolean(variant))
	n.line("%s = %s", n.outs(outs), call)
}

// printIf prints both bodies; variables of Python are those of the function.
func printIf(n *node) {
	n.asked["then_branch"], n.asked["else_branch"] = true, true
	for _, branch := range []struct{ name, head string }{{"then_branch", "if bool(" + n.in(0) + "):"}, {"else_branch", "else:"}} {
		a := n.Attr(branch.name)
		if a == nil || a.G == nil || len(a.G.Outputs) != len(n.Outputs) {
			n.refuse("%s does not give the %d outputs", branch.name, len(n.Outputs))
			return
		}
		n.line("%s", branch.head)
		n.indent++
		if err := n.nodes(n.ctx, a.G); err != nil {
			n.refuse("%v", err)
		}
		for k, v := range a.G.Outputs {
			if n.Output(k) == "" {
				continue
			}
			n.line("%s = %s", n.local(place{n.Graph, n.Output(k)}), n.value(a.G, v.Name))
		}
		n.indent--
	}
}

// printLoop prints a loop whose states and outputs are variables of the function.
func printLoop(n *node) {
	n.asked["body"] = true
	a := n.Attr("body")
	if a == nil || a.G == nil || len(n.Inputs) < 2 || len(a.G.Inputs) != len(n.Inputs) || len(a.G.Outputs) != len(n.Outputs)+1 {
		n.refuse("a body that does not fit the node")
		return
	}
	body, states := a.G, len(n.Inputs)-2
	variable := func(k int) string { return n.local(place{body, body.Inputs[k].Name}) }
	condition := variable(1)
	for k := range states {
		n.line("%s = %s", variable(2+k), n.in(2+k))
	}
	var scans []string
	for k := states; k < len(n.Outputs); k++ {
		scans = append(scans, n.ident("scan"))
		n.line("%s = []", scans[k-states])
	}
	n.line("%s = %s", condition, map[bool]string{true: n.in(1), false: "torch.tensor(True)"}[n.has(1)])
	counter := n.ident("step")
	n.line("%s = 0", counter)
	limit := ""
	if n.has(0) {
		limit = fmt.Sprintf("%s < %s and ", counter, n.inInt(0))
	}
	n.line("while %sbool(%s):", limit, condition)
	n.indent++
	n.line("%s = torch.tensor(%s)", variable(0), counter)
	if err := n.nodes(n.ctx, body); err != nil {
		n.refuse("%v", err)
	}
	for k := range scans {
		n.line("%s.append(%s)", scans[k], n.value(body, body.Outputs[1+states+k].Name))
	}
	var after, before []string
	for k := range 1 + states {
		before, after = append(before, variable(1+k)), append(after, n.value(body, body.Outputs[k].Name))
	}
	n.line("%s = %s", strings.Join(before, ", "), strings.Join(after, ", "))
	n.line("%s += 1", counter)
	n.indent--
	for k, name := range n.Outputs {
		if name == "" {
			continue
		}
		if k < states {
			n.line("%s = %s", n.local(place{n.Graph, name}), variable(2+k))
		} else {
			n.line("%s = torch.stack(%s) if %s else torch.zeros(0)", n.local(place{n.Graph, name}), scans[k-states], scans[k-states])
		}
	}
}

// longLiteral writes an array as base64 of its bytes.
func longLiteral(a *onnx.Array, dtype string) (string, error) {
	raw, err := a.Bytes()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("torch.frombuffer(bytearray(base64.b64decode(%q)), dtype=%s).reshape(%s)", base64.StdEncoding.EncodeToString(raw), dtype, list(a.Dims)), nil
}
