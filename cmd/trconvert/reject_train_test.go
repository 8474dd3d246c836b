package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// The little classifier that data sets are tried on: x [batch, steps, 6] to logits [batch, 3].
const (
	clips     = 12
	clipSteps = 5
	clipIn    = 6
	clipKinds = 3
)

const (
	newArgs      = "new -o m.onnx --input 6 --hidden 4 --classes 3 --format dense --quiet"
	finetuneArgs = "finetune m.onnx -o out.onnx --data d.npz --labels label --epochs 2 --json"
)

// perform runs commands that must end well.
func perform(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if code := run(t.Context(), strings.Fields(line), nil, io.Discard, os.Stderr); code != exitOK {
			t.Fatalf("%s: exit code %d", line, code)
		}
	}
}

// labelled is a data set of the classifier: x random, the label of clip i being label(i).
func labelled(label func(i int) int64, change func(x []float32)) func(*testing.T) {
	return func(t *testing.T) {
		x := random(clips * clipSteps * clipIn)
		if change != nil {
			change(x)
		}
		var raw, labels []byte
		for _, v := range x {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		for i := range clips {
			labels = binary.LittleEndian.AppendUint64(labels, uint64(label(i)))
		}
		putNPZ(t, "d.npz", npyOf("<f4", "(12, 5, 6)", raw), npyOf("<i8", "(12,)", labels))
	}
}

// inTurn are sound labels.
func inTurn(i int) int64 { return int64(i % clipKinds) }

// putNPZ writes an archive of x and label.
func putNPZ(t *testing.T, name string, x, label []byte) {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range []struct {
		name string
		data []byte
	}{{"x.npy", x}, {"label.npy", label}} {
		f, err := w.Create(m.name)
		if err == nil {
			_, err = f.Write(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, name, b.Bytes())
}

// little writes the classifier and a data set, and then whatever is wrong.
func little(data func(*testing.T), lines ...string) func(*testing.T) bool {
	return func(t *testing.T) bool {
		perform(t, newArgs)
		data(t)
		perform(t, lines...)
		return true
	}
}

// labelRejections are what group 27 says of labels and data sets, for finetune and eval.
func labelRejections() []rejection {
	good := labelled(inTurn, nil)
	at := func(i int, v int64) func(int) int64 {
		return func(k int) int64 {
			if k == i {
				return v
			}
			return inTurn(k)
		}
	}
	zero := func(t *testing.T) {
		putNPZ(t, "d.npz", npyOf("<f4", "(0, 5, 6)", nil), npyOf("<i8", "(0,)", nil))
	}
	odd := func(shape string, bytes int, label string, labels int) func(t *testing.T) {
		return func(t *testing.T) {
			putNPZ(t, "d.npz", npyOf("<f4", shape, make([]byte, bytes)), npyOf("<f8", label, make([]byte, labels)))
		}
	}
	both := []rejection{
		{name: "label above the classes", files: little(labelled(at(5, 3), nil)), says: []string{"d.npz", "label", "sample 5", "class 3", "3 classes"}},
		{name: "label negative", files: little(labelled(at(5, -2), nil)), says: []string{"d.npz", "label", "sample 5", "-2"}},
		{name: "no label at all", files: little(labelled(func(int) int64 { return -1 }, nil)), says: []string{"12", "labels"}},
		{name: "labels of another number", files: little(odd("(12, 5, 6)", 1440, "(11,)", 88)), says: []string{"d.npz", "[11]", "12"}},
		{name: "labels that fit no classes", files: little(odd("(12, 5, 6)", 1440, "(12, 2)", 192)), says: []string{"logits", "3 numbers", "2"}},
		{name: "zero samples to learn from", files: little(zero), says: []string{"d.npz", "0"}},
		{name: "frames of another size", files: little(odd("(12, 5, 7)", 1680, "(12,)", 96)), says: []string{"d.npz", `"x"`, "7", "6"}},
		{name: "NaN in a sample", files: little(labelled(inTurn, func(x []float32) { x[7*clipSteps*clipIn+3] = float32(math.NaN()) })), says: []string{"d.npz", "x", "sample 7", "NaN"}},
		{name: "labels that are not there", files: little(good), args: "finetune m.onnx -o out.onnx --data d.npz --labels lable", says: []string{"d.npz", "lable", "label"}},
	}
	var all []rejection
	for _, c := range both {
		if c.args == "" {
			c.args = finetuneArgs
		}
		c.code = exitError
		all = append(all, c)
		c.args = strings.Replace(strings.Replace(c.args, "finetune m.onnx -o out.onnx", "eval m.onnx", 1), " --epochs 2", "", 1)
		c.name += " (eval)"
		all = append(all, c)
	}
	one := labelled(func(int) int64 { return 2 }, nil)
	all = append(all,
		rejection{name: "labels of one class only", files: little(one), args: finetuneArgs, code: exitError, says: []string{"d.npz", "label", "12 samples", "class 2"}},
		rejection{name: "batch larger than the data set", files: little(good), args: finetuneArgs + " --batch 13", code: exitError, says: []string{"d.npz", "13", "12"}},
		rejection{name: "batch larger than what is left", files: little(good), args: finetuneArgs + " --val 0.1 --batch 12", code: exitError, says: []string{"d.npz", "12", "11", "--val 0"}},
		rejection{name: "validation data that are not there", files: little(good), args: finetuneArgs + " --val v.npz", code: exitError, says: []string{"v.npz"}},
		rejection{name: "class weights for other classes", files: little(good), args: finetuneArgs + " --class-weights 1,2", code: exitUsage, says: []string{"--class-weights", "2 weights", "3 classes"}},
		rejection{name: "negative class weight", files: little(good), args: finetuneArgs + " --class-weights 1,-2,1", code: exitUsage, says: []string{"--class-weights", `"1,-2,1"`, "number from 0"}},
		rejection{name: "class weights of a teacher alone", files: little(good), args: "finetune m.onnx -o out.onnx --data d.npz --teacher m.onnx --class-weights balanced", code: exitUsage, says: []string{"--class-weights", "--labels"}},
		rejection{name: "teacher with other outputs", files: little(good, "new -o t.onnx --input 6 --hidden 4 --classes 4 --format dense --quiet"), args: finetuneArgs + " --teacher t.onnx", code: exitError, says: []string{"t.onnx", "logits", "[1 4]", "[1 3]"}},
		rejection{name: "teacher with inputs of another size", files: little(good, "new -o t.onnx --input 7 --hidden 4 --classes 3 --format dense --quiet"), args: finetuneArgs + " --teacher t.onnx", code: exitError, says: []string{"t.onnx", `"x"`, "7", "6"}},
		rejection{name: "teacher with another input", files: little(good, "new -o t.onnx --input 6 --hidden 4 --classes 3 --format dense --input-name y --quiet"), args: finetuneArgs + " --teacher t.onnx", code: exitError, says: []string{"t.onnx", `"y"`, `"x"`}},
		rejection{name: "output is the data", files: little(good), args: "finetune m.onnx -o d.npz --data d.npz --labels label --force", code: exitError, says: []string{"d.npz", "never overwritten"}},
		rejection{name: "output is the teacher", files: little(good, "new -o t.onnx --input 6 --hidden 4 --classes 3 --format dense --quiet"), args: "finetune m.onnx -o t.onnx --data d.npz --teacher t.onnx --force", code: exitError, says: []string{"t.onnx", "never overwritten"}},
		rejection{name: "output is the validation data", files: little(func(t *testing.T) { good(t); put(t, "v.npz", []byte("PK")) }), args: "finetune m.onnx -o v.npz --data d.npz --labels label --val v.npz --force", code: exitError, says: []string{"v.npz", "never overwritten"}},
		rejection{name: "image is the output", files: little(good), args: finetuneArgs + " --plot ./out.onnx", code: exitUsage, says: []string{"--plot", "out.onnx"}},
		rejection{name: "nothing to learn from", files: little(good), args: "finetune m.onnx -o out.onnx --data d.npz", code: exitUsage, says: []string{"--labels", "--teacher"}},
		rejection{name: "cores of a dense model", files: little(good), args: finetuneArgs + " --train cores", code: exitUsage, says: []string{"m.onnx", "--train all"}},
		rejection{name: "fresh start of a dense model", files: little(good), args: finetuneArgs + " --start fresh", code: exitUsage, says: []string{"--start", "fresh"}},
		rejection{name: "more held back than there is", files: little(good), args: finetuneArgs + " --val 2", code: exitUsage, says: []string{"--val", `"2"`}},
		rejection{name: "output that is not there", files: little(good), args: finetuneArgs + " --output logit", code: exitUsage, says: []string{`"logit"`, "logits"}},
		rejection{name: "resume without a folder", files: little(good), args: finetuneArgs + " --resume", code: exitUsage, says: []string{"--resume", "--checkpoint"}},
	)
	for i := range all {
		all[i].name = "27 " + all[i].name
	}
	return all
}

// gradientRejections are models with operators that have no gradient: all are named before anything is done.
func gradientRejections() []rejection {
	quantised := func(m *onnxpb.ModelProto) {
		m.Graph.Node = append(m.Graph.Node,
			nodeOf("QuantizeLinear", []string{"Y", "step", "zero"}, []string{"q"}), nodeOf("DequantizeLinear", []string{"q", "step", "zero"}, []string{"dq"}),
			nodeOf("DynamicQuantizeLinear", []string{"Y"}, []string{"q2", "step2", "zero2"}), nodeOf("DequantizeLinear", []string{"q2", "step2", "zero2"}, []string{"dq2"}),
			nodeOf("Add", []string{"dq", "dq2"}, []string{"Z"}))
		m.Graph.Initializer = append(m.Graph.Initializer, floats("step", []float32{0.01}),
			&onnxpb.TensorProto{Name: proto.String("zero"), DataType: proto.Int32(3), RawData: []byte{0}})
		m.Graph.Output = []*onnxpb.ValueInfoProto{declare("Z", 1, -1, 1, -1, layerHidden)}
	}
	return []rejection{{
		name: "operators without gradient", files: func(t *testing.T) bool {
			put(t, "x.npy", npyOf("<f4", "(4, 2, 1, 96)", make([]byte, 4*768)))
			return broken(quantised)(t)
		},
		args: "finetune m.onnx -o out.onnx --data x.npy --teacher m.onnx", code: exitUnsupported, says: []string{"QuantizeLinear: no gradient", "DynamicQuantizeLinear: no gradient", "m.onnx"},
	}}
}

// checkpointed trains two epochs with checkpoints and changes the last one.
func checkpointed(change func(b []byte) []byte) func(*testing.T) bool {
	return func(t *testing.T) bool {
		little(labelled(inTurn, nil), strings.Replace(finetuneArgs, "--json", "--checkpoint ck --quiet", 1))(t)
		if err := os.Remove("out.onnx"); err != nil {
			t.Fatal(err)
		}
		if change == nil {
			return true
		}
		path := filepath.Join("ck", "finetune.ckpt")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, change(b))
		return true
	}
}

// sealed puts the checksum over changed bytes.
func sealed(change func(b []byte)) func([]byte) []byte {
	return func(b []byte) []byte {
		body := b[:len(b)-sha256.Size]
		change(body)
		sum := sha256.Sum256(body)
		return append(body, sum[:]...)
	}
}

// checkpointRejections are what group 26 says of checkpoints.
func checkpointRejections() []rejection {
	const resume = finetuneArgs + " --checkpoint ck --resume"
	all := []rejection{
		{name: "checkpoint that is not resumed", files: checkpointed(nil), args: finetuneArgs + " --checkpoint ck", says: []string{"exists already"}},
		{name: "checkpoint of another model", files: func(t *testing.T) bool {
			checkpointed(nil)(t)
			perform(t, newArgs+" --seed 1 --force")
			return true
		}, args: resume, says: []string{"another training", "model"}},
		{name: "checkpoint of other data", files: func(t *testing.T) bool {
			checkpointed(nil)(t)
			labelled(func(i int) int64 { return inTurn(i + 1) }, nil)(t)
			return true
		}, args: resume, says: []string{"another training", "data"}},
		{name: "checkpoint of another seed", files: checkpointed(nil), args: resume + " --seed 4", says: []string{"another training"}},
		{name: "checkpoint of other epochs", files: checkpointed(nil), args: strings.Replace(resume, "--epochs 2", "--epochs 3", 1), says: []string{"epochs", `"2"`, `"3"`}},
		{name: "checkpoint with a flipped bit", files: checkpointed(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), args: resume, says: []string{"checksum"}},
		{name: "checkpoint cut short", files: checkpointed(func(b []byte) []byte { return b[:len(b)/2] }), args: resume, says: []string{"cut off"}},
		{name: "checkpoint that is empty", files: checkpointed(func([]byte) []byte { return nil }), args: resume, says: []string{"no checkpoint"}},
		{name: "checkpoint that is something else", files: checkpointed(func([]byte) []byte { return []byte("version https://git-lfs.github.com/spec/v1\n") }), args: resume, says: []string{"no checkpoint"}},
		{name: "checkpoint of an unknown version", files: checkpointed(sealed(func(b []byte) { b[8] = 9 })), args: resume, says: []string{"version 9", "version 1"}},
		{name: "checkpoint that is oversized", files: checkpointed(func(b []byte) []byte { return append(b, make([]byte, 8<<20)...) }), args: resume, says: []string{"bytes"}},
		{name: "checkpoint with NaN", files: checkpointed(sealed(func(b []byte) {
			// The last list of arrays is empty behind an epoch (4 bytes); in front of it are the best parameters.
			binary.LittleEndian.PutUint32(b[len(b)-8:], math.Float32bits(float32(math.NaN())))
		})), args: resume, says: []string{"NaN"}},
		{name: "checkpoint folder that is a file", files: func(t *testing.T) bool {
			put(t, "ck", []byte("x"))
			return little(labelled(inTurn, nil))(t)
		}, args: finetuneArgs + " --checkpoint ck", says: []string{"ck"}},
	}
	for i := range all {
		all[i].name = "26 " + all[i].name
		all[i].code = exitError
		all[i].says = append(all[i].says, "checkpoint")
	}
	return all
}

// newRejections are contradictions in what a new model is to be.
func newRejections() []rejection {
	at := func(name, args string, code int, says ...string) rejection {
		return rejection{name: "24 new: " + name, files: func(*testing.T) bool { return true }, args: "new -o out.onnx " + args, code: code, says: says}
	}
	const sizes = "--input 96 --hidden 16 --classes 3 "
	return []rejection{
		at("no input size", "--hidden 16 --classes 3", exitUsage, "--input"),
		at("no hidden size", "--input 96 --classes 3", exitUsage, "--hidden"),
		at("no classes", "--input 96 --hidden 16", exitUsage, "--classes"),
		at("one class", "--input 96 --hidden 16 --classes 1", exitUsage, "--classes", "at least 2"),
		at("unknown cell", sizes+"--cell lstn", exitUsage, "--cell", "lstn", "lstm"),
		at("unknown format", sizes+"--format auto", exitUsage, "--format", "auto", "dense"),
		at("dense with a rank", sizes+"--format dense --rank 3", exitUsage, "--rank", "--format dense"),
		at("dense with modes", sizes+"--format dense --in-modes 8x12", exitUsage, "--in-modes", "--format dense"),
		at("two budgets", sizes+"--rank 3 --ratio 10", exitUsage, "--rank", "--ratio"),
		at("modes below the input", sizes+"--in-modes 5x19 --rank 2", exitUsage, "--in-modes", "95", "96"),
		at("modes beside the rows", sizes+"--out-modes 8x9 --rank 2", exitUsage, "--out-modes", "72", "64"),
		at("ranks of another number", sizes+"--in-modes 8x12 --out-modes 8x8 --ranks 2,2", exitUsage, "--ranks", "2", "4"),
		at("scale of tokens", sizes+"--embed 50 --scale 2", exitUsage, "--scale", "--embed"),
		at("cores as large as W", sizes+"--rank 16", exitGate, "nothing gets smaller"),
		at("budget that cannot be met", sizes+"--max-params 3", exitGate, "3", "best"),
		at("sizes that overflow", "--input 16777216 --hidden 16777216 --classes 3 --rank 2", exitUsage, "parameters"),
	}
}
