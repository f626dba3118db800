"""Putting named PyTorch arrays into a network's variables, each exactly once or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from jcs_jax.convert import torch_names
from jcs_jax.errors import InputError
from jcs_jax.models.presets import create_model

LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
SHOWN = 20
# Of a file for one encoder: the ImageNet heads, which no JCS network has.
UNUSED_HEADS = re.compile(r"^(fc|classifier(\.\d+)?)\.(weight|bias)$")
PART_SIZE = 32  # side of the picture with which shapes are traced; no shape of a parameter depends on it


def expected_shapes(model: nn.Module) -> dict[str, jax.ShapeDtypeStruct]:
    """Path (`params/vgg/conv1_1/conv/kernel`) -> shape and dtype of every variable of a network."""
    images = jnp.zeros((1, PART_SIZE, PART_SIZE, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images))
    return flax.traverse_util.flatten_dict(variables, sep="/")


def to_flax_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """OIHW to HWIO for convolutions, (out, in) to (in, out) for Dense layers; vectors stay."""
    if leaf == "kernel" and array.ndim == 4:
        return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
    if leaf == "kernel" and array.ndim == 2:
        return np.ascontiguousarray(array.T)
    return array


def assign(
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    names: Mapping[str, str],
    arrays: Mapping[str, np.ndarray],
    *,
    what: str,
    may_ignore: re.Pattern[str] | None = None,
) -> dict[str, Any]:
    """Builds variables from PyTorch arrays; every array is used exactly once.

    Args:
      shapes: path of each variable -> its shape, in our layout.
      names: module path (without collection) -> the PyTorch module's name.
      arrays: PyTorch name -> array.
      what: named in the error, e.g. `joint`.
      may_ignore: PyTorch names that may be left over.

    Returns:
      Nested variables of NumPy arrays; half and bfloat16 widened to float32.

    Raises:
      ValueError: if anything is missing, left over, misshapen or not of a floating type, with all of it listed.
    """
    flat: dict[str, np.ndarray] = {}
    used: set[str] = set()
    missing: list[str] = []
    for path, expected in shapes.items():
        _, module, leaf = re.fullmatch(r"([^/]+)/(?:(.*)/)?([^/]+)", path).groups()  # type: ignore[union-attr]
        name = f"{names[module]}.{LEAVES[leaf]}"
        used |= {name, name.rpartition(".")[0] + ".num_batches_tracked"}
        if name not in arrays:
            missing.append(f"- {name}: missing")
            continue
        array = np.asarray(arrays[name])
        fault = _fault(name, leaf, array, expected.shape)
        if fault:
            missing.append(fault)
        else:
            flat[path] = to_flax_layout(leaf, _widened(array))
    extra = [
        f"+ {name}: {tuple(np.shape(array))} isn't part of {what}"
        for name, array in arrays.items()
        if name not in used and not (may_ignore and may_ignore.match(name))
    ]
    if missing or extra:
        raise InputError(
            "\n".join([f"these weights are not those of {what}:", *_first(missing, "-"), *_first(extra, "+")])
        )
    return flax.traverse_util.unflatten_dict(flat, sep="/")


def _fault(name: str, leaf: str, array: np.ndarray, expected: tuple[int, ...]) -> str | None:
    if not (np.issubdtype(array.dtype, np.floating) or array.dtype == ml_dtypes.bfloat16):
        return f"- {name}: dtype {array.dtype}, expected a floating type"
    order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(expected), tuple(range(len(expected))))
    wanted = tuple(expected[axis] for axis in order) if leaf == "kernel" else expected
    if array.shape != wanted:
        return f"- {name}: shape {array.shape}, expected {wanted}"
    return None


def _first(lines: list[str], sign: str) -> list[str]:
    more = [f"{sign} ... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return lines[:SHOWN] + more


def _widened(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.itemsize >= 4 else array.astype(np.float32)


def from_torch(name: str, arrays: Mapping[str, np.ndarray], *, part: str | None = None, **overrides: Any) -> Any:
    """Turns the release's named arrays into variables of one of our networks.

    Args:
      name: network, as for `create_model`.
      arrays: PyTorch name -> array, as from `read_pth`. `num_batches_tracked` may be there or not.
      part: `vgg` or `res2net` to fill just that encoder from a file of its own (ImageNet weights; their
        class heads are left out; torchvision's numbering of VGG is known too).
      **overrides: options of the network, e.g. `norm="batch"` to train the norms on.

    Returns:
      `{"params": ..., "batch_stats": ...}` of NumPy arrays for `model.apply`; with `part`, only that
      encoder's subtree in each collection.

    Raises:
      ValueError: unless every parameter of the network, or part, gets exactly one array of its shape and a
        floating type and no array is left; the message lists + what is too much and - what is missing or wrong.
    """
    model = create_model(name, **overrides)
    shapes = expected_shapes(model)
    if part is None:
        return assign(shapes, torch_names.module_names(model), arrays, what=f"the network {name!r}")
    shapes = {path: shape for path, shape in shapes.items() if path.split("/")[1] == part}
    if part not in ("vgg", "res2net") or not shapes:
        raise InputError(f"{name} has no part {part!r}; name one of its encoders, vgg or res2net")
    if part == "res2net":
        names = torch_names.res2net(tuple(model.depths))
    elif "features.0.weight" in arrays:
        names = torch_names.torchvision_vgg(tuple(model.vgg_depths))
    else:
        names = torch_names.vgg(tuple(model.vgg_depths))
    names = {f"{part}/{key}": value for key, value in names.items()}
    return assign(shapes, names, arrays, what=f"{part} of {name!r}", may_ignore=UNUSED_HEADS)
