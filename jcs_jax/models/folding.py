"""Norms with fixed statistics become part of the convolutions before them: the same network, computed faster."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jcs_jax.models.presets import Preset
from jcs_jax.nn.layers import NORM_EPSILON

FOLDABLE = ("frozen", "fixed_statistics", "batch")  # group norm depends on the picture
_Path = tuple[str, ...]


def fold_norms(preset: Preset, variables: Mapping[str, Any]) -> tuple[Preset, dict[str, Any]]:
    """A network without norms that computes what this one does in inference.

    A norm of fixed mean m and variance v with scale s and bias b after a convolution with kernel W and bias c is the
    convolution with kernel W f and bias (c - m) f + b, where f = s / sqrt(v + epsilon). Computed in float64.

    Args:
      preset: of the network.
      variables: its parameters and statistics; not changed.

    Returns:
      The preset with norm `none`, and variables for it; both as they were where the norm can't be folded.

    Raises:
      ValueError: a norm that follows no convolution of the same channels: variables of another network.
    """
    if preset.options.get("norm") not in FOLDABLE:
        return preset, dict(variables)
    parameters = flatten_dict(variables["params"])
    statistics = flatten_dict(variables.get("batch_stats", {}))
    for norm in sorted({path[:-1] for path in statistics}):
        mean, variance = (np.asarray(statistics[*norm, name], np.float64) for name in ("mean", "var"))
        learned = (*norm, "scale") in parameters
        values = parameters if learned else statistics
        scale, bias = (np.asarray(values[*norm, name], np.float64) for name in ("scale", "bias"))
        factor = scale / np.sqrt(variance + (NORM_EPSILON if learned else 0.0))
        _fold(parameters, norm, factor, bias - mean * factor)
        if learned:
            del parameters[*norm, "scale"], parameters[*norm, "bias"]
    folded = dataclasses.replace(preset, options={**preset.options, "norm": "none"})
    return folded, {"params": unflatten_dict(parameters)}


def _fold(parameters: dict[_Path, Any], norm: _Path, factor: np.ndarray, offset: np.ndarray) -> None:
    """Multiplies the output of the convolutions before a norm and adds to it; their channels lie side by side."""
    first = 0
    for conv in _convolutions_before(parameters, norm):
        kernel = np.asarray(parameters[*conv, "kernel"])
        own = np.s_[first : first + kernel.shape[-1]]
        first = own.stop
        before = np.asarray(parameters.get((*conv, "bias"), 0.0), np.float64)
        parameters[*conv, "kernel"] = (kernel * factor[own]).astype(kernel.dtype)
        parameters[*conv, "bias"] = (before * factor[own] + offset[own]).astype(kernel.dtype)
    if first != len(factor):
        raise ValueError(f"{'/'.join(norm)} has {len(factor)} channels, the convolutions before it {first}")


def _convolutions_before(parameters: Mapping[_Path, Any], norm: _Path) -> Iterator[_Path]:
    """`conv` before `norm`, `stem1_conv` before `stem1_norm`, and `atrous0`, `atrous1`, ... before `atrous_norm`."""
    *parent, name = norm
    stem = name.removesuffix("norm")
    pattern = re.compile(f"{stem}conv|{stem.removesuffix('_')}\\d+" if stem else "conv")
    for path in sorted(parameters):
        if path[:-2] == tuple(parent) and path[-1] == "kernel" and pattern.fullmatch(path[-2]):
            yield path[:-1]
