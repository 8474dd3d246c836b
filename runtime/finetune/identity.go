package finetune

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// fingerprintSamples is how many samples of a data set go into its fingerprint.
const fingerprintSamples = 64

// newIdentity collects what a checkpoint depends on.
func newIdentity(m *onnx.Model, train, val *dataset.Dataset, objective Objective, o Options) (identity, error) {
	if o.Checkpoints.Dir == "" {
		return nil, nil
	}
	var id identity
	add := func(name, format string, args ...any) {
		id = append(id, fact{name, fmt.Sprintf(format, args...)})
	}
	for _, of := range []struct {
		name  string
		model *onnx.Model
	}{{"model", m}, {"teacher", o.Teacher}} {
		if of.model == nil {
			add(of.name, "none")
			continue
		}
		h := sha256.New()
		if _, err := of.model.Encode(h); err != nil {
			return nil, fmt.Errorf("finetune: %s: %w", of.name, err)
		}
		add(of.name, "%s", digest(h))
	}
	for _, of := range []struct {
		name string
		data *dataset.Dataset
	}{{"training data", train}, {"validation data", val}} {
		text, err := fingerprint(of.data)
		if err != nil {
			return nil, fmt.Errorf("finetune: %s: %w", of.name, err)
		}
		add(of.name, "%s", text)
	}
	h := sha256.New()
	for _, g := range o.Groups {
		fmt.Fprintf(h, "%q %v %v %d\n", g.Name, g.Rate, g.Decay, len(g.Tensors))
		for _, t := range g.Tensors {
			a, err := t.Array() // external data are no part of the model's bytes
			if err != nil {
				return nil, fmt.Errorf("finetune: %w", err)
			}
			fmt.Fprintf(h, "%q\n", t.Name)
			hashArray(h, a)
		}
	}
	for _, r := range o.Rings {
		r.hash(h)
	}
	add("groups of tensors", "%s", digest(h))
	if text := o.storedText(); text != "" {
		add("roundings", "%s", text)
	}
	add("objective", "%T%+v", objective, objective)
	add("epochs", "%d", o.Epochs)
	add("batch", "%d", o.Batch)
	add("seed", "%d", o.Seed)
	add("optimizer", "%+v", o.Optimizer)
	add("schedule", "%+v", o.Schedule)
	add("noise", "dropout %v and %v, input %v", o.Noise.Dropout.Projection, o.Noise.Dropout.Hidden, o.Noise.Input)
	add("average", "%v", o.Average)
	add("early stopping", "%+v", o.Stop)
	add("states", "%v, window %d", o.Streams.outputs(), o.Streams.window())
	add("trials", "%s", o.trialText())
	return id, nil
}

// trialText describes the starts with the digest of their values, in the order of the groups.
func (o *Options) trialText() string {
	if len(o.Trial.Starts) == 0 {
		return "none"
	}
	text := fmt.Sprintf("%d epochs on %v", o.Trial.Epochs, o.Trial.Fraction)
	for _, s := range o.Trial.Starts {
		h := sha256.New()
		for _, g := range o.Groups {
			for _, t := range g.Tensors {
				if a := s.Values[t]; a != nil {
					fmt.Fprintf(h, "%q\n", t.Name)
					hashArray(h, a)
				}
			}
		}
		text += fmt.Sprintf(", %q at rate %v: %s", s.Name, s.Rate, digest(h))
	}
	return text
}

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:16]) }

// fingerprint tells data sets apart by their sizes and evenly spread samples with their labels.
func fingerprint(d *dataset.Dataset) (string, error) {
	if d == nil {
		return "none", nil
	}
	h := sha256.New()
	n := d.Len()
	for k := range min(n, fingerprintSamples) {
		i := k * n / min(n, fingerprintSamples)
		feeds, err := d.Feeds(i, i+1, 0)
		if err != nil {
			return "", err
		}
		for _, name := range sortedKeys(feeds) {
			fmt.Fprintf(h, "%q\n", name)
			hashArray(h, feeds[name])
		}
		if l := d.Labels(i, i+1); l != nil {
			hashArray(h, l)
		}
	}
	return fmt.Sprintf("%d samples of %d steps, %s", n, d.Steps(), digest(h)), nil
}

func hashArray(h hash.Hash, a *onnx.Array) {
	fmt.Fprintf(h, "%v %v\n", a.Type, a.Dims)
	if b, err := a.Bytes(); err == nil {
		h.Write(b)
	} else { // strings
		fmt.Fprintf(h, "%q", a.Data)
	}
}
