package onnx

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// signatures are the beginnings of files that are taken for ONNX models by mistake.
var signatures = []struct {
	at    int
	magic string
	what  string
}{
	{0, "version https://git-lfs.github.com/spec", "a git-lfs pointer, not the file it stands for (run git lfs pull)"},
	{0, "PK\x03\x04", "a zip archive (a PyTorch or Keras file, or a packed model: export to ONNX, or unpack it first)"},
	{0, "\x1f\x8b", "compressed with gzip (decompress it first)"},
	{0, "\x28\xb5\x2f\xfd", "compressed with zstd (decompress it first)"},
	{4, "1AY&SY", "compressed with bzip2 (decompress it first)"},
	{0, "\xfd7zXZ\x00", "compressed with xz (decompress it first)"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"},
	{0, "\x89HDF", "an HDF5 file (a Keras model: export it to ONNX)"},
	{0, "\x93NUMPY", "a NumPy array"},
	{0, "GGUF", "a GGUF file"},
	{4, "TFL3", "a TensorFlow Lite model"},
	{4, "ORTM", "a model in ONNX Runtime's own ORT format (use the .onnx file it was made from)"},
	{0, "\x80\x02", "a Python pickle (a PyTorch file: export it to ONNX)"},
	{0, "\x80\x04\x95", "a Python pickle"},
	{0, "%PDF-", "a PDF document"},
	{0, "\x7fELF", "a program or library"},
	{0, "MZ\x90", "a program or library"},
}

// sniff says what data that did not decode as a message of this kind ("model", "tensor") looks like, and "" where that is not clear.
func sniff(data []byte, kind string) string {
	if len(data) == 0 {
		return "the file is empty"
	}
	for _, s := range signatures {
		if len(data) >= s.at+len(s.magic) && string(data[s.at:s.at+len(s.magic)]) == s.magic {
			return "not an ONNX " + kind + ": it looks like " + s.what
		}
	}
	if len(data) > 9 && data[8] == '{' && data[7] == 0 && data[6] == 0 {
		return "not an ONNX " + kind + ": it looks like a safetensors file (weights without a graph)"
	}
	head := data[:min(len(data), 512)]
	text := strings.TrimLeft(string(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))), " \t\r\n")
	lower := strings.ToLower(text)
	switch {
	case strings.HasPrefix(lower, "<!doctype html"), strings.HasPrefix(lower, "<html"), strings.HasPrefix(lower, "<head"):
		return "not an ONNX " + kind + ": it looks like an HTML page (a download that led to a web page)"
	case strings.HasPrefix(text, "<?xml"):
		return "not an ONNX " + kind + ": it looks like XML"
	case (text != "" && (text[0] == '{' || text[0] == '[')) && isText(head):
		return "not an ONNX " + kind + ": it looks like JSON"
	case isText(head):
		return "not an ONNX " + kind + ": it looks like text"
	case len(bytes.Trim(head, "\x00")) == 0:
		return "not an ONNX " + kind + ": it begins with zero bytes (an unfinished download?)"
	}
	return ""
}

// isText says whether the bytes are printable text.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 && len(b) >= utf8.UTFMax {
			return false
		}
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' {
			return false
		}
		b = b[n:]
	}
	return true
}
