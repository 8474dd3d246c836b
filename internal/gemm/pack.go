package gemm

import "unsafe"

// pack copies the rows×cols block of a matrix at (i0, j0) to contiguous rows ld apart.
func pack[F, C float](t *tier[C], dst []C, ld int, from view[F], i0, rows, j0, cols int) {
	if rows == 0 || cols == 0 {
		return
	}
	if from.col == 1 {
		packRows(dst, ld, from, i0, rows, j0, cols)
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
	groups := cols / square
	if whole > 0 && groups > 0 {
		s := i0 + j0*from.col
		if ok {
			t.transpose(groups, whole, &same[s], from.col, &dst[0], ld)
		} else {
			current.transposeWiden(groups, whole, &source[s], from.col, &target[0], ld)
		}
	}
	for i := whole; i < rows; i++ {
		s := i0 + i + j0*from.col
		for j := range groups * square {
			dst[i*ld+j] = C(from.data[s+j*from.col])
		}
	}
	return groups * square
}

// fetchAhead is how far, in elements, rows are fetched before they are copied.
const fetchAhead = 2048

// packRows copies contiguous rows.
func packRows[F, C float](dst []C, ld int, from view[F], i0, rows, j0, cols int) {
	s := i0*from.row + j0
	last := s + (rows-1)*from.row + cols // bounds that the kernels rely on
	src, out := from.data[s:last], dst[:(rows-1)*ld+cols]
	ahead := max(fetchAhead/cols, 1)
	switch src := any(src).(type) {
	case []float32:
		if wide, ok := any(out).([]float64); ok {
			current.widenRows(rows, cols, &src[0], from.row, &wide[0], ld, ahead)
			return
		}
		current.copyRows(rows, cols, &src[0], from.row, &any(out).([]float32)[0], ld, ahead)
	case []float64: // as pairs of words
		wide := any(out).([]float64)
		current.copyRows(rows, 2*cols, (*float32)(unsafe.Pointer(&src[0])), 2*from.row, (*float32)(unsafe.Pointer(&wide[0])), 2*ld, ahead)
	}
}
