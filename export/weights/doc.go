// Package weights gives the weights of a model names that other programs can rely on, and puts values under these names back into it.
//
// Weights are the floating tensors of all graphs of a model: initializers and the values of Constant nodes, stored in whatever type. A name is, in this order,
//
//	SITE/core0, SITE/core1, …    for the cores of a factor, SITE being the first of its sites (LAYER.R for R of a layer)
//	SITE/W, SITE/R, SITE/bias, SITE/peepholes, SITE/initial_h, SITE/initial_c
//	                             for the tensor that alone such an operand of a recurrent node is made of
//	PATH/NAME                    for any other: the name it has in its graph, behind the path of the graph where it is not the main one
//
// without leading slashes, with _ in place of what archives do not take in names (control characters, backslashes, a part that is ".."), and with #2, #3, … where a name stands before. They
// depend on the graph alone and not on numbers.
//
// A value that is stored as int8 has two tensors, NAME and NAME/scale, with value = int8 × scale; one that is stored as float16 or bfloat16 keeps its bits.
//
// Rows of W, R and of the bias are in the order of ONNX: gates i, o, f, c of LSTM and z, r, h of GRU, H rows each, the second direction behind the first. PyTorch has i, f, g, o and r, z, n.
package weights
