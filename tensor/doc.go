// Package tensor holds dense n-mode arrays, tensor networks, their contraction plans, and [Factor]: a matrix kept as a network of small cores.
//
// A [Network] names the axes of its tensors by integer labels; a label on two tensors is summed over, a label on one tensor is open.
// A [Plan] is an order of pairwise contractions with its cost, found once from the shapes and then used for any data: the same plan
// rebuilds a matrix, applies it to an input, is lowered to Transpose, Reshape and MatMul nodes, and carries gradients back ([Evaluate]).
//
// A [Format] says which core of a factor carries which modes. It is all that has to be said of a new one.
//
// Data are float32; sums are float64.
package tensor
