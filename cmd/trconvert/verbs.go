package main

import (
	"github.com/trconvert/trconvert/convert"
)

// verbs is the command table.
func verbs() []*verb {
	onModels := []*verb{inspectVerb(), planVerb(), decomposeVerb(), finetuneVerb(), newVerb(), evalVerb(), verifyVerb(), runVerb(), exportVerb(), importVerb(), benchVerb()}
	for _, v := range onModels {
		v.takeEverywhere()
	}
	return append(onModels, completionVerb(), versionVerb())
}

// everywhere are the flags that each verb on models takes, so that a script can give them to all.
var everywhere = []*flag{flagQuiet, flagForce, flagFollow, flagThreads, flagLibrary}

// takeEverywhere adds those flags of everywhere that change nothing for the verb.
func (v *verb) takeEverywhere() {
	for _, f := range everywhere {
		if v.flag(f.name) == nil {
			v.flags = append(v.flags, &flag{name: f.name, value: f.value, kind: f.kind, group: groupMore, usage: "taken, as by every verb on models; it changes nothing here"})
		}
	}
}

func modelArgument(name string) argument { return argument{name: name, kind: modelFile} }

// Flags that several verbs have.
var (
	flagOut     = &flag{name: "o", value: "OUT", group: groupForm, kind: modelFile, usage: "the model to write"}
	flagMerge   = &flag{name: "merge-output", group: groupForm, usage: "store the output side multiplied out, for runtimes and quantisers that want W as an initializer"}
	flagJSON    = &flag{name: "json", group: groupMore, usage: "print a JSON document instead of tables; nothing else goes to the standard output"}
	flagQuiet   = &flag{name: "quiet", group: groupMore, usage: "no tables and no progress; errors are still printed"}
	flagForce   = &flag{name: "force", group: groupMore, usage: "replace OUT where it exists (never the input)"}
	flagFollow  = &flag{name: "follow-links", group: groupMore, usage: "read external data behind symbolic links too, as model caches have them"}
	flagLibrary = &flag{name: "ort-library", value: "PATH", group: groupMore, kind: anyFile, env: ortVariable, usage: "ONNX Runtime's shared library (default: the environment variable " + ortVariable + ", else the system's)"}
	flagThreads = &flag{name: "threads", value: "N", group: groupMore, usage: "use N threads at most (default: one per processor); the result does not depend on it"}
)

func inspectVerb() *verb {
	return &verb{
		name:  "inspect",
		short: "say where a model's bytes are and what its recurrent layers can give",
		args:  []argument{modelArgument("MODEL")},
		flags: []*flag{flagJSON, flagQuiet, flagFollow, flagThreads},
		text: `
Lists every LSTM, GRU and RNN of the model in all of its graphs: its sizes, the share of the file that its input matrix W takes,
and the ceiling, which is how much smaller the layer's matrices W and R would be without W: (I+H)/H for input size I and hidden
size H. R, biases and everything else are left as they are by a conversion. A layer that cannot be decomposed says why.
No weight is decoded for this; it is quick for models of any size.`,
		examples: []string{"inspect model.onnx", "inspect model.onnx --json"},
		parse:    parseInspect,
	}
}

