"""Inputs that are drawn, for models that there is no data for."""
import numpy as np


def key_points(rng, n):
    """Sequences of 226 coordinates that begin anywhere and wander."""
    x = rng.standard_normal((n, 1, 226)) + 0.1 * rng.standard_normal((n, 30, 226)).cumsum(1)
    return {"x": x.astype(np.float32)}


def characters(rng, n):
    """Characters 1 to 40, each followed by a few others mostly, of one language whatever rng is."""
    language = np.random.default_rng(7)
    next_of = np.exp(2 * language.standard_normal((40, 40)))
    next_of = (next_of / next_of.sum(1, keepdims=True)).cumsum(1)
    x = np.zeros((n, 1, 24), np.int64)
    at = rng.integers(0, 40, n)
    for k in range(x.shape[2]):
        x[:, 0, k] = at + 1
        at = np.minimum((rng.random(n)[:, None] > next_of[at]).sum(1), 39)
    return {"char_inputs": x, "input_lengths": np.full((n, 1), x.shape[2], np.int64)}
