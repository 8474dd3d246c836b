package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/convert"
)

// Exit codes; scripts rely on them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitUnsupported = 3
	exitGate        = 4
	exitInterrupted = 130
)

// exitCode is the code of an error, by its type.
func exitCode(err error) int {
	var (
		usage       *usageError
		option      *convert.OptionError
		unsupported *convert.UnsupportedError
		gate        *convert.GateError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &option):
		return exitUsage
	case errors.As(err, &unsupported):
		return exitUnsupported
	case errors.As(err, &gate):
		return exitGate
	}
	return exitError
}

// usageError is a mistake in the command line.
type usageError struct {
	verb  string // "" before a verb is known
	what  string
	near  string   // what may have been meant
	valid []string // all that is valid
}

func (e *usageError) Error() string {
	s := e.what
	if e.near != "" {
		s += "; did you mean " + e.near + "?"
	}
	if len(e.valid) > 0 {
		s += "; valid: " + strings.Join(e.valid, ", ")
	}
	return s
}

// hint says where the help is.
func (e *usageError) hint() string {
	if e.verb == "" {
		return "trconvert help lists the verbs"
	}
	return "trconvert help " + e.verb + " lists its arguments"
}

// message is what is printed of an error.
func message(err error) string {
	return strings.TrimPrefix(err.Error(), "convert: ")
}

// oneEdit finds the word that becomes one of the candidates by one edit (an insertion, a deletion, a substitution, a swap of
// neighbours), "" where there is none.
func oneEdit(word string, candidates []string) string {
	k := slices.IndexFunc(candidates, func(c string) bool { return isOneEdit(word, c) })
	if k < 0 {
		return ""
	}
	return candidates[k]
}

func isOneEdit(a, b string) bool {
	p := 0
	for p < len(a) && p < len(b) && a[p] == b[p] {
		p++
	}
	x, y := a[p:], b[p:]
	switch {
	case len(x) == len(y) && len(x) > 0:
		return x[1:] == y[1:] || len(x) > 1 && x[0] == y[1] && x[1] == y[0] && x[2:] == y[2:]
	case len(x) == len(y)+1:
		return x[1:] == y
	case len(y) == len(x)+1:
		return y[1:] == x
	}
	return false
}

func usagef(verb, format string, args ...any) error {
	return &usageError{verb: verb, what: fmt.Sprintf(format, args...)}
}
