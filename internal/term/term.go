// Package term writes for people at terminals: escaped names, figures, tables and progress bars.
package term

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	xterm "golang.org/x/term"
)

// Is says whether w is a terminal.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && xterm.IsTerminal(int(f.Fd()))
}

// Escape writes control bytes, invalid UTF-8 and characters that change the direction or place of what follows as Go escapes, so that a name
// from a file cannot steer a terminal. Everything else stays as it is.
func Escape(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unprintable(r):
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// EscapeLines is Escape for texts of several lines: line feeds stay.
func EscapeLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = Escape(l)
	}
	return strings.Join(lines, "\n")
}

func unprintable(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }

// Count writes an integer with its digits in groups of three: 1,234,567.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for k := len(s) - 3; k > 0; k -= 3 {
		s = s[:k] + "," + s[k:]
	}
	return sign + s
}

// Bytes writes a size with three digits and a decimal unit: 1.42 MB.
func Bytes(n int64) string {
	const units = "kMGTPE"
	v, k := float64(n), -1
	for math.Abs(v) >= 999.5 && k < len(units)-1 {
		v, k = v/1000, k+1
	}
	if k < 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.*f %cB", max(0, 2-digits(v)), v, units[k])
}

// Times writes a quotient: 4.00×, 34,193×.
func Times(before, after int64) string {
	if after <= 0 {
		return "–"
	}
	return Factor(float64(before) / float64(after))
}

// Factor writes how many times smaller something is.
func Factor(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case v >= 999.5:
		return Count(int64(math.Round(v))) + "×"
	}
	return fmt.Sprintf("%.*f×", max(0, 2-digits(v)), v)
}

// Error writes a relative error with three or four digits; "–" where there is none.
func Error(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 0):
		return "infinite"
	case v == 0:
		return "0"
	case v >= 0.001:
		return fmt.Sprintf("%.4f", v)
	}
	return fmt.Sprintf("%.1e", v)
}

// Percent writes a share of one.
func Percent(v float64) string {
	switch p := 100 * v; {
	case p > 0 && p < 0.1:
		return "< 0.1 %"
	case p >= 99.95 && p < 100:
		return "> 99.9 %"
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// digits counts the digits before the decimal point after the first.
func digits(v float64) int {
	n := 0
	for v = math.Abs(v); v >= 9.995; v /= 10 {
		n++
	}
	return n
}
