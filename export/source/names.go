package source

import (
	"strconv"
	"strings"
)

// reserved are words that are no identifiers in C or Go, and names that generated code uses itself in the same place.
var reserved = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`auto break case char const continue default do double else enum extern float for goto if inline int long register restrict
		return short signed sizeof static struct switch typedef union unsigned void volatile while _Bool _Complex _Imaginary asm typeof
		func interface select defer go map chan package fallthrough type import range var nil true false iota error string len cap make new append copy
		bool class private public protected template this try catch throw delete operator namespace using virtual friend errno stdin stdout stderr unix linux signbit isnan isinf main`) {
		m[w] = true
	}
	return m
}()

// Identifier makes an identifier of a name that may hold anything: lower-case letters, digits and single underscores, beginning with a letter, at most 40 characters.
func Identifier(name, otherwise string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			b.WriteRune(r)
		} else {
			gap = true
		}
		if b.Len() >= 40 {
			break
		}
	}
	s := b.String()
	switch {
	case s == "":
		s = otherwise
	case s[0] >= '0' && s[0] <= '9':
		s = otherwise + "_" + s
	}
	if reserved[s] {
		s += "_"
	}
	return s
}

// identifiers gives every name its own identifier.
func identifiers(names []string, otherwise string) []string {
	used := map[string]bool{}
	list := make([]string, len(names))
	for k, name := range names {
		base := Identifier(name, otherwise)
		s := base
		for i := 2; used[s]; i++ {
			s = strings.TrimSuffix(base, "_") + "_v" + strconv.Itoa(i)
		}
		used[s] = true
		list[k] = s
	}
	return list
}

// Names are the names of values that are taken.
type Names map[string]bool

// Fresh takes base, or base_2, base_3, … where that is taken.
func (n Names) Fresh(base string) string {
	name := base
	for k := 2; n[name]; k++ {
		name = base + "_" + strconv.Itoa(k)
	}
	n[name] = true
	return name
}

// Comment makes a text safe inside a comment of C or Go: printable ASCII on one line of bounded length that neither ends nor opens a comment and holds no
// trigraph.
func Comment(text string) string {
	if runes := []rune(text); len(runes) > 100 {
		text = string(runes[:100]) + "…"
	}
	q := strconv.QuoteToASCII(text)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	for _, r := range [][2]string{{"*/", "* /"}, {"/*", "/ *"}, {"//", "/ /"}, {"??", "? ?"}} {
		for strings.Contains(q, r[0]) {
			q = strings.ReplaceAll(q, r[0], r[1])
		}
	}
	return strings.TrimRight(q, `\`)
}
