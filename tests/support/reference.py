"""The reference's golden numbers and the formulas their weights and inputs were made by (goldens/README.md)."""

from __future__ import annotations

import functools
import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jcs_jax.convert.assign import assign
from jcs_jax.convert.torch_names import Names

GOLDENS = Path(__file__).parents[1] / "goldens"


@functools.cache
def state_dicts() -> dict[str, dict[str, list[int]]]:
    return json.loads((GOLDENS / "state_dicts.json").read_text())


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDENS / f"{name}.npz") as file:
        return dict(file)


def array_by_formula(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "running_var":
        values = rng.uniform(0.5, 1.5, shape)
    elif last in ("running_mean", "bias"):
        values = 0.1 * rng.standard_normal(shape)
    elif len(shape) == 1:
        values = rng.uniform(0.4, 0.8, shape)
    else:
        gain = 2 if len(shape) == 4 else 1
        values = rng.standard_normal(shape) * np.sqrt(gain / np.prod(shape[1:]))
    return values.astype(np.float32)


def weights(entry: str) -> dict[str, np.ndarray]:
    """PyTorch names and arrays of one entry of state_dicts.json."""
    return {name: array_by_formula(name, tuple(shape)) for name, shape in state_dicts()[entry].items()}


def images(height: int, width: int) -> np.ndarray:
    """(2, H, W, 3) float32."""
    nchw = np.random.default_rng([0, 1]).standard_normal((2, 3, height, width)).astype(np.float32)
    return nchw.transpose(0, 2, 3, 1)


def masks(height: int, width: int) -> np.ndarray:
    """(2, H, W) float32: three discs an image."""
    rng = np.random.default_rng([0, 2])
    y, x = np.mgrid[:height, :width]
    result = np.zeros((2, height, width), np.float32)
    for mask in result:
        for _ in range(3):
            cy, cx = rng.uniform(0, height), rng.uniform(0, width)
            radius = rng.uniform(0.1, 0.3) * min(height, width)
            mask[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = 1
    return result


def nhwc(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 2, 3, 1)


def as_float64(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def block_variables(module, entry: str, names: Names, *inputs):
    """Variables of a block from the golden weights of `block/ENTRY`."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    flat = {"/".join(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(shapes)[0]}
    return assign(flat, names, weights(f"block/{entry}"), what=entry)
