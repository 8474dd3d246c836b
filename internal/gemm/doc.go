// Package gemm holds the matrix kernels: C = α·op(A)·op(B) + β·C on row-major matrices, portable Go.
//
// Three element mixes are offered. [F32] and [F64] compute in the type of their operands. [Mixed] and [Wide] read a float32 matrix
// (a weight) and accumulate in float64: norms, Grams and residuals of large matrices are wrong in float32.
//
// Work is cut into tiles of C whose bounds depend on the shapes alone; each element of C is summed in one fixed order by one
// goroutine. The same operands therefore give the same bits whatever GOMAXPROCS is.
package gemm
