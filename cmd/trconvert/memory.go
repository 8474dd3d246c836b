package main

import (
	"os"
	"runtime/debug"
)

// leastLimited is the smallest file for which memory is limited: below, the collector is left alone.
const leastLimited = 64 << 20

// limitMemory has the collector keep the process near 1.5 times a large model's size, where it would otherwise let garbage grow to the
// size of what is in use. GOMEMLIMIT, where it is set, decides. The returned function takes it back.
func limitMemory(path string) (restore func()) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() < leastLimited || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetMemoryLimit(info.Size() + info.Size()/2)
	return func() { debug.SetMemoryLimit(before) }
}
