package gemm

import "golang.org/x/sys/cpu"

// kernels lists what the processor and the operating system support, best first.
func kernels() []kernel {
	var sets []kernel
	x := &cpu.X86
	if x.HasAVX512F && x.HasAVX512VL && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX2 && x.HasFMA {
		sets = append(sets, kernel{"avx512", &f32AVX512, &f64AVX512, copyRowsAVX2, widenRowsAVX2, f64AVX512Eliminate16, f64AVX512Eliminate32, f32AVX2TransposeWiden})
	}
	if x.HasAVX2 && x.HasFMA {
		sets = append(sets, kernel{"avx2", &f32AVX2, &f64AVX2, copyRowsAVX2, widenRowsAVX2, f64AVX2Eliminate16, f64AVX2Eliminate32, f32AVX2TransposeWiden})
	}
	return append(sets, portable)
}
