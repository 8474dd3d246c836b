// Experiments trains recurrent classifiers whose input matrix is dense, a tensor ring, a train, a TT-matrix or a truncated SVD, through the command line alone, and
// prints what they reach on data they have not seen.
//
//	go run ./bench/experiments [flags] scratch|convert|stability [SET…]
//
// A SET is a folder with train.npz and test.npz, which hold x [N, T, I] and label [N], and perhaps a trained dense classifier dense*.onnx; where there
// is none, one is trained first. The experiments are:
//
//	scratch    rings trained from random weights at all ratios, the other formats with as many parameters at the middle one, and the dense model
//	convert    the dense model decomposed, by weights alone and by data, then fine-tuned with labels, with labels and the dense model, with the dense model alone; beside rings of the same
//	           modes and ranks from random weights
//	stability  rings and TT-matrices trained from random weights over ranks and seeds
//
// Every run is one line of OUT/results.jsonl; runs that are there already are not repeated. Without a SET nothing is run, and what is there is printed and drawn. The tables give the median over the seeds and, in brackets, the
// range. Epochs and all settings are the program's defaults unless -epochs says otherwise; the test split is read once a run, by eval, after everything else.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
)

// options are the flags.
type options struct {
	program string
	out     string
	hidden  int
	epochs  int
	rate    string
	seeds   int
	ratios  []int
	formats []string
	ranks   []int
}

func main() {
	log.SetFlags(0)
	var o options
	var ratios, formats, ranks string
	flag.StringVar(&o.program, "trconvert", "", "program to measure; built from this tree if empty")
	flag.StringVar(&o.out, "o", "experiments", "folder for models, results and plots")
	flag.IntVar(&o.hidden, "hidden", 64, "units of models trained from scratch, where the set has no dense model")
	flag.IntVar(&o.epochs, "epochs", 0, "epochs of every training; 0: the program's default")
	flag.StringVar(&o.rate, "lr", "", "learning rate of every training; empty: the program's default")
	flag.IntVar(&o.seeds, "seeds", 3, "seeds 1, 2, … of every run")
	flag.StringVar(&ratios, "ratios", "25,100,400", "how many times smaller W becomes")
	flag.StringVar(&formats, "formats", "tr,tt,ttm,svd", "formats")
	flag.StringVar(&ranks, "ranks", "2,3,4,5,6", "ranks of stability")
	flag.Parse()
	experiments := map[string]func(context.Context, *options, *set) ([]run, error){"scratch": scratch, "convert": convert, "stability": stability}
	plan := experiments[flag.Arg(0)]
	if plan == nil {
		flag.Usage()
		os.Exit(2)
	}
	o.ratios, o.formats, o.ranks = numbers(ratios), strings.Split(formats, ","), numbers(ranks)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.all(ctx, flag.Arg(0), plan, flag.Args()[1:]); err != nil {
		log.Fatal(err)
	}
}

func numbers(list string) []int {
	var n []int
	for _, s := range strings.Split(list, ",") {
		v, err := strconv.Atoi(s)
		if err != nil || v < 1 {
			log.Fatalf("%q is no list of positive numbers", list)
		}
		n = append(n, v)
	}
	return n
}

// all runs one experiment on every set and prints its table.
func (o *options) all(ctx context.Context, name string, plan func(context.Context, *options, *set) ([]run, error), folders []string) error {
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}
	if o.program == "" && len(folders) > 0 {
		o.program = filepath.Join(o.out, "trconvert")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.program, "./cmd/trconvert").CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	store, err := openStore(filepath.Join(o.out, "results.jsonl"))
	if err != nil {
		return err
	}
	defer store.close()
	for _, folder := range folders {
		s, err := openSet(ctx, o, store, folder)
		if err != nil {
			return err
		}
		runs, err := plan(ctx, o, s)
		if err != nil {
			return err
		}
		for _, r := range runs {
			r.Experiment, r.Set = name, s.name
			if err := store.once(ctx, o, s, r); err != nil {
				return err
			}
		}
	}
	if err := store.print(os.Stdout, name); err != nil {
		return err
	}
	return store.plot(o.out, name)
}

// trconvert runs the program and decodes what it prints with --json.
func (o *options) trconvert(ctx context.Context, report any, args ...string) error {
	cmd := exec.CommandContext(ctx, o.program, append(args, "--json")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("trconvert %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(out, report); err != nil {
		return fmt.Errorf("trconvert %s: %w", args[0], err)
	}
	return nil
}