func decomposeVerb() *verb {
	return &verb{
		name:  "decompose",
		short: "write a smaller model whose recurrent layers are factored",
		args:  []argument{modelArgument("MODEL")},
		flags: []*flag{
			{name: "o", value: "OUT", group: groupForm, kind: modelFile, usage: "the model to write (default: MODEL with .tr.onnx)"},
			{name: "form", value: "FORM", group: groupForm, words: convert.Forms, usage: "bottleneck (default): cores merged in the graph, one multiplication, standard layer; cores: two merged groups, least memory; dense: the product of the cores, as large as before, for measuring"},
			flagMerge,
			{name: "weights", value: "TYPE", group: groupForm, words: convert.Storages, usage: "how cores, R and other large weights are stored: float32 (default), float16, or int8 with a scale for each channel; models compute in float32 all the same"},

			{name: "ratio", value: "X", group: groupBudget, usage: "numbers of W before / after, over all chosen sites together (default 10)"},
			{name: "rank", value: "R", group: groupBudget, usage: "every rank is R"},
			{name: "ranks", value: "R0,R1,…", group: groupBudget, usage: "the ranks one by one, as a report lists them"},
			{name: "max-error", value: "E", group: groupBudget, usage: "largest relative error of each W, such as 0.1"},
			{name: "max-params", value: "N", group: groupBudget, usage: "most numbers of W after, over all chosen sites together"},

			{name: "model-ratio", value: "X", group: groupBudget, usage: "bytes of the file before / after, everything included; all matrices are factored, each as far as the outputs bear it"},
			{name: "model-bytes", value: "N", group: groupBudget, usage: "most bytes of the written file, split in the same way"},
			{name: "max-drop", value: "D", group: groupBudget, usage: "most that the metric on --val may fall, such as 0.01 of accuracy; the smallest file found within it is written"},

			{name: "recipe", value: "FILE", group: groupBudget, kind: anyFile, usage: "store each matrix as this file says, which plan -o has written"},

			{name: "matrices", value: "WHICH", group: groupFit, words: convert.MatrixChoices, usage: "w (default): the input matrices W; r: the recurrent matrices R too; all (default with a budget of the whole file): all constant matrices"},
			{name: "site", value: "NAME", group: groupFit, many: true, usage: "decompose only this site; may be repeated; * and ? match parts of names (inspect lists them)"},
			{name: "format", value: "FORMAT", group: groupFit, words: convert.Formats, usage: "auto (default): the best of tr, tt and svd for each layer, a ring where ranks are given; tr: tensor ring; tt: tensor train; svd: truncated SVD; ttm: TT-matrix, which pairs input with output modes"},
			{name: "in-modes", value: "4x2x5", group: groupFit, usage: "modes of the input size; their product may exceed it a little; unless ranks are given, a mode above 32 is an axis that may be split further, as in 160x120x3; with ttm, as many as --out-modes, where 1 stands for none (default: balanced modes)"},
			{name: "out-modes", value: "4x4x16", group: groupFit, usage: "modes of directions × gates × hidden size, whose product is exact; a mode above 32 as with --in-modes (default: balanced modes)"},
			{name: "method", value: "METHOD", group: groupFit, words: convert.Methods, usage: "als: alternating least squares (default); svd: its start alone"},
			{name: "init", value: "START", group: groupFit, words: convert.Inits, usage: "svd: start from a truncated SVD (default); random: start from noise"},
			{name: "sweeps", value: "N", group: groupFit, usage: "most sweeps (default 30)"},
			{name: "tol", value: "E", group: groupFit, usage: "stop when a sweep lowers the error by less than this part of it"},
			{name: "restarts", value: "N", group: groupFit, usage: "further random starts; the best result is kept"},
			{name: "seed", value: "S", group: groupFit, usage: "of everything random (default 0); same seed, same bytes"},

			{name: "calibration", value: "DATA", group: groupData, kind: anyFile, usage: "real inputs (.npz, .npy, .csv or a folder in the ONNX test_data_set layout): the error on what reaches each layer is minimised in place of the error of W"},
			{name: "val", value: "DATA", group: groupData, kind: anyFile, usage: "labelled data that --max-drop is measured on"},
			{name: "labels", value: "NAME", group: groupData, usage: "the array of --val that holds the labels"},
			{name: "output", value: "NAME", group: groupData, usage: "the output that the labels are for, where the model has several"},
			{name: "loss", value: "LOSS", group: groupData, words: convert.Losses, usage: "how outputs are compared with the labels (default auto: by what they look like)"},
			flagBatchAxis, flagState,

			flagJSON, flagQuiet, flagForce, flagFollow, flagThreads,
		},
		text: `
Finds the recurrent layers, fits a tensor ring, a train or a truncated SVD to the input matrix W of each, and writes a model in which
the cores take W's place. Weights that several layers share are factored once. A layer that cannot get smaller stays dense and is said so.

The written file is read back and run before it appears under its name: against the original with W replaced by the product of the
cores, which must agree up to rounding, and against the original itself, which tells the loss of quality. At high ratios that
loss is large, for the fit is only a start: such a model has to be fine-tuned before use.

A model that is compact already is multiplied out in memory and decomposed anew; factors of matrices that were not chosen stay as they are.`,
		examples: []string{
			"decompose model.onnx",
			"decompose model.onnx -o small.onnx --ratio 25",
			"decompose model.onnx --max-error 0.2 --format tt --form cores",
			"decompose model.onnx --site 'encoder/*' --rank 8 --json",
			"decompose model.onnx --ratio 10 --calibration train.npz",
		},
		parse: parseDecompose,
	}
}

