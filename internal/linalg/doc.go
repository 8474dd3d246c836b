// Package linalg is the only user of gonum's mathematics: QR, Cholesky, symmetric eigenproblems and truncated SVDs in float64.
//
// Matrices are row-major []float64 without padding. Vectors' signs are fixed (the element of largest magnitude is positive, the
// first of them at a tie), so the same operands give the same bits.
//
// Singular vectors are computed only as far as they are asked for: leading ones come from a Gram, reduced to tridiagonal form.
package linalg
