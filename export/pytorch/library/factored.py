class Factored(nn.Module):
    """W [out, in] of a recurrent layer as a network of small cores; W[d] is the block of rows of direction d.

    Core k is [r_k, mode, r_{k+1}] with r_d = r_0. Rings, trains and truncated SVDs (formats tr, tt, svd) have the cores of the input modes first, then those of the
    output modes: W = L·Rᵀ, R [in, r_0·r_n] and L [out, r_0·r_n] merged from the two sides; their parameters may hold the axes "lmr" (left rank, mode, right rank) in other orders. A TT-matrix (ttm) has a row and a column mode on every core. Columns beyond `columns` are padding.

    Called with frames it gives (x', W') with x'·W'ᵀ = x·Wᵀ by the way that takes fewer multiplications for as many frames: through the bottleneck, or with W multiplied out.
    """

    def __init__(self, format, in_modes, out_modes, shapes, columns, directions, merged_output, ranks=None, orders=None):
        super().__init__()
        self.format, self.in_modes, self.out_modes = format, in_modes, out_modes
        self.columns, self.directions, self.merged_output = columns, directions, merged_output
        for k, shape in enumerate(shapes):
            self.register_parameter(f"core{k}", nn.Parameter(torch.zeros(shape)))
        self.length = len(shapes)
        self.ranks, self.orders = ranks, orders

    def cores(self):
        stored = [getattr(self, f"core{k}") for k in range(self.length)]
        if self.orders is None:
            return stored
        right = self.ranks[1:] + self.ranks[:1]
        cores = []
        for core, order, l, m, r in zip(stored, self.orders, self.ranks, self.in_modes + self.out_modes, right):
            size = {"l": l, "m": m, "r": r}
            cores.append(core.reshape([size[axis] for axis in order]).permute([order.index(axis) for axis in "lmr"]))
        return cores

    def extra_repr(self):
        ranks = " ".join(str(c.shape[0]) for c in self.cores())
        return f"{self.format}, modes {self.in_modes} | {self.out_modes}, ranks {ranks}"

    @staticmethod
    def _chain(cores):
        """An open chain of cores as one [r_first, modes…, r_last]."""
        merged = cores[0]
        for core in cores[1:]:
            rows = merged.reshape(-1, merged.shape[-1]) @ core.reshape(core.shape[0], -1)
            merged = rows.reshape(merged.shape[0], -1, core.shape[-1])
        return merged

    def sides(self):
        """L [out, r_0·r_n] and R [in, r_0·r_n]."""
        cores = self.cores()
        n = len(self.in_modes)
        right = self._chain(cores[:n])
        right = right.permute(1, 0, 2).reshape(right.shape[1], -1)[: self.columns]
        if self.merged_output:
            return cores[n].reshape(-1, right.shape[1]), right
        left = self._chain(cores[n:])
        return left.permute(1, 2, 0).reshape(left.shape[1], -1), right

    def _pairs(self):
        """The cores of a TT-matrix as [r_k, row, column, r_{k+1}]; a mode that is not there is 1."""
        return [c.reshape(c.shape[0], o, i, c.shape[-1]) for c, o, i in zip(self.cores(), self.out_modes, self.in_modes)]

    def weight(self):
        """W [out, in], multiplied out."""
        if self.format != "ttm":
            left, right = self.sides()
            return left @ right.t()
        w = None
        for core in self._pairs():
            if w is None:
                w = core[0]
                continue
            w = torch.tensordot(w, core, 1).permute(0, 2, 1, 3, 4)
            w = w.reshape(w.shape[0] * w.shape[1], w.shape[2] * w.shape[3], -1)
        return w[..., 0][:, : self.columns]

    def _core_by_core(self, x):
        """x·Wᵀ of a TT-matrix, core by core."""
        lead = x.shape[:-1]
        padding = math.prod(self.in_modes) - self.columns
        z = F.pad(x.reshape(-1, self.columns), [0, padding]).unsqueeze(0)
        # z is [r_k, frames × rows so far, columns to come].
        frames = z.shape[1]
        for core in self._pairs():
            r, o, i, after = core.shape
            z = z.reshape(r, z.shape[1], i, -1)
            z = torch.einsum("rfic,roig->gfoc", z, core).reshape(after, z.shape[1] * o, -1)
        return z.reshape(*lead, -1) if frames else x.new_zeros(*lead, math.prod(self.out_modes))

    def _costs(self, frames):
        """Multiplications for as many frames: with factors, and with W multiplied out."""
        rows, columns = math.prod(self.out_modes), self.columns
        if self.format != "ttm":
            cut = self.cores()[0].shape[0] * self.cores()[len(self.in_modes)].shape[0] if not self.merged_output else self.cores()[-1].shape[-1]
            return frames * cut * (rows + columns), cut * rows * columns + frames * rows * columns
        apart, merged, done, left, size = 0, 0, 1, math.prod(self.in_modes), 1
        for core in self._pairs():
            r, o, i, after = core.shape
            apart += frames * done * left * r * o * after
            done, left, size = done * o, left // i, size * o * i
            merged += size * r * after
        return apart + frames * rows * rows, merged + frames * rows * columns

    def forward(self, x):
        apart, merged = self._costs(x.numel() // max(x.shape[-1], 1))
        if merged < apart:
            return x, self.weight().unflatten(0, (self.directions, -1))
        if self.format == "ttm":
            y = self._core_by_core(x)
            identity = torch.eye(y.shape[-1], dtype=x.dtype, device=x.device)
            return y, identity.unflatten(0, (self.directions, -1))
        left, right = self.sides()
        return x @ right, left.unflatten(0, (self.directions, -1))
