"""Random pairs of masks: shapes, noise, single pixels, empty and full ones, with spacings."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

KINDS = ("blob", "noise", "empty", "full", "pixel", "edge")
CASES = range(200)


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """A predicted mask and a true one of the same small size, and a spacing; every kind meets every other one."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(2, 24)), int(rng.integers(2, 24)))
    predicted, target = (random_mask(rng, kind, shape) for kind in (KINDS[seed % 6], KINDS[seed // 6 % 6]))
    return predicted, target, (float(rng.uniform(0.3, 3)), float(rng.uniform(0.3, 3)))


def random_mask(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    """One mask of a kind, bool; only "empty" has no pixel for sure."""
    mask = np.full(shape, kind == "full")
    if kind == "blob":
        mask = ndimage.gaussian_filter(rng.random(shape), 2) > 0.5
    elif kind == "noise":
        mask = rng.random(shape) < rng.uniform(0.05, 0.9)
    elif kind == "pixel":
        mask[rng.integers(shape[0]), rng.integers(shape[1])] = True
    elif kind == "edge":
        mask[:, : shape[1] // 2] = True
    return mask
