package opset

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// The table ends with this version, and opsets from Oldest on are written.
const (
	Oldest = 13
	Newest = 21
)

// irVersions are the versions of the format that ONNX released with each opset from Oldest on (docs/Versioning.md of ONNX).
var irVersions = []int64{7, 7, 8, 8, 8, 8, 9, 9, 10}

//go:embed operators.txt
var operatorsText string

// version is a version of an operator and what changed with it; see schemas.py, which prints the table.
type version struct {
	since int64
	marks []mark
}

// mark is one change: kind is one of + - @ ^ # ~ !
type mark struct {
	kind        byte
	name, value string
}

// operators are the versions by operator, in rising order.
var operators = sync.OnceValue(func() map[string][]version { return parseOperators(operatorsText) })

func parseOperators(text string) map[string][]version {
	table := map[string][]version{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		for _, w := range words[1:] {
			table[words[0]] = append(table[words[0]], parseVersion(w))
		}
	}
	return table
}

func parseVersion(word string) version {
	digits := len(word) - len(strings.TrimLeft(word, "0123456789"))
	since, err := strconv.ParseInt(word[:digits], 10, 64)
	if err != nil {
		panic(fmt.Sprintf("opset: the table has a version %q", word)) // the table is a constant, and a test reads all of it
	}
	v := version{since: since}
	if word = word[digits:]; word == "" {
		return v
	}
	for _, part := range strings.Split(word, ",") {
		m := mark{kind: part[0]}
		separator := "="
		if m.kind == '~' {
			separator = ":"
		}
		m.name, m.value, _ = strings.Cut(part[1:], separator)
		v.marks = append(v.marks, m)
	}
	return v
}

// inForce is the place of the version that an opset uses, −1 where the operator came later.
func inForce(versions []version, opset int64) int {
	at := -1
	for k, v := range versions {
		if v.since <= opset {
			at = k
		}
	}
	return at
}
