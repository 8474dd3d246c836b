package convert

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx/recurrent"
)

func named(names ...string) []*recurrent.Site {
	var out []*recurrent.Site
	for _, n := range names {
		out = append(out, &recurrent.Site{Name: n, Decomposable: true})
	}
	return out
}

func TestSelectSites(t *testing.T) {
	sites := named("encoder/lstm_0", "encoder/lstm_1", "decoder/gru", "If_1.then_branch/LSTM[3]")
	for _, c := range []struct {
		patterns []string
		want     []string
	}{
		{nil, []string{"encoder/lstm_0", "encoder/lstm_1", "decoder/gru", "If_1.then_branch/LSTM[3]"}},
		{[]string{"decoder/gru"}, []string{"decoder/gru"}},
		{[]string{"decoder/gru", "encoder/lstm_0", "decoder/gru"}, []string{"encoder/lstm_0", "decoder/gru"}}, // in the model's order, once
		{[]string{"encoder/*"}, []string{"encoder/lstm_0", "encoder/lstm_1"}},
		{[]string{"*lstm*"}, []string{"encoder/lstm_0", "encoder/lstm_1"}}, // a star crosses slashes
		{[]string{"*lstm_?"}, []string{"encoder/lstm_0", "encoder/lstm_1"}},
		{[]string{"If_1.then_branch/LSTM[3]"}, []string{"If_1.then_branch/LSTM[3]"}}, // a name with brackets is a name first
		{[]string{"*lstm_[1-9]"}, []string{"encoder/lstm_1"}},
	} {
		got, err := selectSites(sites, c.patterns)
		if err != nil {
			t.Errorf("%q: %v", c.patterns, err)
			continue
		}
		var names []string
		for _, s := range got {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, c.want) {
			t.Errorf("%q: got %q, want %q", c.patterns, names, c.want)
		}
	}
}

func TestSelectSitesThatAreNotThere(t *testing.T) {
	sites := named("encoder/lstm_0", "encoder/lstm_1", "decoder/gru")
	for _, c := range []struct{ pattern, want string }{
		{"decoder/gr", `did you mean "decoder/gru"?`},
		{"encoder/lstm_2", `did you mean "encoder/lstm_0" or "encoder/lstm_1"?`},
		{"attention", `valid: "encoder/lstm_0", "encoder/lstm_1", "decoder/gru"`},
		{"[", "not a valid pattern"},
		{"\x1b[2J", `"\x1b[2J"`},
	} {
		_, err := selectSites(sites, []string{c.pattern})
		var option *OptionError
		if !errors.As(err, &option) {
			t.Errorf("%q: got %v, want an OptionError", c.pattern, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: got %q, want a message with %q", c.pattern, err, c.want)
		}
	}
}

func TestGroupSites(t *testing.T) {
	s := named("a", "b", "c", "d")
	s[0].SharedWith, s[2].SharedWith = []*recurrent.Site{s[2]}, []*recurrent.Site{s[0]}
	s[1].Decomposable = false
	groups, dense := groupSites(s)
	if len(groups) != 2 || !slices.Equal(groups[0].sites, []*recurrent.Site{s[0], s[2]}) || !slices.Equal(groups[1].sites, []*recurrent.Site{s[3]}) {
		t.Errorf("groups are wrong: %v", groups)
	}
	if !slices.Equal(dense, []*recurrent.Site{s[1]}) {
		t.Errorf("dense sites are wrong: %v", dense)
	}
	// Of two sharers only one is chosen: the other keeps the matrix.
	groups, _ = groupSites(s[:1])
	if got := sharers(groups, nil); len(got) != 1 || !strings.Contains(got[0], `"c" keeps the W it shares with "a"`) {
		t.Errorf("sharers are wrong: %q", got)
	}
}

// Distances by hand from the definition of optimal string alignment.
func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"rank", "rank", 0},
		{"rank", "rnak", 1},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3}, // no substring is edited twice
	} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := editDistance(c.b, c.a); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
