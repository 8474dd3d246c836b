package vec

import "github.com/trconvert/trconvert/internal/gemm"

var current = named(gemm.Kernel())

// named returns the implementation that goes with a set of internal/gemm.
func named(kernel string) kernels {
	switch kernel {
	case "avx512":
		return kernels{"avx512", expAVX512, sigmoidAVX512, tanhAVX512, lstmAVX512, gruAVX512, gruResetAVX512, lstmBackAVX512, addAVX512,
			trainingKernels{lstmStepAVX512, gruStepAVX512, gruBackAVX512, gruResetBackAVX512, gruGateBackAVX512, adamAVX512}}
	case "avx2":
		return kernels{"avx2", expAVX2, sigmoidAVX2, tanhAVX2, lstmAVX2, gruAVX2, gruResetAVX2, lstmBackAVX2, addAVX2,
			trainingKernels{lstmStepAVX2, gruStepAVX2, gruBackAVX2, gruResetBackAVX2, gruGateBackAVX2, adamAVX2}}
	}
	return portable
}
