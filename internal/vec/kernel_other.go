//go:build !amd64

package vec

var current = portable

func named(string) kernels { return portable }
