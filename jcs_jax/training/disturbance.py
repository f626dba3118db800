"""What is done to slices on the device, beside the augmentation, before a network is to make sense of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jcs_jax.preprocessing import Preprocessing

CONTRAST, BRIGHTNESS, GAMMA, NOISE = 0.35, 0.15, 0.5, 0.03  # largest changes; intensities are in [0, 1]


def disturbed_greys(
    images: Float[Array, "n h w 3"], key: Array, preprocessing: Preprocessing
) -> Float[Array, "n h w 3"]:
    """Other contrast, brightness, gamma and noise; grey slices, normalised before and after.

    Args:
      images: (N, H, W, 3), network input.
      key: of random numbers.
      preprocessing: mean and standard deviation of the network's input.
    """
    keys = jax.random.split(key, 4)
    grey = to_grey(images, preprocessing)

    def uniform(number: int, width: float) -> Float[Array, "n 1 1"]:
        return jax.random.uniform(keys[number], (len(images), 1, 1), minval=-width, maxval=width)

    grey = (grey - 0.5) * (1 + uniform(0, CONTRAST)) + 0.5 + uniform(1, BRIGHTNESS)
    grey = jnp.clip(grey, 1e-4, 1.0) ** jnp.exp(uniform(2, GAMMA))
    grey = jnp.clip(grey + NOISE * jax.random.normal(keys[3], grey.shape), 0.0, 1.0)
    return from_grey(grey, preprocessing).astype(images.dtype)


def to_grey(images: Float[Array, "n h w 3"], preprocessing: Preprocessing) -> Float[Array, "n h w"]:
    """Intensities, from 0 to 1, of network input, whose channels are one grey slice normalised three times."""
    return images[..., 0] * preprocessing.std[0] + preprocessing.mean[0]


def from_grey(grey: Float[Array, "n h w"], preprocessing: Preprocessing) -> Float[Array, "n h w 3"]:
    """Network input of intensities."""
    return (grey[..., jnp.newaxis] - jnp.asarray(preprocessing.mean)) / jnp.asarray(preprocessing.std)


def random_boxes(key: Array, shape: tuple[int, ...], count: int, sides: tuple[float, float]) -> Bool[Array, "n k h w"]:
    """Boxes at random places.

    Args:
      key: of random numbers.
      shape: N, h, w of the pictures.
      count: boxes a picture.
      sides: least and most of a box, as shares of the picture's.

    Returns:
      (N, count, h, w), true inside.
    """
    images, *size = shape
    sides_key, places_key = jax.random.split(key)
    whole = jnp.asarray(size, jnp.float32)
    side = jax.random.uniform(sides_key, (images, count, 2), minval=sides[0], maxval=sides[1]) * whole
    first = jax.random.uniform(places_key, (images, count, 2)) * (whole - side)
    rows, columns = (
        (jnp.arange(size[axis]) >= first[..., axis, jnp.newaxis])
        & (jnp.arange(size[axis]) < (first + side)[..., axis, jnp.newaxis])
        for axis in (0, 1)
    )
    return rows[..., :, jnp.newaxis] & columns[..., jnp.newaxis, :]
