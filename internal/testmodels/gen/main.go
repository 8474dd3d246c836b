// Command gen writes the models of testdata/models:
//
//	go run ./internal/testmodels/gen testdata/models
//
// Then `python3 testdata/models/expect.py` computes their expected outputs.
package main

import (
	"fmt"
	"os"

	"github.com/trconvert/trconvert/internal/testmodels"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FOLDER")
		os.Exit(2)
	}
	if err := testmodels.Write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