func verifyVerb() *verb {
	return &verb{
		name:  "verify",
		short: "compare the outputs of two models",
		args:  []argument{modelArgument("MODEL"), modelArgument("OTHER")},
		flags: []*flag{
			{name: "max-error", value: "E", group: groupGate, usage: "exit with 4 where the relative error is above E"},
			{name: "engine", value: "ENGINE", group: groupGate, words: convert.Engines, usage: "what runs both models: go, this program's own runtime (default); onnxruntime; onnx-go"},
			{name: "other-engine", value: "ENGINE", group: groupGate, words: convert.Engines, usage: "what runs OTHER (default: --engine); with one file for MODEL and OTHER two engines are compared"},
			{name: "data", value: "DATA", group: groupData, kind: anyFile, usage: "inputs: " + dataFiles + " (default: random inputs)"},
			flagBatchAxis, flagState,
			flagJSON, flagQuiet, flagFollow, flagThreads, flagLibrary,
		},
		text: `
Runs both models on the same inputs and compares all outputs. The relative error is ‖a−b‖/‖b‖ (Frobenius) over all inputs, b being MODEL's
output; the worst of the outputs counts. Streams run free on their own states, and state outputs are left out.`,
		examples: []string{
			"verify model.onnx model.tr.onnx",
			"verify model.onnx model.tr.onnx --data test.npz --max-error 0.05",
			"verify model.onnx small.onnx --engine onnxruntime --ort-library libonnxruntime.so.1",
			"verify small.onnx small.onnx --engine onnxruntime --other-engine go",
		},
		parse: parseVerify,
	}
}

func runVerb() *verb {
	return &verb{
		name:  "run",
		short: "run a model on arrays",
		args:  []argument{modelArgument("MODEL")},
		flags: []*flag{
			{name: "input", value: "NAME=FILE", group: groupData, many: true, kind: anyFile, usage: "the array of an input, as .npy; needed for every input"},
			{name: "o", value: "OUT.npz", group: groupData, kind: anyFile, usage: "where the outputs go, under their names"},
			flagQuiet, flagForce, flagFollow, flagThreads,
		},
		text: `
Runs the model once in this program's own runtime. Values are cast to the inputs' types; a value out of range is an error.`,
		examples: []string{"run model.onnx --input x=frames.npy -o out.npz"},
		parse:    parseRun,
	}
}

func completionVerb() *verb {
	return &verb{
		name:  "completion",
		short: "print a completion script for a shell",
		args:  []argument{{name: "SHELL", words: shells}},
		text: `
Prints a script that completes verbs, flags, values and model files in bash, zsh or fish.`,
		examples: []string{
			"completion bash > /etc/bash_completion.d/trconvert",
			`completion zsh > "${fpath[1]}/_trconvert"`,
			"completion fish > ~/.config/fish/completions/trconvert.fish",
		},
		parse: parseCompletion,
	}
}

func versionVerb() *verb {
	return &verb{
		name:  "version",
		short: "print the version, Go's version and the platform",
		text:  "Prints one line.",
		parse: parseVersion,
	}
}
