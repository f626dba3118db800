"""Colours for activation maps: even in lightness, safe for the colour-blind, on a scale that is stated."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, UInt8

LEVELS = 256
# The path through OKLCh: dark violet, blue-green, bright yellow. No grey on the way, which CT would swallow.
_LIGHTNESS = (0.30, 0.93)
_HUE_DEGREES = (305.0, 105.0)
_CHROMA = (0.15, 0.09, 0.17)  # at the start, the middle and the end; all inside sRGB
# From OKLab to cone responses, and from those to linear sRGB (Ottosson 2020).
_LAB_TO_CONES = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_CONES_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def shared_scale(maps: Iterable[Float[np.ndarray, "h w"]]) -> float:
    """The highest positive value over all maps, 0.0 if there is none: one scale for slices that are compared."""
    return max((max(float(values.max()), 0.0) for values in maps), default=0.0)


def normalize_map(values: Float[np.ndarray, "h w"], scale: float) -> Float[np.ndarray, "h w"]:
    """Brings an activation map to [0, 1] for display: zero and below to 0, `scale` and above to 1.

    Args:
      values: (H, W), signed, finite.
      scale: the value shown in the last colour; 0 where no map has anything positive, which gives zeros.

    Returns:
      (H, W) float32 in [0, 1], never NaN.

    Raises:
      ValueError: if the map or the scale isn't finite, or the scale is negative.
    """
    if not np.isfinite(scale) or scale < 0 or not np.all(np.isfinite(values)):
        raise ValueError(f"an activation map and its scale ({scale}) must be finite, the scale not negative")
    if scale == 0:
        return np.zeros(values.shape, np.float32)
    return np.clip(np.asarray(values, np.float64) / scale, 0, 1).astype(np.float32)


@functools.cache
def color_table() -> UInt8[np.ndarray, "256 3"]:
    """The 256 sRGB colours, rising evenly in OKLab lightness."""
    position = np.linspace(0, 1, LEVELS)
    lightness = np.interp(position, (0, 1), _LIGHTNESS)
    hue = np.deg2rad(np.interp(position, (0, 1), _HUE_DEGREES))
    chroma = np.interp(position, (0, 0.5, 1), _CHROMA)
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    linear = np.clip((lab @ _LAB_TO_CONES.T) ** 3 @ _CONES_TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    table = np.round(encoded * 255).astype(np.uint8)
    table.setflags(write=False)
    return table


def colorize(normalized: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Colours of a map in [0, 1]; the highest value gets the last colour."""
    return color_table()[np.round(np.clip(normalized, 0, 1) * (LEVELS - 1)).astype(np.intp)]
