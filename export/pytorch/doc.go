// Package pytorch prints a whole model as a module for PyTorch (1.13 or later), for training on machines and with data that package finetune is not made for.
//
// Print gives three files. model.py is self-contained: beside PyTorch it needs Python's standard library alone. Its class Model has one line of forward for every node of the graph, batch and time stay
// dynamic, and weights are parameters. A ring, train, SVD or TT-matrix is a layer of its own (Factored) whose forward merges the cores or goes through the bottleneck, whichever takes fewer
// multiplications for the frames at hand, in place of the nodes that merge them in the ONNX graph. Recurrent nodes use PyTorch's own kernels where these compute the same function (default activations,
// no clip, no peepholes), with gates put into PyTorch's order on the way, and loops over time elsewhere. weights.safetensors holds the weights under the names of package weights, and what training
// has made of them goes back into the model with weights.Set.Put. train.py trains on one or more machines (torchrun).
//
// Weights of a narrow storage, float16 and bfloat16 are float32 in PyTorch.
package pytorch
