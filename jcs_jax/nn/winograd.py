"""3 x 3 convolutions with a quarter of the multiplications: Winograd's F(4 x 4, 3 x 3) as matrix products.

For sixteen output pixels a direct convolution multiplies 144 times for each pair of channels; here it is 36. The kernel
and input tiles of 6 x 6 pixels, which overlap by two, are transformed to 36 values each, multiplied value by value,
which over the channels is 36 matrix products, and transformed back. Both gradients are the same products with the
transforms transposed.

The transforms come from evaluating polynomials at six points. With the usual ones, 0, +-1, +-2 and infinity, float32
rounds to errors four times those of a direct convolution; with 0, +-5/8, +-3/2 and infinity to 1.6 times.

Source: Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016; Toom and Cook for the matrices;
Barabasz et al., Error analysis and improving the accuracy of Winograd convolution, ACM TOMS 2020, for other points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

TILE = 4  # output pixels on a side
KERNEL = 3
SIDE = TILE + KERNEL - 1  # input pixels on a side, and values of a transformed tile
POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)  # and infinity; exact in float32, and so are their products
# Tiles computed at once, whose values stay in a processor's cache; more where the kernel itself doesn't fit one, so
# that it is read less often.
BLOCK_TILES, BLOCK_TILES_OF_A_LARGE_KERNEL, CACHED_KERNEL = 128, 256, 2**20
_BATCHED = ((0,), (0,))
ArrayT = TypeVar("ArrayT", Array, np.ndarray)


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(SIDE, SIDE) of input tiles, (SIDE, KERNEL) of kernels and (TILE, SIDE) of output tiles.

    Each point's value of the input is scaled by a power of two to about 1, and that of the kernel the other way.
    """
    tiles, kernels, outputs = np.zeros((SIDE, SIDE)), np.zeros((SIDE, KERNEL)), np.zeros((TILE, SIDE))
    for index, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        tiles[index, :-1] = np.poly(others)[::-1]
        kernels[index] = point ** np.arange(KERNEL) / np.prod(point - np.asarray(others))
        outputs[:, index] = point ** np.arange(TILE)
    tiles[-1], kernels[-1, -1], outputs[-1, -1] = np.poly(POINTS)[::-1], 1.0, 1.0
    scales = 2.0 ** np.round(np.log2(np.linalg.norm(tiles, axis=1, keepdims=True)))
    return tiles / scales, kernels * scales, outputs


# B^T (6, 6), G (6, 3) and A^T (4, 6) of the literature, float64.
INPUT_TRANSFORM, KERNEL_TRANSFORM, OUTPUT_TRANSFORM = _matrices()
# (36, 9): place in a transformed tile, its column first, from place in a kernel, its row first.
_BOTH_AXES = np.einsum("ra,cb->crab", KERNEL_TRANSFORM, KERNEL_TRANSFORM).reshape(SIDE**2, KERNEL**2)


def transformed_kernel(kernel: Float[ArrayT, "3 3 c d"]) -> Float[ArrayT, "36 c d"]:
    """A kernel, NumPy's or JAX's, as tiles are multiplied with it."""
    values = _BOTH_AXES.astype(kernel.dtype) @ kernel.reshape(KERNEL**2, -1)
    return values.reshape(SIDE**2, *kernel.shape[2:])


