package convert

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export/gates"
	"github.com/trconvert/trconvert/export/opset"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/export/step"
	"github.com/trconvert/trconvert/internal/engine/onnxgo"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// OptionError says that an option has a value that cannot be meant.
type OptionError struct {
	Option string   // as the command line spells it, such as "--site"
	Value  string   // "" where the option is missing or contradicts another
	What   string   // what is wrong and what to do
	Near   []string // what may have been meant, best first
	Valid  []string // all valid values, where they can be listed
}

func (e *OptionError) Error() string {
	var b strings.Builder
	b.WriteString("convert: " + e.Option)
	if e.Value != "" {
		b.WriteString(" " + strconv.Quote(e.Value))
	}
	b.WriteString(": " + e.What)
	if len(e.Near) > 0 {
		b.WriteString("; did you mean " + quoteAll(e.Near, " or ") + "?")
	}
	if len(e.Valid) > 0 {
		b.WriteString("; valid: " + strings.Join(e.Valid, ", "))
	}
	return b.String()
}

// UnsupportedError says that a model is valid but that the verb can do nothing with it. Err, where set, is the typed error of
// the package that refused.
type UnsupportedError struct {
	File    string
	Reasons []string
	Err     error
}

func (e *UnsupportedError) Error() string {
	if len(e.Reasons) == 0 && e.Err != nil {
		return fmt.Sprintf("convert: %s: not supported: %v", strconv.Quote(e.File), e.Err)
	}
	return fmt.Sprintf("convert: %s: not supported: %s", strconv.Quote(e.File), strings.Join(e.Reasons, "; "))
}

func (e *UnsupportedError) Unwrap() error { return e.Err }

// GateError says that a bound was missed; nothing was written. Err, where set, is the typed error of the package that found out.
type GateError struct {
	Gate string // what was asked: "budget", "file size", "--max-error 0.01"
	Got  string // what can be reached, or was measured
	Err  error
}

func (e *GateError) Error() string { return "convert: " + e.Gate + ": " + e.Got }

func (e *GateError) Unwrap() error { return e.Err }

// classify turns the typed refusals of other packages into this package's, so that callers need to know only these.
func classify(file string, err error) error {
	if err == nil {
		return nil
	}
	var (
		own     *UnsupportedError
		gate    *GateError
		opt     *OptionError
		budget  *decompose.BudgetError
		choice  *decompose.OptionError
		format  *onnx.UnsupportedError
		site    *recurrent.UnsupportedError
		ops     *runtime.UnsupportedError
		engine  *onnxgo.UnsupportedError
		code    *source.UnsupportedError
		version *opset.UnsupportedError
		steps   *step.UnsupportedError
		small   *gates.UnsupportedError
	)
	switch {
	case errors.As(err, &own), errors.As(err, &gate), errors.As(err, &opt):
		return err
	case errors.As(err, &budget):
		return &GateError{Gate: "budget", Got: "asked for " + budget.Asked + ", the best that can be reached is " + budget.Best, Err: err}
	case errors.As(err, &choice) && choice.Option != "shape": // which is the model's
		return choiceError(choice)
	case errors.As(err, &format):
		err = format
	case errors.As(err, &site):
		err = site
	case errors.As(err, &ops):
		err = ops
	case errors.As(err, &engine):
		err = engine
	case errors.As(err, &code):
		err = code
	case errors.As(err, &version):
		err = version
	case errors.As(err, &steps):
		err = steps
	case errors.As(err, &small):
		err = small
	default:
		return err
	}
	return &UnsupportedError{File: file, Err: err}
}

// choiceError is what package decompose refused, as a mistake in the options.
func choiceError(e *decompose.OptionError) *OptionError {
	o := &OptionError{Option: "--" + strings.ReplaceAll(e.Option, ", ", ", --"), What: e.Problem}
	if e.Matrix != "" {
		o.What = "site " + strconv.Quote(e.Matrix) + ": " + o.What
	}
	return o
}

// ended is the error that a verb gives back for one that ended it: that of its context, where it has one, or what classify makes of it.
func ended(ctx context.Context, file string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(file, err)
}

func quoteAll(names []string, sep string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = strconv.Quote(n)
	}
	return strings.Join(q, sep)
}
