// Package gemm holds the float32 and float64 matrix kernels.
package gemm
