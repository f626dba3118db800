"""Dice at 256 thresholds, its mean and its best, as Inf-Net reports them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Shaped

from jcs_jax.metrics.states import Measurement

LEVELS = 256
THRESHOLDS = np.arange(LEVELS) / (LEVELS - 1)


def min_max_scale(maps: Float[np.ndarray, "n h w"]) -> Float[np.ndarray, "n h w"]:
    """Each map stretched to [0, 1] by its own minimum and maximum; a constant map becomes all 0."""
    maps = np.asarray(maps, np.float64)
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    return np.divide(maps - low, span, out=np.zeros_like(maps), where=span > 0)


def dice_curve(maps: Float[np.ndarray, "n h w"], target: Shaped[np.ndarray, "n h w"]) -> Float[np.ndarray, "n 256"]:
    """Dice of each image at the thresholds 0/255, 1/255 .. 255/255; a pixel is predicted where map >= threshold.

    Args:
      maps: (N, H, W) in [0, 1], not quantised first.
      target: (N, H, W), true or 1 where opacified.

    Returns:
      (N, 256) float64; a row is nan where the target is empty.

    Raises:
      ValueError: if a map is NaN or outside [0, 1], or the shapes differ.
    """
    maps, target = np.asarray(maps, np.float64), np.asarray(target).astype(bool)
    if maps.shape != target.shape or maps.ndim != 3:
        raise ValueError(f"maps {maps.shape} and masks {target.shape} must both be one (N, H, W)")
    if maps.size and not (maps.min() >= 0.0 and maps.max() <= 1.0):
        raise ValueError("maps must lie in [0, 1] without NaN; min_max_scale stretches them there")
    curve = np.full((len(maps), LEVELS), np.nan)
    for row, scaled, mask in zip(curve, maps, target, strict=True):
        if mask.any():
            level = np.searchsorted(THRESHOLDS, scaled, side="right") - 1
            both, predicted = _from_level(level[mask]), _from_level(level.ravel())
            row[:] = 2.0 * both / (predicted + mask.sum())
    return curve


@dataclasses.dataclass(frozen=True)
class ThresholdCurve:
    """Dice over thresholds of many images, without keeping their maps.

    What Inf-Net's tables call mean Dice and max Dice: each map is min-max scaled by itself, Dice is taken at 256
    thresholds, averaged over the images at each threshold, and then the mean or the maximum over thresholds is
    reported. The best threshold is chosen on the very images it is reported on: an optimistic number.
    Ours differs in two points: maps aren't rounded to 8 bits first, and images with an empty mask are
    left out (Inf-Net's tool scores them 0).

    Attributes:
      total: (256,) sum of the images' curves.
      n: images in it.
      n_absent: images left out because their mask is empty.

    Source: Fan et al., Inf-Net, IEEE TMI 2020, and the evaluation tool published with it.
    """

    total: Float[np.ndarray, " 256"]
    n: int = 0
    n_absent: int = 0

    @classmethod
    def empty(cls) -> ThresholdCurve:
        """No image yet."""
        return cls(np.zeros(LEVELS))

    @classmethod
    def from_maps(
        cls, maps: Float[np.ndarray, "n h w"], target: Shaped[np.ndarray, "n h w"], *, scale: bool = True
    ) -> ThresholdCurve:
        """From (N, H, W) maps and masks; `scale=False` takes maps in [0, 1] as they are."""
        curves = dice_curve(min_max_scale(maps) if scale else maps, target)
        absent = np.isnan(curves[:, 0])
        return cls(curves[~absent].sum(axis=0), int((~absent).sum()), int(absent.sum()))

    def merge(self, other: ThresholdCurve) -> ThresholdCurve:
        """Both sets of images together."""
        return ThresholdCurve(self.total + other.total, self.n + other.n, self.n_absent + other.n_absent)

    def mean_dice(self) -> Measurement:
        """The mean over the thresholds of the images' mean Dice."""
        return self._measurement(float(self.total.mean()))

    def best_dice(self) -> Measurement:
        """The images' mean Dice at the threshold where it is highest."""
        return self._measurement(float(self.total.max()))

    def best_threshold(self, *, lowest: int = 0) -> Measurement:
        """That threshold, in [0, 1]; the lowest of equal ones, from level `lowest` on."""
        level = lowest + int(np.argmax(self.total[lowest:]))
        return Measurement(float(THRESHOLDS[level]) if self.n else math.nan, self.n, self.n_absent)

    def _measurement(self, total: float) -> Measurement:
        return Measurement(total / self.n if self.n else math.nan, self.n, self.n_absent)


def _from_level(levels: np.ndarray) -> np.ndarray:
    """How many of the levels are k or higher, for k = 0..255."""
    return np.bincount(levels, minlength=LEVELS)[::-1].cumsum()[::-1]
