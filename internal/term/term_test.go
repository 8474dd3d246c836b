package term

import (
	"bytes"
	"math"
	"testing"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"encoder/rnn":          "encoder/rnn",
		"größe ×2":             "größe ×2",
		"a\x1b[31mred":         `a\x1b[31mred`,
		"bell\a tab\t nul\x00": `bell\a tab\t nul\x00`,
		"bad\xff":              `bad\xff`,
		"rtl\u202egnp":         `rtl\u202egnp`,
		"new\nline":            `new\nline`,
		"c1\u009b31m":          `c1\u009b31m`,
		"":                     "",
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := EscapeLines("a\nb\r"), "a\nb\\r"; got != want {
		t.Errorf("EscapeLines = %q, want %q", got, want)
	}
}

func TestFigures(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Count(0), "0"},
		{Count(999), "999"},
		{Count(1000), "1,000"},
		{Count(-1234567), "-1,234,567"},
		{Bytes(999), "999 B"},
		{Bytes(1000), "1.00 kB"},
		{Bytes(1423991), "1.42 MB"},
		{Bytes(999_999), "1.00 MB"},
		{Bytes(236_000_000), "236 MB"},
		{Times(58982400, 1725), "34,193×"},
		{Times(4, 1), "4.00×"},
		{Times(1, 0), "–"},
		{Factor(226), "226×"},
		{Factor(1.078), "1.08×"},
		{Factor(math.Inf(1)), "–"},
		{Error(0.51234), "0.5123"},
		{Error(2.13e-7), "2.1e-07"},
		{Error(0), "0"},
		{Error(math.NaN()), "–"},
		{Error(math.Inf(1)), "infinite"},
		{Percent(0.9612), "96.1 %"},
		{Percent(0.0001), "< 0.1 %"},
		{Percent(0.9999), "> 99.9 %"},
		{Percent(1), "100.0 %"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	got := Table([]Column{{Title: "site"}, {Title: "bytes", Figure: true}}, [][]string{{"lstm\x1b[1m", "12"}, {"gru", "3,456"}})
	want := "site         bytes\n────────────────────\nlstm\\x1b[1m     12\ngru          3,456\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBarNeedsATerminal(t *testing.T) {
	var b bytes.Buffer
	bar := NewBar(&b)
	bar.Show(1, 2, "work")
	bar.Clear()
	if bar != nil || b.Len() != 0 {
		t.Errorf("a bar was drawn on a buffer: %q", b.String())
	}
}
