package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// cell is a file in an engine.
type cell struct {
	file   *artifact
	engine *engine
}

// table is the matrix.
type table struct {
	models  []*model
	files   []*artifact
	engines []*engine
	absent  []string // engines that are not there, and why
	cells   map[cell]outcome
	notes   []note
}

// note is why some models are not run.
type note struct {
	reason string
	models []string
}

// markdown writes one row for each way to write a model and one column for each engine. A cell tells how many of the models the engine runs.
func (t *table) markdown() string {
	var b strings.Builder
	var names, engines []string
	for _, m := range t.models {
		names = append(names, m.name)
	}
	for _, e := range t.engines {
		if e.version != "" {
			engines = append(engines, e.name+" ("+e.version+")")
		}
	}
	fmt.Fprintf(&b, "%d models: %s.", len(t.models), strings.Join(names, ", "))
	if len(engines) > 0 {
		fmt.Fprintf(&b, " Engines: %s.", strings.Join(engines, ", "))
	}
	b.WriteString("\n\n")
	t.part(&b, func(k kind) bool { return k == graph })
	t.part(&b, func(k kind) bool { return k != graph })
	for k, n := range t.notes {
		fmt.Fprintf(&b, "%d. %s – %s\n", k+1, n.reason, strings.Join(n.models, ", "))
	}
	if len(t.absent) > 0 {
		fmt.Fprintf(&b, "\nNot there in this run: %s.\n", strings.Join(t.absent, "; "))
	}
	return b.String()
}

// part is the table of some kinds of files and of the engines for them.
func (t *table) part(b *strings.Builder, wanted func(kind) bool) {
	var engines []*engine
	for _, e := range t.engines {
		for k := range e.kinds {
			if wanted(k) && !slices.Contains(engines, e) {
				engines = append(engines, e)
			}
		}
	}
	type line struct {
		group string
		items []string
		cells string
	}
	var lines []line
	for _, r := range rows() {
		if !wanted(r.kind) || !slices.ContainsFunc(t.files, func(a *artifact) bool { return a.row.name() == r.name() }) {
			continue
		}
		l := line{group: r.group, items: []string{r.item}}
		for _, e := range engines {
			l.cells += " " + t.cell(r, e) + " |"
		}
		if n := len(lines) - 1; n >= 0 && lines[n].group == l.group && lines[n].cells == l.cells {
			lines[n].items = append(lines[n].items, r.item)
			continue
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 || len(engines) == 0 {
		return
	}
	head, rule, worst := "| |", "|---|", "| largest difference |"
	for _, e := range engines {
		head += " " + e.name + " |"
		rule += "---|"
		worst += " " + t.worst(e) + " |"
	}
	fmt.Fprintf(b, "%s\n%s\n", head, rule)
	for _, l := range lines {
		fmt.Fprintf(b, "| %s |%s\n", strings.TrimSuffix(l.group+": "+enumerated(l.items), ": "), l.cells)
	}
	fmt.Fprintf(b, "%s\n\n", worst)
}

// enumerated lists items; of three and more versions of operators only the ends are named.
func enumerated(items []string) string {
	if n := len(items); n > 2 && strings.HasPrefix(items[0], "opset ") {
		return items[0] + " to " + strings.TrimPrefix(items[n-1], "opset ")
	}
	return strings.Join(items, ", ")
}

// worst is the largest difference of an engine for each bound.
func (t *table) worst(e *engine) string {
	most := map[float64]float64{}
	for c, o := range t.cells {
		if c.engine == e && o.failed == "" {
			most[o.bound] = max(most[o.bound], o.difference)
		}
	}
	var parts []string
	for _, b := range []struct {
		bound float64
		what  string
	}{{bound32, ""}, {bound16, "float16 outputs "}, {boundInt8, "int8 "}} {
		if d, ok := most[b.bound]; ok {
			parts = append(parts, fmt.Sprintf("%s%.0e", b.what, d))
		}
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, ", ")
}

// cell tells of one way to write models in one engine.
func (t *table) cell(r row, e *engine) string {
	if !e.kinds[r.kind] {
		return ""
	}
	var (
		ran, of int
		wrong   bool
		marks   []string
	)
	blame := func(reason, model string) {
		if m := fmt.Sprint(t.note(reason, model)); !slices.Contains(marks, m) {
			marks = append(marks, m)
		}
	}
	for _, f := range t.files {
		if f.row.name() != r.name() {
			continue
		}
		if f.refused != "" {
			blame("Not written: "+plain(f.refused), f.model.name)
			continue
		}
		of++
		switch o := t.cells[cell{f, e}]; {
		case o.failed != "":
			blame(o.failed, f.model.name)
		case !(o.difference <= o.bound):
			wrong = true
			blame(fmt.Sprintf("**Differs by %.1g**, more than %.1g", o.difference, o.bound), f.model.name)
		default:
			ran++
		}
	}
	text := fmt.Sprintf("%d of %d", ran, of)
	if ran == of {
		text = fmt.Sprint(of)
	}
	switch {
	case of == 0:
		text = "–"
	case wrong:
		text = "**wrong**, " + text
	case ran == 0:
		text = "no"
	}
	if len(marks) > 0 {
		text += " <sup>" + strings.Join(marks, " ") + "</sup>"
	}
	return text
}

// note is the number of the note that tells a reason. Reasons that differ in names and numbers alone share one.
func (t *table) note(reason, model string) int {
	shape := variable.ReplaceAllString(reason, "#")
	k := slices.IndexFunc(t.notes, func(n note) bool { return variable.ReplaceAllString(n.reason, "#") == shape })
	if k < 0 {
		k, t.notes = len(t.notes), append(t.notes, note{reason: reason})
	}
	if n := &t.notes[k]; !slices.Contains(n.models, model) {
		n.models = append(n.models, model)
	}
	return k + 1
}

// variable matches what differs between messages that say the same.
var variable = regexp.MustCompile(`"[^"]*"|'[^']*'|\d+|operator \w+(?:; operator \w+)*|\b(?:LSTM|GRU|RNN)\b`)

// wordy matches what messages have around what they say: where a file lies, which source line found out, and which of many nodes is the first.
var wordy = regexp.MustCompile(`^Load model from \S+ failed:|\S*\.(?:cc|h):\d+ .*?\) |^onnxgo: |"[^"]*\.onnx": |\(\d+, first: [^()]*\)|\S*/trconvert-matrix-\d+/`)

// plain is a message on one line, without what only its writer needs.
func plain(message string) string {
	message = wordy.ReplaceAllString(strings.Join(strings.Fields(message), " "), "")
	message = strings.NewReplacer("|", "\\|", " ;", ";").Replace(strings.TrimSpace(message))
	if r := []rune(message); len(r) > 300 {
		message = string(r[:300]) + "…"
	}
	return message
}

// agree says whether no engine gave other outputs, and those that must run every file did.
func (t *table) agree(must *regexp.Regexp) bool {
	for c, o := range t.cells {
		if o.failed == "" && !(o.difference <= o.bound) || o.failed != "" && must != nil && must.MatchString(c.engine.name) {
			return false
		}
	}
	return true
}
