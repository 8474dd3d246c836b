package runtime

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildDepthToSpace: https://onnx.ai/onnx/operators/onnx__DepthToSpace.html
func buildDepthToSpace(n *nodeInfo) (operator, error) {
	crd := false
	if n.opset >= 11 {
		switch mode := n.string("mode", "DCR"); mode {
		case "DCR":
		case "CRD":
			crd = true
		default:
			return nil, fmt.Errorf("mode is %q, want DCR or CRD", mode)
		}
	}
	return buildBlocks(n, func(d []int, b int) (split, out []int, perm []int64, err error) {
		if d[1]%(b*b) != 0 {
			return nil, nil, nil, fmt.Errorf("%d channels do not split into blocks of %d×%d", d[1], b, b)
		}
		c := d[1] / (b * b)
		split, perm = []int{d[0], b, b, c, d[2], d[3]}, []int64{0, 3, 4, 1, 5, 2}
		if crd {
			split, perm = []int{d[0], c, b, b, d[2], d[3]}, []int64{0, 1, 4, 2, 5, 3}
		}
		return split, []int{d[0], c, d[2] * b, d[3] * b}, perm, nil
	})
}

// buildSpaceToDepth: https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html
func buildSpaceToDepth(n *nodeInfo) (operator, error) {
	return buildBlocks(n, func(d []int, b int) (split, out []int, perm []int64, err error) {
		if d[2]%b != 0 || d[3]%b != 0 {
			return nil, nil, nil, fmt.Errorf("shape %v does not split into blocks of %d×%d", d, b, b)
		}
		h, w := d[2]/b, d[3]/b
		return []int{d[0], d[1], h, b, w, b}, []int{d[0], d[1] * b * b, h, w}, []int64{0, 3, 5, 1, 2, 4}, nil
	})
}

// buildBlocks serves the operators that are a reshape to six axes, a transpose and a reshape back, of an [N, C, H, W] tensor in
// blocks of b×b.
func buildBlocks(n *nodeInfo, plan func(d []int, b int) (split, out []int, perm []int64, err error)) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	b := n.int("blocksize", 0)
	if b < 1 || b > 1<<15 {
		return nil, fmt.Errorf("attribute \"blocksize\" is %d, want at least 1", b)
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		if len(in[0].Dims) != 4 {
			return nil, fmt.Errorf("input has shape %v, want [N, C, H, W]", in[0].Dims)
		}
		split, dims, perm, err := plan(in[0].Dims, int(b))
		if err != nil {
			return nil, err
		}
		x, err := shape.Of(in[0].Data)
		if err != nil {
			return nil, err
		}
		out, _, err := x.Transpose(split, perm)
		return moved(in[0].Type, out, dims, err)
	}), nil
}

// buildEyeLike: https://onnx.ai/onnx/operators/onnx__EyeLike.html
func buildEyeLike(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	k, typ := n.int("k", 0), onnx.DataType(n.int("dtype", 0))
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		if len(in[0].Dims) != 2 {
			return nil, fmt.Errorf("input has shape %v, want a matrix", in[0].Dims)
		}
		rows, cols := in[0].Dims[0], in[0].Dims[1]
		eye := make([]int64, rows*cols)
		for r := range int64(rows) {
			if c := r + k; k > -int64(rows) && k < int64(cols) && c >= 0 && c < int64(cols) {
				eye[r*int64(cols)+c] = 1
			}
		}
		to := typ
		if to == onnx.Undefined {
			to = in[0].Type
		}
		return one(cast(newTensor(onnx.Int64, in[0].Dims, eye), to))
	}), nil
}

// buildAffineGrid: https://onnx.ai/onnx/operators/onnx__AffineGrid.html: for each point of a regular grid over [−1, 1]² or [−1,
// 1]³, theta·(x, y[, z], 1).
func buildAffineGrid(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	corners := n.bool("align_corners", false)
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		size, err := int64s(in[1])
		if err != nil {
			return nil, err
		}
		if len(size) != 4 && len(size) != 5 {
			return nil, fmt.Errorf("size is %v, want [N, C, H, W] or [N, C, D, H, W]", size)
		}
		dims, err := shape.ToDims(size)
		if err != nil {
			return nil, err
		}
		space := dims[2:]
		rank := len(space)
		if !slices.Equal(in[0].Dims, []int{dims[0], rank, rank + 1}) {
			return nil, fmt.Errorf("theta has shape %v, want [%d, %d, %d]", in[0].Dims, dims[0], rank, rank+1)
		}
		theta, err := convertTo[float64](in[0])
		if err != nil {
			return nil, err
		}
		outDims := slices.Concat([]int{dims[0]}, space, []int{rank})
		out, err := alloc[float64](outDims)
		if err != nil {
			return nil, err
		}
		if len(out) > 0 {
			affineGrid(out, theta, space, corners)
		}
		return one(cast(newTensor(onnx.Double, outDims, out), in[0].Type))
	}), nil
}

func affineGrid(out, theta []float64, space []int, corners bool) {
	rank := len(space)
	point := make([]float64, rank+1)
	point[rank] = 1
	index := make([]int, rank)
	for ; len(theta) > 0; theta = theta[rank*(rank+1):] {
		for more := true; more; more = increment(index, space) {
			for d, i := range index {
				// The last axis is x, the first coordinate.
				v := float64(2*i+1)/float64(space[d]) - 1
				if corners {
					v = 0
					if space[d] > 1 {
						v = float64(2*i)/float64(space[d]-1) - 1
					}
				}
				point[rank-1-d] = v
			}
			for r := range rank {
				out[r] = 0
				for c, p := range point {
					out[r] += theta[r*(rank+1)+c] * p
				}
			}
			out = out[rank:]
		}
	}
}
