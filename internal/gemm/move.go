package gemm

import "unsafe"

// CopyRows copies rows × cols elements; rows are ss apart in src and ds in dst, which must not overlap; the distances of a single row do not
// matter. It panics if a slice is too short.
func CopyRows[T float](rows, cols int, src []T, ss int, dst []T, ds int) {
	CopyBlocks(1, rows, cols, src, 0, ss, dst, 0, ds)
}

// CopyBlocks is [CopyRows] of n blocks, which start sb apart in src and db in dst, 0 or more.
func CopyBlocks[T float](n, rows, cols int, src []T, sb, ss int, dst []T, db, ds int) {
	if n <= 0 || rows <= 0 || cols <= 0 {
		return
	}
	if rows == 1 {
		ss, ds = cols, cols
	}
	checkMatrix("source", len(src)-(n-1)*sb, rows, cols, ss)
	checkMatrix("copy", len(dst)-(n-1)*db, rows, cols, ds)
	words := int(unsafe.Sizeof(T(0))) / 4
	if copyRows := current.copyRows; copyRows != nil && cols*words%8 == 0 {
		for i := range n {
			copyRows(rows, cols*words, (*float32)(unsafe.Pointer(&src[i*sb])), ss*words, (*float32)(unsafe.Pointer(&dst[i*db])), ds*words, 0)
		}
		return
	}
	for i := range n {
		for r := range rows {
			copyRow(dst[i*db+r*ds:i*db+r*ds+cols], src[i*sb+r*ss:])
		}
	}
}

// Widen sets y to x. It panics if the lengths differ.
func Widen(y []float64, x []float32) {
	checkLengths(len(y), len(x))
	if len(x) == 0 {
		return
	}
	if current.widenRows != nil {
		current.widenRows(1, len(x), &x[0], len(x), &y[0], len(y), 0)
		return
	}
	for i, v := range x {
		y[i] = float64(v)
	}
}

// copyRow copies without a call where that costs more than the copy.
func copyRow[T float](to, from []T) {
	n := len(to)
	if n > 32 {
		copy(to, from)
		return
	}
	from = from[:n]
	if n < 4 {
		for i := range to {
			to[i] = from[i]
		}
		return
	}
	for i := 0; i+4 <= n; i += 4 {
		*(*[4]T)(to[i:]) = [4]T(from[i:])
	}
	*(*[4]T)(to[n-4:]) = [4]T(from[n-4:]) // over some that are there already
}

// Transpose sets dst[j·ds + i] to src[i·ss + j] for i < rows, j < cols. Src and dst must not overlap. It panics if a slice is too short.
func Transpose[T float](rows, cols int, src []T, ss int, dst []T, ds int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	if rows == 1 {
		ss = cols
	}
	if cols == 1 {
		ds = rows
	}
	checkMatrix("source", len(src), rows, cols, ss)
	checkMatrix("transpose", len(dst), cols, rows, ds)
	i, whole := 0, 0
	if t := tierOf[T](); t != nil {
		whole = cols / t.square * t.square
		if groups := rows / t.square; whole > 0 && groups > 0 {
			t.transpose(groups, whole, &src[0], ss, &dst[0], ds)
			i = groups * t.square
		}
	}
	if whole < cols {
		transposeSlowly(i, cols-whole, src[whole:], ss, dst[whole*ds:], ds)
	}
	if i < rows {
		transposeSlowly(rows-i, cols, src[i*ss:], ss, dst[i:], ds)
	}
}

func transposeSlowly[T float](rows, cols int, src []T, ss int, dst []T, ds int) {
	for r := range rows {
		for j, v := range src[r*ss : r*ss+cols] {
			dst[j*ds+r] = v
		}
	}
}
