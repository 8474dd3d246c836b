// Package linalg is the only user of gonum's mathematics: SVD, QR, Cholesky and symmetric eigenproblems in float64.
package linalg
