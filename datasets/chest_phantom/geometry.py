"""Shapes on a slice: a grid in millimetres, soft edges, ellipses, smooth unions and correlated noise.

A shape is a signed distance in mm, (H, W) float32, negative inside. Where it is not exact it is right near the
edge, which is all that `paint` needs.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import ndimage

FIELD_OF_VIEW = 360.0  # mm, a common one for a chest


@dataclasses.dataclass(frozen=True)
class Grid:
    """Pixel centres of a square slice.

    Attributes:
      x: (H, W) float32, mm, towards the patient's left (the image's right).
      y: (H, W) float32, mm, towards the back (the image's foot).
      spacing: mm a pixel.
    """

    x: np.ndarray
    y: np.ndarray
    spacing: float

    @classmethod
    def of_size(cls, size: int) -> Grid:
        """The grid of a size x size slice over the whole field of view, its centre at zero."""
        spacing = FIELD_OF_VIEW / size
        axis = ((np.arange(size) + 0.5) * spacing - FIELD_OF_VIEW / 2).astype(np.float32)
        x, y = np.meshgrid(axis, axis)
        return cls(x, y, spacing)


def ellipse(grid: Grid, centre: tuple[float, float], axes: tuple[float, float], angle: float = 0.0) -> np.ndarray:
    """Signed distance to an ellipse, mm: centre and half axes in mm, angle in radians."""
    x, y = grid.x - centre[0], grid.y - centre[1]
    cos, sin = math.cos(angle), math.sin(angle)
    u, v = (x * cos + y * sin) / axes[0], (y * cos - x * sin) / axes[1]
    return (np.sqrt(u * u + v * v) - 1) * min(axes)


def superellipse(grid: Grid, axes: tuple[float, float], back: float, power: float = 2.4) -> np.ndarray:
    """Signed distance, mm, to a trunk-like outline: `back` scales its depth behind the centre."""
    depth = np.where(grid.y > 0, axes[1] * back, axes[1])
    radius = (np.abs(grid.x / axes[0]) ** power + np.abs(grid.y / depth) ** power) ** (1 / power)
    return (radius - 1) * np.float32(min(axes))


def union(first: np.ndarray, second: np.ndarray, blend: float = 6.0) -> np.ndarray:
    """Union of two shapes with the corner between them rounded over `blend` mm."""
    mix = np.clip(0.5 + 0.5 * (second - first) / blend, 0, 1)
    return second * (1 - mix) + first * mix - blend * mix * (1 - mix)


def without(shape: np.ndarray, removed: np.ndarray, blend: float = 6.0) -> np.ndarray:
    """A shape less another, with rounded corners."""
    return -union(-shape, removed, blend)


def coverage(grid: Grid, shape: np.ndarray, softness: float = 1.0) -> np.ndarray:
    """How much of each pixel a shape covers, 0 to 1; the edge is `softness` pixels wide."""
    return np.clip(0.5 - shape / (softness * grid.spacing), 0, 1)


def paint(image: np.ndarray, cover: np.ndarray, value: float | np.ndarray) -> None:
    """Blends HU into an image in place, by a coverage of 0 to 1."""
    image += cover * (value - image)


def smooth_noise(rng: np.random.Generator, grid: Grid, scale: float) -> np.ndarray:
    """Noise of mean 0 and standard deviation about 1 that is correlated over `scale` mm; (H, W) float32.

    Coarse noise is made on every `step`-th pixel and interpolated.
    """
    size = grid.x.shape[0]
    step = max(1, int(scale / grid.spacing / 2))
    coarse = rng.standard_normal((-(-size // step) + 1,) * 2, np.float32)
    noise = ndimage.gaussian_filter(coarse, scale / grid.spacing / step, truncate=3.0)
    if step > 1:
        noise = ndimage.zoom(noise, step, order=1)
    noise = noise[:size, :size]
    return noise / max(float(noise.std()), 1e-6)
