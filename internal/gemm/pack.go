package gemm

// pack copies the rows×cols block of a matrix at (i0, j0) to contiguous rows ld apart.
func pack[F, C float](t *tier[C], dst []C, ld int, from view[F], i0, rows, j0, cols int) {
	if rows == 0 || cols == 0 {
		return
	}
	if from.col == 1 {
		for i := range rows {
			s := (i0+i)*from.row + j0
			convert(dst[i*ld:i*ld+cols], from.data[s:s+cols])
		}
		return
	}
	j := 0
	if from.row == 1 {
		j = packSquares(t, dst, ld, from, i0, rows, j0, cols)
	}
	for ; j < cols; j++ {
		s := i0*from.row + (j0+j)*from.col
		for i := range rows {
			dst[i*ld+j] = C(from.data[s+i*from.row])
		}
	}
}

// packSquares transposes as many columns as the kernels can and returns their number.
func packSquares[F, C float](t *tier[C], dst []C, ld int, from view[F], i0, rows, j0, cols int) int {
	square := t.square
	same, ok := any(from.data).([]C)
	narrow, wide := any(from.data), any(dst)
	var source []float32
	var target []float64
	if !ok {
		source, target = narrow.([]float32), wide.([]float64)
		square = widenSquare
	}
	whole := rows / square * square
	j := 0
	for ; j+square <= cols; j += square {
		s := i0 + (j0+j)*from.col
		if whole > 0 {
			if ok {
				t.transpose(whole, &same[s], from.col, &dst[j], ld)
			} else {
				current.transposeWiden(whole, &source[s], from.col, &target[j], ld)
			}
		}
		for i := whole; i < rows; i++ {
			for x := range square {
				dst[i*ld+j+x] = C(from.data[s+i+x*from.col])
			}
		}
	}
	return j
}

// convert copies src to dst, which are of equal length, in dst's type.
func convert[F, C float](dst []C, src []F) {
	if same, ok := any(src).([]C); ok {
		copy(dst, same)
		return
	}
	n := 0
	if s, ok := any(src).([]float32); ok && current.widen != nil {
		if n = len(s) &^ (widenSquare - 1); n > 0 {
			current.widen(n, &s[0], &any(dst).([]float64)[0])
		}
	}
	for i := n; i < len(src); i++ {
		dst[i] = C(src[i])
	}
}
