"""Distances between the contours of a predicted and a true mask, one value per image in float64.

A mask's contour is those of its pixels that have at least one of their four neighbours outside the mask; what lies
beyond the picture's border counts as outside. Distances are between the centres of contour pixels.

Empty masks: nan where the target is empty, as for Dice. Where something is to be found and nothing is predicted,
the image gets the worst value and is not left out, or else a network would gain by staying silent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.spatial import cKDTree

ROUNDING = 1e-9  # relative: three steps of 0.1 mm are 0.30000000000000004 mm and yet within 0.3 mm

Masks = Bool[np.ndarray, "n h w"]
Spacing = Float[np.ndarray, "n 2"] | Float[np.ndarray, " 2"] | tuple[float, float]


def hausdorff_95(predicted: Masks, target: Shaped[np.ndarray, "n h w"], *, spacing: Spacing) -> Float[np.ndarray, " n"]:
    """How far the contours lie apart, but for the worst twentieth of each (HD95).

    The greater of two 95th percentiles (linear between neighbours): of the distances from each pixel of the predicted
    contour to the nearest of the true one, and of those from the true to the predicted. Others pool both lists of
    distances and take one percentile, which is as a rule smaller: compare only numbers of the same form.

    Args:
      predicted: (N, H, W) bool.
      target: (N, H, W), true or 1 where opacified.
      spacing: distance of neighbouring rows and columns in mm, (2,) or (N, 2); (1, 1) for a result in pixels. nan
        where it isn't known.

    Returns:
      (N,) from 0, in the unit of the spacing; nan where the target is empty or the spacing nan. Where nothing is
      predicted though the target isn't empty it is the picture's diagonal, more than any contours can be apart.

    Raises:
      ValueError: if the shapes differ, or a spacing is zero, negative or infinite.

    Source: Huttenlocher et al., IEEE TPAMI 1993 (the ranked distance and the maximum of both directions); Taha and
    Hanbury, BMC Medical Imaging 2015; Maier-Hein et al., "Metrics reloaded", Nature Methods 2024.
    """
    return _per_image(
        predicted,
        target,
        spacing,
        measure=lambda *directed: float(max(np.percentile(distances, 95) for distances in directed)),
        unpredicted=lambda sides: float(np.hypot(*sides)),
    )


def surface_dice(
    predicted: Masks, target: Shaped[np.ndarray, "n h w"], *, spacing: Spacing, tolerance: float
) -> Float[np.ndarray, " n"]:
    """The share of both contours that lies within a tolerance of the other contour.

    Counted in pixels of the contours: a slanted line counts as many pixels as an upright one of the same height. The
    source weighs each piece of the contour by its length; its numbers differ a little.

    Args:
      predicted: (N, H, W) bool.
      target: (N, H, W), true or 1 where opacified.
      spacing: as in `hausdorff_95`.
      tolerance: in the unit of the spacing; a distance of just as much is within it.

    Returns:
      (N,) in [0, 1]; nan where the target is empty or the spacing nan; 0 where nothing is predicted though the target
      isn't empty.

    Raises:
      ValueError: as `hausdorff_95`, or if the tolerance is negative or nan.

    Source: Nikolov et al., Journal of Medical Internet Research 2021 (arXiv 1809.04430).
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}; it must not be negative")
    limit = tolerance * (1 + ROUNDING)
    return _per_image(
        predicted,
        target,
        spacing,
        measure=lambda *directed: float(np.mean(np.concatenate(directed) <= limit)),
        unpredicted=lambda _: 0.0,
    )


def contour(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a mask with at least one of their four neighbours outside it or outside the picture."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _per_image(
    predicted: np.ndarray,
    target: np.ndarray,
    spacing: Spacing,
    *,
    measure: Callable[..., float],
    unpredicted: Callable[[np.ndarray], float],
) -> Float[np.ndarray, " n"]:
    """One number of each image: from both lists of distances, or from the picture's sides if nothing is predicted."""
    predicted, target, steps = _checked(predicted, target, spacing)
    values = np.full(len(target), np.nan)
    for index, step in enumerate(steps):
        if target[index].any() and not np.isnan(step).any():
            ours = np.argwhere(contour(predicted[index])) * step
            theirs = np.argwhere(contour(target[index])) * step
            values[index] = (
                measure(_to_nearest(ours, theirs), _to_nearest(theirs, ours))
                if len(ours)
                else unpredicted(step * target.shape[1:])
            )
    return values


def _to_nearest(points: Float[np.ndarray, "p 2"], others: Float[np.ndarray, "q 2"]) -> Float[np.ndarray, " p"]:
    """Distance of each point to the nearest of the others.

    A tree of the few thousand points of a contour takes a tenth of the time of a distance transform of the picture.
    """
    return cKDTree(others).query(points)[0]


def _checked(
    predicted: np.ndarray, target: np.ndarray, spacing: Spacing
) -> tuple[Masks, Masks, Float[np.ndarray, "n 2"]]:
    predicted, target = np.asarray(predicted, bool), np.asarray(target)
    if predicted.shape != target.shape or target.ndim != 3:
        raise ValueError(f"prediction {predicted.shape} and mask {target.shape} must both be one (N, H, W)")
    steps = np.asarray(spacing, np.float64)
    if steps.shape not in ((2,), (len(target), 2)):
        raise ValueError(f"spacing {steps.shape} must be (2,) or ({len(target)}, 2): between rows, between columns")
    wrong = (steps <= 0) | np.isinf(steps)
    if wrong.any():
        raise ValueError(f"spacing must be above 0 and finite, or nan where it isn't known; got {steps[wrong][0]}")
    return predicted, target.astype(bool), np.broadcast_to(steps, (len(target), 2))
