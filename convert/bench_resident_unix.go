//go:build unix && !linux

package convert

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// resident asks ps, which POSIX has everywhere; rss is a field that all of these systems know, in kibibytes.
func resident() (int64, error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(os.Getpid())).Output()
	if err != nil {
		return 0, errors.Join(errNoMemory, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return 0, errors.Join(errNoMemory, err)
	}
	return n << 10, nil
}

// resetPeak does nothing: the peak is that of the whole process here.
func resetPeak() {}

func peakResident() (int64, error) { return peakBytes(), nil }
