package onnx

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Warning is something about a model that is no error but that its user should know.
type Warning struct {
	Code string // stable name of the kind: "external-overlap", "external-hard-link", "external-key", "training-info"
	Path string // where in the model
	Text string
}

// Warnings lists what was noticed when the model was opened, in the order of the file; at most 1000 are kept.
func (m *Model) Warnings() []Warning { return slices.Clone(m.warnings) }

// maxWarnings bounds what a hostile model can make us remember.
const maxWarnings = 1000

func (m *Model) warn(code, path, text string) {
	if len(m.warnings) < maxWarnings {
		m.warnings = append(m.warnings, Warning{code, path, text})
	}
}

// inspect notes the data files and collects the warnings about them.
func (m *Model) inspect() {
	ranges := m.dataRanges()
	for _, r := range ranges {
		if o := m.origin; len(o.data) == 0 || o.data[len(o.data)-1] != r.location {
			o.data = append(o.data, r.location)
		}
	}
	for i := 1; i < len(ranges); i++ {
		a, b := ranges[i-1], ranges[i] // a is the one before b that reaches furthest
		if a.location == b.location && b.start < a.end && b.start < b.end {
			text := fmt.Sprintf("bytes %d to %d of %s are also claimed by %s (bytes %d to %d)", b.start, b.end, quote(b.location), a.tensor, a.start, a.end)
			if a.start == b.start && a.end == b.end {
				text = fmt.Sprintf("shares bytes %d to %d of %s with %s", b.start, b.end, quote(b.location), a.tensor)
			}
			m.warn("external-overlap", b.tensor.String(), text)
		}
		if a.location == b.location && a.end > b.end {
			ranges[i] = a
		}
	}
	if m.origin.path == "" {
		return
	}
	location, count := "", 0
	for _, r := range ranges {
		if r.location == location || count == maxWarnings {
			continue
		}
		location = r.location
		count++
		info, err := os.Lstat(filepath.Join(m.origin.folder(), filepath.FromSlash(location)))
		if err == nil && info.Mode().IsRegular() && links(info) > 1 {
			m.warn("external-hard-link", r.tensor.String(), fmt.Sprintf("data file %s has %d names (hard links): it is read, and never written", quote(location), links(info)))
		}
	}
}
