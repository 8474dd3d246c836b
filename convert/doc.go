// Package convert is the facade of trconvert: each verb of the command line is one call here.
//
//   - [Inspect] says where a model's bytes are and what its recurrent layers can give;
//   - [Decompose] turns a model into a compact one and reports what that cost;
//   - [Verify] compares the outputs of two models;
//   - [Run] runs a model on arrays.
//
// Files are written only when they are complete and checked; an error leaves the file system as it was. Errors are of four
// kinds: [OptionError] (the request makes no sense), [UnsupportedError] (the model is valid, but nothing can be done with it),
// [GateError] (a bound that the user set, or the rule that a file must shrink, is missed) and everything else.
package convert
