"""Writes the arrays of this folder with NumPy 1.24, the oracle of the reader's tests:  python3 make.py

Each array holds arange(24) reshaped to [2, 3, 4] (bool: its odd entries), so that the expected values need no second reader."""
import numpy as np

x = np.arange(24).reshape(2, 3, 4)
types = "i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split()
np.savez("stored.npz", **{f"{o}{t}": np.asarray(x.astype(("<" if o == "l" else ">") + t), order=f) for t in types for o, f in (("l", "C"), ("b", "F"))}, bool=x % 2 == 1, scalar=np.float64(7), empty=np.zeros((0, 3), "f4"))
np.savez_compressed("deflated.npz", **{"lstm/x:0": x.astype("f4"), "label": x[0, :, 0]})
for v in (1, 2, 3):
    with open(f"v{v}.npy", "wb") as f:
        np.lib.format.write_array(f, np.asfortranarray(x.astype("f4")), version=(v, 0))
np.save("object.npy", np.array([{}, None], dtype=object), allow_pickle=True)
np.save("text.npy", np.array(["a", "b"]))
np.save("record.npy", np.zeros(3, dtype=[("a", "f4"), ("b", "i4")]))
np.save("longdouble.npy", np.zeros(3, dtype=np.longdouble))
# All float16 values as float32, and float32 values between them with the float16 NumPy rounds them to.
bits = np.arange(65536, dtype=np.uint16)
f = bits.view(np.float16).astype(np.float32)
rng = np.random.default_rng(1)
r = (rng.standard_normal(4096) * 2.0 ** rng.integers(-26, 17, 4096)).astype(np.float32)
with np.errstate(over="ignore"):
    np.savez_compressed("halves.npz", exact=f[::7], bits=bits[::7], wide=r, rounded=r.astype(np.float16))
