// Package linalg is the only user of gonum's mathematics: QR, Cholesky, symmetric eigenproblems and truncated SVDs in float64.
//
// Matrices are row-major []float64 without padding. Vectors' signs are fixed (the element of largest magnitude is positive, the
// first of them at a tie), so the same operands give the same bits.
//
// No routine computes all singular or eigenvectors of a matrix above [fullVectors]; leading ones come from a Gram and filtered
// subspace iteration.
package linalg
