package onnx

// WrittenSize is the number of bytes that [Model.WriteFile] with default options writes at path: the model with the external payloads
// that it takes in and, above the limit, its data file.
func (m *Model) WrittenSize(path string) (int64, error) {
	p, err := m.planFile(path, 0)
	if err != nil {
		return 0, err
	}
	size := p.size
	if k := len(p.data); k > 0 {
		size += p.data[k-1].offset + p.data[k-1].payload.size()
	}
	return size, nil
}
