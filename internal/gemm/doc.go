// Package gemm holds the matrix kernels: C = α·op(A)·op(B) + β·C on row-major matrices, in assembly for AVX-512 and for AVX2 with FMA,
// else in portable Go. The best set the processor and its operating system support is picked at start; the environment variable
// TRCONVERT_KERNEL (avx512, avx2, go) picks another, for tests.
//
// Three element mixes are offered. [F32] and [F64] compute in the type of their operands. [Mixed] and [Wide] read a float32 matrix
// (a weight) and accumulate in float64: norms, Grams and residuals of large matrices are wrong in float32.
//
// Work is cut into tiles of C whose bounds depend on the shapes alone; each element of C is summed in one fixed order by one
// goroutine. The same operands therefore give the same bits whatever GOMAXPROCS is, and wherever they lie in memory. Another set of kernels
// gives other bits.
package gemm

//go:generate go -C gen run . -what products -out ../products_amd64.s -stubs ../products_amd64.go -pkg gemm -tables ../tables_amd64.go
