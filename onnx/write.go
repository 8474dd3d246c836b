package onnx

import "context"

// WriteOptions say how a file is written.
type WriteOptions struct {
	Force bool // replace an existing file (never the model's own input or its data files)
	// Check, if set, is called with the path of the complete temporary file before it is renamed into place; an error
	// removes it and is returned.
	Check func(path string) error
	// ExternalAbove is the encoded size from which initializers move to "<file>.data"; 0 means 2 GiB − 16 MiB.
	ExternalAbove int64
}

// WriteFile writes the model to a temporary sibling folder, syncs, checks and renames it into place. External payloads of the
// input are taken into the file, or into its own "<file>.data" above the limit.
func (m *Model) WriteFile(ctx context.Context, path string, opts WriteOptions) error {
	return errNotYet
}
