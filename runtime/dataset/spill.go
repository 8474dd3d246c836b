package dataset

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"os"

	"github.com/trconvert/trconvert/onnx"
)

// numbers gathers the values of a text file, in memory up to a limit and in a temporary file beyond it.
type numbers struct {
	files  *files
	limit  int64 // bytes
	values []float64
	count  int
	file   *os.File
	w      *bufio.Writer
	buf    [8]byte
}

func (n *numbers) add(v float64) error {
	n.count++
	if n.w == nil {
		if int64(n.count)*8 <= n.limit {
			n.values = append(n.values, v)
			return nil
		}
		var err error
		if n.file, err = n.files.temporary(); err != nil {
			return n.fail(err)
		}
		n.w = bufio.NewWriterSize(n.file, 1<<16)
		for _, v := range n.values {
			if err := n.write(v); err != nil {
				return err
			}
		}
		n.values = nil
	}
	return n.write(v)
}

func (n *numbers) write(v float64) error {
	binary.LittleEndian.PutUint64(n.buf[:], math.Float64bits(v))
	if _, err := n.w.Write(n.buf[:]); err != nil {
		return n.fail(err)
	}
	return nil
}

func (n *numbers) fail(err error) error {
	return fmt.Errorf("its numbers do not fit the memory for arrays and go to the folder of temporary files, %s: %w", quote(os.TempDir()), err)
}

// stored ends the list.
func (n *numbers) stored(dims []int, name string) (*stored, error) {
	s := &stored{typ: onnx.Double, dims: dims, data: n.values, name: name}
	if n.w != nil {
		if err := n.w.Flush(); err != nil {
			return nil, n.fail(err)
		}
		s.data, s.file = nil, n.file
		s.header = &npyHeader{dtype: "<f8", typ: onnx.Double, size: 8}
	}
	return s, nil
}
