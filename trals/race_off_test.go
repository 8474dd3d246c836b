//go:build !race

package trals

const racing = false
