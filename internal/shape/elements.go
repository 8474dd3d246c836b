package shape

import "fmt"

// Elements is a slice whose element type is known at run time only, with the functions of this package as methods.
type Elements interface {
	Len() int
	Data() any // the slice itself, []T
	Make(n int) Elements
	Clone() Elements

	Transpose(dims []int, perm []int64) (Elements, []int, error)
	Slice(dims []int, ranges []Range) (Elements, []int, error)
	// Concat joins the receiver and others of its type.
	Concat(others []Elements, shapes [][]int, axis int64, limit int) (Elements, []int, error)
	Expand(dims []int, target []int64, limit int) (Elements, []int, error)
	Tile(dims []int, repeats []int64, limit int) (Elements, []int, error)
	// Pad takes the constant from value, which has one element of the receiver's type, or is nil for zero.
	Pad(dims []int, pads []int64, mode string, value Elements, limit int) (Elements, []int, error)
	Gather(dims []int, indices []int64, idims []int, axis int64, limit int) (Elements, []int, error)
	GatherElements(dims []int, indices []int64, idims []int, axis int64, limit int) (Elements, []int, error)
	GatherND(dims []int, indices []int64, idims []int, batch int64, limit int) (Elements, []int, error)
	ScatterElements(dims []int, indices []int64, idims []int, updates Elements, axis int64) (Elements, error)
	ScatterND(dims []int, indices []int64, idims []int, updates Elements, udims []int) (Elements, error)
	// Where takes the receiver's element where cond holds, other's elsewhere.
	Where(cond []bool, cdims, dims []int, other Elements, odims []int, limit int) (Elements, []int, error)
	Compress(dims []int, cond []bool, axis int64, flat bool) (Elements, []int, error)
	NonZero(dims []int) ([]int64, []int, error)
}

// Of wraps a slice of one of the types a tensor's data may have: any sized number, bool or string.
func Of(data any) (Elements, error) {
	switch d := data.(type) {
	case []float32:
		return typed[float32](d), nil
	case []float64:
		return typed[float64](d), nil
	case []int8:
		return typed[int8](d), nil
	case []int16:
		return typed[int16](d), nil
	case []int32:
		return typed[int32](d), nil
	case []int64:
		return typed[int64](d), nil
	case []uint8:
		return typed[uint8](d), nil
	case []uint16:
		return typed[uint16](d), nil
	case []uint32:
		return typed[uint32](d), nil
	case []uint64:
		return typed[uint64](d), nil
	case []bool:
		return typed[bool](d), nil
	case []string:
		return typed[string](d), nil
	case []complex64:
		return typed[complex64](d), nil
	case []complex128:
		return typed[complex128](d), nil
	}
	return nil, fmt.Errorf("no tensor holds a %T", data)
}

type typed[T comparable] []T

func (t typed[T]) Len() int            { return len(t) }
func (t typed[T]) Data() any           { return []T(t) }
func (t typed[T]) Make(n int) Elements { return make(typed[T], n) }
func (t typed[T]) Clone() Elements     { return append(typed[T]{}, t...) }

// same unwraps another operand, which must have the receiver's element type.
func (t typed[T]) same(e Elements) ([]T, error) {
	o, ok := e.(typed[T])
	if !ok {
		if e == nil {
			return nil, fmt.Errorf("an operand is missing beside %T", []T(t))
		}
		return nil, fmt.Errorf("operands of types %T and %T", []T(t), e.Data())
	}
	return o, nil
}

func wrap[T comparable](d []T, dims []int, err error) (Elements, []int, error) {
	if err != nil {
		return nil, nil, err
	}
	return typed[T](d), dims, nil
}

func (t typed[T]) Transpose(dims []int, perm []int64) (Elements, []int, error) {
	return wrap(Transpose[T](t, dims, perm))
}

func (t typed[T]) Slice(dims []int, ranges []Range) (Elements, []int, error) {
	return wrap(Slice[T](t, dims, ranges))
}

func (t typed[T]) Concat(others []Elements, shapes [][]int, axis int64, limit int) (Elements, []int, error) {
	srcs := [][]T{t}
	for _, e := range others {
		o, err := t.same(e)
		if err != nil {
			return nil, nil, err
		}
		srcs = append(srcs, o)
	}
	return wrap(Concat(srcs, shapes, axis, limit))
}

func (t typed[T]) Expand(dims []int, target []int64, limit int) (Elements, []int, error) {
	return wrap(Expand[T](t, dims, target, limit))
}

func (t typed[T]) Tile(dims []int, repeats []int64, limit int) (Elements, []int, error) {
	return wrap(Tile[T](t, dims, repeats, limit))
}

func (t typed[T]) Pad(dims []int, pads []int64, mode string, value Elements, limit int) (Elements, []int, error) {
	var v T
	if value != nil {
		one, err := t.same(value)
		if err != nil {
			return nil, nil, err
		}
		if len(one) != 1 {
			return nil, nil, fmt.Errorf("the constant has %d elements (want 1)", len(one))
		}
		v = one[0]
	}
	return wrap(Pad(t, dims, pads, mode, v, limit))
}

func (t typed[T]) Gather(dims []int, indices []int64, idims []int, axis int64, limit int) (Elements, []int, error) {
	return wrap(Gather[T](t, dims, indices, idims, axis, limit))
}

func (t typed[T]) GatherElements(dims []int, indices []int64, idims []int, axis int64, limit int) (Elements, []int, error) {
	return wrap(GatherElements[T](t, dims, indices, idims, axis, limit))
}

func (t typed[T]) GatherND(dims []int, indices []int64, idims []int, batch int64, limit int) (Elements, []int, error) {
	return wrap(GatherND[T](t, dims, indices, idims, batch, limit))
}

func (t typed[T]) ScatterElements(dims []int, indices []int64, idims []int, updates Elements, axis int64) (Elements, error) {
	u, err := t.same(updates)
	if err != nil {
		return nil, err
	}
	d, err := ScatterElements(t, dims, indices, idims, u, axis, nil)
	if err != nil {
		return nil, err
	}
	return typed[T](d), nil
}

func (t typed[T]) ScatterND(dims []int, indices []int64, idims []int, updates Elements, udims []int) (Elements, error) {
	u, err := t.same(updates)
	if err != nil {
		return nil, err
	}
	d, err := ScatterND(t, dims, indices, idims, u, udims, nil)
	if err != nil {
		return nil, err
	}
	return typed[T](d), nil
}

func (t typed[T]) Where(cond []bool, cdims, dims []int, other Elements, odims []int, limit int) (Elements, []int, error) {
	o, err := t.same(other)
	if err != nil {
		return nil, nil, err
	}
	return wrap(Where(cond, cdims, t, dims, o, odims, limit))
}

func (t typed[T]) Compress(dims []int, cond []bool, axis int64, flat bool) (Elements, []int, error) {
	return wrap(Compress[T](t, dims, cond, axis, flat))
}

func (t typed[T]) NonZero(dims []int) ([]int64, []int, error) { return NonZero[T](t, dims) }
