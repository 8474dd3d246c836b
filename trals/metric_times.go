package trals

// Times is C·x for x [Columns, cols], C as fits use it: the gradient of ½‖D‖_C² is D·C, found here from Dᵀ.
func (c *Metric) Times(x []float64, cols int) []float64 { return c.times(x, cols) }
