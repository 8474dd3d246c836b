package onnx

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// external decodes the external_data entries of a tensor.
func (d *decoder) external(entries []KeyValue, offset int64) (*External, error) {
	x := &External{Length: -1}
	seen := make(map[string]bool, len(entries))
	for _, kv := range entries {
		if seen[kv.Key] {
			return nil, d.errorf(offset, "external_data: key %s appears twice", quote(kv.Key))
		}
		seen[kv.Key] = true
		switch kv.Key {
		case "location":
			x.Location = kv.Value
		case "offset", "length":
			v, err := strconv.ParseUint(kv.Value, 10, 63)
			if err != nil {
				return nil, d.errorf(offset, "external_data: %s is %s (a number of bytes expected)", kv.Key, quote(kv.Value))
			}
			if kv.Key == "offset" {
				x.Offset = int64(v)
			} else {
				x.Length = int64(v)
			}
		case "checksum":
			if b, err := hex.DecodeString(kv.Value); err != nil || len(b) != sha1.Size {
				return nil, d.errorf(offset, "external_data: checksum is %s (the 40 hexadecimal digits of a SHA-1 expected)", quote(kv.Value))
			}
			x.Checksum = strings.ToLower(kv.Value)
		default:
			// ONNX Runtime stores weights in its own layout beside the tensor under such keys.
			if !strings.HasPrefix(kv.Key, "prepacked_") {
				return nil, d.errorf(offset, "external_data: key %s is unknown (location, offset, length and checksum are known)", quote(kv.Key))
			}
			d.model.warn("external-key", d.pathString(), "external_data: key "+quote(kv.Key)+" is kept but means nothing here")
		}
	}
	if what := badLocation(x.Location); what != "" {
		return nil, d.errorf(offset, "external_data: location %s %s", quote(x.Location), what)
	}
	if x.Length > 0 && x.Offset+x.Length < 0 {
		return nil, d.errorf(offset, "external_data: offset %d + length %d overflows", x.Offset, x.Length)
	}
	return x, nil
}

