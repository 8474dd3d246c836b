// Package finetune trains parameters of ONNX models: the cores of decomposed layers, and what stands around them, with labels, with a teacher, or with both.
//
// [Train] runs epochs of shuffled batches through a [runtime.Training], and returns the parameters of the best epoch; it writes no model. An [Objective] measures
// a run and says where its outputs should go. With [Checkpoints] a killed training goes on to the same bits. [Evaluate] measures without training.
//
// Everything random comes from Options.Seed and the number of the epoch and batch, and every sum has a fixed order, so that the same model, data and options
// give the same parameters whatever GOMAXPROCS.
package finetune
