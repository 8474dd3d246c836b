package convert

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// resident is the memory that the process has in RAM now, file pages included (proc(5), VmRSS).
func resident() (int64, error) { return processStatus("VmRSS:") }

// resetPeak has the kernel count the peak from here on (proc(5), clear_refs). Where it does not, the peak is that of the process.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

func peakResident() (int64, error) { return processStatus("VmHWM:") }

func processStatus(field string) (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, errors.Join(errNoMemory, err)
	}
	for line := range bytes.Lines(b) {
		words := bytes.Fields(line)
		if len(words) != 3 || string(words[0]) != field {
			continue
		}
		n, err := strconv.ParseInt(string(words[1]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/self/status: %w", err)
		}
		return n << 10, nil
	}
	return 0, errNoMemory
}