// badLocation says what is wrong with the location of external data, "" where it is a path below the model's folder.
// The rules are those of every system at once, so that a model is refused everywhere alike.
func badLocation(s string) string {
	const inside = " (it must be a path relative to the model's folder and inside it)"
	switch {
	case s == "":
		return "is empty or missing"
	case len(s) > 4096:
		return "is longer than 4096 bytes"
	case strings.ContainsRune(s, 0):
		return "contains a NUL byte"
	case strings.Contains(s, "_ORT_MEM_ADDR_"):
		return "is a memory address of another program, not a file (save the model with its data)"
	case strings.Contains(s, "://"):
		return "is a URL" + inside
	case strings.Contains(s, `\`):
		return "contains a backslash" + inside
	case strings.HasPrefix(s, "/"):
		return "is absolute" + inside
	case strings.Contains(s, ":"):
		return "contains a colon, as drive letters and streams do" + inside
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == ".." {
			return "leaves the folder by .." + inside
		}
	}
	if path.Clean(s) == "." || strings.HasSuffix(s, "/") || !filepath.IsLocal(filepath.FromSlash(s)) {
		return "names no file" + inside
	}
	return ""
}

// checksum is the SHA-1 of a data file as it was when it was read.
type checksum struct {
	sum  string
	info fs.FileInfo
}

// openExternal opens the data file of a tensor and checks that it holds the tensor's size bytes. Everything is checked
// on the open handle, so that a file swapped in later is not read.
func (t *Tensor) openExternal(size int64) (*os.File, error) {
	x := t.External
	o := t.model.origin
	if o.path == "" {
		return nil, t.dataError("the model was decoded from memory, so there is no folder to read it from (open the model's file)", nil)
	}
	f, err := o.openData(x.Location)
	if err != nil {
		return nil, t.dataError("", err)
	}
	if err := t.checkExternal(f, size); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (t *Tensor) checkExternal(f *os.File, size int64) error {
	x := t.External
	info, err := f.Stat()
	if err != nil {
		return t.dataError("", err)
	}
	if !info.Mode().IsRegular() {
		return t.dataError(fmt.Sprintf("it is not a regular file (%s)", info.Mode().Type()), nil)
	}
	if x.Offset > info.Size() || size > info.Size()-x.Offset {
		return t.dataError(fmt.Sprintf("offset %d + %d bytes reach beyond the file's %d bytes", x.Offset, size, info.Size()), nil)
	}
	if x.Checksum == "" {
		return nil
	}
	o := t.model.origin
	o.mu.Lock()
	defer o.mu.Unlock()
	known, ok := o.sums[x.Location]
	if !ok || !os.SameFile(known.info, info) || known.info.Size() != info.Size() || !known.info.ModTime().Equal(info.ModTime()) {
		h := sha1.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, 0, info.Size())); err != nil {
			return t.dataError("", err)
		}
		known = checksum{hex.EncodeToString(h.Sum(nil)), info}
		if o.sums == nil {
			o.sums = make(map[string]checksum)
		}
		o.sums[x.Location] = known
	}
	if known.sum != x.Checksum {
		return t.dataError(fmt.Sprintf("its SHA-1 is %s, the model says %s", known.sum, x.Checksum), nil)
	}
	return nil
}

// openData opens a file below the model's folder. Links that leave the folder are followed only where the options say so.
func (o *origin) openData(location string) (*os.File, error) {
	name := filepath.FromSlash(location)
	if o.opts.FollowLinks {
		return openRegular(filepath.Join(o.folder(), name))
	}
	root, err := os.OpenRoot(o.folder())
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err == nil {
		return f, nil
	}
	if _, missing := os.Stat(filepath.Join(o.folder(), name)); missing == nil {
		return nil, fmt.Errorf("it lies outside the model's folder, behind a symbolic link (allow that with --follow-links): %w", plainPathError(err))
	}
	return nil, err
}

// dataError is an error about the external data of a tensor: what, or else err.
func (t *Tensor) dataError(what string, err error) error {
	head := fmt.Sprintf("onnx: %s: %s: external data %s: ", t.model.subject(), t, quote(t.External.Location))
	if err != nil {
		return fmt.Errorf("%s%w", head, plainPathError(err))
	}
	return errors.New(head + what)
}

// externalPayload is the payload of an external tensor, read when it is written.
type externalPayload struct {
	tensor *Tensor
	bytes  int64
}

func (p externalPayload) size() int64 { return p.bytes }

func (p externalPayload) writeTo(w io.Writer) error {
	f, err := p.tensor.openExternal(p.bytes)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(w, io.NewSectionReader(f, p.tensor.External.Offset, p.bytes))
	if err == nil && n != p.bytes {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return p.tensor.dataError("", err)
	}
	return nil
}

// dataRange is the part of a data file that a tensor takes.
type dataRange struct {
	location   string
	start, end int64
	tensor     *Tensor
}

// dataRanges lists the ranges of the external tensors, sorted by file and place.
func (m *Model) dataRanges() []dataRange {
	var all []dataRange
	m.tensors(func(t *Tensor) {
		if x := t.External; x != nil {
			all = append(all, dataRange{path.Clean(x.Location), x.Offset, x.Offset + t.Bytes(), t})
		}
	})
	slices.SortStableFunc(all, func(a, b dataRange) int {
		if c := strings.Compare(a.location, b.location); c != 0 {
			return c
		}
		switch {
		case a.start != b.start:
			return compareInt64(a.start, b.start)
		default:
			return compareInt64(a.end, b.end)
		}
	})
	return all
}

func compareInt64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// DataFiles lists the paths of the external data files that the model was opened with; models patched from it keep the list,
// also where they need the data no more.
func (m *Model) DataFiles() []string {
	files := make([]string, len(m.origin.data))
	for i, location := range m.origin.data {
		files[i] = filepath.Join(m.origin.folder(), filepath.FromSlash(location))
	}
	return files
}

// FileBytes is the size of the file as opened plus the external data it refers to, each range counted once.
func (m *Model) FileBytes() int64 {
	total := m.origin.bytes
	location, end := "", int64(0)
	for _, r := range m.dataRanges() {
		if r.location != location {
			location, end = r.location, 0
		}
		if r.end > end {
			total += r.end - max(r.start, end)
			end = r.end
		}
	}
	return total
}
