"""How well a map that explains a class points at the lesions; one value per image in float64.

The maps are signed and compared as they are: neither cut at zero nor scaled, but where a measure says so. All are
nan where the mask is empty: there is nothing to point at.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Shaped

from jcs_jax.metrics.ranking import ScoreRanks


def pointing_game(
    maps: Float[np.ndarray, "n h w"], masks: Shaped[np.ndarray, "n h w"], *, tolerance: float = 0.0
) -> Float[np.ndarray, " n"]:
    """Whether the highest value of each map lies in its mask.

    Of equally high pixels the first counts, row by row. A map without information hits by chance as often as the
    mask's share of the area: `energy_chance`.

    Args:
      maps: (N, H, W), finite.
      masks: (N, H, W), true or 1 where opacified.
      tolerance: in pixels; a highest value at most this far from the nearest pixel of the mask is a hit too. The
        source takes 15; with 0 only the mask itself counts.

    Returns:
      (N,) 1.0 for a hit, 0.0 for a miss; nan where the mask is empty.

    Raises:
      ValueError: if a map isn't finite, the shapes differ or the tolerance is negative.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016 and IJCV 2018.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance} pixels; it must not be negative")
    maps, masks = _checked(maps, masks)
    hits = np.full(len(maps), np.nan)
    for index, (values, mask) in enumerate(zip(maps, masks, strict=True)):
        if mask.any():
            peak = np.unravel_index(np.argmax(values), values.shape)
            hits[index] = np.hypot(*(np.argwhere(mask) - peak).T).min() <= tolerance
    return hits


def energy_inside(maps: Float[np.ndarray, "n h w"], masks: Shaped[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """The share of each map's positive part that lies in its mask (energy-based pointing game).

    An even positive map scores the mask's share of the area: `energy_chance`. A map without any positive value
    scores 0 and not nan: it points nowhere, so it doesn't point at the lesion, and to leave it out would reward
    a network that explains only what it is sure of.

    Args:
      maps: (N, H, W), finite; what is negative counts as 0.
      masks: (N, H, W), true or 1 where opacified.

    Returns:
      (N,) in [0, 1]; nan where the mask is empty.

    Raises:
      ValueError: if a map isn't finite or the shapes differ.

    Source: Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR
    Workshops 2020.
    """
    maps, masks = _checked(maps, masks)
    positive = np.maximum(maps, 0.0)
    total = positive.sum(axis=(1, 2))
    inside = positive.sum(axis=(1, 2), where=masks)
    share = np.divide(inside, total, out=np.zeros(len(maps)), where=total > 0)
    return np.where(masks.any(axis=(1, 2)), share, np.nan)


def energy_chance(masks: Shaped[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """The mask's share of the area: what `energy_inside` and `pointing_game` give by chance.

    Args:
      masks: (N, H, W), true or 1 where opacified.

    Returns:
      (N,) in (0, 1]; nan where the mask is empty, so that its mean is over the same images as theirs.
    """
    area = np.asarray(masks).astype(bool).mean(axis=(1, 2))
    return np.where(area > 0, area, np.nan)


def map_auc(maps: Float[np.ndarray, "n h w"], masks: Shaped[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """The chance that an opacified pixel of an image has a higher value than a clear one, ties counting one half.

    It needs no threshold, doesn't change under any increasing transform of the map, and is 0.5 for a map without
    information, whatever the mask's area.

    Args:
      maps: (N, H, W), finite.
      masks: (N, H, W), true or 1 where opacified.

    Returns:
      (N,) in [0, 1]; nan where the mask is empty or full.

    Raises:
      ValueError: if a map isn't finite or the shapes differ.
    """
    maps, masks = _checked(maps, masks)
    pairs = zip(maps, masks, strict=True)
    return np.array(
        [ScoreRanks.from_scores(values.ravel(), mask.ravel().astype(int)).auc().value for values, mask in pairs],
        np.float64,
    )


def _checked(maps: np.ndarray, masks: np.ndarray) -> tuple[Float[np.ndarray, "n h w"], Bool[np.ndarray, "n h w"]]:
    maps, masks = np.asarray(maps, np.float64), np.asarray(masks)
    if maps.shape != masks.shape or maps.ndim != 3:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape} must both be one (N, H, W)")
    finite = np.isfinite(maps).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(f"the map of image {int(np.argmin(finite))} is not finite")
    return maps, masks.astype(bool)
