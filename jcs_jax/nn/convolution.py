"""Convolutions in the forms that XLA:CPU computes fast, chosen by shape.

XLA's own convolution stays the better one on accelerators, and on a CPU for strided ones, few channels and small maps.
What wins against it elsewhere, as measured (docs/performance.md), is matrix products: kernels of one pixel are one, and
3 x 3 kernels become 36 smaller ones (`winograd`), also if dilated, which is several convolutions side by side. Training
gains most: XLA's gradient of a kernel is a convolution whose window is the whole map.

The results differ from XLA's by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jcs_jax.nn.winograd import KERNEL, transformed_kernel, winograd_convolution

# Where Winograd's form pays: channels of input and output; pixels of an image, which share the transformed kernel. The
# batch doesn't decide, so that an image's answer doesn't depend on those beside it.
FEWEST_CHANNELS, FEWEST_PIXELS = 24, 1024
# The same where kernels are transformed before: from fewer pixels on, while they are small enough to keep.
FEWEST_PIXELS_OF_TRANSFORMED, MOST_TRANSFORMED = 196, 2**20
TRANSFORMED = "transformed"  # collection of variables


def transformed_kernels(params: Mapping[str, Any]) -> dict[str, Any]:
    """Kernels of Winograd's form as a collection of variables, for inference with small maps on a CPU.

    Args:
      params: a network's, in float32.

    Returns:
      {"transformed": {...}} with a kernel (36, C, D) for every suitable one; empty without any.
    """
    found = {
        path: transformed_kernel(np.asarray(leaf))
        for path, leaf in flax.traverse_util.flatten_dict(params).items()
        if path[-1] == "kernel" and _keeps(leaf)
    }
    return {TRANSFORMED: flax.traverse_util.unflatten_dict(found)} if found else {}


def _keeps(kernel: Array) -> bool:
    suits = kernel.ndim == 4 and kernel.shape[:2] == (KERNEL, KERNEL) and kernel.dtype == np.float32
    return suits and min(kernel.shape[2:]) >= FEWEST_CHANNELS and kernel.size * 4 <= MOST_TRANSFORMED


def cpu_convolution(
    lhs: Float[Array, "n h w c"],
    rhs: Float[Array, "k k c d"],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    **options: Any,
) -> Float[Array, "n h2 w2 d"]:
    """What `jax.lax.conv_general_dilated` computes, for `flax.linen.Conv(conv_general_dilated=...)`.

    Args:
      lhs: (N, H, W, C) images.
      rhs: (k, k, C, D) kernels.
      window_strides: of both axes.
      padding: zeros before and after, of both axes.
      lhs_dilation: of the images.
      rhs_dilation: of the kernels.
      **options: the rest of XLA's.
    """
    side, channels, dilation = rhs.shape[0], rhs.shape[2:], (rhs_dilation or (1, 1))[0]
    same_size = list(padding) == [(dilation * (side // 2),) * 2] * 2 and set(window_strides) == {1}
    regular = (
        rhs.shape[:2] == (side, side) and set(lhs_dilation or (1,)) == {1} and set(rhs_dilation or (1,)) == {dilation}
    )
    regular = regular and options.get("feature_group_count", 1) == 1
    if regular and same_size and lhs.dtype == rhs.dtype and lhs.dtype.itemsize >= 4:
        if side == 1:
            return jnp.einsum("nhwc,cd->nhwd", lhs, rhs[0, 0], precision=options.get("precision"))
        if side == KERNEL and min(channels) >= FEWEST_CHANNELS and math.prod(lhs.shape[1:3]) >= FEWEST_PIXELS:
            return _dilated(lhs, rhs, dilation)
    options |= {"lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation}
    return jax.lax.conv_general_dilated(lhs, rhs, window_strides, padding, **options)


def _dilated(x: Array, kernel: Array, dilation: int) -> Array:
    """Pixels whose rows and whose columns differ by multiples of the dilation only see each other."""
    if dilation == 1:
        return winograd_convolution(x, kernel)
    images, height, width, _ = x.shape
    rows, columns = -(-height // dilation), -(-width // dilation)
    x = jnp.pad(x, ((0, 0), (0, rows * dilation - height), (0, columns * dilation - width), (0, 0)))
    x = x.reshape(images, rows, dilation, columns, dilation, -1).transpose(0, 2, 4, 1, 3, 5)
    y = winograd_convolution(x.reshape(-1, rows, columns, x.shape[-1]), kernel)
    y = y.reshape(images, dilation, dilation, rows, columns, -1).transpose(0, 3, 1, 4, 2, 5)
    return y.reshape(images, rows * dilation, columns * dilation, -1)[:, :height, :width]
