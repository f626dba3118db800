"""3 x 3 convolutions with a quarter of the multiplications, of operators that every engine has.

The transforms of `jcs_jax.nn.winograd` for all tiles of an axis at once are one matrix, mostly zeros. On small maps it
is still cheap to multiply with, and saves taking tiles out of the map and putting them back. The products of the 36
values of a tile are a convolution of one pixel in 36 groups. Engines compute the kernels' transform once, when they
read the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jcs_jax.export.onnx_graph import Graph
from jcs_jax.nn.winograd import INPUT_TRANSFORM, KERNEL, KERNEL_TRANSFORM, OUTPUT_TRANSFORM, SIDE, TILE

# Where it pays, measured with OpenVINO in float32 and in bfloat16: products of channels, and pixels on a side of a map.
FEWEST_CHANNEL_PAIRS, SMALLEST_SIDE, LARGEST_SIDE = 2**17, 32, 64


def winograd_pays(kernel: Sequence[int], sides: Sequence[Any]) -> bool:
    """Whether this form is faster than a convolution as engines compute it.

    Args:
      kernel: its shape (D, C, height, width).
      sides: height and width of the maps; one that depends on the batch doesn't.
    """
    known = all(isinstance(side, int) and SMALLEST_SIDE <= side <= LARGEST_SIDE for side in sides)
    return known and tuple(kernel[2:]) == (KERNEL, KERNEL) and kernel[0] * kernel[1] >= FEWEST_CHANNEL_PAIRS


def winograd(graph: Graph, images: str, kernel: np.ndarray, sides: Sequence[int]) -> str:
    """Name of the convolution with stride 1 and a border of one zero.

    Args:
      graph: takes what is needed for it.
      images: name of the maps (N, C, height, width).
      kernel: (D, C, 3, 3).
      sides: height and width.
    """
    outputs, inputs = kernel.shape[:2]
    rows, columns = (-(-side // TILE) for side in sides)
    (before, after), (before_columns, after_columns) = (_along(side) for side in sides)

    def shaped(name: str, *shape: int) -> str:
        return graph.node("Reshape", name, graph.constant([0, *shape], np.int64))

    lines = graph.node("MatMul", graph.constant(before), images)
    values = graph.node("MatMul", lines, graph.constant(before_columns.T.copy()))
    tiles = graph.node("Transpose", shaped(values, inputs, SIDE, rows, SIDE, columns), perm=[0, 2, 4, 1, 3, 5])
    weights = _kernels(graph, kernel)
    products = graph.node("Conv", shaped(tiles, SIDE**2 * inputs, rows, columns), weights, group=SIDE**2)
    tiles = graph.node("Transpose", shaped(products, SIDE, SIDE, outputs, rows, columns), perm=[0, 3, 1, 4, 2, 5])
    lines = graph.node("MatMul", graph.constant(after), shaped(tiles, outputs, SIDE * rows, SIDE * columns))
    return graph.node("MatMul", lines, graph.constant(after_columns.T.copy()))


def _kernels(graph: Graph, kernel: np.ndarray) -> str:
    """Name of the transformed kernels, (36 D, C, 1, 1)."""
    outputs, inputs = kernel.shape[:2]
    flat = graph.constant(kernel.reshape(-1, KERNEL**2).T.copy())
    both_axes = np.kron(KERNEL_TRANSFORM, KERNEL_TRANSFORM).astype(np.float32)
    weights = graph.node("MatMul", graph.constant(both_axes), flat)
    return graph.node("Reshape", weights, graph.constant([SIDE**2 * outputs, inputs, 1, 1], np.int64))


def _along(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Transforms of an axis, float32: (6 tiles, side) of the maps, first places first, and (side, 6 tiles) back."""
    tiles = -(-side // TILE)
    before, after = np.zeros((SIDE, tiles, TILE * tiles + KERNEL - 1)), np.zeros((tiles, TILE, SIDE, tiles))
    for tile in range(tiles):
        before[:, tile, TILE * tile : TILE * tile + SIDE] = INPUT_TRANSFORM
        after[tile, :, :, tile] = OUTPUT_TRANSFORM
    before = before.reshape(SIDE * tiles, -1)[:, 1 : side + 1]  # the border is zero
    return before.astype(np.float32), after.reshape(TILE * tiles, -1)[:side].astype(np.float32)
