// Package csource prints a lowered model as C99: for microcontrollers, and for programs that want no runtime.
//
// # Files
//
// With the name "model": model.h and model.c (no allocation, static memory, only <math.h> and <stdint.h>), model_weights.h (constants), model_test.c, a Makefile, and the
// sample that model_test compares with. They compile with gcc -std=c99 -Wall -Wextra -Werror -pedantic and are the same bytes for the same model and options.
//
//	int  model_run(const struct model_inputs *in, const struct model_outputs *out);
//	void model_init(void);                          with MergeAtStart
//	void model_reset(struct model_state *state);    with a stream
//	int  model_step(struct model_state *state, const struct model_step_inputs *in, const struct model_step_outputs *out);
//
// model_run computes the whole model for the dims it was written for, model_step one time step of a stream; state may be had several times. Both use the same static memory
// for temporary values, so that one call may run at a time. They return 1 where an index or a length in the inputs is out of range, and 0 otherwise.
//
// Every dim is fixed when the source is written. An input whose value selects what is computed (a sampling rate that an If looks at, lengths that dims come from) must be given
// its value then, by Options.Fixed. What is missing is refused by a *source.UnsupportedError that names all of it: Loop and Scan, sequences, branches that
// depend on an input, TopK, NonZero, Resize, quantised operators and others that package source does not list, operands that must be constant and are not,
// arithmetic on 8- and 16-bit integers.
//
// A stream exists where all that one step hands to the next are the states of forward recurrent nodes with constant initial states, and no other node looks along
// time, or where options pair outputs with inputs. Outputs with a time axis are those of the step; outputs that the model makes of the last state are what it would
// give if the sequence ended there.
//
// # Numbers
//
// float32 throughout, integers as they are; float16, bfloat16 and double are held and passed as float. Outputs equal those of package runtime to 1e-4 of the largest
// element of a tensor (1e-6 is usual). Pads, divisions and casts do what ONNX says without the cases that C leaves undefined: integers wrap, NaN becomes 0, floats beyond
// int32 and int64 become the end of the range; an integer divided by 0 is 0.
//
// With Int8 the rows of weights (of products, convolutions, recurrent nodes and embedding tables with 64 numbers or more) are int8 with a scale each, w ≈ q·s with
// s = max|w|/127, so that no weight is off by more than s/2; they become float inside the dot product, and sums are float. Outputs equal those of package runtime with the numbers q·s
// for weights to the same 1e-4. Against the weights of the model a product w·x is off by at most (s/2)·Σ|x|, and what that makes of a layer and of the whole model is bounded by
// source.Int8Bounds, which computes with the weights and the inputs alone. Of a product the bound is 1 to 7 times the change in these models, of one step of an LSTM 5 to 45 times; of
// many steps it is hardly less than the range of h.
// What happens is far below the bound, because the errors of weights cancel: on the models of the tests, of 2 kB to 4 MB, the relative change of an output, ‖a − b‖/‖b‖, is 0.1
// to 3 %, and less than three times √Σ(‖Ŵ − W‖/‖W‖)² over all int8 matrices, which is 0.8 to 2 %.
//
// # What compact models cost
//
// The cores of a compact model need fewer numbers than the matrices R and L that they merge to, but merging needs memory. Bytes of constants, of merged weights and of
// temporary values, for one sample of 30 steps (dtln: of one):
//
//	                                   float32                     int8
//	holistic, dense                    1,770,268       0    9,216    445,432       0    9,216
//	  100 ×, bottleneck                  114,412       0    9,936     31,492       0    9,936   (default)
//	  100 ×, bottleneck, at the start     85,116  39,888   80,640     32,088  39,888   80,640
//	  100 ×, cores                       115,244       0  219,600     61,924       0  219,600
//	gestures, dense                    1,117,220       0  124,672    282,180       0  124,672
//	  100 ×, bottleneck                  109,604       0  123,840     30,308       0  123,840   (default)
//	  100 ×, bottleneck, at the start     79,012  32,768  123,840     24,260  32,768  123,840
//	  100 ×, cores                        85,284       0  138,240     30,348       0  138,240
//	dtln_model_1, dense                1,449,476       0    7,168    375,432       0    7,168
//	  8 ×, bottleneck                    777,804       0    6,752    207,682       0    6,752   (default)
//	  8 ×, bottleneck, at the start      759,128  67,656   67,656    237,628  67,656   67,656
//
// Merged matrices are therefore constants unless MergeAtStart asks for less flash and more memory: as int8, which merged constants can be and matrices in memory
// are not, they are hardly larger than the cores, and they start without work. The form "cores" pays where R is much larger than its two groups, and not where
// frames have to be copied to be split in modes, as in these models. Code adds 1 to 3 kB (x86-64, gcc -Os).
//
// A model reads every weight once for each row of the batch and time step, which costs memory bandwidth for large batches but keeps nothing of a layer but one row of
// pre-activations. On one thread of an AVX-512 machine at -O2, one sample: gestures at 100 × 33 µs (package runtime 13 µs, dense 134 and 33 µs), dtln_model_1 at 8 ×
// 27 µs (19 µs). int8 rows take about twice as long as float32 there: they are for flash, not for speed.
package csource
