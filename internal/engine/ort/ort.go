// Package ort runs models in ONNX Runtime, an engine that is not ours, to check what we write. The library is opened at run time
// (no cgo, nothing is needed to build); on systems for which that is not done, [Open] says so.
//
// On Linux this ties the program to the system's loader (glibc), also with CGO_ENABLED=0; the build tag noort leaves the engine out and gives
// a static program.
//
// Only functions of the first version of ONNX Runtime's C interface are called, at the places of the table that
// onnxruntime_c_api.h fixes for all later versions. An [Engine] stays open for the life of the process.
package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// LibraryVariable is the environment variable that holds the library's path where no option gives it.
const LibraryVariable = "TRCONVERT_ORT_LIBRARY"

// Options of Open; the zero value is the default.
type Options struct {
	Library string // path of the shared library; "": LibraryVariable, then the usual places
	Threads int    // threads inside an operator; 0: ONNX Runtime's choice
}

// LibraryError says that ONNX Runtime itself cannot be used.
type LibraryError struct {
	Path string // "" where none was found
	What string
}

func (e *LibraryError) Error() string {
	if e.Path == "" {
		return "ort: " + e.What
	}
	return "ort: " + strconv.Quote(e.Path) + ": " + e.What
}

// ModelError is what ONNX Runtime says about a model or its inputs.
type ModelError struct {
	Model string
	Code  int // OrtErrorCode
	What  string
}

func (e *ModelError) Error() string {
	return fmt.Sprintf("ort: %s: %s (ONNX Runtime's error %d)", strconv.Quote(e.Model), e.What, e.Code)
}

// libraryNames are the names under which the system's loader may know the library.
func libraryNames() []string {
	switch goruntime.GOOS {
	case "darwin":
		return []string{"libonnxruntime.dylib"}
	case "windows":
		return []string{"onnxruntime.dll"}
	}
	return []string{"libonnxruntime.so.1", "libonnxruntime.so"}
}

// libraryFolders are looked into by name; the loader knows most of them but not all on every system.
func libraryFolders() []string {
	switch goruntime.GOOS {
	case "darwin":
		return []string{"/opt/homebrew/lib", "/usr/local/lib"}
	case "windows":
		return []string{filepath.Join(os.Getenv("ProgramFiles"), "onnxruntime", "lib")}
	}
	return []string{"/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/" + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[goruntime.GOARCH] + "-linux-gnu", "/opt/onnxruntime/lib"}
}

const howToGet = "give its path by --ort-library or " + LibraryVariable + ", for instance that of libonnxruntime.so.1 in the npm package onnxruntime-node or in a release archive of ONNX Runtime"

// FindLibrary returns the path that Open uses: the argument, else the environment's, else the first of the usual places that has the
// file. It does not look into the current folder, whose files may be anyone's.
func FindLibrary(path string) (string, error) {
	if path == "" {
		path = os.Getenv(LibraryVariable)
	}
	if path != "" {
		st, err := os.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return "", &LibraryError{path, "there is no such file (" + howToGet + ")"}
		case err != nil:
			return "", &LibraryError{path, err.Error()}
		case st.IsDir():
			return "", &LibraryError{path, "is a folder, not the library (" + howToGet + ")"}
		}
		// A bare name would be looked for in the loader's own places.
		return filepath.Abs(path)
	}
	for _, folder := range libraryFolders() {
		for _, name := range libraryNames() {
			if p := filepath.Join(folder, name); isFile(p) {
				return p, nil
			}
		}
	}
	return "", &LibraryError{"", fmt.Sprintf("ONNX Runtime was not found: no %s in %s (%s)", strings.Join(libraryNames(), " or "), strings.Join(libraryFolders(), ", "), howToGet)}
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// checkFeeds compares names before ONNX Runtime sees them, so that the message names all that is missing at once.
func checkFeeds(model string, inputs []string, feeds map[string]*onnx.Array) error {
	var missing, unknown []string
	for _, name := range inputs {
		if feeds[name] == nil {
			missing = append(missing, strconv.Quote(name))
		}
	}
	for name := range feeds {
		if !slices.Contains(inputs, name) {
			unknown = append(unknown, strconv.Quote(name))
		}
	}
	slices.Sort(unknown)
	if len(missing)+len(unknown) == 0 {
		return nil
	}
	return fmt.Errorf("ort: %s: inputs without an array: [%s]; arrays that are no input: [%s]", strconv.Quote(model), strings.Join(missing, ", "), strings.Join(unknown, ", "))
}
