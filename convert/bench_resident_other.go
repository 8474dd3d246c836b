//go:build !unix

package convert

func resident() (int64, error) { return 0, errNoMemory }

func resetPeak() {}

func peakResident() (int64, error) { return 0, errNoMemory }
