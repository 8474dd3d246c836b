//go:build !unix

package onnx

import "io/fs"

const openNonblock = 0

// links is the number of names a file has, 0 where the system does not say.
func links(fs.FileInfo) uint64 { return 0 }

// syncFolder does nothing: a folder cannot be opened for syncing here.
func syncFolder(string) {}
