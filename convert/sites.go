package convert

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/matrices"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// chooseMatrices adds the matrices that are no W, where they are asked for. Those that cannot be factored are left as they are.
func (c *conversion) chooseMatrices(ctx context.Context) error {
	if c.o.Matrices == matricesW {
		return nil
	}
	all, err := matrices.Find(ctx, c.dense)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Decomposable && (c.o.Matrices == matricesAll || s.Role == matrices.Recurrent) {
			c.groups = append(c.groups, &group{matrix: s})
		}
	}
	if len(c.groups) == 0 {
		return &UnsupportedError{File: c.o.Model, Reasons: []string{"it has no constant matrix that can be factored"}}
	}
	return nil
}

// selectSites picks the sites whose name is one of the patterns or matches one as a glob. A pattern that matches none is an
// [OptionError] that names the nearest sites.
func selectSites(sites []*recurrent.Site, patterns []string) ([]*recurrent.Site, error) {
	if len(patterns) == 0 {
		return sites, nil
	}
	picked := make(map[*recurrent.Site]bool)
	for _, p := range patterns {
		found := false
		for _, s := range sites {
			ok, err := matchSite(p, s.Name)
			if err != nil {
				return nil, &OptionError{Option: "--site", Value: p, What: "not a valid pattern (" + err.Error() + ")"}
			}
			if ok {
				picked[s], found = true, true
			}
		}
		if !found {
			names := make([]string, len(sites))
			for i, s := range sites {
				names[i] = s.Name
			}
			return nil, noSite("--site", p, "matches none of the model's sites", names)
		}
	}
	var out []*recurrent.Site
	for _, s := range sites {
		if picked[s] {
			out = append(out, s)
		}
	}
	return out, nil
}

// noSite says that an option names none of the sites, and which names are near or, where none is, which there are.
func noSite(option, value, what string, names []string) *OptionError {
	e := &OptionError{Option: option, Value: value, What: what, Near: nearest(value, names, 3)}
	if len(e.Near) == 0 {
		e.Valid = firstQuoted(names, 8)
	}
	return e
}

// nodeOf is the recurrent node of a site's name, nil where a model has none.
func nodeOf(m *onnx.Model, site string) *onnx.Node {
	for _, n := range recurrent.Nodes(m) {
		if n.Name == site {
			return n.Node
		}
	}
	return nil
}

// matchSite compares literally first, since node names may hold brackets; in a glob * also matches the slashes of a path.
func matchSite(pattern, name string) (bool, error) {
	if pattern == name {
		return true, nil
	}
	const slash = "\x00"
	return path.Match(strings.ReplaceAll(pattern, "/", slash), strings.ReplaceAll(name, "/", slash))
}

// groupSites joins decomposable sites that share W, in the order of their first member; the others come back as dense.
func groupSites(sites []*recurrent.Site) (groups []*group, dense []*recurrent.Site) {
	of := make(map[*recurrent.Site]*group)
	for _, s := range sites {
		if !s.Decomposable {
			dense = append(dense, s)
			continue
		}
		var g *group
		for _, t := range s.SharedWith {
			if of[t] != nil {
				g = of[t]
				break
			}
		}
		if g == nil {
			g = &group{}
			groups = append(groups, g)
		}
		g.sites = append(g.sites, s)
		of[s] = g
	}
	return groups, dense
}

// sharers lists the sites that share W with a selected site but were neither selected nor kept as they are: their dense W stays in the file.
func sharers(groups []*group, stay []keptFactor) []string {
	var out []string
	for _, g := range groups {
		if g.matrix != nil {
			continue
		}
		for _, s := range g.lead().SharedWith {
			isKept := slices.ContainsFunc(stay, func(k keptFactor) bool { return slices.Contains(k.group.sites, s) })
			if !isKept && !slices.Contains(g.sites, s) {
				out = append(out, fmt.Sprintf("%q keeps the W it shares with %q", s.Name, g.lead().Name))
			}
		}
	}
	return out
}

// nearest lists up to n names within one third of their length in edits, best first (ties in the given order).
func nearest(word string, names []string, n int) []string {
	type scored struct {
		name string
		d    int
	}
	var near []scored
	for _, name := range names {
		if d := editDistance(strings.ToLower(word), strings.ToLower(name)); d <= max(1, len(name)/3) {
			near = append(near, scored{name, d})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int { return a.d - b.d })
	var out []string
	for _, s := range near {
		if len(out) < n && !slices.Contains(out, s.name) {
			out = append(out, s.name)
		}
	}
	return out
}

// editDistance counts insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
func editDistance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}

func firstQuoted(names []string, n int) []string {
	var out []string
	for i, name := range names {
		if i == n {
			return append(out, fmt.Sprintf("… %d more", len(names)-n))
		}
		out = append(out, fmt.Sprintf("%q", name))
	}
	return out
}