@jax.custom_vjp
def winograd_convolution(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c d"]) -> Float[Array, "n h w d"]:
    """The convolution with stride 1 and a border of one zero, of float32 or wider.

    Both gradients are computed likewise; there is no forward-mode derivative.
    """
    return _convolved(x, kernel)


def _convolved(x: Array, kernel: Array) -> Array:
    return convolution_of_transformed(x, transformed_kernel(kernel))


def convolution_of_transformed(x: Float[Array, "n h w c"], weights: Float[Array, "36 c d"]) -> Float[Array, "n h w d"]:
    """`winograd_convolution` by the answer of `transformed_kernel`, which need not be computed again for each batch."""
    blocks = _Blocks(x.shape, weights.size)
    padded = blocks.padded_input(x)

    def block(index: Array | int) -> Array:
        values = _transformed_tiles(blocks.input_block(padded, index))
        products = jax.lax.dot_general(_stored(values), weights, (((2,), (1,)), _BATCHED))
        return _output_pixels(_stored(products), *blocks.tiles)

    return blocks.whole(_each(block, blocks.count))


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _convolved(x, kernel), (x, kernel)


def _backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    # Tied to the gradient, or the compiler would keep the whole network's transformed kernels from the forward pass.
    (x, kernel), gradient = jax.lax.optimization_barrier((kept, gradient))
    weights = transformed_kernel(kernel)
    blocks = _Blocks(x.shape, weights.size)
    padded, padded_gradient = blocks.padded_input(x), blocks.padded_output(gradient)

    def block(total: Array, index: Array) -> tuple[Array, Array]:
        values = _stored(_transformed_tiles(blocks.input_block(padded, index)))
        products = _stored(_transposed_outputs(blocks.output_block(padded_gradient, index)))
        back = jax.lax.dot_general(products, weights, (((2,), (2,)), _BATCHED))
        total = total + jax.lax.dot_general(values, products, (((1,), (1,)), _BATCHED))
        return total, _transposed_tiles(_stored(back), *blocks.tiles)

    total, parts = jax.lax.scan(block, jnp.zeros_like(weights), jnp.arange(blocks.count))
    matrix = jnp.asarray(_BOTH_AXES.T, total.dtype)
    return blocks.added(parts), (matrix @ total.reshape(SIDE**2, -1)).reshape(kernel.shape)


winograd_convolution.defvjp(_forward, _backward)


class _Blocks:
    """How a batch is cut into blocks of many tiles: rows of one picture, or several whole ones.

    Attributes:
      count: of blocks.
      tiles: images, tile rows and tile columns of a block.
    """

    def __init__(self, shape: tuple[int, ...], kernel_values: int) -> None:
        self.shape = images, height, width, _ = shape
        rows, columns = -(-height // TILE), -(-width // TILE)
        most = BLOCK_TILES if kernel_values <= CACHED_KERNEL else BLOCK_TILES_OF_A_LARGE_KERNEL
        self.bands = min(-(-rows * columns // most), rows)  # of each picture
        together = 1
        if self.bands == 1:
            wanted = max(1, most // (rows * columns))
            together = max(number for number in range(1, images + 1) if images % number == 0 and number <= wanted)
        self.tiles = (together, -(-rows // self.bands), columns)
        self.count = images // together * self.bands

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width in pixels that the tiles fill."""
        return self.tiles[1] * self.bands * TILE, self.tiles[2] * TILE

    def padded_input(self, x: Array) -> Array:
        height, width = self._size
        return jnp.pad(x, ((0, 0), (1, height + 1 - x.shape[1]), (1, width + 1 - x.shape[2]), (0, 0)))

    def padded_output(self, y: Array) -> Array:
        height, width = self._size
        return jnp.pad(y, ((0, 0), (0, height - y.shape[1]), (0, width - y.shape[2]), (0, 0)))

    def input_block(self, padded: Array, index: Array | int) -> Array:
        return self._block(padded, index, SIDE - TILE)

    def output_block(self, padded: Array, index: Array | int) -> Array:
        return self._block(padded, index, 0)

    def _block(self, padded: Array, index: Array | int, overlap: int) -> Array:
        images, rows, _ = self.tiles
        first, band = (index // self.bands) * images, (index % self.bands) * rows * TILE
        size = (images, rows * TILE + overlap, *padded.shape[2:])
        return jax.lax.dynamic_slice(padded, (first, band, 0, 0), size)

    def whole(self, parts: Float[Array, "b n h w c"]) -> Array:
        """Output blocks put together, without what filled the last tiles."""
        together = parts.reshape(self.shape[0], *self._size, parts.shape[-1])
        return together[:, : self.shape[1], : self.shape[2]]

    def added(self, parts: Float[Array, "b n h w c"]) -> Array:
        """Input blocks put together: where two overlap, their sum; without the border."""
        overlap, (height, width) = SIDE - TILE, self._size
        rows = self.tiles[1] * TILE
        parts = parts.reshape(self.shape[0], self.bands, rows + overlap, width + overlap, -1)
        first = parts[:, :, :rows].reshape(self.shape[0], height, width + overlap, -1)
        last = jnp.pad(parts[:, :, rows:], ((0, 0), (0, 0), (0, rows - overlap), (0, 0), (0, 0))).reshape(first.shape)
        ends = ((0, 0), (0, overlap), (0, 0), (0, 0)), ((0, 0), (rows, 0), (0, 0), (0, 0))
        total = jnp.pad(first, ends[0]) + jnp.pad(last, ends[1])[:, : height + overlap]
        return total[:, 1 : self.shape[1] + 1, 1 : self.shape[2] + 1]


def _each(block, count: int) -> Array:
    return block(0)[jnp.newaxis] if count == 1 else jax.lax.map(block, jnp.arange(count))


def _combined(matrix: np.ndarray, parts: Sequence[Array]) -> list[Array]:
    """The matrix's product with a vector of arrays."""
    return [_weighted(row, parts) for row in matrix]


def _weighted(factors: Iterable[float], parts: Sequence[Array]) -> Array:
    terms = [
        part if factor == 1 else float(factor) * part for factor, part in zip(factors, parts, strict=True) if factor
    ]
    return sum(terms[1:], terms[0])


def _every(parts: Array, axis: int, first: int, count: int) -> Array:
    """Of an axis every fourth place, `count` of them."""
    return jax.lax.slice_in_dim(parts, first, first + TILE * (count - 1) + 1, TILE, axis)


def _transformed_tiles(x: Float[Array, "n h w c"]) -> Float[Array, "36 t c"]:
    """Of pictures of 4 rows + 2 by 4 columns + 2 pixels."""
    rows, columns = ((side - KERNEL + 1) // TILE for side in x.shape[1:3])
    lines = _stored(jnp.stack(_combined(INPUT_TRANSFORM, [_every(x, 1, k, rows) for k in range(SIDE)])))
    values = jnp.stack(_combined(INPUT_TRANSFORM, [_every(lines, 3, k, columns) for k in range(SIDE)]))
    return values.reshape(SIDE**2, -1, x.shape[-1])


def _transposed_tiles(values: Float[Array, "36 t c"], images: int, rows: int, columns: int) -> Float[Array, "n h w c"]:
    """Sums of the tiles' pixels, the transpose of `_transformed_tiles`."""
    parts = values.reshape(SIDE, SIDE, images, rows, columns, -1)
    lines = _stored(_overlapping(_combined(INPUT_TRANSFORM.T, list(parts)), 3))
    return _overlapping(_combined(INPUT_TRANSFORM.T, list(lines)), 1)


def _overlapping(parts: Sequence[Array], axis: int) -> Array:
    """Pixel k of tile t is added to place 4 t + k of the axis."""
    tiles = parts[0].shape[axis]

    def placed(pixels: Sequence[Array], before: int) -> Array:
        shape = list(pixels[0].shape)
        shape[axis] = TILE * tiles
        filled = [*pixels, *[jnp.zeros_like(pixels[0])] * (TILE - len(pixels))]
        padding = [(0, 0)] * len(shape)
        padding[axis] = (before, SIDE - TILE)
        joined = jnp.pad(jnp.stack(filled, axis + 1).reshape(shape), padding)
        return jax.lax.slice_in_dim(joined, 0, TILE * tiles + SIDE - TILE, axis=axis)

    return placed(parts[:TILE], 0) + placed(parts[TILE:], TILE)


def _output_pixels(products: Float[Array, "36 t d"], images: int, rows: int, columns: int) -> Float[Array, "n h w d"]:
    parts = products.reshape(SIDE, SIDE, images, rows, columns, -1)
    lines = _stored(jnp.stack(_combined(OUTPUT_TRANSFORM, list(parts)), axis=-2))
    pixels = jnp.stack(_combined(OUTPUT_TRANSFORM, list(lines)), axis=2)
    return pixels.reshape(images, TILE * rows, TILE * columns, -1)


def _transposed_outputs(y: Float[Array, "n h w d"]) -> Float[Array, "36 t d"]:
    rows, columns = (side // TILE for side in y.shape[1:3])
    lines = _stored(jnp.stack(_combined(OUTPUT_TRANSFORM.T, [_every(y, 1, k, rows) for k in range(TILE)])))
    values = jnp.stack(_combined(OUTPUT_TRANSFORM.T, [_every(lines, 3, k, columns) for k in range(TILE)]))
    return values.reshape(SIDE**2, -1, y.shape[-1])


def _stored(array: Array) -> Array:
    """The same values, which the compiler keeps and doesn't compute again for each use."""
    return jax.lax.optimization_barrier(array)
